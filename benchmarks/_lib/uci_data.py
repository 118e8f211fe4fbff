"""Tables of the UCI repository, and breast cancer, with their fixed splits."""

import numpy as np
from sklearn.datasets import load_breast_cancer

from _lib.data import split

__all__ = ["breast_cancer", "parkinsons", "red_wine"]

MAX_CORRELATION = 0.98  # of near-copies


def breast_cancer(seed, n_columns=30):
    """Return breast cancer's three parts, of the first columns, and None."""
    X = load_breast_cancer().data[:, :n_columns]
    return [*(X[rows] for rows in split(len(X), seed)), None]


def red_wine(folder, seed):
    """Return RedWine's three parts, unique rows of 11 columns, dequantised, and None.

    Each column gets uniform noise within the median gap of its sorted distinct values on
    either side, without which a density of rounded numbers has no upper bound.
    """
    path = folder / "uci" / "winequality-red.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    _, first = np.unique(table, axis=0, return_index=True)
    X = table[np.sort(first), :-1]  # in the order of the file
    gap = np.array([np.median(np.diff(np.unique(column))) for column in X.T])
    X = X + np.random.default_rng([seed, 1]).uniform(-1, 1, X.shape) * gap
    return [*(X[rows] for rows in split(len(X), seed)), None]


def parkinsons(folder, seed):
    """Return Parkinsons' three parts of 15 columns, and the subjects of the first two.

    No subject is in two parts.
    """
    path = folder / "uci" / "parkinsons_updrs.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    X = table[:, 3:]
    close = np.corrcoef(X.T) > MAX_CORRELATION
    kept = list(range(X.shape[1]))
    # The first of each group of near-copies goes, one at a time, as in the literature.
    while (rows := np.flatnonzero(close[np.ix_(kept, kept)].sum(0) > 1)).size:
        del kept[rows[0]]
    subjects = table[:, 0]
    names = np.unique(subjects)
    rows = [np.isin(subjects, names[part]) for part in split(len(names), seed)]
    groups = np.concatenate([subjects[part] for part in rows[:2]])
    return [*(X[part][:, kept] for part in rows), groups]
