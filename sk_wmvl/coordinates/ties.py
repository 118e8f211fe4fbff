"""Copies of rows and rounded columns: values at which no density is high enough."""

from typing import NamedTuple

import numpy as np

from sk_wmvl._rows import (
    ATOM_COPIES,
    ATOM_SHARE,
    FEW_VALUES,
    are_atoms,
    are_even,
    divide_values,
    label_units,
)

__all__ = [
    "Atom",
    "Ties",
    "blur",
    "discrete_columns",
    "few_valued_columns",
    "find_atoms",
    "find_ties",
    "rounding_steps",
]

# A column is rounded if its values repeat this often on average.
MEAN_COPIES = 2.0
WIDE_STEP = 0.25  # of a standard deviation
FEWEST_STEPS = 10  # a column with no more values is discrete, whatever its steps
SMALLEST_GAP = 1e-7  # of the range; smaller ones are rounding of numbers
NEIGHBORS = 4  # the nearest values, with which the rows of one value are compared
MOST_ATOMS = 2  # if more values stand out, some were rounded more coarsely


class Ties(NamedTuple):
    """What repeats in data.

    Attributes
    ----------
    copies : float
        The part of the rows that are copies of an earlier one.
    rounding : ndarray of shape (n_features,)
        The step to which each column is rounded, in its units; zero where it is not.
    """

    copies: float
    rounding: np.ndarray


def rounding_steps(X: np.ndarray) -> np.ndarray:
    """Return the steps to which columns are rounded, zero where they are not.

    A column whose values repeat in different rows is taken to be rounded to the median gap
    between its distinct values, or to the least one where at most 20 values have uneven
    gaps, such as doses of 0, 1, 10 and 100. Copies of a row count once. Values with more
    than a twentieth of the rows may be atoms of a column that is not rounded, such as zeros
    among amounts: the other values must repeat too, or all be multiples of one step. A
    single column has no other rows to compare: it is rounded if its values repeat, and
    their gaps are multiples of one step or their numbers are those of grouped rows
    (`divide_values`).

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    steps : ndarray of shape (d,)
    """
    rows = X if _is_grouped(X) else np.unique(X, axis=0)
    steps = np.zeros(rows.shape[1])
    for j, column in enumerate(rows.T):
        values, counts = np.unique(column, return_counts=True)
        if len(values) < 2 or len(values) * MEAN_COPIES > len(rows):
            continue
        others = counts[counts <= ATOM_SHARE * len(rows)]
        if len(others) * MEAN_COPIES <= others.sum():
            steps[j] = _usual_gap(values)
        elif are_even(values):
            steps[j] = np.diff(values).min()
    return steps


def _usual_gap(values: np.ndarray) -> float:
    """Return the gap that stands for those of sorted values: the least if they are few."""
    gaps = np.diff(values)
    if len(values) > FEW_VALUES:
        return float(np.median(gaps))
    return float(gaps[gaps > SMALLEST_GAP * gaps.sum()].min())


def _is_grouped(X: np.ndarray) -> bool:
    """Return whether there is one column, of values in few steps or in even ones."""
    if X.shape[1] > 1:
        return False
    units = divide_values(X)
    if units is not None and units.max() + 1 == len(X):
        return True
    values = np.unique(X)
    return len(values) > 1 and are_even(values)


def discrete_columns(X: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return the columns in so few or so wide steps that they have no density to speak of.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rounding : ndarray of shape (d,)
        The steps.

    Returns
    -------
    columns : ndarray of int
        Those with at most ten values, or a step of a quarter of the standard deviation or
        more.
    """
    is_wide = (rounding > 0) & (rounding >= WIDE_STEP * X.std(0))
    is_wide[few_valued_columns(X, rounding)] = True
    return np.flatnonzero(is_wide)


def few_valued_columns(X: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return the rounded columns with at most ten values.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rounding : ndarray of shape (d,)
        The steps.

    Returns
    -------
    columns : ndarray of int
    """
    rounded = np.flatnonzero(rounding)
    n_values = np.array([len(np.unique(X[:, j])) for j in rounded])
    return rounded[n_values <= FEWEST_STEPS] if len(rounded) else rounded


class Atom(NamedTuple):
    """A value that many rows have, in a column that is not discrete.

    Attributes
    ----------
    column : int
    value : float
    share : float
        The part of the rows that have it.
    """

    column: int
    value: float
    share: float


def find_atoms(X: np.ndarray, rounding: np.ndarray) -> list[Atom]:
    """Return the atoms of columns that have more than a few values.

    Values of a rounded column may have many rows where its density is high. Then those
    beside them have many too. Or people have rounded some of the values once more: then
    several values stand out.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rounding : ndarray of shape (d,)
        The steps of the columns.

    Returns
    -------
    atoms : list of Atom
        Values that a twentieth of the rows have, and ten times as many as a usual value. In
        a rounded column: ten times as many as all but one of the nearest four values, if
        this holds of two values at most.
    """
    few = few_valued_columns(X, rounding)
    atoms = []
    for j in np.setdiff1d(np.arange(X.shape[1]), few).tolist():
        values, counts = np.unique(X[:, j], return_counts=True)
        is_atom = are_atoms(counts) if rounding[j] == 0 else _stand_out(counts)
        for i in np.flatnonzero(is_atom):
            atoms.append(Atom(j, float(values[i]), float(counts[i] / len(X))))
    return atoms


def _stand_out(counts: np.ndarray) -> np.ndarray:
    """Return which of sorted values have many times the rows of those beside them.

    One of these may have as many: a second atom.
    """
    start = np.arange(len(counts)) - NEIGHBORS // 2
    start = start.clip(0, max(len(counts) - NEIGHBORS - 1, 0))
    near = counts[start[:, None] + np.arange(NEIGHBORS + 1)]
    # the largest is the value's own, or its rows are too few
    is_apart = counts >= ATOM_COPIES * np.sort(near)[:, -3]
    is_apart &= counts >= np.sort(near)[:, -2]
    if is_apart.sum() > MOST_ATOMS:
        return np.zeros(len(counts), bool)
    return is_apart & (counts >= ATOM_SHARE * counts.sum())


def blur(
    X: np.ndarray, rounding: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return rows with the noise of their rounding: as much as rounding has taken away.

    The noise is normal, so that it is the same as the floor under the variances of a
    mixture. Copies of a row get the same noise, and remain copies.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rounding : ndarray of shape (d,)
        The steps; columns without are left as they are.
    generator : Generator

    Returns
    -------
    X : ndarray of shape (n, d)
        The same object if nothing is rounded.
    """
    if not rounding.any():
        return X
    labels = divide_values(X)
    if labels is None:
        labels = label_units(X, in_order=True)
    noise = generator.standard_normal((int(labels.max()) + 1, X.shape[1]))
    return X + noise[labels] * rounding / np.sqrt(12)


def find_ties(X: np.ndarray) -> Ties:
    """Return what repeats in data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Data.

    Returns
    -------
    ties : Ties

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.coordinates.ties import find_ties
    >>> find_ties(np.array([[0.5, 1.1], [0.5, 2.1], [0.5, 2.1], [1.0, 3.1]])).copies
    0.25
    """
    return Ties(1 - len(np.unique(X, axis=0)) / len(X), rounding_steps(X))
