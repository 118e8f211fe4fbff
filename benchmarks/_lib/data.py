"""Where data sets are found, how they are read, and how they are split."""

import csv
import os
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold

from _lib.script import show_progress

__all__ = ["N_FOLDS", "data_folder", "fold", "read_table", "split"]

N_FOLDS = 10


def data_folder():
    """Return the folder of the data sets, or None after saying that there is none."""
    folder = os.environ.get("SK_WMVL_DATA")
    if folder and (Path(folder) / "uci").is_dir():
        return Path(folder)
    show_progress("skipped: set SK_WMVL_DATA to the folder of the data sets")
    return None


def split(n, seed):
    """Return the indices of training (80 %), validation and test rows."""
    order = np.random.default_rng(seed).permutation(n)
    return np.split(order, [int(0.8 * n), int(0.9 * n)])


def fold(n, n_folds, number):
    """Return the indices of the training and test rows of a fold."""
    folds = KFold(n_folds, shuffle=True, random_state=0).split(np.arange(n))
    return list(folds)[number]


def read_table(path):
    """Return the rows of a CSV file, each a dict of texts."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
