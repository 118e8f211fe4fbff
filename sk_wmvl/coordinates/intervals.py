"""Grouped measurements: a value that stands for an interval is spread over it."""

import math

import numpy as np

from sk_wmvl._rows import GROUPED_COPIES, LEAST_DISPERSION, are_even
from sk_wmvl.coordinates.ties import rounding_steps

__all__ = ["find_sectors", "spread_angles", "spread_line"]

TWO_PI = 2 * math.pi
# Of a sector: angles in sectors are often rounded once more, to 0.79 radians say.
UNEVEN_ANGLE = 0.03


def spread_line(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a rounded column with each value spread evenly over its interval.

    The interval is as wide as the step if all gaps between values are multiples of one.
    Else it ends halfway to the next values.

    Parameters
    ----------
    x : ndarray of shape (n,)
    generator : Generator

    Returns
    -------
    x : ndarray of shape (n,)
        The same object if the column is not rounded; see `rounding_steps`.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.coordinates import spread_line
    >>> x = np.random.default_rng(0).poisson(5.0, 1000)
    >>> spread = spread_line(x, np.random.default_rng(0))
    >>> bool((spread.round() == x).all())
    True
    """
    if rounding_steps(x[:, None])[0] == 0:
        return x
    values, label = np.unique(x, return_inverse=True)
    gaps = np.diff(values)
    if are_even(values):
        left = right = np.full(len(values), gaps.min() / 2)
    else:
        left = np.r_[gaps[0], gaps] / 2
        right = np.r_[gaps, gaps[-1]] / 2
    where = generator.random(len(x))
    return x - left[label] + where * (left + right)[label]


def find_sectors(angles: np.ndarray) -> int:
    """Return in how many sectors of a turn angles are grouped, or 0 if they are not.

    They are grouped if each value is taken four times on average, by numbers of rows that
    vary as those of independent rows do, and if all gaps are multiples of a part of a turn.

    Parameters
    ----------
    angles : ndarray of shape (n,)
        In [-π, π).

    Returns
    -------
    n_sectors : int
    """
    values, counts = np.unique(angles, return_counts=True)
    mean = counts.mean()
    if len(values) < 2 or mean < GROUPED_COPIES:
        return 0
    if counts.var() < LEAST_DISPERSION * mean:
        return 0
    gaps = np.diff(np.r_[values, values[0] + TWO_PI])
    n_sectors = round(TWO_PI / gaps.min())
    multiples = gaps * n_sectors / TWO_PI
    is_even = (np.abs(multiples - multiples.round()) < UNEVEN_ANGLE).all()
    return n_sectors if is_even else 0


def spread_angles(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return angles with those in sectors spread evenly over their sectors.

    Parameters
    ----------
    x : ndarray of shape (n, m)
        In [-π, π).
    generator : Generator

    Returns
    -------
    x : ndarray of shape (n, m)
        The same object if no column is in sectors.
    """
    n_sectors = np.array([find_sectors(column) for column in x.T])
    if not n_sectors.any():
        return x
    width = np.where(n_sectors > 0, TWO_PI / n_sectors.clip(1), 0.0)
    return x + (generator.random(x.shape) - 0.5) * width
