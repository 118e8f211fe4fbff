"""The uniform density of a compact manifold."""

import torch
from torch import Tensor

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.manifolds import BaseManifold

__all__ = ["UniformBase"]


class UniformBase(BaseMeasure):
    """The uniform density on a compact manifold.

    Parameters
    ----------
    manifold : BaseManifold
        Compact, with its dimension known.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures import UniformBase
    >>> from sk_wmvl.manifolds import Sphere
    >>> UniformBase(Sphere(2)).log_prob(torch.tensor([[0.0, 0.0, 1.0]]))  # -log(4 pi)
    tensor([-2.5310])
    """

    anchor: Tensor

    def __init__(self, manifold: BaseManifold):
        super().__init__()
        self.manifold = manifold
        self.log_volume = manifold.log_volume()
        self.register_buffer("anchor", torch.zeros((), dtype=torch.float64))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        # a sum that is zero, so that its derivative exists
        return 0.0 * x.sum(-1) - self.log_volume

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        x = self.manifold.random_point(
            n_samples, generator=generator, dtype=self.anchor.dtype
        )
        return x.to(self.anchor.device)

    def inflated(self, factor: float) -> "UniformBase":
        """Return the same density: none is wider."""
        del factor
        return self
