"""Copies of rows and rounded columns: values at which no density is high enough."""

from typing import NamedTuple

import numpy as np

__all__ = ["Ties", "find_ties", "rounding_steps"]

# A column is rounded if its values repeat this often on average.
MEAN_COPIES = 2.0


class Ties(NamedTuple):
    """What repeats in data.

    Attributes
    ----------
    copies : float
        Share of the rows that are copies of an earlier one.
    rounding : ndarray of shape (n_features,)
        To what multiples the columns are rounded, in their units; zero where they are not.
    """

    copies: float
    rounding: np.ndarray


def rounding_steps(rows: np.ndarray) -> np.ndarray:
    """Return to what the columns of distinct rows are rounded, zero where they are not.

    A column whose values repeat is taken for rounded to the median gap of its distinct
    values.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Without copies: these say nothing about rounding.

    Returns
    -------
    steps : ndarray of shape (d,)
    """
    steps = np.zeros(rows.shape[1])
    for j, column in enumerate(rows.T):
        values = np.unique(column)
        if len(values) > 1 and len(values) * MEAN_COPIES <= len(rows):
            steps[j] = np.median(np.diff(values))
    return steps


def find_ties(X: np.ndarray) -> Ties:
    """Return what repeats in data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Data. Where there is one column all rows count: copies there are rounding.

    Returns
    -------
    ties : Ties

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.energies.ties import find_ties
    >>> find_ties(np.array([[0.5, 1.1], [0.5, 2.1], [0.5, 2.1], [1.0, 3.1]])).copies
    0.25
    """
    rows = np.unique(X, axis=0)
    copies = 1 - len(rows) / len(X)
    return Ties(copies, rounding_steps(X if X.shape[1] == 1 else rows))
