"""Hyperbolic space of curvature -1, as the upper sheet of a hyperboloid."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite
from sk_wmvl.manifolds._series import asinh_over, cosh, log_sinh_over, sinh_over

__all__ = ["Hyperbolic"]

TOLERANCE = 1e-6  # of the time coordinate, relative: seven printed digits
MODELS = ("hyperboloid", "ball")


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Return Euclidean inner products of shape (n, 1)."""
    return (u * v).sum(-1, keepdim=True)


def above(s: Tensor) -> Tensor:
    r"""Return the points :math:`(\sqrt{1+|s|^2}, s)` above space coordinates s."""
    return torch.cat([(1 + dot(s, s)).sqrt(), s], -1)


def tangent_above(x: Tensor, w: Tensor) -> Tensor:
    """Return the vectors tangent at `x` whose space part is w."""
    return torch.cat([dot(x[:, 1:], w) / x[:, :1], w], -1)


def difference(x: Tensor, y: Tensor) -> Tensor:
    """Return ``y - x``, with a time part that is accurate far from the origin."""
    d = y[:, 1:] - x[:, 1:]
    return torch.cat([dot(d, y[:, 1:] + x[:, 1:]) / (x[:, :1] + y[:, :1]), d], -1)


def chord_square(x: Tensor, y: Tensor) -> Tensor:
    r"""Return :math:`q = \langle y-x, y-x\rangle = 4\sinh^2(\theta/2)`, of shape (n, 1).

    Minkowski's form of the difference loses digits along a line through the origin. Let
    :math:`x+y=(\tau,\sigma)`, and split the difference in space into b along σ and p
    across it. Then :math:`q = p^2 + b^2(1-|\sigma|^2/\tau^2)`, where the bracket is
    :math:`(4+q)/\tau^2`. Solving for q leaves sums of squares only.
    """
    d = difference(x, y)
    time, d = d[:, :1], d[:, 1:]
    length, total = dot(d, d), x + y
    plain = (
        2 * time.square() <= length
    )  # no loss of digits; elsewhere sigma is not zero
    sigma = torch.where(plain, 1.0, total[:, 1:])
    sigma = sigma / torch.linalg.vector_norm(sigma, dim=-1, keepdim=True)
    b = dot(d, sigma)
    across = d - b * sigma
    t = torch.where(plain, 0.0, (b / total[:, :1]).square())
    least = torch.finfo(x.dtype).eps
    stable = (dot(across, across) + 4 * t) / (1 - t).clamp(min=least)
    return torch.where(plain, length - time.square(), stable)


