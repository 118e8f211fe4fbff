"""Product grids for integrals over Euclidean space, fitted to draws of a proposal."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Grid", "initial_grid"]


class Grid(NamedTuple):
    r"""A product grid in coordinates u, with :math:`x_i = c_i + s_i \sinh u_i`.

    Attributes
    ----------
    center, scale : Tensor of shape (d,)
        The numbers c and s.
    low, high : Tensor of shape (d,)
        The faces of the box of u.
    """

    center: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def nodes(self, n: int) -> tuple[Tensor, Tensor]:
        """Return midpoints of n cells per axis, (n**d, d), and their log Jacobians."""
        k = torch.arange(n, dtype=self.low.dtype, device=self.low.device)
        axes = self.low + (self.high - self.low) * ((k[:, None] + 0.5) / n)
        u = torch.stack(torch.meshgrid(*axes.T, indexing="ij"), -1).flatten(0, -2)
        # log cosh u = |u| + log((1 + exp(-2|u|)) / 2), which cannot overflow
        jacobian = self.scale.log() + u.abs() + torch.log1p(torch.exp(-2 * u.abs()))
        return self.center + self.scale * u.sinh(), (jacobian - math.log(2)).sum(-1)


def initial_grid(x: Tensor) -> Grid:
    """Return a grid whose box is the range of draws `x` of the proposal, (n, d)."""
    center = x.median(0).values
    scale = x.std(0).clamp(max=1.5 * (x - center).abs().median(0).values)
    scale = torch.where(scale > 0, scale, 1.0)
    u = ((x - center) / scale).asinh()
    return Grid(center, scale, u.min(0).values - 0.5, u.max(0).values + 0.5)
