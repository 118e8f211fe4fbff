"""What a manifold must offer: points, tangent vectors, geodesics, volume."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sk_wmvl._component import BaseComponent

__all__ = ["BaseManifold"]


class BaseManifold(BaseComponent, ABC):
    r"""A Riemannian manifold embedded in :math:`\mathbb{R}^d`.

    Points `x` and tangent vectors `u` are tensors of shape (n, d) in ambient coordinates.
    Densities are with respect to the Riemannian volume.
    """

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Return the points of the manifold nearest to ambient points of shape (n, d)."""

    @abstractmethod
    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the orthogonal projection of ambient vectors onto the tangent spaces."""

    @abstractmethod
    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the geodesic from `x` with velocity `u` at time one, shape (n, d)."""

    @abstractmethod
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity at `x` of the shortest geodesic to `y`, shape (n, d)."""

    @abstractmethod
    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return geodesic distances of shape (n,)."""

    @abstractmethod
    def random_tangent(
        self, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return tangent vectors drawn from :math:`N(0, G^{-1})`, shape (n, d)."""

    @abstractmethod
    def log_volume(self) -> float:
        """Return the log of the total volume; infinite if the manifold is not compact."""