class Hyperbolic(BaseManifold):
    r"""Hyperbolic space :math:`H^m` with its Riemannian volume.

    Points :math:`x=(x_0, s)` lie on the hyperboloid :math:`x_0 = \sqrt{1+|s|^2}`, with
    Minkowski's form :math:`\langle u,v\rangle = -u_0v_0 + u_1v_1 + \dots + u_mv_m`; the
    time coordinate comes first. Rows are such points, or points :math:`y = s/(1+x_0)` of
    the Poincaré ball. The network sees normal coordinates: the direction from the origin
    times the distance, which grows like the logarithm of :math:`x_0`.

    Parameters
    ----------
    dim : int or None, default=None
        The dimension m, at least 1; None takes it from the data.
    model : {"hyperboloid", "ball"}, default="hyperboloid"
        The form of the rows: m + 1 columns on the hyperboloid, time first, or m columns
        inside the unit ball.

    References
    ----------
    [Nagano2019]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Hyperbolic
    >>> plane = Hyperbolic(2, model="ball")
    >>> x = plane.from_user(torch.tensor([[0.0, 0.0], [0.5, 0.0]]))
    >>> plane.dist(x[:1], x[1:])  # 2 artanh(1/2) = log 3
    tensor([1.0986])
    """

    columns_hint: ClassVar[str] = (
        "a point has m + 1 columns, at least 2, on the hyperboloid, and m with "
        "Hyperbolic(model='ball')"
    )

    def __init__(self, dim: int | None = None, *, model: str = "hyperboloid"):
        self.dim = dim
        self.model = model

    @property
    def _extra(self) -> int:
        """Columns of a row beyond m."""
        if self.model not in MODELS:
            raise ValueError(
                f"model of Hyperbolic must be one of {list(MODELS)}; got {self.model!r}."
            )
        return 1 if self.model == "hyperboloid" else 0

    @property
    def n_columns(self) -> int:
        """The number m + 1 on the hyperboloid, m in the ball."""
        return self._known_dim() + self._extra

    @property
    def ambient_dim(self) -> int:
        """The number m + 1."""
        return self._known_dim() + 1

    @property
    def frame_dim(self) -> int:
        """The dimension m."""
        return self._known_dim()

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        dim = n_columns - self._extra
        check_columns(self, n_columns, dim >= 1 and self.dim in (None, dim))
        return self._resized(dim=dim)

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return points of the hyperboloid; see `BaseManifold.from_user`."""
        check_finite(self, x)
        if self._extra:
            y = above(x[:, 1:])
            check_defect(
                self,
                (x[:, 0] / y[:, 0] - 1).abs(),
                TOLERANCE,
                what="|x_0 / sqrt(1 + |s|^2) - 1|",
                remedy="The time coordinate x_0 = sqrt(1 + |s|^2) comes first; rows "
                "inside the unit ball are taken by Hyperbolic(model='ball').",
            )
            return y
        check_defect(
            self,
            torch.linalg.vector_norm(x, dim=-1),
            1 - torch.finfo(x.dtype).eps,
            what="|y|",
            remedy="Points of the Poincaré ball have |y| < 1; rows of the hyperboloid "
            "are taken by Hyperbolic(model='hyperboloid').",
        )
        return from_ball(x)

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns)."""
        return x if self._extra else x[:, 1:] / (1 + x[:, :1])

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        if self._extra:
            return u
        t = 1 + x[:, :1]
        return (u[:, 1:] - x[:, 1:] * (u[:, :1] / t)) / t

    # --- tangent vectors --------------------------------------------------------------

    def projection(self, x: Tensor) -> Tensor:
        """Return the points with the same space coordinates; the time is recomputed."""
        return above(x[:, 1:])

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u` less its part along `x`, orthogonally in Minkowski's form."""
        form = dot(x[:, 1:], u[:, 1:]) - x[:, :1] * u[:, :1]
        return tangent_above(x, u[:, 1:] + form * x[:, 1:])

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        # Minkowski's form loses digits far from the origin; the Euclidean product of the
        # vectors moved to the origin is a sum of squares for u = v
        s = x[:, 1:] / (1 + x[:, :1])
        return dot(u[:, 1:] - u[:, :1] * s, v[:, 1:] - v[:, :1] * s).squeeze(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return `v`, of shape (n, m), moved in parallel from the origin to `x`."""
        s = x[:, 1:]
        time = dot(s, v)
        return torch.cat([time, v + time / (1 + x[:, :1]) * s], -1)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients of shape (n, d)."""
        s, w = x[:, 1:], g[:, 1:]
        return self.frame(x, w + (dot(s, w) / (1 + x[:, :1]) + g[:, :1]) * s)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return the point with space part :math:`s + u_s + \frac12|u|^2 s`."""
        square = self.inner(x, u, u)[:, None]
        return above(x[:, 1:] + u[:, 1:] + square / 2 * x[:, 1:])

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\cosh r\,x + (\sinh r/r)\,u` and its derivative, r the length."""
        square = self.inner(x, u, u)[:, None]
        c, s = cosh(square), sinh_over(square)
        y = above(c * x[:, 1:] + s * u[:, 1:])
        return y, tangent_above(y, c * u[:, 1:] + s * square * x[:, 1:])

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity that leads to `y`."""
        square = chord_square(x, y)  # 2 cosh θ - 2
        ratio = asinh_over(square / 4) / (1 + square / 4).sqrt()  # θ / sinh θ
        d = difference(x, y)[:, 1:]
        return tangent_above(x, ratio * (d - square / 2 * x[:, 1:]))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return distances of shape (n,), also accurate for near points."""
        square = chord_square(x, y).squeeze(-1)
        zero = square == 0  # a double where makes the gradient there zero
        root = torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())
        return 2 * (root / 2).asinh()

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`(m-1)\log(\sinh r/r)`, of shape (n,)."""
        return (self._known_dim() - 1) * log_sinh_over(self.inner(x, u, u))

    def chart(self, x: Tensor) -> LocalChart:
        r"""Return coordinates of the Poincaré ball, metric :math:`4/(1-|y|^2)^2\,I`."""

        def metric(y: Tensor) -> Tensor:
            factor = (2 / (1 - y.square().sum(-1))).square()
            eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
            return factor[:, None, None] * eye

        return LocalChart(x[:, 1:] / (1 + x[:, :1]), from_ball, metric)

    # --- volume and features ----------------------------------------------------------

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return draws of the wrapped standard normal at the origin, (n_samples, d)."""
        shape = n_samples, self._known_dim()
        z = torch.randn(shape, generator=generator, dtype=dtype)
        return above(sinh_over(dot(z, z)) * z)

    @property
    def n_features(self) -> int:
        """The dimension m."""
        return self._known_dim()

    def features(self, x: Tensor) -> Tensor:
        """Return normal coordinates at the origin; see `BaseManifold.features`."""
        s = x[:, 1:]
        return asinh_over(dot(s, s)) * s


def from_ball(y: Tensor) -> Tensor:
    """Return points of the Poincaré ball as points of the hyperboloid."""
    square = dot(y, y)
    return torch.cat([1 + square, 2 * y], -1) / (1 - square)
