"""Validate rows, and prepare their space, its units and the base measure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from sk_wmvl._rows import Fold, Rows, label_units, split_rows
from sk_wmvl._validation import check_groups, check_rows, check_weights
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.coordinates import (
    ClippedMoments,
    Coordinates,
    VaryingColumns,
    fit_coordinates,
    rounding_steps,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = [
    "Chosen",
    "Setup",
    "find_units",
    "prepare",
    "rounding_floor",
    "select_weighted",
    "split",
    "to_points",
    "validate",
]

# Streams of the one seed that a fit draws from `random_state`.
WEIGHTS, SHUFFLE, NOISE, SPLIT, NORMALIZER, SAMPLE, COMPARISON, TIES, INTERVALS = range(
    9
)
MIN_VALIDATION = 2  # rows; if fewer would be held out, none are


class Chosen(NamedTuple):
    """A base measure and its units.

    Attributes
    ----------
    base : BaseMeasure or None
        The density that the network corrects, in internal coordinates.
    proposal : BaseMeasure or None
        A normalised density close to the rows. It is the base; without a base it only
        proposes draws.
    coordinates : Coordinates
        The map between the user's units and internal ones.
    honest : BaseMeasure or None, default=None
        The base measure as it is without the rows that judge the correction. It is what
        the correction is trained over. None is the base measure itself.
    candidates, chosen : dict or None, default=None
        See `SelectedBase`.
    """

    base: BaseMeasure | None
    proposal: BaseMeasure | None
    coordinates: Coordinates
    honest: BaseMeasure | None = None
    candidates: dict[str, float] | None = None
    chosen: dict[str, float] | None = None


@dataclass(frozen=True)
class Setup:
    """The choices that the first fit makes and later ones keep.

    Attributes
    ----------
    manifold : BaseManifold
        The space of the rows, with its dimension known.
    chosen : Chosen
        The base measure, and its units.
    radius : float or None
        The largest norm of the rows' features, at which the network's input is clipped.
        None if it is not clipped.
    seed : int
    columns : VaryingColumns or None, default=None
        Which of the user's columns vary, where constant ones are left out. The manifold is
        that of these.
    moments : ClippedMoments or None, default=None
        Of the rows in internal coordinates of Euclidean space.
    """

    manifold: BaseManifold
    chosen: Chosen
    radius: float | None
    seed: int
    columns: VaryingColumns | None = None
    moments: ClippedMoments | None = None

    @property
    def coordinates(self) -> Coordinates:
        """The map between the user's units and internal ones."""
        return self.chosen.coordinates

    @property
    def base(self) -> BaseMeasure | None:
        """The base measure."""
        return self.chosen.base

    @property
    def honest(self) -> BaseMeasure | None:
        """The base measure without the rows that judge a correction."""
        return self.chosen.honest or self.chosen.base

    @property
    def proposal(self) -> BaseMeasure | None:
        """A normalised density close to the rows."""
        return self.chosen.proposal

    def varying(self, rows: Rows) -> Rows:
        """Return rows in the user's units, without the columns that are left out."""
        if self.columns is None:
            return rows
        return rows._replace(points=self.columns.take(rows.points))

    def internal(self, rows: Rows) -> Rows:
        """Return rows of `varying` in internal coordinates."""
        points = to_points(self.manifold, rows.points)
        return rows._replace(points=self.coordinates.to_internal(points))


def validate(
    estimator, X, sample_weight, groups, *, reset: bool, min_samples: int
) -> Rows:
    """Return the rows of a fit in the user's columns, without those of weight zero.

    Parameters
    ----------
    estimator : estimator
        Its `n_features_in_` and `feature_names_in_` are set, or compared with X.
    X, sample_weight, groups : array-like
        The arguments of `fit`.
    reset : bool
        Whether this is a first fit.
    min_samples : int
        The smallest number of rows that is allowed.

    Raises
    ------
    ValueError
        If X, the weights or the groups are invalid, or if too few rows have a positive
        weight.
    """
    X = check_rows(estimator, X, reset=reset, min_samples=min_samples)
    return select_weighted(X, sample_weight, groups, min_samples)[0]


def select_weighted(
    X: np.ndarray, sample_weight, groups, min_samples: int
) -> tuple[Rows, np.ndarray]:
    """Return the rows with a positive weight, and the mask that selects them.

    Raises
    ------
    ValueError
        If weights or groups are invalid, or if too few rows have a positive weight.
    """
    weight, groups = check_weights(sample_weight, X), check_groups(groups, X)
    if weight is None:
        return Rows(X, None, groups), np.ones(len(X), dtype=bool)
    kept = weight > 0
    if kept.sum() < min_samples:
        raise ValueError(
            "sample_weight leaves one row with a positive weight; at least two rows are "
            "needed."
        )
    rows = Rows(X[kept], weight[kept], None if groups is None else groups[kept])
    return rows, kept


