"""Copies of rows and rounded columns: values at which no density is high enough."""

from typing import NamedTuple

import numpy as np

__all__ = ["Ties", "find_ties", "rounding_steps"]

EVEN = 1e-3  # of a step

# A column is rounded if its values repeat this often on average.
MEAN_COPIES = 2.0


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
    between its distinct values. Copies of a row count once. A single column has no other
    rows to compare: it is rounded if its values repeat and their gaps are multiples of one
    step.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    steps : ndarray of shape (d,)
    """
    rows = X if _is_even(X) else np.unique(X, axis=0)
    steps = np.zeros(rows.shape[1])
    for j, column in enumerate(rows.T):
        values = np.unique(column)
        if len(values) > 1 and len(values) * MEAN_COPIES <= len(rows):
            steps[j] = np.median(np.diff(values))
    return steps


def _is_even(X: np.ndarray) -> bool:
    """Return whether there is one column, of values in even steps."""
    if X.shape[1] > 1:
        return False
    gaps = np.diff(np.unique(X))
    if len(gaps) == 0:
        return False
    multiples = gaps / gaps.min()
    return bool((np.abs(multiples - multiples.round()) < EVEN).all())


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
