"""Rows in memory, on the device that uses them. Batches are slices of one tensor."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from sk_wmvl._rows import Rows
from sk_wmvl.objectives import Batch
from sk_wmvl.objectives._base import RowFacts

__all__ = ["BatchIterator", "TensorData", "make_data"]


class TensorData(Dataset):
    """Rows that training uses, or rows that are held out from it.

    Parameters
    ----------
    rows : Batch
        All of them.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels of rows that are not independent.
    """

    def __init__(self, rows: Batch, groups: np.ndarray | None = None):
        self.rows = rows
        self.groups = groups

    @property
    def x(self) -> Tensor:
        """The points, of shape (n, d)."""
        return self.rows.x

    @property
    def weight(self) -> Tensor:
        """The weights, of shape (n,)."""
        return self.rows.weight

    def take(self, i) -> "TensorData":
        """Return some of the rows, without their groups."""
        return TensorData(_select(self.rows, i))

    def __len__(self) -> int:
        return len(self.rows.x)

    def __getitem__(self, i) -> Batch:
        return _select(self.rows, i)


def _select(rows: Batch, i) -> Batch:
    parts = (None if part is None else part[i] for part in rows[2:])
    return Batch(rows.x[i], rows.weight[i], *parts)


def make_data(
    rows: Rows, facts: RowFacts, train: np.ndarray, i: np.ndarray, device: torch.device
) -> TensorData:
    """Return some of the rows in float32 on a device.

    Parameters
    ----------
    rows : Rows
        In internal coordinates.
    facts : RowFacts
        What the objective needs to know of them.
    train : ndarray of int
        The training rows. Weights are scaled so that these have mean one.
    i : ndarray of int
        The rows wanted.
    device : torch.device
    """
    weight = np.ones(len(rows.points)) if rows.weight is None else rows.weight
    weight = weight / weight[train].mean()
    at = torch.from_numpy(i)
    batch = Batch(
        torch.tensor(rows.points[i], dtype=torch.float32, device=device),
        torch.tensor(weight[i], dtype=torch.float32, device=device),
        *(None if fact is None else fact[at].to(device) for fact in facts),
    )
    return TensorData(batch, None if rows.groups is None else rows.groups[i])


class BatchIterator:
    """Batches as slices of one permutation, not loaded row by row."""

    def __init__(self, dataset, batch_size: int, shuffle=False, generator=None):
        if isinstance(dataset, Subset):
            assert isinstance(dataset.dataset, TensorData)
            dataset = dataset.dataset.take(list(dataset.indices))
        self.dataset = dataset
        self.batch_size = len(dataset) if batch_size == -1 else batch_size
        self.shuffle = shuffle
        self.generator = generator

    def _sizes(self) -> list[int]:
        """Return the batches' sizes; a single row left over joins the last batch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        sizes = [self.batch_size] * full + ([rest] if rest else [])
        # Particle methods need neighbors, and a single row makes a noisy step.
        return [*sizes[:-2], sizes[-2] + 1] if rest == 1 and full else sizes

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self):
        rows = self.dataset.rows
        if self.shuffle:
            order = torch.randperm(len(self.dataset), generator=self.generator)
            rows = _select(rows, order.to(rows.x.device))
        sizes = self._sizes()
        parts = (
            [None] * len(sizes) if part is None else part.split(sizes) for part in rows
        )
        yield from map(Batch, *parts)
