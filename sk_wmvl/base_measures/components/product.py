"""Products of the components of a product's factors."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sk_wmvl.base_measures.components._base import (
    Components,
    component_family,
    per_component,
)
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = ["ProductComponents"]


class ProductComponents(Components):
    """Products of the factors' components.

    Parameters
    ----------
    manifold : Product
        The product.
    centers : Tensor of shape (K, d)
        Points.
    variance : float or Tensor
        The variance per dimension to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures.components import ProductComponents
    >>> from sk_wmvl.manifolds import Euclidean, Product
    >>> plane = Product([("x", Euclidean(1)), ("y", Euclidean(1))])
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> ProductComponents(plane, zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    @staticmethod
    def n_units(manifold: BaseManifold) -> int:
        """Return the sum of the factors' units."""
        members = [factor for _, factor in manifold.factors]
        return sum(component_family(factor).n_units(factor) for factor in members)

    @classmethod
    def alike(cls, manifold: BaseManifold) -> list[int]:
        """Return the factors' one after the other."""
        members = [factor for _, factor in manifold.factors]
        return [n for m in members for n in component_family(m).alike(m)]

    @staticmethod
    def starting_points(manifold: BaseManifold, centers: Tensor) -> Tensor:
        """Return the factors' starting points."""
        members = [factor for _, factor in manifold.factors]
        blocks = centers.split([factor.ambient_dim for factor in members], -1)
        each = zip(members, blocks, strict=True)
        return torch.cat(
            [component_family(m).starting_points(m, c) for m, c in each], -1
        )

    def __init__(self, manifold: Product, centers: Tensor, variance: float | Tensor):
        super().__init__(manifold, centers, variance)
        members = [factor for _, factor in manifold.factors]
        self.widths = [factor.ambient_dim for factor in members]
        families = [component_family(factor) for factor in members]
        self.units = [f.n_units(m) for f, m in zip(families, members, strict=True)]
        blocks = zip(
            families,
            members,
            centers.split(self.widths, -1),
            per_component(centers, variance, sum(self.units)).split(self.units, -1),
            strict=True,
        )
        self.blocks = nn.ModuleList(f(m, c, v) for f, m, c, v in blocks)

    @property
    def _families(self) -> list[Components]:
        return cast(list[Components], list(self.blocks))

    @property
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""
        return torch.cat([block.centers for block in self._families], -1)

    @property
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""
        return torch.cat([block.variances for block in self._families], -1)

    @property
    def work(self) -> int:
        """The time that a component takes at a point, in that of a normal density."""
        return sum(block.work for block in self._families)

    def log_probs(self, x: Tensor, others: Sequence[Components]) -> list[Tensor]:
        """Return what `log_prob` does of this and of others that have the same centers."""
        blocks = [cast(ProductComponents, other)._families for other in others]
        each = [
            own.log_probs(part, alike)
            for own, part, *alike in zip(
                self._families, x.split(self.widths, -1), *blocks, strict=True
            )
        ]
        return [torch.stack(values).sum(0) for values in zip(*each, strict=True)]

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

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit each factor; see `Components.update`."""
        parts = zip(
            self.blocks, x.split(self.widths, -1), prior.split(self.units), strict=True
        )
        for block, part, of_block in parts:
            block.update(part, responsibility, of_block)


@component_family.register
def _(manifold: Product) -> type[Components]:
    del manifold
    return ProductComponents
