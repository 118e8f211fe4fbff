"""Products of the components of a product's factors."""

import torch
from torch import Tensor, nn

from sk_wmvl.energies.components._base import Components, component_family
from sk_wmvl.manifolds import Product

__all__ = ["ProductComponents"]


class ProductComponents(Components):
    """Products of the factors' components.

    Parameters
    ----------
    manifold : Product
        The product.
    centers : Tensor of shape (K, d)
        Points.
    variance : float or Tensor of shape (K,)
        The variance per dimension to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import ProductComponents
    >>> from sk_wmvl.manifolds import Euclidean, Product
    >>> plane = Product([("x", Euclidean(1)), ("y", Euclidean(1))])
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> ProductComponents(plane, zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    def __init__(self, manifold: Product, centers: Tensor, variance: float | Tensor):
        super().__init__(manifold, centers, variance)
        members = [factor for _, factor in manifold.factors]
        self.widths = [factor.ambient_dim for factor in members]
        self.blocks = nn.ModuleList(
            component_family(factor)(factor, block, variance)
            for factor, block in zip(
                members, centers.split(self.widths, -1), strict=True
            )
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        parts = zip(self.blocks, x.split(self.widths, -1), strict=True)
        return torch.stack([block.log_prob(part) for block, part in parts]).sum(0)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        draws = [block.sample(which, generator=generator) for block in self.blocks]
        return torch.cat(draws, -1)

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit each factor; see `Components.update`."""
        parts = zip(self.blocks, x.split(self.widths, -1), strict=True)
        for block, part in parts:
            block.update(part, share, prior)


@component_family.register
def _(manifold: Product) -> type[Components]:
    del manifold
    return ProductComponents
