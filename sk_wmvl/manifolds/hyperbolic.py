"""Hyperbolic space of curvature -1, in coordinates of the upper half-space."""

import math
import warnings
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite
from sk_wmvl.manifolds._series import asinh_over, cosh, log_sinh_over, sinh_over

__all__ = ["Hyperbolic"]

TOLERANCE = 1e-6  # of the time coordinate, relative: seven printed digits
MODELS = ("hyperboloid", "ball")
NEAR_RIM = 1e-3  # of 1 - |y|^2: closer, the sum of rounded squares has few digits left
SPLITTER = 2.0**27 + 1  # Dekker's, for halves of the digits of a double


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Return Euclidean inner products of shape (n, 1)."""
    return (u * v).sum(-1, keepdim=True)


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places, (n, m - 1), and the logs of heights, (n, 1)."""
    return x[:, :-1], x[:, -1:]


def end(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""Return where a geodesic from the origin ends, and what its formulas are made of.

    With :math:`C=\cosh r` and :math:`S=\sinh r/r` for the length r of :math:`v=(w,\tau)`,
    the height of the end is one over :math:`D=C-S\tau`, and its place is :math:`Sw/D`.
    Upwards, D is a difference of large numbers; there it is
    :math:`(1+S^2|w|^2)/(C+S\tau)`.

    Returns
    -------
    place, log_height, C, S, D : Tensor of shape (n, m - 1), and (n, 1) each
    """
    w, rise = split(v)
    square = dot(v, v)
    C, S = cosh(square), sinh_over(square)
    lift, upwards = S * rise, rise > 0
    up = (1 + dot(S * w, S * w)) / (C + torch.where(upwards, lift, 0.0))
    D = torch.where(upwards, up, C - lift)
    return S * w / D, -D.log(), C, S, D


def start(place: Tensor, log_height: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the velocity at the origin, (n, m), that leads to points; and :math:`q/4`.

    :math:`q=|a|^2e^{-t}+4\sinh^2(t/2)=4\sinh^2(\theta/2)` for the distance θ.
    """
    low = (-log_height / 2).exp()
    square = dot(place * low, place * low)
    quarter = square / 4 + (log_height / 2).sinh().square()
    ratio = asinh_over(quarter) / (1 + quarter).sqrt()  # θ / sinh θ
    rise = log_height.sinh() + square / 2
    return ratio * torch.cat([place * low * low, rise], -1), quarter


def log_gap(y: Tensor) -> Tensor:
    """Return logs of :math:`1-|y|^2`, of shape (n, 1), for points of the ball.

    Near the rim the squares are summed exactly, from halves of the digits.
    """
    length = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    gap = (1 - length) * (1 + length)
    near = (gap < NEAR_RIM).squeeze(-1)
    if bool(near.any()):
        big = SPLITTER * y[near]
        high = big - (big - y[near])
        low = y[near] - high
        terms = torch.cat([high * high, 2 * high * low, low * low], -1)
        exact = [math.fsum([1.0, *(-t for t in row)]) for row in terms.tolist()]
        gap[near] = torch.tensor(exact, dtype=y.dtype, device=y.device)[:, None]
    # not below that of the number before one, should a norm have been rounded down
    return gap.clamp(min=torch.finfo(y.dtype).eps).log()


class Hyperbolic(BaseManifold):
    r"""Hyperbolic space :math:`H^m` with its Riemannian volume.

    Rows are points :math:`(x_0, s)` of the hyperboloid :math:`x_0 = \sqrt{1+|s|^2}`, with
    the time coordinate first, or points :math:`y = s/(1+x_0)` of the Poincaré ball.

    Points are the coordinates :math:`(a, t)` of the upper half-space with the metric
    :math:`e^{-2t}|da|^2+dt^2`, where :math:`e^{-t}=x_0-s_m` and :math:`a_i=e^ts_i`. These
    are any m numbers, without a constraint. Translations and scalings of a are isometries,
    so that nothing cancels far from the origin: tangent vectors and distances keep their
    digits up to the rim. The network sees normal coordinates: the direction from the
    origin times the distance, which grows like the logarithm of :math:`x_0`.

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

    least_curvature: ClassVar[float] = -1.0
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
        """The dimension m."""
        return self._known_dim()

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        dim = n_columns - self._extra
        check_columns(self, n_columns, dim >= 1 and self.dim in (None, dim))
        return self._resized(dim=dim)

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return coordinates of the half-space; see `BaseManifold.from_user`."""
        check_finite(self, x)
        rows = x.double()
        if self._extra:
            s = rows[:, 1:]
            largest = rows.abs().amax(-1, keepdim=True).clamp(min=1.0)
            parts = torch.cat([torch.ones_like(largest), s], -1) / largest
            time = largest * torch.linalg.vector_norm(parts, dim=-1, keepdim=True)
            check_defect(
                self,
                (rows[:, :1] / time - 1).abs().squeeze(-1),
                TOLERANCE,
                what="|x_0 / sqrt(1 + |s|^2) - 1|",
                remedy="The time coordinate x_0 = sqrt(1 + |s|^2) comes first; rows "
                "inside the unit ball are taken by Hyperbolic(model='ball').",
            )
            across, last = s[:, :-1], s[:, -1:]
            total = time + last.abs()
            # time - last, whose product with time + last is 1 + |across|^2
            less = torch.where(last > 0, (1 + dot(across, across)) / total, total)
            return torch.cat([across / less, -less.log()], -1).to(x.dtype)
        check_defect(
            self,
            torch.linalg.vector_norm(x, dim=-1),
            1 - torch.finfo(x.dtype).eps,
            what="|y|",
            remedy="Points of the Poincaré ball have |y| < 1; rows of the hyperboloid "
            "are taken by Hyperbolic(model='hyperboloid').",
        )
        across, below = rows[:, :-1], 1 - rows[:, -1:]
        square = dot(across, across) + below.square()
        place, height = 2 * across / square, log_gap(rows) - square.log()
        return torch.cat([place, height], -1).to(x.dtype)

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns).

        Warns
        -----
        UserWarning
            If points are so far out that the ball has no numbers for them. They are moved
            inwards, to a distance of about 35 in double precision.
        """
        place, height = split(x)
        low = (-height / 2).exp()
        square = dot(place * low, place * low)
        half = 2 * (height / 2).sinh().square() + square / 2  # the time less one
        s = torch.cat([place * low * low, height.sinh() + square / 2], -1)
        if self._extra:
            return torch.cat([1 + half, s], -1)
        y = s / (2 + half)
        length = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
        edge = 1 - 4 * torch.finfo(x.dtype).eps
        outside = ~(length <= edge)
        far = int((half > 4 / torch.finfo(x.dtype).eps).sum())
        if far:
            warnings.warn(
                f"{far} of {len(x)} points are farther from the origin than the numbers of "
                "the Poincaré ball reach: they were moved inwards, onto a sphere close to "
                "the rim. Use Hyperbolic(model='hyperboloid') for points so far out.",
                UserWarning,
                stacklevel=2,
            )
        return torch.where(outside, edge * y / torch.where(outside, length, 1.0), y)

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        place, height = split(x)
        low = (-height / 2).exp()
        near = place * low
        square = dot(near, near)
        v = self._whiten(x, u)
        w, rise = split(v)
        if self._extra:
            along = dot(place, w) - square * rise / 2  # half the change of |a|^2 / h
            time = along + height.sinh() * rise
            last = along + height.cosh() * rise
            return torch.cat([time, w - near * low * rise, last], -1)
        # an inversion and a reflection, times the conformal factor 1 / (1 + x_0)
        top = 2 * (height / 2).cosh()
        total = square + top.square()
        n = torch.cat([near, top], -1)
        turned = v - 2 * dot(n, v) / total * n
        return 2 * torch.cat([turned[:, :-1], -turned[:, -1:]], -1) / total

    # --- tangent vectors --------------------------------------------------------------

    def projection(self, x: Tensor) -> Tensor:
        """Return `x`: all coordinates are those of a point."""
        return x

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`: every vector is tangent."""
        del x
        return u

    def _whiten(self, x: Tensor, u: Tensor) -> Tensor:
        """Return orthonormal coordinates of tangent vectors, of shape (n, m)."""
        return torch.cat([u[:, :-1] * (-x[:, -1:]).exp(), u[:, -1:]], -1)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        return (self._whiten(x, u) * self._whiten(x, v)).sum(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the vectors whose orthonormal coordinates are `v`."""
        return torch.cat([v[:, :-1] * x[:, -1:].exp(), v[:, -1:]], -1)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients of shape (n, d)."""
        height = x[:, -1:].exp()
        return torch.cat([height * (height * g[:, :-1]), g[:, -1:]], -1)

    # --- geodesics --------------------------------------------------------------------

    def _move(self, x: Tensor, place: Tensor, log_height: Tensor) -> Tensor:
        """Return the image of points under the isometry that takes the origin to `x`."""
        at, height = split(x)
        return torch.cat([at + height.exp() * place, height + log_height], -1)

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `exp` to second order: (w, τ) leads from the origin to w(1+τ), τ-w²/2."""
        w, rise = split(self._whiten(x, u))
        return self._move(x, w * (1 + rise), rise - dot(w, w) / 2)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the end of a half-circle, or of a line upwards, and the velocity there."""
        v = self._whiten(x, u)
        w, rise = split(v)
        place, log_height, C, S, D = end(v)
        y = self._move(x, place, log_height)
        square = dot(v, v)
        plain = rise * C - S * square
        # upwards this is a difference of large numbers
        steep = (rise > 0) & (square > 1)
        total = torch.where(steep, rise * C + S * square, 1.0)
        product = (rise.square() - S.square() * square * dot(w, w)) / total
        velocity = torch.cat([w, torch.where(steep, product, plain)], -1) / D
        return y, self.frame(y, velocity)

    def _quotient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return `y` seen from `x`: its place and log height where `x` is the origin."""
        (at, height), (place, other) = split(x), split(y)
        return (place - at) * (-height).exp(), other - height

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity that leads to `y`."""
        return self.frame(x, start(*self._quotient(x, y))[0])

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return distances of shape (n,), also accurate for near points."""
        quarter = start(*self._quotient(x, y))[1].squeeze(-1)
        zero = quarter == 0  # a double where makes the gradient there zero
        root = torch.where(zero, 0.0, torch.where(zero, 1.0, quarter).sqrt())
        return 2 * root.asinh()

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`(m-1)\log(\sinh r/r)`, of shape (n,)."""
        return (self._known_dim() - 1) * log_sinh_over(self.inner(x, u, u))

    def chart(self, x: Tensor) -> LocalChart:
        """Return the coordinates themselves; one chart covers all points."""

        def metric(y: Tensor) -> Tensor:
            flat = (-2 * y[:, -1:]).exp().expand(-1, y.shape[1] - 1)
            return torch.diag_embed(torch.cat([flat, torch.ones_like(y[:, :1])], -1))

        return LocalChart(x, lambda y: y, metric)

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
        return torch.cat(end(z)[:2], -1)

    def features(self, x: Tensor) -> Tensor:
        """Return normal coordinates at the origin; see `BaseManifold.features`."""
        return start(*split(x))[0]
