"""The rows of a fit, and how they are divided: units, folds, rows held out, copies."""

from typing import NamedTuple

import numpy as np

__all__ = [
    "Fold",
    "Rows",
    "are_atoms",
    "are_even",
    "divide_values",
    "hold_out",
    "label_units",
    "make_folds",
    "merge_copies",
    "split_rows",
    "weigh_copies",
]


# Values are measured in groups if each is taken so often, on average, and numbers of rows
# vary at least half as much as those of independent rows do. Numbers of copies vary less.
GROUPED_COPIES, LEAST_DISPERSION = 4.0, 0.5
# And if they are few, or in even steps, or each is shared by several distinct rows.
FEW_VALUES, SHARED_VALUES = 20, 2.0
EVEN = 1e-3  # of a step
# A value is an atom if it has such a part of the rows, and many times the rows of others.
ATOM_SHARE, ATOM_COPIES = 0.05, 10.0


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

    def take(self, i: np.ndarray) -> "Rows":
        """Return some of the rows."""
        parts = (None if part is None else part[i] for part in self[1:])
        return Rows(self.points[i], *parts)


class Fold(NamedTuple):
    """A division of rows in two.

    Attributes
    ----------
    train, held_out : ndarray of int
        Indices of the rows to fit to and of the rows to judge by, each in ascending order.
    """

    train: np.ndarray
    held_out: np.ndarray


def label_units(
    points: np.ndarray, groups: np.ndarray | None = None, *, in_order: bool = False
) -> np.ndarray:
    """Return the unit that each row belongs to: its group or, without groups, its copies.

    The rows of a unit tell of one another, so that no division may separate them.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Equal rows are copies.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels of groups. With them copies in different groups are different units.
    in_order : bool, default=False
        Whether copies are numbered by where they come first, so that distinct rows are
        0, 1, ..., n - 1. Else they are numbered in the order of their values, which does
        not depend on the order of the rows.

    Returns
    -------
    units : ndarray of int of shape (n,)
        Labels 0, 1, ... without gaps.
    """
    if groups is not None:
        return np.unique(groups, return_inverse=True)[1].reshape(-1)
    first, label = merge_copies(points)
    return np.argsort(np.argsort(first))[label] if in_order else label


