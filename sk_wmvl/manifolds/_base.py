"""What a manifold offers: points, tangent vectors, geodesics, volume, users' rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import torch
from sklearn.base import clone
from torch import Tensor

from sk_wmvl._component import BaseComponent
from sk_wmvl._random import randn_like

__all__ = ["BaseManifold", "LocalChart"]


class LocalChart(NamedTuple):
    r"""Local coordinates around n points; each point has its own chart.

    Attributes
    ----------
    y : Tensor of shape (n, m)
        The coordinates of the points.
    to_manifold : callable
        Maps coordinates of shape (n, m) to points of shape (n, d). Row i is in chart i.
    metric : callable
        Maps coordinates of shape (n, m) to the metric G of shape (n, m, m).
    """

    y: Tensor
    to_manifold: Callable[[Tensor], Tensor]
    metric: Callable[[Tensor], Tensor]


class BaseManifold(BaseComponent, ABC):
    r"""A Riemannian manifold embedded in :math:`\mathbb{R}^d`.

    Points `x` and tangent vectors `u` are tensors of shape (n, d) in ambient coordinates,
    such as unit quaternions. Users' rows of shape (n, n_columns) may have another form,
    such as rotation matrices: `from_user` validates and converts them, `to_user` converts
    back. Densities are with respect to the Riemannian volume. All functions work in
    float32 and float64. They have two derivatives in their tensors, also at u = 0 and at
    x = y.

    Attributes
    ----------
    dim : int or None
        Intrinsic dimension m; None until `with_columns` has seen data.
    columns_hint : str
        What the columns of a row are, for error messages.
    least_curvature : float
        A lower bound, at most zero, of the sectional curvatures, where exp is a bijection.
    """

    dim: int | None
    least_curvature: ClassVar[float] = 0.0
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
        """The number k >= m of coordinates that `frame` takes."""
        return self.ambient_dim

    @abstractmethod
    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width.

        Parameters
        ----------
        n_columns : int
            Columns of the users' rows.

        Returns
        -------
        manifold : BaseManifold
            A manifold whose dimension is known.

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

    # --- users' rows ------------------------------------------------------------------

    @abstractmethod
    def from_user(self, x: Tensor) -> Tensor:
        """Return users' rows as points of the manifold.

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
            If a row is off the manifold. The message names the worst row, its defect
            and the remedy.
        """

    def warn_of_units(self, x: Tensor) -> None:
        """Warn if users' rows, (n, n_columns), seem to be in other units."""
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
        """Return ambient points of shape (n, d) moved onto the manifold."""

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

        The map is linear in `v` of shape (n, k). It turns white noise into tangent noise.
        At zero the function :math:`v\mapsto f(\mathrm{retract}(x, A v))` has a gradient
        as long as the Riemannian gradient of f, and the Laplace-Beltrami operator of f as
        its Laplacian.
        """

    @abstractmethod
    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients from ambient derivatives `g`, both (n, d)."""

    def random_tangent(
        self, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return tangent vectors drawn from :math:`N(0, G^{-1})`, shape (n, d)."""
        return self.frame(x, randn_like(x.new_empty(len(x), self.frame_dim), generator))

    # --- geodesics --------------------------------------------------------------------

    @abstractmethod
    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return an approximation of `exp` whose error is of third order in `u`."""

    @abstractmethod
    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return point and velocity at time one of the geodesic from `x` with velocity `u`.

        Both have shape (n, d). This flow is reversible and preserves volume.
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

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the log determinant of d exp at `u`, in orthonormal frames, shape (n,).

        It turns a density on the tangent space at `x` into one on the manifold.
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
            The noise level as a geodesic length.
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
        """Return local coordinates around each point, which is well inside its chart."""
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

        They are uniform if the manifold is compact. Otherwise the class says which
        distribution they have.
        """

    def log_volume(self) -> float:
        """Return the log of the total volume, infinite if the manifold is not compact."""
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
            If there is no rule, as in more than three dimensions.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no quadrature.")

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Map the cube :math:`[0,1]^m` onto the manifold, once but for its faces.

        Parameters
        ----------
        u : Tensor of shape (n, m)
            Coordinates in the cube.

        Returns
        -------
        x : Tensor of shape (n, d)
            Points.
        log_volume : Tensor of shape (n,)
            Log of the manifold's volume per volume of the cube.

        Raises
        ------
        NotImplementedError
            If the manifold has no such coordinates.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no cube.")

    def to_cube(self, x: Tensor) -> Tensor:
        """Return the coordinates of points in the unit cube, (n, m); see `from_cube`."""
        raise NotImplementedError(f"{type(self).__name__} offers no cube.")

    # --- what a network sees ----------------------------------------------------------

    @property
    def n_features(self) -> int:
        """The number of `features`."""
        return self.ambient_dim

    def features(self, x: Tensor) -> Tensor:
        """Return smooth functions of the point, of shape (n, n_features).

        They separate points and have the manifold's symmetries (period, sign). A network
        that is given them has these symmetries too.
        """
        return x

    @property
    def flat_columns(self) -> list[int]:
        """The ambient coordinates that are Euclidean, so may be shifted and scaled."""
        return []
