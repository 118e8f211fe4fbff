"""The rows of a fit, and how they are divided: held-out rows and folds."""

from typing import NamedTuple

import numpy as np

__all__ = ["Rows", "split_rows"]


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
