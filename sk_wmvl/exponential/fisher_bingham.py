"""The Fisher-Bingham distribution as an exponential family."""

from torch import Tensor

from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import Candidate, ExponentialFamily
from sk_wmvl.exponential._monomials import MonomialEnergy, check_unit_vectors, monomials
from sk_wmvl.exponential.bingham import axes
from sk_wmvl.exponential.von_mises_fisher import direction
from sk_wmvl.manifolds import BaseManifold

__all__ = ["FisherBinghamFamily"]


class FisherBinghamFamily(ExponentialFamily):
    r"""Densities :math:`q(x) \propto e^{\kappa\mu^\top x + x^\top Ax}` on a sphere.

    These are normal distributions of the ambient space, conditioned on the sphere; Kent's
    distribution is a special case. The normalising constant has no closed form, and score
    matching needs none. The parameters are ``mean_direction`` (an angle if rows are
    angles) and ``concentration`` of the linear part, ``matrix`` A of trace zero and its
    ``eigenvalues``.

    On a small cap the linear and the quadratic part are nearly the same functions. Score
    matching only sees slopes at the rows, and there it may find a spurious mode at the
    antipode. `fit` warns if the rows are less likely than under the uniform distribution.
    `VonMisesFisherFamily` has no such mode.

    Parameters
    ----------
    robustness : float, default=0.0
        The power c of Windham's weights, which reduce the influence of outliers; 0 means
        no weights.

    References
    ----------
    [Mardia2000]_, [Mardia2016]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import RiemannianMVLDensity
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 1, 2] + [1, 0, 0]
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> density = RiemannianMVLDensity(energy="fisher_bingham", random_state=0).fit(X)
    >>> sorted(density.parameters_)
    ['concentration', 'eigenvalues', 'matrix', 'mean_direction']
    """

    def __init__(self, robustness: float = 0.0):
        self.robustness = robustness

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> list[Candidate]:
        """Return the statistics; see `ExponentialFamily.candidates`."""
        del x, weight, seed
        d = check_unit_vectors(self, manifold)
        index = monomials(d, (1, 2), on_sphere=True)
        return [Candidate(MonomialEnergy(manifold, index), None)]

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return direction and concentration, matrix and eigenvalues."""
        del coordinates
        d = check_unit_vectors(self, manifold)
        return {**direction(theta[:, :d], manifold), **axes(theta[:, d:], d)}
