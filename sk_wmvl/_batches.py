"""Data in memory: batches as slices of one tensor, and the rows that are held out."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

__all__ = ["BatchIterator", "Rows", "TensorData", "make_datasets", "split_rows"]


class Rows(NamedTuple):
    """What is known of the rows of a fit.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        In the ambient coordinates of the manifold.
    weight : ndarray of shape (n,) or None
    groups : ndarray of int of shape (n,) or None
        Labels 0, 1, ... of rows that must not be separated.
    """

    points: np.ndarray
    weight: np.ndarray | None
    groups: np.ndarray | None


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


def split_rows(
    n_samples: int, fraction: float, seed: list[int], groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training rows and of held-out rows, each in order.

    Parameters
    ----------
    n_samples : int
        How many rows there are.
    fraction : float
        Share held out, rounded to whole rows, or to whole groups: at least two where
        there are more than three, and one is left to train on.
    seed : list of int
        Seed of the permutation.
    groups : ndarray of int of shape (n_samples,) or None, default=None
        Labels 0, 1, ...; the rows of a group stay together.

    Returns
    -------
    train, held_out : ndarray of int
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    if groups is None:
        order = rng.permutation(n_samples)
        n_held_out = round(fraction * n_samples)
        return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
    sizes = np.bincount(groups)
    order = rng.permutation(np.flatnonzero(sizes))
    if fraction == 0 or len(order) < 2:
        return np.arange(n_samples), np.arange(0)
    cut = np.cumsum(sizes[order])[:-1]
    nearest = 1 + np.abs(cut - fraction * n_samples).argmin()
    # The spread between groups needs two of them.
    n_groups = max(int(nearest), 2 if len(order) > 3 else 1)
    is_held_out = np.isin(groups, order[:n_groups])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
