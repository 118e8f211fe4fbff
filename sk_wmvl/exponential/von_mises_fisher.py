"""The von Mises-Fisher distribution as an exponential family."""

import torch
from torch import Tensor

from sk_wmvl.base_measures import ManifoldMixture
from sk_wmvl.base_measures.components import component_family
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import Candidate, ExponentialFamily, LinearEnergy
from sk_wmvl.exponential._monomials import check_unit_vectors, unit_vectors
from sk_wmvl.manifolds import BaseManifold, Circle

__all__ = ["DirectionEnergy", "VonMisesFisherFamily", "direction"]


class DirectionEnergy(LinearEnergy):
    r"""The energy :math:`\kappa(1-\mu^\top x)`, whose statistics are the unit vector.

    The coefficients are :math:`\theta=\kappa\mu`. The energy is zero at the mean
    direction, and computed as :math:`\tfrac12\kappa\|x-\mu\|^2`: with
    :math:`-\theta^\top x`, of which it differs by κ, rounding would take the digits of
    rows that are close together.

    Parameters
    ----------
    manifold : BaseManifold
        A sphere or the circle, with its dimension known.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.exponential import DirectionEnergy
    >>> from sk_wmvl.manifolds import Sphere
    >>> energy = DirectionEnergy(Sphere(2))
    >>> energy.coefficients = torch.tensor([0.0, 0.0, 1e10], dtype=torch.float64)
    >>> energy(torch.tensor([[1e-6, 0.0, 1.0]], dtype=torch.float64))  # 1e10 / 2 * 1e-12
    tensor([0.0050], dtype=torch.float64)
    """

    def __init__(self, manifold: BaseManifold):
        super().__init__(2 if isinstance(manifold, Circle) else manifold.ambient_dim)
        self.manifold = manifold

    def statistics(self, x: Tensor) -> Tensor:
        """Return unit vectors, of shape (n, d)."""
        return unit_vectors(self.manifold, x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        kappa = torch.linalg.vector_norm(self.coefficients)
        mean = self.coefficients / torch.where(kappa > 0, kappa, 1.0)
        return 0.5 * kappa * (self.statistics(x) - mean).square().sum(-1)


class VonMisesFisherFamily(ExponentialFamily):
    r"""Densities :math:`q(x) \propto e^{\kappa\mu^\top x}` on a sphere or the circle.

    On :math:`S^{d-1}` score matching solves
    :math:`\overline{(I - xx^\top)}\,\kappa\mu = (d-1)\,\bar x`, without Bessel functions
    [Mardia2016]_. The parameters are ``mean_direction`` (an angle if rows are angles) and
    ``concentration``.

    Parameters
    ----------
    robustness : float, default=0.0
        The power c of Windham's weights, which reduce the influence of outliers; 0 means
        no weights.

    References
    ----------
    [Mardia2016]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import RiemannianMVLDensity
    >>> X = np.random.default_rng(0).normal(size=(2000, 3)) + [0, 0, 1]
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> density = RiemannianMVLDensity(energy="von_mises_fisher", random_state=0).fit(X)
    >>> sorted(density.parameters_)
    ['concentration', 'mean_direction']
    """

    def __init__(self, robustness: float = 0.0):
        self.robustness = robustness

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> list[Candidate]:
        """Return the statistics; see `ExponentialFamily.candidates`."""
        del x, weight, seed
        check_unit_vectors(self, manifold)
        return [Candidate(DirectionEnergy(manifold), None)]

    def distribution(
        self, theta: Tensor, manifold: BaseManifold
    ) -> ManifoldMixture | None:
        """Return the von Mises-Fisher distribution; None if it is the uniform one."""
        kappa = torch.linalg.vector_norm(theta)
        mean = (theta / kappa)[None]
        if not float(kappa) > 0:
            return None
        if isinstance(manifold, Circle):
            mean = torch.atan2(mean[:, 1:], mean[:, :1])
        family = component_family(manifold)
        parts = family(manifold, mean.cpu(), 1 / kappa.cpu())
        one = torch.ones(1, dtype=torch.float64)
        return ManifoldMixture(manifold, parts, one, 0.0)

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return mean direction and concentration."""
        del coordinates
        return direction(theta, manifold)


def direction(theta: Tensor, manifold: BaseManifold) -> dict[str, Tensor]:
    r"""Return direction and length of vectors :math:`\kappa\mu` of shape (n, d)."""
    length = torch.linalg.vector_norm(theta, dim=-1, keepdim=True)
    if isinstance(manifold, Circle) and manifold.n_columns == 1:
        mean = torch.atan2(theta[:, 1], theta[:, 0])
    else:
        mean = theta / length
    return {"mean_direction": mean, "concentration": length.squeeze(-1)}