def merge_copies(
    points: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each distinct row comes first, and which of these each row equals.

    Parameters
    ----------
    points : ndarray of shape (n, d)
    groups : ndarray of int of shape (n,) or None, default=None
        Equal rows of different groups stay apart.

    Returns
    -------
    first : ndarray of int of shape (n_distinct,)
        Indices of distinct rows, in the order of their values.
    label : ndarray of int of shape (n,)
        Indices into `first`.
    """
    keys = points if groups is None else np.column_stack([points, groups])
    _, first, label = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, label.reshape(-1)


def divide_values(points: np.ndarray) -> np.ndarray | None:
    """Return units in which rows are divided although their values are equal.

    Copies of a row are one unit, so that nothing is learned of them from one another. But
    rows of a measurement in few steps are equal without being copies, and so are rows with
    an atom: if all rows with a value were held out, nothing could be learned of it at all.
    Numbers of rows tell: those of few steps and atoms vary more than those of copies. So do
    numbers of copies that were drawn at random. Hence a measurement in few steps must be
    seen as one in each column: its values are in even steps, or distinct rows share them.
    A single column has nothing to share: its values are in even steps, or 20 at most.

    Parameters
    ----------
    points : ndarray of shape (n, d)

    Returns
    -------
    units : ndarray of int of shape (n,) or None
        Numbered by where they come first. None if equal rows are all copies.
    """
    first, label = merge_copies(points)
    counts = np.bincount(label)
    mean = counts.mean()
    is_repeated = mean >= GROUPED_COPIES and counts.var() >= LEAST_DISPERSION * mean
    if is_repeated and _are_in_steps(points[first]):
        return np.arange(len(points))
    is_atom = are_atoms(counts)
    if not is_atom.any():
        return None
    own = np.where(is_atom[label], len(points) + np.arange(len(points)), label)
    return label_units(own[:, None], in_order=True)


def _are_in_steps(rows: np.ndarray) -> bool:
    """Return whether each column of distinct rows, (n, d), is a measurement in steps."""
    n, d = rows.shape
    most = FEW_VALUES if d == 1 else n / SHARED_VALUES
    columns = map(np.unique, rows.T)
    return all(len(values) <= most or are_even(values) for values in columns)


def are_even(values: np.ndarray) -> bool:
    """Return whether all gaps between sorted values are multiples of one step."""
    gaps = np.diff(values)
    if not len(gaps):
        return True
    multiples = gaps / gaps.min()
    return bool((np.abs(multiples - multiples.round()) < EVEN).all())


def weigh_copies(rows: Rows) -> Rows:
    """Return distinct rows, with the number of their copies, or its sum, as their weight.

    Rows stay in the order in which they come first. Equal rows of different groups stay
    apart. Weights that are all equal are no weights.
    """
    first, label = merge_copies(rows.points, rows.groups)
    if len(first) == len(rows.points):
        return rows
    weight = np.bincount(label, rows.weight)[np.argsort(first)]
    is_even = rows.weight is None and (weight == weight[0]).all()
    return rows.take(np.sort(first))._replace(weight=None if is_even else weight)


def are_atoms(counts: np.ndarray) -> np.ndarray:
    """Return which values are atoms, by the number of rows that have each, (n_values,)."""
    return counts >= max(ATOM_SHARE * counts.sum(), ATOM_COPIES * np.median(counts))


def make_folds(
    units: np.ndarray,
    n_folds: int,
    seed: int | list[int] | np.random.Generator,
    *,
    dealt: bool = False,
) -> list[Fold]:
    """Divide rows into folds for cross-validation, at random; units stay whole.

    Parameters
    ----------
    units : ndarray of int of shape (n,)
        Labels 0, 1, ... as by `label_units`.
    n_folds : int
        No more than there are units are made.
    seed : int, list of int or Generator
    dealt : bool, default=False
        Whether shuffled units are dealt out in turn. Else each unit is given a shuffled
        number. Both are as random; which one it is decides what folds a seed stands for.

    Returns
    -------
    folds : list of Fold
        Each unit is held out in one of them, and their numbers differ by one at most.
        There are none if there is a single unit, which cannot be divided.
    """
    order = _shuffle(units, seed)
    if len(order) < 2:
        return []
    n_folds = min(n_folds, len(order))
    # units are dealt in this order
    hand = order if dealt else np.argsort(order)
    return [_fold(units, hand[k::n_folds]) for k in range(n_folds)]


def hold_out(
    units: np.ndarray, n_units: int, seed: int | list[int] | np.random.Generator
) -> Fold:
    """Hold out so many units, drawn at random.

    Parameters
    ----------
    units : ndarray of int of shape (n,)
        Labels 0, 1, ... as by `label_units`.
    n_units : int
    seed : int, list of int or Generator

    Returns
    -------
    fold : Fold
    """
    return _fold(units, _shuffle(units, seed)[:n_units])


def split_rows(
    n_samples: int, fraction: float, seed: list[int], groups: np.ndarray | None = None
) -> Fold:
    """Hold out about a fraction of the rows, in whole groups.

    Parameters
    ----------
    n_samples : int
        How many rows there are.
    fraction : float
        What part is held out, rounded to whole rows, or to whole groups: at least two where
        there are more than three, and one is left to train on.
    seed : list of int
        Seed of the permutation.
    groups : ndarray of int of shape (n_samples,) or None, default=None
        Labels; the rows of a group stay together. With None each row is a unit of its own:
        give the units of `label_units` where rows may have copies.

    Returns
    -------
    fold : Fold
    """
    if groups is None:
        return hold_out(np.arange(n_samples), round(fraction * n_samples), seed)
    units = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(units)
    if fraction == 0 or len(sizes) < 2:
        return Fold(np.arange(n_samples), np.arange(0))
    order = _shuffle(units, seed)
    cut = np.cumsum(sizes[order])[:-1]
    nearest = 1 + np.abs(cut - fraction * n_samples).argmin()
    # The spread between groups needs two of them.
    return _fold(units, order[: max(int(nearest), 2 if len(order) > 3 else 1)])


def _shuffle(units: np.ndarray, seed) -> np.ndarray:
    """Return the labels of all units in a random order."""
    return np.random.default_rng(seed).permutation(int(units.max(initial=-1)) + 1)


def _fold(units: np.ndarray, chosen: np.ndarray) -> Fold:
    """Return the fold that holds some units out."""
    is_held_out = np.isin(units, chosen)
    return Fold(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out))
