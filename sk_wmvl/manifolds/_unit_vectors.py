"""Unit vectors: the geometry that spheres, axes, rotations and compositions share."""

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns
from sk_wmvl.manifolds._series import cos, safe_norm, sin_over

__all__ = [
    "UnitVectors",
    "UnitVectorsOfAnyDimension",
    "folded_quadrature",
    "half_sides",
    "nearer_sign",
    "orthant_sides",
    "sphere_quadrature",
    "unit",
]


def unit(x: Tensor) -> Tensor:
    """Return `x` divided by its norm; a zero vector becomes NaN."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def nearer_sign(x: Tensor, y: Tensor) -> Tensor:
    """Return the sign s of shape (n, 1) that brings s y nearest to `x`."""
    one = torch.ones_like(x[:, :1])
    return torch.where((x * y).sum(-1, keepdim=True) < 0, -one, one)


class UnitVectors(BaseManifold):
    r"""Unit vectors of :math:`\mathbb{R}^d` with the metric of a sphere of some radius.

    Geodesics are great circles; lengths are `radius` times ambient lengths. Several unit
    vectors, which differ by changes of sign, may stand for one point of the manifold; they
    are called its copies. `_signs` and `_representative` of a subclass say which these
    are. Functions on the manifold are the functions on the sphere that are equal at all
    copies.
    """

    radius: float = 1.0

    @property
    def ambient_dim(self) -> int:
        """The number m + 1."""
        return self._known_dim() + 1

    def _signs(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Return the signs, (n, 1) or (n, d), that bring `y` nearest to `x`.

        None means that no two unit vectors are one point.
        """
        del x, y
        return None

    def _representative(self, x: Tensor) -> Tensor:
        """Return the copy of `x` that users see."""
        return x

    def _nearest(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the copy of `y` nearest to `x`."""
        signs = self._signs(x, y)
        return y if signs is None else signs * y

    def projection(self, x: Tensor) -> Tensor:
        """Return `x` divided by its norm; a zero vector becomes NaN."""
        return self._representative(unit(x))

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u` less its part along `x`."""
        return u - (x * u).sum(-1, keepdim=True) * x

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        del x
        return self.radius**2 * (u * v).sum(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the tangent part of `v`, scaled to the metric."""
        u = self.to_tangent(x, v)
        return u if self.radius == 1 else u / self.radius

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients of shape (n, d)."""
        u = self.to_tangent(x, g)
        return u if self.radius == 1 else u / self.radius**2

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u`` divided by its norm: of second order on a sphere."""
        return unit(x + u)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the end of a great circle and the velocity there."""
        square = u.square().sum(-1, keepdim=True)
        c, s = cos(square), sin_over(square)
        return unit(c * x + s * u), c * u - s * square * x

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity that leads to the nearest copy of `y`.

        All directions lead to an antipode; an arbitrary one is returned.
        """
        y = self._nearest(x, y)
        u = self.to_tangent(x, y)
        c = (x * y).sum(-1, keepdim=True)
        s = safe_norm(u)
        angle = torch.atan2(s, c)
        tiny = s <= 1e-12 if x.dtype == torch.float64 else s <= 1e-6
        ratio = angle / torch.where(tiny, 1.0, s)
        # the ratio tends to one near x; it has no limit near -x
        near = torch.where(tiny & (c > 0), u, ratio * u)
        axis = torch.zeros_like(x).scatter(
            -1, x.abs().argmin(-1, keepdim=True), torch.ones_like(c)
        )
        away = self.to_tangent(x, axis)
        away = math.pi * away / torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        return torch.where(tiny & (c < 0), away, near)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the angle times the radius, of shape (n,)."""
        y = self._nearest(x, y)
        # accurate for near points and for antipodes, and exactly zero for x == y
        half = torch.atan2(safe_norm(x - y), safe_norm(x + y))
        return 2 * self.radius * half.squeeze(-1)

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`(m-1)\log(\sin r/r)` of shape (n,), -inf where r = π."""
        del x
        ratio = sin_over(u.square().sum(-1))
        return (self.ambient_dim - 2) * ratio.abs().log()

    def chart(self, x: Tensor) -> LocalChart:
        r"""Return stereographic coordinates from the pole farther from each point.

        They are :math:`x = (2y, \pm(1-|y|^2))/(1+|y|^2)`, with the metric
        :math:`4r^2/(1+|y|^2)^2\,I` for the radius r.
        """
        sign = torch.where(x[:, -1:] >= 0, 1.0, -1.0).to(x.dtype)
        y = x[:, :-1] / (1 + sign * x[:, -1:])

        def to_manifold(y: Tensor) -> Tensor:
            square = y.square().sum(-1, keepdim=True)
            return torch.cat([2 * y, sign * (1 - square)], -1) / (1 + square)

        def metric(y: Tensor) -> Tensor:
            factor = (2 * self.radius / (1 + y.square().sum(-1))).square()
            eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
            return factor[:, None, None] * eye

        return LocalChart(y, to_manifold, metric)

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return uniform points of shape (n_samples, d)."""
        shape = n_samples, self.ambient_dim
        return self.projection(torch.randn(shape, generator=generator, dtype=dtype))

    def _sides(self) -> list[float]:
        """Return the part of each cube coordinate of the sphere that one copy fills."""
        return [1.0] * self._known_dim()

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map the cube, preserving volume up to a constant, for m up to 3.

        See `BaseManifold.from_cube`.
        """
        if self._known_dim() > 3:
            return super().from_cube(u)
        x = sphere_from_cube(u * u.new_tensor(self._sides()))
        return x, torch.full_like(u[:, 0], self.log_volume())

    def to_cube(self, x: Tensor) -> Tensor:
        """Return coordinates in the cube, (n, m); see `BaseManifold.from_cube`."""
        if self._known_dim() > 3:
            return super().to_cube(x)
        pole = torch.zeros_like(x)
        pole[:, -1] = 1
        copy = self._representative(self._nearest(pole, x))
        return (sphere_to_cube(copy) / x.new_tensor(self._sides())).clamp(0, 1)

    def _log_area(self) -> float:
        """Return the log of the area of the whole sphere."""
        d = self.ambient_dim
        unit = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
        return unit + (d - 1) * math.log(self.radius)


class UnitVectorsOfAnyDimension(UnitVectors):
    """Unit vectors whose dimension is a parameter, with m + 1 columns in users' rows."""

    @property
    def n_columns(self) -> int:
        """The number m + 1."""
        return self.ambient_dim

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(
            self, n_columns, n_columns >= 2 and self.dim in (None, n_columns - 1)
        )
        return self._resized(dim=n_columns - 1)


def sphere_from_cube(u: Tensor) -> Tensor:
    r"""Return the points of :math:`S^m`, m = 1, 2, 3, at coordinates of the unit cube.

    On the circle u is a fraction of a turn. On :math:`S^2` the first coordinate gives the
    height, :math:`x_2=1-2u_0`, and the second a fraction of a turn. On :math:`S^3` the
    first is :math:`u_0=x_2^2+x_3^2`, and the others give the angles of the pairs
    :math:`(x_0,x_1)` and :math:`(x_2,x_3)`. All preserve volume up to a constant.
    """
    angle = 2 * math.pi * u
    if u.shape[1] == 1:
        return torch.cat([angle.cos(), angle.sin()], -1)
    s = u[:, :1]
    if u.shape[1] == 2:
        r, turn = 2 * (s * (1 - s)).sqrt(), angle[:, 1:]
        return torch.cat([r * turn.cos(), r * turn.sin(), 1 - 2 * s], -1)
    a, b = angle[:, 1:2], angle[:, 2:]
    inner, outer = (1 - s).sqrt(), s.sqrt()
    return torch.cat(
        [inner * a.cos(), inner * a.sin(), outer * b.cos(), outer * b.sin()], -1
    )


def sphere_to_cube(x: Tensor) -> Tensor:
    """Return the coordinates of points in the unit cube; see `sphere_from_cube`."""

    def turn(x: Tensor, y: Tensor) -> Tensor:
        return (torch.atan2(y, x) / (2 * math.pi)) % 1

    if x.shape[1] == 2:
        return turn(x[:, 0], x[:, 1])[:, None]
    if x.shape[1] == 3:
        height = (1 - x[:, 2]) / 2
        return torch.stack([height, turn(x[:, 0], x[:, 1])], -1)
    s = x[:, 2].square() + x[:, 3].square()
    return torch.stack([s, turn(x[:, 0], x[:, 1]), turn(x[:, 2], x[:, 3])], -1)


def sphere_quadrature(m: int, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Return a product rule on the unit sphere :math:`S^m`, m at most 3.

    On the circle the nodes are equally spaced. Elsewhere the rule is Gauss-Gegenbauer's
    in the last coordinate times a rule on the sphere of one dimension less. It is exact
    for polynomials of degree below `n_nodes`.

    Returns
    -------
    nodes : ndarray of shape (N, m + 1)
    weights : ndarray of shape (N,)
    """
    if m == 1:
        angle = 2 * np.pi * (np.arange(n_nodes) + 0.5) / n_nodes
        return np.c_[np.cos(angle), np.sin(angle)], np.full(
            n_nodes, 2 * np.pi / n_nodes
        )
    # with t = x_m the area element is (1 - t^2)^{(m-2)/2} dt times that of the slice
    n_latitudes = math.ceil(n_nodes / 2)
    if m == 2:
        t, w = np.polynomial.legendre.leggauss(n_latitudes)
    else:  # m == 3: Chebyshev of the second kind, in closed form
        k = np.arange(1, n_latitudes + 1) * np.pi / (n_latitudes + 1)
        t, w = np.cos(k), np.pi / (n_latitudes + 1) * np.sin(k) ** 2
    inner, v = sphere_quadrature(m - 1, n_nodes)
    r = np.sqrt((1 - t) * (1 + t))
    nodes = np.concatenate(
        [
            (r[:, None, None] * inner).reshape(-1, m),
            np.repeat(t, len(inner))[:, None],
        ],
        axis=1,
    )
    return nodes, np.outer(w, v).ravel()


def folded_quadrature(
    m: int, n_nodes: int, *, orthant: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on half of the unit sphere, or on its positive orthant.

    The number of nodes per circle is rounded up to a multiple of four. The rule on the
    whole sphere then has no node on a coordinate plane, and changes of sign leave it
    alone. The nodes in one part integrate functions with the same symmetry as exactly as
    all nodes do.
    """
    nodes, weights = sphere_quadrature(m, 4 * math.ceil(n_nodes / 4))
    kept = (nodes > 0).all(1) if orthant else nodes[:, -1] > 0
    return nodes[kept], weights[kept]


def half_sides(m: int) -> list[float]:
    """Return the sides of the part of the cube with a nonnegative last coordinate."""
    return {1: [0.5], 2: [0.5, 1.0], 3: [1.0, 1.0, 0.5]}[m]


def orthant_sides(m: int) -> list[float]:
    """Return the sides of the part of the cube with nonnegative coordinates."""
    return {1: [0.25], 2: [0.5, 0.25], 3: [1.0, 0.25, 0.25]}[m]
