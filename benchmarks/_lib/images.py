"""Images of digits, with the split that the tables of auto-encoders use."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import fetch_openml, load_digits

from _lib.script import show_progress

__all__ = ["Images", "binarize", "load_images"]

N_TEST, N_TEST_SMALL = 10_000, 300


class Images(NamedTuple):
    """Grey images in [0, 1] with their labels, of shape (n, side**2) and (n,)."""

    train: np.ndarray
    y_train: np.ndarray
    test: np.ndarray
    y_test: np.ndarray


def mnist_train():
    """Return the 60 000 training images of MNIST and their labels."""
    path = Path(os.environ.get("SK_WMVL_DATA", "")) / "mnist_train.npz"
    if path.is_file():
        with np.load(path) as data:
            return data["x_train"].reshape(60_000, -1), data["y_train"].astype(int)
    show_progress("no mnist_train.npz in SK_WMVL_DATA; asking openml.org for MNIST")
    X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
    return X[:60_000], y[:60_000].astype(int)


def load_images(*, small):
    """Return MNIST's training images, the last 10 000 held out; `small`: 8 x 8 digits."""
    if small:
        X, y = load_digits(return_X_y=True)
        X, n_test = X / 16, N_TEST_SMALL
    else:
        X, y = mnist_train()
        X, n_test = (X / 255).astype(np.float32), N_TEST
    return Images(X[:-n_test], y[:-n_test], X[-n_test:], y[-n_test:])


def binarize(X, seed):
    """Return binary images, with grey values as probabilities."""
    return (np.random.default_rng(seed).random(X.shape) < X).astype(np.float64)