def to_points(manifold: BaseManifold, X: np.ndarray) -> np.ndarray:
    """Return points in the ambient coordinates of a manifold."""
    return manifold.from_user(torch.tensor(X, dtype=torch.float64)).numpy()


def find_units(
    points: np.ndarray,
    weight: np.ndarray | None,
    manifold: BaseManifold,
    *,
    standardize: bool,
    robust: bool = False,
    floor: np.ndarray | None = None,
) -> tuple[Coordinates, np.ndarray, np.ndarray]:
    """Return internal coordinates, and mean and covariance of the points.

    `floor`, of shape (d,), is added to the variances of Euclidean columns.

    Raises
    ------
    ValueError
        If the covariance is not finite.
    """
    coordinates, mean, covariance = fit_coordinates(
        points,
        weight,
        standardize=standardize,
        columns=manifold.flat_columns,
        robust=robust,
        floor=floor,
    )
    if not np.isfinite(coordinates.scale).all():
        raise ValueError(
            "The covariance of X is not finite: its values are too large. Rescale the "
            "columns."
        )
    return coordinates, mean, covariance


def rounding_floor(points: np.ndarray, manifold: BaseManifold) -> np.ndarray | None:
    """Return the variances of rounding of the columns, (d,); None where there is none.

    Mixtures have them as a floor, and what is trained over these sees rows with this noise.
    """
    if not isinstance(manifold, Euclidean):
        return None
    steps = rounding_steps(points)
    return steps**2 / 12 if steps.any() else None


def prepare(
    rows: Rows,
    manifold: BaseManifold,
    choose_base: Callable[[Rows, Coordinates, tuple[np.ndarray, np.ndarray]], Chosen],
    *,
    standardize: bool,
    robust: bool = False,
    clip: bool = True,
    floor: np.ndarray | None = None,
    columns: VaryingColumns | None = None,
    seed: int,
) -> Setup:
    """Return the setup of a first fit.

    Parameters
    ----------
    rows : Rows
        In the user's columns, without those that are left out.
    manifold : BaseManifold
        The space of the rows, with its dimension known.
    choose_base : callable
        Chooses a base measure for points in ambient coordinates. Its arguments are the
        points, internal coordinates, and mean and covariance of the points.
    standardize, robust : bool
        See `fit_coordinates`.
    clip : bool, default=True
        Whether to clip the input of a network if the space is not compact.
    floor : ndarray of shape (d,) or None, default=None
        Added to the variances of the points: those of rounding, see `rounding_floor`.
    columns : VaryingColumns or None, default=None
        See `Setup`.
    seed : int

    Returns
    -------
    setup : Setup
    """
    points = to_points(manifold, rows.points)
    coordinates, mean, covariance = find_units(
        points,
        rows.weight,
        manifold,
        standardize=standardize,
        robust=robust,
        floor=floor,
    )
    chosen = choose_base(rows._replace(points=points), coordinates, (mean, covariance))
    radius = None
    if clip and not manifold.is_compact:  # on compact manifolds features are bounded
        u = torch.from_numpy(chosen.coordinates.to_internal(points))
        norms = torch.linalg.vector_norm(manifold.features(u), dim=1)
        radius = max(1.0, float(norms.max()))
    moments = None
    if isinstance(manifold, Euclidean):
        inside = chosen.coordinates.to_internal(points)
        moments = ClippedMoments.of(inside, rows.weight)
    return Setup(manifold, chosen, radius, seed, columns, moments)


def split(rows: Rows, fraction: float, seed: int) -> Fold:
    """Hold out a fraction of the rows, with groups and copies of a row kept together.

    If fewer than two rows would be held out, none are.
    """
    n_samples = len(rows.points)
    everything = Fold(np.arange(n_samples), np.arange(0))
    if fraction == 0:
        return everything
    units = rows.groups
    if units is None:
        # Labels in the order of the rows do not depend on the coordinates.
        labels = label_units(rows.points, in_order=True)
        units = labels if labels.max() + 1 < n_samples else None
    fold = split_rows(n_samples, fraction, [seed, SPLIT], units)
    if len(fold.held_out) < MIN_VALIDATION:
        return everything
    return fold
