"""Upper bounds of a log density on the unit cube, constant on boxes."""

from collections.abc import Callable

import torch
from torch import Tensor

from sk_wmvl.energies._base import evaluate_in_chunks
from sk_wmvl.manifolds import BaseManifold

__all__ = ["FLOOR", "Cells", "CubeFunction", "has_cube"]

N_FIRST = {1: 256, 2: 48, 3: 12}  # cells per axis at first
MARGIN = 0.4  # of the range within a cell; a parabola exceeds its probes by 1/8 of it
FLOOR = 0.01  # nats added to every bound
NEGLIGIBLE = -200.0  # nats from the largest value; lower ones are raised to it


def has_cube(manifold: BaseManifold) -> bool:
    """Return whether the unit cube covers the manifold, in at most three dimensions."""
    if manifold.dim not in N_FIRST:
        return False
    try:
        manifold.from_cube(torch.full((1, manifold.dim or 0), 0.5, dtype=torch.float64))
    except NotImplementedError:
        return False
    return True


class CubeFunction:
    """A function on the unit cube, in float64 on the CPU, with a count of its points.

    Parameters
    ----------
    function : callable
        Maps points of shape (n, d), and the logs of their volume per volume of the cube, of
        shape (n,), to values of shape (n,).
    manifold : BaseManifold
        With `from_cube`.
    like : Tensor
        A tensor of the dtype and on the device of the points.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        manifold: BaseManifold,
        like: Tensor,
    ):
        self.function, self.manifold, self.like = function, manifold, like
        self.n_evaluations = 0

    @torch.no_grad()
    def __call__(self, u: Tensor) -> Tensor:
        """Return values of shape (n,) at coordinates of shape (n, m)."""
        self.n_evaluations += len(u)
        return evaluate_in_chunks(self._evaluate, u)

    def _evaluate(self, u: Tensor) -> Tensor:
        return self.function(*self.manifold.from_cube(u.to(self.like))).to(u)


class Cells:
    r"""Boxes that fill the unit cube, each with a bound of a function in it.

    A box is probed at its corners, its center, draws of the proposal in it, and proposals
    that were found above its bound. The bound is the largest value of the probes plus 0.4
    of their range.

    Attributes
    ----------
    target : CubeFunction
        The function, a log density.
    low, size : Tensor of shape (k, m)
        The boxes.
    probes : Tensor of shape (k, 2**m + 1)
        Values at the corners and, last, at the center.
    seeds, seed_values, cell_of : Tensor of shape (s, m), (s,), (s,)
        Other points, their values and their cells.
    """

    def __init__(self, target: CubeFunction, seeds: Tensor):
        m = seeds.shape[1]
        n = N_FIRST[m]
        axis = torch.arange(n, dtype=torch.float64) / n
        grid = torch.meshgrid(*[axis] * m, indexing="ij")
        self.target = target
        self.low = torch.stack(grid, -1).flatten(0, -2)
        self.size = torch.full_like(self.low, 1 / n)
        corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * m)
        self.corners = corners.reshape(-1, m)
        self.probes = self._probe(self.low, self.size)
        self.seeds, self.seed_values = seeds, target(seeds)
        steps = n ** torch.arange(m - 1, -1, -1)
        self.cell_of = ((seeds * n).long().clamp(0, n - 1) * steps).sum(-1)

    def _probe(self, low: Tensor, size: Tensor) -> Tensor:
        where = torch.cat([self.corners, torch.full_like(self.corners[:1], 0.5)])
        points = low[:, None] + size[:, None] * where
        return self.target(points.flatten(0, 1)).view(len(low), -1)

    def add_seeds(self, u: Tensor, values: Tensor, cell: Tensor) -> None:
        """Make further points probes of their cells."""
        self.seeds = torch.cat([self.seeds, u])
        self.seed_values = torch.cat([self.seed_values, values])
        self.cell_of = torch.cat([self.cell_of, cell])

    def split(self, cells: Tensor) -> None:
        """Halve cells, across the axis along which their corners differ most."""
        low, size, probes = self.low[cells], self.size[cells], self.probes[cells]
        top = float(probes.max())
        corners = probes[:, :-1].clamp(min=top + NEGLIGIBLE)
        m = low.shape[1]
        along = corners.view(-1, *[2] * m)
        change = torch.stack(
            [along.diff(dim=axis + 1).abs().flatten(1).amax(1) for axis in range(m)], -1
        )
        # The longest side, where a seed or the center is higher than the corners can tell.
        hidden = self.peaks()[cells] - corners.amax(1) > change.amax(1)
        axis = torch.where(hidden, size.argmax(1), change.argmax(1))
        half = size.scatter(1, axis[:, None], size.gather(1, axis[:, None]) / 2)
        middle = (
            low.gather(1, axis[:, None])[:, 0] + half.gather(1, axis[:, None])[:, 0]
        )
        upper_low = low.scatter(1, axis[:, None], middle[:, None])
        k = len(self.low)
        self.low = torch.cat([self.low, upper_low])
        self.size[cells] = half
        self.size = torch.cat([self.size, half])
        self.probes[cells] = self._probe(low, half)
        self.probes = torch.cat([self.probes, self._probe(upper_low, half)])
        # Seeds of the upper halves go to the new cells.
        rank = torch.full((k,), -1)
        rank[cells] = torch.arange(len(cells))
        mine = rank[self.cell_of]
        inside = torch.nonzero(mine >= 0)[:, 0]
        mine = mine[inside]
        beyond = self.seeds[inside, axis[mine]] >= middle[mine]
        self.cell_of[inside[beyond]] = k + mine[beyond]

    def peaks(self) -> Tensor:
        """Return the largest known value in each cell, (k,)."""
        return self.probes.amax(1).scatter_reduce(
            0, self.cell_of, self.seed_values, "amax"
        )

    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log bounds, log masses under them, and waste, each of shape (k,).

        The waste of a cell is the fraction of all proposals that are rejected there.
        """
        peaks = self.peaks()
        floor = float(peaks.max()) + NEGLIGIBLE
        probes, peaks = self.probes.clamp(min=floor), peaks.clamp(min=floor)
        lowest = probes.amin(1).scatter_reduce(
            0, self.cell_of, self.seed_values.clamp(min=floor), "amin"
        )
        bound = peaks + MARGIN * (peaks - lowest) + FLOOR
        log_mass = bound + self.size.log().sum(1)
        inside = (probes - bound[:, None]).exp().mean(1)
        return bound, log_mass, log_mass.softmax(0) * (1 - inside)
