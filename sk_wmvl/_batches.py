"""Data in memory: batches as slices of one tensor, and the rows that are held out."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

__all__ = ["BatchIterator", "TensorData", "make_datasets", "split_rows"]


class TensorData(Dataset):
    """Points and weights in memory, on the device where they are used.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    weight : Tensor of shape (n,)
    base_grad : Tensor of shape (n, d) or None, default=None
        Derivatives of the base measure's log density, where the energy is lifted.
    """

    def __init__(self, x: Tensor, weight: Tensor, base_grad: Tensor | None = None):
        self.x = x
        self.weight = weight
        self.base_grad = base_grad

    def tensors(self) -> list[Tensor]:
        """Return what a batch consists of."""
        extra = [] if self.base_grad is None else [self.base_grad]
        return [self.x, self.weight, *extra]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i):
        return tuple(tensor[i] for tensor in self.tensors())


def make_datasets(
    u: np.ndarray,
    weight: np.ndarray,
    base_grad: Tensor | None,
    train: np.ndarray,
    valid: np.ndarray,
    device: torch.device,
) -> tuple[TensorData, TensorData | None]:
    """Return training rows and held-out rows, if any, in float32 on a device.

    Parameters
    ----------
    u : ndarray of shape (n, d)
        Points in internal coordinates.
    weight : ndarray of shape (n,)
    base_grad : Tensor of shape (n, d) or None
        See `TensorData`.
    train, valid : ndarray of int
        Indices of rows.
    device : torch.device
    """

    def make(rows: np.ndarray) -> TensorData:
        grad = None if base_grad is None else base_grad[torch.from_numpy(rows)]
        return TensorData(
            torch.tensor(u[rows], dtype=torch.float32, device=device),
            torch.tensor(weight[rows], dtype=torch.float32, device=device),
            None if grad is None else grad.to(device),
        )

    return make(train), make(valid) if len(valid) else None


class BatchIterator:
    """Slices of one permutation: no per-sample loading."""

    def __init__(self, dataset, batch_size: int, shuffle=False, generator=None):
        if isinstance(dataset, Subset):
            dataset = TensorData(*dataset.dataset[list(dataset.indices)])
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
    n_samples: int, fraction: float, seed: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training rows and of held-out rows, each in order.

    Parameters
    ----------
    n_samples : int
        How many rows there are.
    fraction : float
        Share held out, rounded to whole rows.
    seed : list of int
        Seed of the permutation.

    Returns
    -------
    train, held_out : ndarray of int
    """
    order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(n_samples)
    n_held_out = round(fraction * n_samples)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
