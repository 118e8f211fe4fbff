"""Cells of near rows, which large sets are compressed to."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl.base_measures.selection.neighbors import nearest_rows, unit_squares
from sk_wmvl.manifolds import BaseManifold

__all__ = ["Cells", "gather_cells"]

# The distance to it is the local scale: near, for a few rows in a spot are no cell yet.
SCALE_NEIGHBOR = 4
LEAST_SCALE = 1e-30
DEAR = 4  # times the median loss of a round


class Cells(NamedTuple):
    """Cells, each of one or several rows.

    Attributes
    ----------
    centers : Tensor of shape (n_cells, d)
        Weighted means of the rows.
    weight : Tensor of shape (n_cells,)
        Sums of their weights.
    variances : Tensor of shape (n_cells, n_units)
        Of the rows about the center, per dimension in each unit.
    label : Tensor of int of shape (n,)
        The cell of each row.
    """

    centers: Tensor
    weight: Tensor
    variances: Tensor
    label: Tensor


def gather_cells(
    manifold: BaseManifold, x: Tensor, weight: Tensor, variance: Tensor, most: int
) -> Cells:
    r"""Gather near rows in cells, until there are few enough.

    In each round the cells that are nearest to one another are merged, those first that
    lose least by it, in Ward's sense [Ward1963]_ on the local scale:

    .. math:: \frac{w_a w_b}{w_a + w_b}\,\frac{d^2(c_a, c_b)}{s^2},

    where s is the distance of a row to its fourth neighbor. Rows apart thus stay alone, and
    the others share cells of about equal weight.

    Parameters
    ----------
    manifold : BaseManifold
    x : Tensor of shape (n, d)
        Rows that differ.
    weight : Tensor of shape (n,)
        Their weights.
    variance : Tensor of shape (n_units,)
        By which squared distances in each unit are divided.
    most : int
        The number of cells; up to so many rows are cells of their own.

    Returns
    -------
    cells : Cells

    References
    ----------
    [Ward1963]_
    """
    n = len(x)
    label = torch.arange(n, device=x.device)
    cells = Cells(x, weight, x.new_zeros(n, len(variance)), label)
    if n <= most:
        return cells
    near = nearest_rows(manifold, x, variance, SCALE_NEIGHBOR)
    scale = (unit_squares(manifold, x, x[near]) / variance).mean(-1)
    scale = scale.clamp(min=LEAST_SCALE)
    while len(cells.centers) > most:
        cells, scale = _merge(manifold, cells, variance, scale, most)
    return cells


def _merge(
    manifold: BaseManifold, cells: Cells, variance: Tensor, scale: Tensor, most: int
) -> tuple[Cells, Tensor]:
    """Merge cells that are nearest to one another; return also their local scales."""
    centers, weight, variances, label = cells
    n = len(centers)
    second = nearest_rows(manifold, centers, variance, 1)
    squares = unit_squares(manifold, centers, centers[second])
    first = _nearest_to_each_other((squares / variance).mean(-1), second)
    second, squares = second[first], squares[first]
    part = weight[second] / (weight[first] + weight[second])
    scales = torch.minimum(scale[first], scale[second])
    loss = weight[first] * part * (squares / variance).mean(-1) / scales
    # What costs far more than others, or would be the last, may wait for a better pair.
    n_cheap = int((loss <= DEAR * loss.median()).sum())
    cheapest = loss.argsort()[: min(n_cheap, math.ceil((n - most) / 2))]
    first, second, squares = first[cheapest], second[cheapest], squares[cheapest]
    part, scales = part[cheapest, None], scales[cheapest]
    step = manifold.log(centers[first], centers[second])
    middle = manifold.projection(manifold.exp(centers[first], part * step))
    spread = (1 - part) * variances[first] + part * variances[second]
    spread = spread + part * (1 - part) * squares
    kept = torch.ones(n, dtype=torch.bool, device=centers.device)
    kept[second] = False
    place = kept.cumsum(0) - 1
    place[second] = place[first]
    merged = Cells(
        centers.index_copy(0, first, middle)[kept],
        weight.index_add(0, first, weight[second])[kept],
        variances.index_copy(0, first, spread)[kept],
        place[label],
    )
    return merged, scale.index_copy(0, first, scales)[kept]


def _nearest_to_each_other(squares: Tensor, near: Tensor) -> Tensor:
    """Return which are nearest to their neighbor and it to them, one index of each pair.

    Of distances that tie, the first is the shortest, so that there always is a pair.
    """
    n = len(near)
    here = torch.arange(n, device=near.device)
    rank = torch.empty_like(near)
    rank[squares.argsort(stable=True)] = here
    best = rank.scatter_reduce(0, near, rank, "amin")
    return torch.nonzero((best == rank) & (best[near] == rank)).flatten()
