"""Look at the columns of a fit: what has no density is left out, refused or named."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sk_wmvl._random import make_generator
from sk_wmvl._rows import Rows
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.coordinates import (
    ClippedMoments,
    VaryingColumns,
    discrete_columns,
    few_valued_columns,
    find_atoms,
    find_relations,
    find_sectors,
    rounding_steps,
    spread_angles,
    spread_line,
)
from sk_wmvl.coordinates.varying import find_constant
from sk_wmvl.estimators._prepare import INTERVALS, to_points
from sk_wmvl.manifolds import BaseManifold, Circle, Euclidean, Torus

__all__ = [
    "inspect_columns",
    "name_columns",
    "spread_rows",
    "warn_if_elsewhere",
    "warn_of_left_out",
    "warn_of_wells",
]

MOST_NAMED, CHUNK = 5, 8192
# Rows are elsewhere if more of them than this lie where a base has so little of its mass,
# and at least three; or if a normal density of their own is likelier by a nat per row than
# that of the first rows, and by more than as many parameters would gain by chance.
FAR = ((0.1, 1e-3), (0.5, 0.05))
FEWEST_FAR, N_DRAWS, NATS, ROWS_PER_COLUMN = 3, 4096, 1.0, 10
ROUNDING = 1e-9  # of log densities, which are all equal where a base is uniform
DEEP = 1.0  # nats by which a correction is lower at tied values than around them
FEW_SECTORS = 36  # of a turn; more of them change nothing that one could see
ELSEWHERE = 2001  # a stream of the seed that nothing else uses


def name_columns(names: Sequence[str] | None, columns: Iterable[int]) -> str:
    """Return the names of columns, or their indices, as a list in a sentence."""
    named = [str(j) if names is None else repr(names[j]) for j in columns]
    if len(named) > MOST_NAMED:
        named = [*named[:MOST_NAMED], f"{len(named) - MOST_NAMED} more"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)


def inspect_columns(
    X: np.ndarray,
    manifold: BaseManifold,
    names: Sequence[str] | None,
    *,
    ties: bool,
) -> VaryingColumns | None:
    """Return which columns vary, or None if none of them is left out.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The user's rows.
    manifold : BaseManifold
        Constant columns are left out of Euclidean space. In a product they are refused.
    names : sequence of str or None
        Of the columns.
    ties : bool
        Whether to tell of discrete columns and atoms.

    Raises
    ------
    ValueError
        If no column varies, or one does not that is a Euclidean factor of a product.

    Warns
    -----
    UserWarning
        That names columns which are constant, exact linear functions of others, discrete,
        or have an atom.
    """
    if not isinstance(manifold, Euclidean):
        if manifold.flat_columns:
            flat = to_points(manifold, X)[:, manifold.flat_columns]
            constant = np.flatnonzero(find_constant(flat))
            if len(constant):
                raise ValueError(
                    f"Coordinate {constant[0]} of the Euclidean factors of {manifold!r} is "
                    f"{flat[0, constant[0]]:g} in all rows, so that they have no density. "
                    "Leave it out."
                )
        return None
    columns = VaryingColumns.of(X)
    constant = columns.constant
    if len(constant):
        values = ", ".join(f"{v:g}" for v in columns.values[constant][:MOST_NAMED])
        warn(
            f"Constant columns of X are left out of the density: column"
            f"{'s' * (len(constant) > 1)} {name_columns(names, constant)} (value "
            f"{values}). Log densities are those of the other columns, in their units; "
            "draws have the constants."
        )
    varying = np.flatnonzero(columns.varies)
    _warn_of_relations(X, varying, names)
    if ties:
        _warn_of_ties(X, varying, names)
    return columns if len(constant) else None


def warn_of_left_out(
    X: np.ndarray, columns: VaryingColumns | None, names: Sequence[str] | None
) -> None:
    """Warn if columns vary that an earlier fit left out as constant.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The user's rows of a fit that goes on.
    columns : VaryingColumns or None
        Of the first fit.
    names : sequence of str or None
        Of the columns.

    Warns
    -----
    UserWarning
        With the remedy.
    """
    departing = columns.departing(X) if columns is not None else ()
    if len(departing):
        warn(
            f"Columns were constant in the rows of the first fit and are not now: column"
            f"{'s' * (len(departing) > 1)} {name_columns(names, departing)}. They stay "
            "left out of the density. Fit again with warm_start=False, or start with a "
            "first part in which they vary."
        )


def _shortened(told: list[str]) -> str:
    """Return the first few of what is told, and how many more there are."""
    more = [f"{len(told) - MOST_NAMED} more"] if len(told) > MOST_NAMED else []
    return "; ".join(told[:MOST_NAMED] + more)


def _warn_of_relations(
    X: np.ndarray, varying: np.ndarray, names: Sequence[str] | None
) -> None:
    relations = find_relations(X[:, varying])
    if not relations:
        return
    told = [
        f"column {name_columns(names, [varying[r.column]])} of column"
        f"{'s' * (len(r.others) > 1)} {name_columns(names, varying[list(r.others)])}"
        for r in relations
    ]
    warn(
        "X has columns that are exact linear functions of others: "
        f"{_shortened(told)}. Rows lie in a subspace, across which they have no density: "
        "log densities depend on how narrow the fit is there. Leave these columns out."
    )


def _warn_of_ties(
    X: np.ndarray, varying: np.ndarray, names: Sequence[str] | None
) -> None:
    points = X[:, varying]
    rounding = rounding_steps(points)
    few = few_valued_columns(points, rounding)
    wide = np.setdiff1d(discrete_columns(points, rounding), few)
    intervals = (
        "Each of their values stands for an interval as wide as the step between values, "
        "and log densities are those of the intervals."
    )
    if len(few):
        warn(
            f"X has discrete columns: {name_columns(names, varying[few])}. {intervals} To "
            "model such a column exactly, fit one density for each of its values."
        )
    if len(wide):
        named = name_columns(names, varying[wide])
        warn(f"X has columns in wide steps: {named}. {intervals}")
    atoms = find_atoms(points, rounding)
    if atoms:
        told = [
            f"column {name_columns(names, [varying[a.column]])} is {a.value:g} in "
            f"{a.share:.0%} of the rows"
            for a in atoms
        ]
        warn(
            f"X has values of no width: {_shortened(told)}. The density has a peak of "
            "their mass there, whose height depends on a floor of its width. To compare "
            "log densities, model these rows apart."
        )


def spread_rows(X: np.ndarray, manifold: BaseManifold, seed: int) -> np.ndarray:
    """Return rows with grouped values spread over the intervals that they stand for.

    These are a single varying column of Euclidean space that is rounded, and angles in
    sectors on circles and tori. Of several columns others tell more than the intervals;
    mixtures have a floor for these, and training has noise (`blur`).

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The user's rows.
    manifold : BaseManifold
    seed : int

    Returns
    -------
    X : ndarray of shape (n, d)
        The same object if nothing is grouped.

    Warns
    -----
    UserWarning
        If angles are in fewer than 36 sectors.
    """
    generator = np.random.default_rng([seed, INTERVALS])
    if isinstance(manifold, Euclidean):
        varying = np.flatnonzero(~find_constant(X))
        if len(varying) != 1:
            return X
        column = X[:, varying[0]]
        spread = spread_line(column, generator)
        if spread is column:
            return X
        X = X.copy()
        X[:, varying[0]] = spread
        return X
    if not isinstance(manifold, Circle | Torus):
        return X
    angles = to_points(manifold, X)
    spread = spread_angles(angles, generator)
    if spread is angles:
        return X
    n_sectors = [n for n in map(find_sectors, angles.T) if n]
    if min(n_sectors) < FEW_SECTORS:
        warn(
            f"X has angles in sectors, {min(n_sectors)} to a turn. Each row was spread "
            "over its sector; the density cannot tell more than the sectors do."
        )
    return manifold.to_user(manifold.projection(torch.from_numpy(spread))).numpy()


@torch.no_grad()
def warn_if_elsewhere(
    rows: Rows, base: BaseMeasure, *, first: ClippedMoments | None, seed: int
) -> None:
    """Warn if rows do not suit the base measure of an earlier fit.

    Parameters
    ----------
    rows : Rows
        In internal coordinates.
    base : BaseMeasure
        In float64.
    first : ClippedMoments or None
        Of the rows of that fit in Euclidean space, where rows may also be in a small part
        of the base. A base tells less of it: a single far row can make it wide.
    seed : int
        Of draws from the base.

    Warns
    -----
    UserWarning
        With the remedy.
    """
    x = torch.from_numpy(rows.points)
    at_rows = base.log_prob(x).numpy()
    draws = base.sample(N_DRAWS, generator=make_generator(seed, ELSEWHERE))
    at_draws = base.log_prob(draws).numpy()
    told = ""
    for most, mass in FAR:
        is_far = at_rows < np.quantile(at_draws, mass) - ROUNDING
        share = np.average(is_far, weights=rows.weight)
        if share > most and is_far.sum() >= FEWEST_FAR:
            told = f"{share:.0%} of them lie where it has {mass:.1%} of its mass"
            break
    if not told and first is not None:
        n, k = min(len(rows.points), first.n_rows), len(first.columns)
        if k and n >= ROWS_PER_COLUMN * k:
            own = ClippedMoments.of(rows.points, rows.weight, first.columns)
            gain = own.divergence(first)
            n_parameters = k * (k + 3) / 2
            if gain > NATS + n_parameters * (1 / own.n_rows + 1 / first.n_rows):
                told = (
                    f"a normal density of their own is likelier by {gain:.2g} nats per "
                    "row than one of the first rows"
                )
    if told:
        warn(
            "The rows are elsewhere than those of the first fit, whose coordinates and "
            f"base measure are kept: {told}. The network can hardly make up for it. Fit "
            "again with warm_start=False, or a new estimator."
        )


@torch.no_grad()
def warn_of_wells(
    correction: Callable[[torch.Tensor], torch.Tensor],
    tied: Rows,
    blurred: Rows,
) -> None:
    """Warn if a correction has wells at the values to which columns are rounded.

    Parameters
    ----------
    correction : callable
        Maps points, (n, d), to energies, (n,): the correction at its scale.
    tied : Rows
        In internal coordinates, in float64.
    blurred : Rows
        The same with the noise of their rounding.

    Warns
    -----
    ConvergenceWarning
        If it is lower at the values, by a nat or more, than within their rounding.
    """
    at_values, around = (
        np.concatenate(
            [
                correction(x).cpu().numpy()
                for x in torch.from_numpy(rows.points).split(CHUNK)
            ]
        )
        for rows in (tied, blurred)
    )
    depth = float(np.average(around - at_values, weights=tied.weight))
    if depth >= DEEP:
        warn(
            f"The learned correction is lower by {depth:.2g} nats at values that repeat "
            "than within their rounding: log densities there are too high by so much. Use "
            "a larger alpha or epsilon, or model the discrete columns apart.",
            ConvergenceWarning,
        )
