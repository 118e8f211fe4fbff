"""Data in memory: batches as slices of one tensor, and the rows that are held out."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

__all__ = ["BatchIterator", "TensorData", "split_rows"]


class TensorData(Dataset):
    """Points and weights in memory, on the device where they are used.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    weight : Tensor of shape (n,)
    """

    def __init__(self, x: Tensor, weight: Tensor):
        self.x = x
        self.weight = weight

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.weight[i]


class BatchIterator:
    """Slices of one permutation: no per-sample loading."""

    def __init__(self, dataset, batch_size: int, shuffle=False, generator=None):
        if isinstance(dataset, Subset):
            dataset = TensorData(*dataset.dataset[list(dataset.indices)])
        self.dataset = dataset
        self.batch_size = len(dataset) if batch_size == -1 else batch_size
        self.shuffle = shuffle
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        x, weight = self.dataset.x, self.dataset.weight
        if self.shuffle:
            order = torch.randperm(len(x), generator=self.generator).to(x.device)
            x, weight = x[order], weight[order]
        yield from zip(
            x.split(self.batch_size), weight.split(self.batch_size), strict=True
        )


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
