"""Polynomials as corrections of a base measure."""

from typing import ClassVar

from torch import Tensor

from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import ALPHAS, Candidate, ExponentialFamily, check_alpha
from sk_wmvl.exponential._monomials import (
    MonomialEnergy,
    check_unit_vectors,
    monomials,
    normal_covariance,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["PolynomialFamily"]


class PolynomialFamily(ExponentialFamily):
    r"""Densities :math:`q(x) \propto q_0(x)\,e^{f(x)}` with a polynomial f.

    In Euclidean space f is a polynomial of the whitened coordinates, or of the users'
    coordinates with ``standardize=False``. On a sphere or the circle it is a polynomial of
    the unit vector, a sum of spherical harmonics. The penalty is :math:`\frac12\alpha`
    times the variance of f under the standard normal distribution, or under the uniform
    distribution on the sphere. There is one parameter per monomial, named ``x0``,
    ``x0 x1``, ``x0^2``, ...

    In Euclidean space a polynomial that grows in some direction has no density. The
    normalizer reports it, and the correction of the base measure is scaled down.

    Parameters
    ----------
    degree : int, default=4
        The highest degree; even in Euclidean space.
    alpha : float or 'auto', default='auto'
        Weight of the penalty. ``'auto'`` takes the one with the best leave-one-out score.

    References
    ----------
    [Hyvarinen2007b]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import MVLDensity
    >>> from sk_wmvl.exponential import PolynomialFamily
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(500, 1))
    >>> density = MVLDensity(energy=PolynomialFamily(4, alpha=0.0), random_state=0).fit(X)
    >>> list(density.parameters_)
    ['x0', 'x0^2', 'x0^3', 'x0^4']
    """

    takes_base: ClassVar[bool] = True

    def __init__(self, degree: int = 4, *, alpha: float | str = "auto"):
        self.degree = degree
        self.alpha = alpha

    def alphas(self) -> tuple[float, ...]:
        """Return the weights of the penalty to compare."""
        check_alpha(self, self.alpha, least=">= 0")
        return ALPHAS if isinstance(self.alpha, str) else (float(self.alpha),)

    def _index(self, manifold: BaseManifold):
        flat = isinstance(manifold, Euclidean)
        if not (isinstance(self.degree, int) and self.degree >= 1) or (
            flat and self.degree % 2
        ):
            raise ValueError(
                f"degree of {type(self).__name__} must be a positive integer, and even in "
                "Euclidean space, where a polynomial of odd degree grows in some "
                f"direction; got {self.degree!r}."
            )
        n = manifold.ambient_dim if flat else check_unit_vectors(self, manifold)
        degrees = tuple(range(1, self.degree + 1))
        return monomials(n, degrees, on_sphere=not flat), n, flat

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> list[Candidate]:
        """Return the statistics; see `ExponentialFamily.candidates`."""
        del weight, seed
        index, n, flat = self._index(manifold)
        penalty = normal_covariance(index, n, on_sphere=not flat).to(x.device)
        return [Candidate(MonomialEnergy(manifold, index), penalty)]

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return the coefficients by name."""
        del coordinates
        index, n, _ = self._index(manifold)
        names = []
        for row in index.tolist():
            powers = {i: row.count(i) for i in row if i < n}
            names.append(
                " ".join(
                    f"x{i}" + (f"^{p}" if p > 1 else "") for i, p in powers.items()
                )
            )
        return dict(zip(names, theta.T, strict=True))
