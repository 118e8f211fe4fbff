"""Euclidean space: the flat case, where tangent vectors are differences of points."""

import math

import torch
from torch import Tensor

from sk_wmvl._random import randn_like
from sk_wmvl.manifolds._base import BaseManifold

__all__ = ["Euclidean"]


class Euclidean(BaseManifold):
    r"""The space :math:`\mathbb{R}^d` with Lebesgue measure.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Euclidean
    >>> x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    >>> Euclidean().dist(x, y)
    tensor([5.])
    """

    def project(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`."""
        del x
        return u

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``."""
        return x + u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``."""
        return y - x

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return Euclidean distances of shape (n,)."""
        return torch.linalg.vector_norm(y - x, dim=-1)

    def random_tangent(
        self, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return standard normal vectors of the shape of `x`."""
        return randn_like(x, generator)

    def log_volume(self) -> float:
        """Return infinity."""
        return math.inf
