"""The von Mises-Fisher distribution as an exponential family."""

import torch
from torch import Tensor

from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import Candidate, ExponentialFamily
from sk_wmvl.exponential._monomials import MonomialEnergy, check_unit_vectors, monomials
from sk_wmvl.manifolds import BaseManifold, Circle

__all__ = ["VonMisesFisherFamily", "direction"]


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
        d = check_unit_vectors(self, manifold)
        return [Candidate(MonomialEnergy(manifold, monomials(d, (1,))), None)]

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
