"""Flat geometry: what Euclidean space and angles share."""

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart

__all__ = ["FlatManifold"]


class FlatManifold(BaseManifold):
    """A manifold whose coordinates have the unit matrix as their metric."""

    @property
    def ambient_dim(self) -> int:
        """The dimension m."""
        return self._known_dim()

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`: every vector is tangent."""
        del x
        return u

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return Euclidean inner products, of shape (n,)."""
        del x
        return (u * v).sum(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return `v`."""
        del x
        return v

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return `g`."""
        del x
        return g

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``."""
        return x + u

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return zero, of shape (n,)."""
        del x
        return torch.zeros_like(u[:, 0])

    def chart(self, x: Tensor) -> LocalChart:
        """Return the coordinates themselves."""

        def metric(y: Tensor) -> Tensor:
            return torch.eye(y.shape[1], dtype=y.dtype, device=y.device).expand(
                len(y), -1, -1
            )

        return LocalChart(x, lambda y: y, metric)
