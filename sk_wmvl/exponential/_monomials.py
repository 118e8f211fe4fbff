r"""Monomials as statistics: the common part of families with finitely many parameters."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.exponential._base import ExponentialFamily, LinearEnergy
from sk_wmvl.manifolds import AxialSphere, BaseManifold, Circle, Rotation, Sphere

__all__ = [
    "MonomialEnergy",
    "check_unit_vectors",
    "monomials",
    "normal_covariance",
    "quadratic_form",
    "unit_vectors",
]


def unit_vectors(manifold: BaseManifold, x: Tensor) -> Tensor:
    """Return points as vectors whose coordinates the monomials take."""
    if isinstance(manifold, Circle):
        return torch.cat([x.cos(), x.sin()], -1)
    return x


def check_unit_vectors(
    family: ExponentialFamily, manifold: BaseManifold, *, even: bool = False
) -> int:
    """Return the number of coordinates of a manifold's points as unit vectors.

    Raises
    ------
    ValueError
        If the points are not unit vectors, or if x and -x are one point and the
        statistics are not `even`.
    """
    kinds = (Sphere, Circle, AxialSphere, Rotation) if even else (Sphere, Circle)
    if not isinstance(manifold, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{type(family).__name__} is a family on {names}, not on {manifold!r}."
        )
    return 2 if isinstance(manifold, Circle) else manifold.ambient_dim


def monomials(
    n: int, degrees: tuple[int, ...], *, on_sphere: bool = False
) -> np.ndarray:
    """Return monomials of n coordinates as the indices of their factors.

    Parameters
    ----------
    n : int
        Number of coordinates.
    degrees : tuple of int
        Positive degrees in ascending order.
    on_sphere : bool, default=False
        Whether to leave out monomials with a square of the last coordinate, which on the
        unit sphere is one minus the other squares.

    Returns
    -------
    index : ndarray of shape (k, max degree)
        Ascending indices in each row; n stands for no factor.
    """
    rows = []
    for degree in degrees:
        for factors in itertools.combinations_with_replacement(range(n), degree):
            if not (on_sphere and factors.count(n - 1) > 1):
                rows.append(factors + (n,) * (degrees[-1] - degree))
    return np.array(rows)


def normal_covariance(index: np.ndarray, n: int, *, on_sphere: bool = False) -> Tensor:
    r"""Return the covariance of monomials under a standard distribution.

    Even moments of the standard normal distribution are products of double factorials. The
    uniform distribution on the unit sphere is that of the normal's direction; its moments
    of degree 2s are the normal's divided by :math:`n(n+2)\cdots(n+2s-2)`.

    Parameters
    ----------
    index : ndarray of shape (k, p)
        See `monomials`.
    n : int
        Number of coordinates.
    on_sphere : bool, default=False
        Whether the distribution is the uniform one on the unit sphere.

    Returns
    -------
    covariance : Tensor of shape (k, k)
    """
    powers = (index[:, :, None] == np.arange(n)).sum(1)

    def moments(e: np.ndarray) -> np.ndarray:
        top = int(e.max(initial=0))
        # (e - 1)!! for even e, zero for odd
        table = [
            0.0 if k % 2 else math.prod(range(k - 1, 0, -2)) for k in range(top + 1)
        ]
        value = np.array(table)[e].prod(-1)
        if on_sphere:
            total = e.sum(-1)
            divisor = [
                math.prod(range(n, n + k - 1, 2)) for k in range(total.max() + 1)
            ]
            value = value / np.array(divisor, dtype=float)[total]
        return value

    mean = moments(powers)
    pairs = moments(powers[:, None] + powers[None])
    return torch.from_numpy(pairs - np.outer(mean, mean))


def quadratic_form(theta: Tensor, index: Tensor, n: int) -> Tensor:
    r"""Return symmetric matrices A with :math:`x^\top Ax = \theta^\top T(x)`.

    Parameters
    ----------
    theta : Tensor of shape (r, k)
        Coefficients of monomials of degree two.
    index : Tensor of shape (k, 2)
        Their factors.
    n : int
        Number of coordinates.

    Returns
    -------
    A : Tensor of shape (r, n, n)
    """
    i, j = index.T
    half = theta.new_zeros(len(theta), n, n).index_put(
        (torch.arange(len(theta))[:, None], i[None], j[None]), 0.5 * theta
    )
    return half + half.mT


class MonomialEnergy(LinearEnergy):
    """Monomials of the coordinates of a point, which on the circle is a unit vector.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold of the points.
    index : ndarray of shape (k, p)
        Indices of the factors; the number of coordinates stands for no factor.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.exponential import MonomialEnergy
    >>> from sk_wmvl.manifolds import Euclidean
    >>> energy = MonomialEnergy(Euclidean(2), np.array([[0, 2], [1, 1]]))
    >>> energy.statistics(torch.tensor([[3.0, 2.0]]))  # x and y squared
    tensor([[3., 4.]])
    """

    index: Tensor

    def __init__(self, manifold: BaseManifold, index: np.ndarray):
        super().__init__(len(index))
        self.manifold = manifold
        self.register_buffer("index", torch.from_numpy(index))

    def statistics(self, x: Tensor) -> Tensor:
        """Return T of shape (n, k)."""
        z = unit_vectors(self.manifold, x)
        z = torch.cat([z, torch.ones_like(z[:, :1])], -1)
        value = z[:, self.index[:, 0]]
        for factors in self.index.T[1:]:
            value = value * z[:, factors]
        return value
