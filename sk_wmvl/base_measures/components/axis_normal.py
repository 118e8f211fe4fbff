"""Normal densities with independent coordinates, in Euclidean space."""

import math

import torch
from torch import Tensor

from sk_wmvl.base_measures.components._base import (
    Components,
    chunk_size,
    component_family,
    per_component,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["AxisNormal"]

LOG_2PI = math.log(2 * math.pi)


class AxisNormal(Components):
    """Normal densities with independent coordinates, for Euclidean blocks.

    Parameters
    ----------
    manifold : Euclidean
        Euclidean space.
    centers : Tensor of shape (K, d)
        Means.
    variance : float or Tensor
        The variance to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures.components import AxisNormal
    >>> from sk_wmvl.manifolds import BaseManifold, Euclidean
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> AxisNormal(Euclidean(2), zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    mu: Tensor
    variance: Tensor

    @staticmethod
    def n_units(manifold: BaseManifold) -> int:
        """Return the number of coordinates."""
        return manifold.ambient_dim

    @classmethod
    def alike(cls, manifold: BaseManifold) -> list[int]:
        """Return ones: coordinates may be of any kind."""
        return [1] * manifold.ambient_dim

    def __init__(self, manifold: Euclidean, centers: Tensor, variance: float | Tensor):
        super().__init__(manifold, centers, variance)
        self.register_buffer("mu", centers)
        spread = per_component(centers, variance, centers.shape[1])
        self.register_buffer("variance", spread)

    @property
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""
        return self.mu

    @property
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""
        return self.variance

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        rate = 1 / self.variance
        constant = (self.variance.log() + LOG_2PI).sum(-1)
        parts = []
        for rows in x.split(chunk_size(len(self.mu))):
            total = constant
            # One coordinate after the other, as matrices: squares are not expanded, for
            # the parts of narrow components would cancel.
            for j in range(rows.shape[1]):
                gap = rows[:, j : j + 1] - self.mu[:, j]
                total = total + gap.square() * rate[:, j]
            parts.append(-0.5 * total)
        return torch.cat(parts)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        mu, std = self.mu[which], self.variance[which].sqrt()
        z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        return mu + std * z

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit means and variances; see `Components.update`."""
        n = responsibility.sum(0)[:, None]
        self.mu = responsibility.T @ x / n.clamp(min=1e-300)
        size = chunk_size(self.mu.numel())
        squares = torch.zeros_like(self.mu)
        for rows, part in zip(x.split(size), responsibility.split(size), strict=True):
            gap = rows[:, None, :] - self.mu
            squares += torch.einsum("nk,nkd->kd", part, gap.square())
        self.variance = (squares + prior) / (n + 1)


@component_family.register
def _(manifold: Euclidean) -> type[Components]:
    del manifold
    return AxisNormal
