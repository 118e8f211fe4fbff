"""Charts: any Riemannian manifold in coordinates, from an immersion or a metric."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._autodiff import jacobian
from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite

__all__ = ["Chart"]

VOLUME_NODES = 64  # per axis, for the volume of a box


class Chart(BaseManifold):
    r"""A manifold in local coordinates, with the metric given by a user's function.

    Automatic differentiation supplies the rest: :math:`G^{-1}`, :math:`\log|G|` and the
    Christoffel symbols. Rows are coordinates y in :math:`\mathbb{R}^m`; densities are with
    respect to the volume :math:`|G|^{1/2}dy`, not to dy.

    A chart has no geodesics and no distances, so base measures are uniform. A model's
    draws are exact, by rejection, on a box of up to three coordinates. Elsewhere they are
    resampled from the base measure, with a warning if few of its draws have weight.

    Parameters
    ----------
    immersion : callable or None, default=None
        Maps coordinates (n, m) to points (n, D) of a Euclidean space, row by row. The
        metric is the one pulled back from there.
    metric : callable or None, default=None
        Maps coordinates (n, m) to the metric G of shape (n, m, m), row by row. Give either
        this or `immersion`. A function defined in a module can be pickled.
    dim : int or None, default=None
        The number m of coordinates; None takes it from the data.
    low, high : sequence of m floats or None, default=None
        The box of the coordinates. None means that they are any real numbers.
    periodic : sequence of m bools or None, default=None
        Which coordinates are periodic, with the period from `low` to `high`. The network
        sees their cosine and sine.

    Examples
    --------
    The sphere by latitude and longitude:

    >>> import math
    >>> import torch
    >>> from sk_wmvl.manifolds import Chart
    >>> def metric(y):
    ...     return torch.diag_embed(torch.stack([0 * y[:, 0] + 1, y[:, 0].cos() ** 2], -1))
    >>> globe = Chart(metric=metric, dim=2, low=[-math.pi / 2, 0],
    ...               high=[math.pi / 2, 2 * math.pi], periodic=[False, True])
    >>> round(math.exp(globe.log_volume()) / math.pi, 6)
    4.0
    """

    columns_hint: ClassVar[str] = "it has one column per coordinate of the chart"

    def __init__(
        self,
        immersion: Callable[[Tensor], Tensor] | None = None,
        *,
        metric: Callable[[Tensor], Tensor] | None = None,
        dim: int | None = None,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
    ):
        self.immersion = immersion
        self.metric = metric
        self.dim = dim
        self.low = low
        self.high = high
        self.periodic = periodic

    # --- shape and box ----------------------------------------------------------------

    @property
    def n_columns(self) -> int:
        """The number m of coordinates."""
        return self._known_dim()

    @property
    def ambient_dim(self) -> int:
        """The number m of coordinates."""
        return self._known_dim()

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(self, n_columns, n_columns >= 1 and self.dim in (None, n_columns))
        if (self.immersion is None) == (self.metric is None):
            raise ValueError("A Chart needs one of immersion and metric, and not both.")
        chart = self._resized(dim=n_columns)
        chart._box(torch.zeros(1, n_columns))
        return chart

    def _box(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return low, high and periodic as tensors like y, or None without a box."""
        m = self._known_dim()
        if self.low is None and self.high is None:
            if self.periodic is not None and any(self.periodic):
                raise ValueError("Periodic coordinates of a Chart need low and high.")
            return None
        given = [self.low, self.high, self.periodic or [False] * m]
        if any(each is None or len(each) != m for each in given) or not all(
            a < b for a, b in zip(given[0] or [], given[1] or [], strict=True)
        ):
            raise ValueError(
                f"low, high and periodic of a Chart need {m} entries each, with low < "
                f"high; got {self.low!r}, {self.high!r} and {self.periodic!r}."
            )
        low, high = (y.new_tensor(each) for each in given[:2])
        return low, high, torch.as_tensor(given[2], device=y.device, dtype=torch.bool)

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return coordinates in the box; see `BaseManifold.from_user`."""
        check_finite(self, x)
        box = self._box(x)
        if box is not None:
            low, high, periodic = box
            beyond = torch.maximum(low - x, x - high).clamp(min=0)
            check_defect(
                self,
                torch.where(periodic, 0.0, beyond).amax(-1),
                0.0,
                what="distance from the box",
                remedy="Coordinates must lie between low and high: remove the row, widen "
                "the box, or declare the coordinate periodic.",
            )
        y = self.projection(x)
        G = self.metric_tensor(y)
        values = torch.linalg.eigvalsh((G + G.mT) / 2)[:, 0]
        values = torch.where(torch.isfinite(values), values, -math.inf)
        if bool((values <= 0).any()):
            row = int(values.argmin())
            raise ValueError(
                f"The metric of a Chart is not positive definite at row {row}, y = "
                f"{y[row].tolist()}: its smallest eigenvalue is {float(values[row]):.3g}. "
                "Correct the function, or remove rows at the chart's singular points."
            )
        return y

    # --- metric -----------------------------------------------------------------------

    def metric_tensor(self, y: Tensor) -> Tensor:
        """Return the metric G of shape (n, m, m)."""
        if self.metric is not None:
            return self.metric(y)
        if self.immersion is None:
            raise ValueError("A Chart needs one of immersion and metric.")
        J = jacobian(self.immersion, y, create_graph=y.requires_grad)
        return J.mT @ J

    def log_det_metric(self, y: Tensor) -> Tensor:
        """Return the log determinant of the metric, of shape (n,)."""
        return torch.logdet(self.metric_tensor(y))

    def christoffel(self, y: Tensor) -> Tensor:
        r"""Return :math:`\Gamma^k_{ij}` as a tensor of shape (n, m, m, m), k first."""
        D = jacobian(self.metric_tensor, y, create_graph=y.requires_grad)
        # D[i, j, l] is the derivative of g_ij along l
        first = D.permute(0, 2, 1, 3) + D.permute(0, 2, 3, 1) - D.permute(0, 3, 1, 2)
        G = self.metric_tensor(y)
        return torch.linalg.solve(G, first.flatten(2)).reshape(D.shape) / 2

    # --- tangent vectors --------------------------------------------------------------

    def projection(self, x: Tensor) -> Tensor:
        """Return `x` moved into the box: by whole periods, or clipped."""
        box = self._box(x)
        if box is None:
            return x
        low, high, periodic = box
        turns = torch.floor((x.detach() - low) / (high - low))
        clipped = torch.minimum(torch.maximum(x, low), high)
        return torch.where(periodic, x - turns * (high - low), clipped)

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`."""
        del x
        return u

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        return torch.einsum("ni,nij,nj->n", u, self.metric_tensor(x), v)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Return :math:`L^{-\top}v` with :math:`G=LL^\top`."""
        L = torch.linalg.cholesky(self.metric_tensor(x))
        return torch.linalg.solve_triangular(L.mT, v[..., None], upper=True).squeeze(-1)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients of shape (n, m)."""
        return torch.linalg.solve(self.metric_tensor(x), g)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`y + u - \frac12\Gamma(u,u)`, which may leave the box."""
        return x + u - torch.einsum("nkij,ni,nj->nk", self.christoffel(x), u, u) / 2

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Raise NotImplementedError: geodesics have no formula here."""
        raise NotImplementedError("Chart offers no geodesics; use retract.")

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Raise NotImplementedError: geodesics have no formula here."""
        raise NotImplementedError("Chart offers no log: geodesics have no formula.")

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Raise NotImplementedError: geodesics have no formula here."""
        raise NotImplementedError(
            "Chart offers no distance: geodesics have no formula."
        )

    def chart(self, x: Tensor) -> LocalChart:
        """Return the coordinates themselves."""
        return LocalChart(x, lambda y: y, self.metric_tensor)

    # --- volume -----------------------------------------------------------------------

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return uniform points of the box, or standard normal coordinates without one.

        Uniform points come from rejection, with 1.2 times the largest volume element at
        the nodes of `quadrature` as the bound.
        """
        m = self._known_dim()
        box = self._box(torch.zeros(1, m, dtype=torch.float64))
        if box is None:
            return torch.randn(n_samples, m, generator=generator, dtype=dtype)
        low, high, _ = box
        bound = 1.2 * math.exp(
            float(self.log_det_metric(self.quadrature(20)[0]).max()) / 2
        )
        kept: list[Tensor] = []
        while sum(len(points) for points in kept) < n_samples:
            draw = torch.rand(
                2 * n_samples, m + 1, generator=generator, dtype=low.dtype
            )
            y = low + (high - low) * draw[:, 1:]
            kept.append(y[bound * draw[:, 0] < (self.log_det_metric(y) / 2).exp()])
        return torch.cat(kept)[:n_samples].to(dtype)

    def log_volume(self) -> float:
        """Return the log of the box's volume by quadrature, or infinity without a box."""
        if self.low is None and self.high is None:
            return math.inf
        return float(torch.logsumexp(self.quadrature(VOLUME_NODES)[1], 0))

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a product rule on a box of at most three coordinates.

        Nodes are equally spaced on periodic axes and Gauss-Legendre's on the others; see
        `BaseManifold.quadrature`.
        """
        m = self._known_dim()
        box = self._box(torch.zeros(1, m, dtype=torch.float64))
        if box is None or m > 3:
            return super().quadrature(n_nodes)
        axes, weights = [], []
        for low, high, periodic in zip(*(each.tolist() for each in box), strict=True):
            if periodic:
                t = (np.arange(n_nodes) + 0.5) / n_nodes
                w = np.full(n_nodes, 1 / n_nodes)
            else:
                t, w = np.polynomial.legendre.leggauss(n_nodes)
                t, w = (t + 1) / 2, w / 2
            axes.append(torch.from_numpy(low + (high - low) * t))
            weights.append(torch.from_numpy(np.log((high - low) * w)))
        nodes = torch.cartesian_prod(*axes).reshape(-1, m)
        log_w = torch.cartesian_prod(*weights).reshape(-1, m).sum(-1)
        return nodes, log_w + self.log_det_metric(nodes) / 2

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates from places in the box; see `BaseManifold.from_cube`."""
        box = self._box(u)
        if box is None:
            return super().from_cube(u)
        low, high, _ = box
        y = low + (high - low) * u
        return y, (high - low).log().sum() + self.log_det_metric(y) / 2

    def to_cube(self, x: Tensor) -> Tensor:
        """Return places in the box, of shape (n, m)."""
        box = self._box(x)
        if box is None:
            return super().to_cube(x)
        low, high, _ = box
        return (self.projection(x) - low) / (high - low)

    # --- what a network sees ----------------------------------------------------------

    @property
    def n_features(self) -> int:
        """One per coordinate, and two per periodic coordinate."""
        return self._known_dim() + sum(map(bool, self.periodic or []))

    def features(self, x: Tensor) -> Tensor:
        """Return the coordinates, with cosine and sine of the periodic ones."""
        box = self._box(x)
        if box is None:
            return x
        low, high, periodic = box
        angle = 2 * math.pi * ((x - low) / (high - low))[:, periodic]
        return torch.cat([x[:, ~periodic], angle.cos(), angle.sin()], -1)
