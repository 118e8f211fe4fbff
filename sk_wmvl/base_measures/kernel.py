"""Kernel estimates as a base measure: components at the rows, left out at their own."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.base_measures._base import BaseMeasure, InflatedCopy
from sk_wmvl.base_measures.components import chunk_size, log_sum_exp
from sk_wmvl.base_measures.manifold_mixture import ManifoldMixture

__all__ = ["KernelBase", "LeftOut", "Members", "base_gradient"]

# Rows at a time, and entries of an array of rows and components.
GRADIENT_CHUNK, MOST_ENTRIES = 2048, 16_000_000
MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, with bits in no order


class Members(NamedTuple):
    """Which rows a kernel estimate was made of, and how much of it each is.

    Attributes
    ----------
    rows : Tensor of shape (n, d)
        Rows.
    cell : Tensor of int of shape (n,)
        The cell that the row belongs to.
    share : Tensor of shape (n,)
        The row's part of the weight of its cell, one for a row that is alone there.
    cell_of_component : Tensor of int of shape (K,)
        The cell that the component stands for.
    """

    rows: Tensor
    cell: Tensor
    share: Tensor
    cell_of_component: Tensor


class KernelBase(BaseMeasure):
    """Kernel density estimates on a manifold, stacked over a uniform background.

    Components are at rows or, of large sets, at the centers of cells of near rows.

    Parameters
    ----------
    mixture : ManifoldMixture
        Components at the centers, one or several at each, and then others.
    centers : Tensor of shape (K, d)
        Where the first K components of the mixture are.
    members : Members or None, default=None
        The rows, which may share cells. None takes the centers for the rows.

    See Also
    --------
    fit_kernel_base : Chooses the bandwidths.

    Examples
    --------
    A row does not see the component at its own place when it is left out:

    >>> import torch
    >>> from sk_wmvl.base_measures import KernelBase, ManifoldMixture
    >>> from sk_wmvl.base_measures.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> x = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    >>> q = KernelBase(ManifoldMixture(Torus(1), VonMises(Torus(1), x, 0.1), half, 0), x)
    >>> bool(q.log_prob_left_out(x)[0] < q.log_prob(x)[0] - 10)
    True
    """

    centers: Tensor
    rows: Tensor
    cell: Tensor
    share: Tensor
    cell_of_component: Tensor

    def __init__(
        self, mixture: ManifoldMixture, centers: Tensor, members: Members | None = None
    ):
        super().__init__()
        self.mixture = mixture
        self.register_buffer("centers", centers)
        for name, value in (members or _alone(centers))._asdict().items():
            self.register_buffer(name, value)

    @property
    def members(self) -> Members:
        """The rows that the estimate was made of."""
        return Members(self.rows, self.cell, self.share, self.cell_of_component)

    @property
    def n_components(self) -> int:
        """The number of components."""
        return self.mixture.n_components

    @property
    def work(self) -> int:
        """The time that a point takes, in components of a normal mixture."""
        return self.mixture.work

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.mixture.log_prob(x)

    def log_probs(self, x: Tensor, copies: Sequence[InflatedCopy]) -> Tensor:
        """Return log densities of this and of inflated copies; see `BaseMeasure`."""
        return self.mixture.log_probs(x, copies)

    def log_prob_left_out(self, x: Tensor) -> Tensor:
        """Return log densities, of shape (n,), without the weight of the point itself.

        A row that the estimate was made of would see itself in its own component. Where
        it shares a cell with other rows, their part of the weight stays.
        """
        which = find_rows(x.detach().to(self.rows), self.rows)
        found = which >= 0
        cell = torch.where(found, self.cell[which], -1)
        share = torch.where(found, self.share[which], 0.0)
        log_kept = torch.log1p(-share.clamp(max=1))
        own = self.mixture.log_weights[: len(self.centers)].exp()
        mass = own.new_zeros(int(self.cell.max()) + 1)
        mass = mass.index_add(0, self.cell_of_component, own)
        # the weights of the others are scaled up to one
        log_left = (1 - share * mass[cell]).clamp(min=1e-300).log()
        size = chunk_size(self.n_components)
        values = []
        parts = zip(x.split(size), cell.split(size), log_kept.split(size), strict=True)
        for points, of_points, logs in parts:
            joint = self.mixture.joint(points)
            is_own = self.cell_of_component == of_points[:, None]
            others = joint.shape[1] - is_own.shape[1]
            change = torch.where(is_own, logs[:, None], 0.0)
            joint = joint + nn.functional.pad(change, (0, others))
            values.append(log_sum_exp(joint))
        return torch.cat(values) - log_left

    def without(self, x: Tensor) -> "KernelBase":
        """Return the estimate without the weight of some rows.

        Components lose the part that these rows had in them, those that lose all are
        dropped, and the other weights are scaled up to one. Centers and bandwidths stay.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Points; those that the estimate was not made of change nothing.

        Returns
        -------
        base : KernelBase

        Raises
        ------
        ValueError
            If nothing is left.
        """
        rows, cell, share, of_component = self.members
        which = find_rows(x.to(rows), rows)
        gone = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        gone[which[which >= 0]] = True
        # summed over what stays, so that an empty cell has a zero to the last bit
        stays = share.new_zeros(int(cell.max()) + 1)
        stays = stays.index_add(0, cell[~gone], share[~gone])
        weights = self.mixture.log_weights.exp()
        k = len(of_component)
        weights = torch.cat([weights[:k] * stays[of_component], weights[k:]])
        total = float(weights.sum()) + self.mixture.background
        kept = weights > 0
        if not bool(kept.any()):
            raise ValueError(
                f"All {len(rows)} rows of the kernel estimate would be left out of it: "
                "keep some of them."
            )
        old = self.mixture
        components = type(old.components)(
            old.manifold,
            old.components.centers[kept],
            old.components.variances[kept],
        )
        mixture = ManifoldMixture(
            old.manifold, components, weights[kept] / total, old.background / total
        )
        left = share[~gone] / stays[cell[~gone]]
        members = Members(rows[~gone], cell[~gone], left, of_component[kept[:k]])
        return KernelBase(mixture, self.centers[kept[:k]], members)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        return self.mixture.sample(n_samples, generator=generator)

    def inflated(self, factor: float) -> BaseMeasure:
        """Return the mixture of inflated components."""
        return self.mixture.inflated(factor)


class LeftOut(nn.Module):
    """A kernel estimate as its own rows see it: `log_prob_left_out`.

    Parameters
    ----------
    base : KernelBase
        The estimate.
    """

    def __init__(self, base: KernelBase):
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.base.log_prob_left_out(x)


def base_gradient(base: BaseMeasure, x: Tensor) -> Tensor:
    """Return derivatives of a base's log density; a kernel estimate leaves the row out.

    Parameters
    ----------
    base : BaseMeasure
        Copied to where `x` is.
    x : Tensor of shape (n, d)
        Points, in the dtype of the base.

    Returns
    -------
    gradient : Tensor of shape (n, d)
    """
    own: nn.Module = LeftOut(base) if isinstance(base, KernelBase) else base
    own = copy.deepcopy(own).to(x.device)
    size = min(GRADIENT_CHUNK, max(1, MOST_ENTRIES // base.n_components))
    grads = [energy_and_grad(own, rows)[1] for rows in x.split(size)]
    return torch.cat(grads)


def find_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return which of some rows points are to the last bit, (n,), or -1 if none."""
    sought, known = _keys(x), _keys(rows)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, sought, sorter=order).clip(max=len(known) - 1)
    which = torch.from_numpy(order[place]).to(x.device)
    return torch.where((rows[which] == x).all(1), which, -1)


def _keys(x: Tensor) -> np.ndarray:
    """Return a number for each row, the same for equal rows and others for others.

    Two rows with the same number are one in 1e19 pairs, and are taken for new rows.
    """
    bits = (x.double() + 0.0).cpu().numpy().view(np.uint64)  # -0.0 becomes 0.0
    total = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        total = (total ^ (column ^ (column >> np.uint64(32)))) * MIXER
        total ^= total >> np.uint64(29)
    return total


def _alone(centers: Tensor) -> Members:
    """Return the rows that are the centers, each alone in its cell."""
    distinct, cell = np.unique(centers.cpu().numpy(), axis=0, return_inverse=True)
    rows = torch.from_numpy(distinct).to(centers)
    of_component = torch.from_numpy(cell.reshape(-1)).to(centers.device)
    alone = torch.arange(len(rows), device=centers.device)
    return Members(rows, alone, torch.ones_like(rows[:, 0]), of_component)
