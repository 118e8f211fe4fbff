"""Data in memory: batches as slices of one tensor."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from sk_wmvl._rows import Rows

__all__ = ["BatchIterator", "TensorData", "make_datasets"]


class TensorData(Dataset):
    """Points and weights in memory, on the device where they are used.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    weight : Tensor of shape (n,)
    base_grad : Tensor of shape (n, d) or None, default=None
        Derivatives of the base measure's log density, where the energy is lifted.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels of rows that are not independent. Not part of a batch.
    log_proposal : Tensor of shape (n,) or None, default=None
        Log densities of the base measure or the proposal, where the objective compares the
        model with it.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        base_grad: Tensor | None = None,
        groups: np.ndarray | None = None,
        log_proposal: Tensor | None = None,
    ):
        self.x = x
        self.weight = weight
        self.base_grad = base_grad
        self.groups = groups
        self.log_proposal = log_proposal

    def tensors(self) -> list[Tensor]:
        """Return what a batch consists of."""
        extra = [t for t in (self.base_grad, self.log_proposal) if t is not None]
        return [self.x, self.weight, *extra]

    def take(self, i: list[int]) -> "TensorData":
        """Return some of the rows, without their groups."""
        return TensorData(
            self.x[i],
            self.weight[i],
            None if self.base_grad is None else self.base_grad[i],
            log_proposal=None if self.log_proposal is None else self.log_proposal[i],
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i):
        return tuple(tensor[i] for tensor in self.tensors())


def make_datasets(
    rows: Rows,
    base_grad: Tensor | None,
    log_proposal: Tensor | None,
    train: np.ndarray,
    valid: np.ndarray,
    device: torch.device,
) -> tuple[TensorData, TensorData | None]:
    """Return training rows and held-out rows, if any, in float32 on a device.

    Parameters
    ----------
    rows : Rows
        In internal coordinates. The weights of the training rows are made to have mean one.
    base_grad : Tensor of shape (n, d) or None
    log_proposal : Tensor of shape (n,) or None
        See `TensorData`.
    train, valid : ndarray of int
        Indices of rows.
    device : torch.device
    """
    weight = np.ones(len(rows.points)) if rows.weight is None else rows.weight
    weight = weight / weight[train].mean()

    def make(i: np.ndarray) -> TensorData:
        at = torch.from_numpy(i)
        grad = None if base_grad is None else base_grad[at].to(device)
        log = None if log_proposal is None else log_proposal[at].to(device)
        return TensorData(
            torch.tensor(rows.points[i], dtype=torch.float32, device=device),
            torch.tensor(weight[i], dtype=torch.float32, device=device),
            grad,
            None if rows.groups is None else rows.groups[i],
            log,
        )

    return make(train), make(valid) if len(valid) else None


class BatchIterator:
    """Slices of one permutation: no per-sample loading."""

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
        # particle methods need neighbors, and one row makes a noisy step
        return [*sizes[:-2], sizes[-2] + 1] if rest == 1 and full else sizes

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self):
        tensors = self.dataset.tensors()
        if self.shuffle:
            order = torch.randperm(len(self.dataset), generator=self.generator)
            order = order.to(tensors[0].device)
            tensors = [tensor[order] for tensor in tensors]
        sizes = self._sizes()
        yield from zip(*(t.split(sizes) for t in tensors), strict=True)
