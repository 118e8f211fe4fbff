"""What a manifold must offer: points, tangent vectors, geodesics, volume, and a border."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import torch
from sklearn.base import clone
from torch import Tensor

from sk_wmvl._component import BaseComponent
from sk_wmvl._random import randn_like

__all__ = [
    "BaseManifold",
    "LocalChart",
    "check_columns",
    "check_defect",
    "check_finite",
]


class LocalChart(NamedTuple):
    r"""Local coordinates y of shape (n, m), one chart per point.

    Attributes
    ----------
    y : Tensor of shape (n, m)
        The points.
    to_manifold : callable
        Maps coordinates of shape (n, m) to points of shape (n, d); row i in chart i.
    metric : callable
        Maps coordinates of shape (n, m) to the metric G, of shape (n, m, m).
    """

    y: Tensor
    to_manifold: Callable[[Tensor], Tensor]
    metric: Callable[[Tensor], Tensor]


class BaseManifold(BaseComponent, ABC):
    r"""A Riemannian manifold embedded in :math:`\mathbb{R}^d`.

    Points `x` and tangent vectors `u` are tensors of shape (n, d) in the ambient
    coordinates in which the geometry is written (unit quaternions, say). Users' rows may
    be something else (rotation matrices, say) of shape (n, n_columns): `from_user`
    validates and converts, `to_user` converts back. Densities are with respect to the
    Riemannian volume. All functions are differentiable in their tensors, to second order
    at u = 0 and at x = y too, and work in float32 and float64.

    Attributes
    ----------
    dim : int or None
        Intrinsic dimension m; None until `with_columns` has seen data.
    columns_hint : str
        What its columns are, for messages.
    """

    dim: int | None
    columns_hint: ClassVar[str] = "it has one column per coordinate"

    # --- shape ------------------------------------------------------------------------

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Columns of the users' rows."""

    @property
    @abstractmethod
    def ambient_dim(self) -> int:
        """The number d of ambient coordinates."""

    @property
    def frame_dim(self) -> int:
        """The number k of coordinates that `frame` takes, at least m."""
        return self.ambient_dim

    @abstractmethod
    def with_columns(self, n_columns: int) -> Self:
        """Return a copy made for rows of a given width.

        Parameters
        ----------
        n_columns : int
            Columns of the users' rows.

        Returns
        -------
        manifold : BaseManifold
            With its dimension known.

        Raises
        ------
        ValueError
            If points of this manifold cannot have that many columns.
        """

    def _known_dim(self) -> int:
        """Return `dim`, which must be known."""
        if self.dim is None:
            raise ValueError(
                f"The dimension of {self!r} is not known yet: give it, or call "
                "with_columns."
            )
        return self.dim

    def _resized(self, **params) -> Self:
        """Return a clone with some parameters changed."""
        return clone(self).set_params(**params)

    # --- border -----------------------------------------------------------------------

    @abstractmethod
    def from_user(self, x: Tensor) -> Tensor:
        """Return the points that users' rows mean.

        Parameters
        ----------
        x : Tensor of shape (n, n_columns)
            Users' rows.

        Returns
        -------
        x : Tensor of shape (n, d)
            Points.

        Raises
        ------
        ValueError
            If a row is off the manifold: the worst row, its defect, and the remedy.
        """

    def warn_of_units(self, x: Tensor) -> None:
        """Warn if users' rows, (n, n_columns), look like other units; once in each fit."""
        del x

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns)."""
        return x

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        del x
        return u

    # --- tangent vectors --------------------------------------------------------------

    @abstractmethod
    def projection(self, x: Tensor) -> Tensor:
        """Return the points of the manifold nearest to ambient points of shape (n, d)."""

    @abstractmethod
    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the orthogonal projection of ambient vectors onto the tangent spaces."""

    @abstractmethod
    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products in the metric at `x`, of shape (n,)."""

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Return lengths of tangent vectors, of shape (n,)."""
        return self.inner(x, u, u).clamp(min=0).sqrt()

    @abstractmethod
    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Return :math:`A(x)\,v`, tangent at `x`, with :math:`A A^\top = G^{-1}(x)`.

        Linear in `v` of shape (n, k). White noise becomes tangent noise, and the gradient
        of :math:`v\mapsto f(\mathrm{retract}(x, A v))` at zero has the length of
        the Riemannian gradient of f; its Laplacian there is that of Laplace-Beltrami.
        """

    @abstractmethod
    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the Riemannian gradients that ambient derivatives `g` stand for."""

    def random_tangent(
        self, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return tangent vectors drawn from :math:`N(0, G^{-1})`, shape (n, d)."""
        return self.frame(x, randn_like(x.new_empty(len(x), self.frame_dim), generator))

    # --- geodesics --------------------------------------------------------------------

    @abstractmethod
    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return a second-order approximation of `exp`: it differs by O(u^3)."""

    @abstractmethod
    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return point and velocity at time one of the geodesic from `x` with velocity `u`.

        Both have shape (n, d). The geodesic flow: reversible, and it preserves volume.
        """

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the geodesic from `x` with velocity `u` at time one, shape (n, d)."""
        return self.geodesic(x, u)[0]

    @abstractmethod
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity at `x` of the shortest geodesic to `y`, shape (n, d)."""

    @abstractmethod
    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return geodesic distances of shape (n,); exactly zero for ``x == y``."""

    def transport(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        """Return `u` moved in parallel along the shortest geodesic from `x` to `y`."""
        raise NotImplementedError(
            f"{type(self).__name__} offers no parallel transport."
        )

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the log determinant of d exp at `u`, in orthonormal frames, shape (n,).

        What turns a density on the tangent space at `x` into one on the manifold.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no Jacobian of exp.")

    def diffuse(
        self,
        x: Tensor,
        sigma: float | Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Return points of the wrapped normal :math:`\exp_x(\sigma z)`.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Points.
        sigma : float or Tensor of shape (n,)
            The noise level, a geodesic length.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.

        Returns
        -------
        x : Tensor of shape (n, d)
            Points.
        """
        scale = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1)
        return self.exp(x, scale * self.random_tangent(x, generator=generator))

    def chart(self, x: Tensor) -> LocalChart:
        """Return local coordinates around each point; `x` is well inside its chart."""
        raise NotImplementedError(f"{type(self).__name__} offers no chart.")

    # --- volume -----------------------------------------------------------------------

    @abstractmethod
    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return points of shape (n_samples, d), on the CPU.

        Uniform if the manifold is compact; otherwise of the law its class names.
        """

    def log_volume(self) -> float:
        """Return the log of the total volume; infinite if the manifold is not compact."""
        return math.inf

    @property
    def is_compact(self) -> bool:
        """Whether the volume is finite."""
        return self.log_volume() < math.inf

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a quadrature rule whose weights sum to the volume.

        Parameters
        ----------
        n_nodes : int
            Nodes per period of the longest axis; N grows like its m-th power.

        Returns
        -------
        nodes : Tensor of shape (N, d)
            Points, in float64.
        log_weights : Tensor of shape (N,)
            Logs of their weights.

        Raises
        ------
        NotImplementedError
            Where there is no rule, as in more than three dimensions.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no quadrature.")

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return points by coordinates in :math:`[0,1]^m`, and how these stretch volume.

        The cube covers the manifold once, but for its faces.

        Parameters
        ----------
        u : Tensor of shape (n, m)
            Coordinates.

        Returns
        -------
        x : Tensor of shape (n, d)
            Points.
        log_volume : Tensor of shape (n,)
            Log of volume per volume of the cube; constant where coordinates preserve it.

        Raises
        ------
        NotImplementedError
            Where there are no such coordinates.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no cube.")

    def to_cube(self, x: Tensor) -> Tensor:
        """Return the coordinates in the unit cube, (n, m), of points; see `from_cube`."""
        raise NotImplementedError(f"{type(self).__name__} offers no cube.")

    # --- what a network sees ----------------------------------------------------------

    @property
    def n_features(self) -> int:
        """The number of `features`."""
        return self.ambient_dim

    def features(self, x: Tensor) -> Tensor:
        """Return smooth functions of the point, of shape (n, n_features).

        They separate points and have the manifold's symmetries (period, sign), so that
        any network of them has too.
        """
        return x

    @property
    def flat_columns(self) -> list[int]:
        """Ambient coordinates that are Euclidean: they may be shifted and scaled."""
        return []


def check_columns(owner: BaseManifold, n_columns: int, fits: bool) -> None:
    """Raise ValueError unless the manifold's points can have so many columns."""
    if not fits:
        raise ValueError(
            f"X has n_features = {n_columns}, but the rows of {owner!r} cannot: "
            f"{type(owner).columns_hint}."
        )


def check_finite(owner: BaseManifold, x: Tensor) -> None:
    """Raise ValueError naming the first row that holds a NaN or an infinity."""
    bad = ~torch.isfinite(x).all(-1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"Row {row} given to {type(owner).__name__} holds NaN or infinity: "
            f"{x[row].tolist()}."
        )


def check_defect(
    owner: BaseManifold, defect: Tensor, tolerance: float, *, what: str, remedy: str
) -> None:
    """Raise ValueError if a defect exceeds the tolerance, naming the worst row.

    Parameters
    ----------
    owner : BaseManifold
    defect : Tensor of shape (n,)
        Not negative; how far each row is off.
    tolerance : float
    what : str
        What the defect measures, such as ``"| |x| - 1 |"``.
    remedy : str
        What the user can do, as a sentence.
    """
    bad = ~(defect <= tolerance)
    if bool(bad.any()):
        row = int(defect.argmax())
        raise ValueError(
            f"X has rows that are no points of {owner!r}: {int(bad.sum())} of "
            f"{len(defect)}, the worst is row {row} with {what} = "
            f"{float(defect[row]):.3g}, tolerance {tolerance:g}. {remedy}"
        )
