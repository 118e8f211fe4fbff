"""Euclidean space, where tangent vectors are differences of points."""

from typing import Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._border import check_columns, check_finite
from sk_wmvl.manifolds._flat import FlatManifold

__all__ = ["Euclidean"]


class Euclidean(FlatManifold):
    r"""The space :math:`\mathbb{R}^m` with Lebesgue measure.

    Parameters
    ----------
    dim : int or None, default=None
        The dimension m; None takes it from the data.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Euclidean
    >>> x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    >>> Euclidean().dist(x, y)
    tensor([5.])
    """

    def __init__(self, dim: int | None = None):
        self.dim = dim

    @property
    def n_columns(self) -> int:
        """The dimension m."""
        return self._known_dim()

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(self, n_columns, self.dim in (None, n_columns))
        return self._resized(dim=n_columns)

    def from_user(self, x: Tensor) -> Tensor:
        """Return `x` after a check that it is finite."""
        check_finite(self, x)
        return x

    def projection(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x + u`` and `u`."""
        return x + u, u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``."""
        return y - x

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return Euclidean distances of shape (n,)."""
        return torch.linalg.vector_norm(y - x, dim=-1)

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return standard normal points of shape (n_samples, m)."""
        return torch.randn(
            n_samples, self.ambient_dim, generator=generator, dtype=dtype
        )

    @property
    def flat_columns(self) -> list[int]:
        """All columns."""
        return list(range(self.ambient_dim))
