"""Columns without information: constant ones, and ones that others determine."""

from typing import NamedTuple

import numpy as np

from sk_wmvl.coordinates.whitening import NO_SPREAD

__all__ = ["Relation", "VaryingColumns", "find_constant", "find_relations"]

# Of a column's spread: what is left of it once others are subtracted, if that is rounding.
# Single precision rounds to 6e-8, and a part in ten million is no measurement.
ROUNDING = 1e-7
MOST_ROWS, ROWS_PER_COLUMN = 1000, 4  # that relations are sought in; all verify them
LEAST_COEFFICIENT = 1e-5  # of standardized columns; a smaller one is rounding


def find_constant(X: np.ndarray) -> np.ndarray:
    """Return whether the columns of X, (n, d), have no spread beyond rounding, (d,)."""
    return X.std(0) <= NO_SPREAD * np.abs(X.mean(0))


class VaryingColumns(NamedTuple):
    """Which columns of X vary; the density is one of these.

    Attributes
    ----------
    varies : ndarray of bool of shape (d,)
    values : ndarray of shape (d,)
        The values of the others.
    """

    varies: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "VaryingColumns":
        """Return which columns of X, (n, d), have a spread beyond rounding.

        Raises
        ------
        ValueError
            If none has.
        """
        is_constant = find_constant(X)
        if is_constant.all():
            raise ValueError(
                "All rows of X are equal, up to rounding, so that they have no density. "
                "Leave constant columns out, or pass rows that differ."
            )
        return cls(~is_constant, np.where(is_constant, X[0], 0.0))

    @property
    def constant(self) -> np.ndarray:
        """Indices of the columns that do not vary."""
        return np.flatnonzero(~self.varies)

    def take(self, X: np.ndarray) -> np.ndarray:
        """Return the columns that vary; X itself if all do."""
        return X if self.varies.all() else np.ascontiguousarray(X[:, self.varies])

    def fill(self, X: np.ndarray, *, zeros: bool = False) -> np.ndarray:
        """Return rows with the constant columns put back, or with zeros in their place."""
        if self.varies.all():
            return X
        filled = np.tile(0 * self.values if zeros else self.values, (len(X), 1))
        filled[:, self.varies] = X
        return filled

    def departing(self, X: np.ndarray) -> np.ndarray:
        """Return indices of constant columns that have another value in a row of X."""
        j = self.constant
        apart = np.abs(X[:, j] - self.values[j]) > ROUNDING * np.abs(self.values[j])
        return j[apart.any(0)]


class Relation(NamedTuple):
    """A column that is an exact linear function of others.

    Attributes
    ----------
    column : int
    others : tuple of int
        Columns on its left.
    """

    column: int
    others: tuple[int, ...]


def find_relations(X: np.ndarray) -> list[Relation]:
    """Return the columns that are linear functions of columns on their left.

    A column is one if the part of it that the others leave unexplained is below 1e-7 of its
    standard deviation. With fewer than two distinct rows per column only multiples of
    single columns are found: any few rows lie in a plane.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Columns that vary.

    Returns
    -------
    relations : list of Relation

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.coordinates import find_relations
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> find_relations(np.c_[x, x.sum(1), 5 - x[:, :1]])
    [Relation(column=2, others=(0, 1)), Relation(column=3, others=(0,))]
    """
    n, d = X.shape
    some = np.linspace(0, n - 1, min(n, max(MOST_ROWS, ROWS_PER_COLUMN * d))).astype(
        int
    )
    rows = np.unique(X[some], axis=0)
    if len(rows) < 4 or d == 1:  # three rows may well be in line
        return []
    Z = rows - rows.mean(0)
    std = Z.std(0)
    varies = np.flatnonzero(std > 0).tolist()
    Z[:, varies] /= std[varies] * np.sqrt(len(rows))  # unit vectors
    may_combine = len(rows) >= 2 * (d + 1)
    basis: list[int] = []
    Q = np.empty((len(rows), d))
    found = []
    for j in varies:
        q, k = Q[:, : len(basis)], len(basis)
        others: list[int] = []
        if may_combine:
            rest = Z[:, j] - q @ (q.T @ Z[:, j])
            rest -= q @ (q.T @ rest)
            length = np.linalg.norm(rest)
            if length <= ROUNDING:
                c = np.linalg.lstsq(Z[:, basis], Z[:, j], rcond=None)[0]
                others = [
                    basis[i] for i in np.flatnonzero(np.abs(c) > LEAST_COEFFICIENT)
                ]
                if not _holds(X, j, others):
                    continue  # it does in most rows: neither a relation nor a direction
            else:
                Q[:, k] = rest / length
        else:
            cosines = Z[:, basis].T @ Z[:, j]
            rest = Z[:, [j]] - Z[:, basis] * cosines
            same = np.linalg.norm(rest, axis=0) <= ROUNDING
            others = [basis[i] for i in np.flatnonzero(same)[:1]]
            others = [i for i in others if _holds(X, j, [i])]
        if others:
            found.append(Relation(j, tuple(others)))
        else:
            basis.append(j)
    return found


def _holds(X: np.ndarray, j: int, others: list[int]) -> bool:
    """Return whether a column is a linear function of others in all rows."""
    Z = X[:, [j, *others]]
    Z = Z - Z.mean(0)
    Z = Z / Z.std(0)
    c = np.linalg.lstsq(Z[:, 1:], Z[:, 0], rcond=None)[0]
    return bool((Z[:, 0] - Z[:, 1:] @ c).std() <= ROUNDING)
