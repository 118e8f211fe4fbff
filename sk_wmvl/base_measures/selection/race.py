"""The race among mixtures in Euclidean space: all on some rows, the best on all."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sk_wmvl._rows import Fold
from sk_wmvl.base_measures.selection.search import Candidate, Choice, Search
from sk_wmvl.base_measures.selection.separating_axes import separating_axes
from sk_wmvl.base_measures.selection.stacking import stacking_weights
from sk_wmvl.base_measures.selection.student_mixture import (
    FLOOR,
    MOST_RESTARTED,
    StudentMixture,
    fit_mixture,
    join_mixtures,
)
from sk_wmvl.coordinates.johnson import JohnsonTransform, fit_johnson
from sk_wmvl.coordinates.ties import rounding_steps

__all__ = ["SIMPLEST", "MixtureCandidate", "Sample", "System", "name_of", "race"]

LADDER = (1, 2, 4, 8, 16, 32, 64)
DEGREES_OF_FREEDOM = (np.inf, 10.0, 3.0)
# The transformation has heavy tails of its own.
TRANSFORMED_DEGREES_OF_FREEDOM = DEGREES_OF_FREEDOM[:2]
LEAST_ROWS = 6  # per component, on average, or two per dimension
PATIENCE = 2  # steps of the ladder without an improvement; one, with heavier tails
# Heavier tails need fewer components than normal densities, but not much fewer.
FEWER = 4
# Of a stack. Each part is a mixture of full covariances: few are enough, and they cost.
MOST_STACKED, LEAST_WEIGHT = 3, 0.05
# A stack of one is a candidate that was offered before the best, and now is better.
FEWEST_STACKED = 1
N_AVERAGED = 4  # fits of many components, from as many starts
LEAST_TRANSFORMED_ROWS = 50  # distinct ones, to fit transformations to
# All candidates run the first heat: one fold, and a part of its rows where there are twice
# as many. The final is run by those within so many standard errors of the best there, by so
# many in any case, and by the heaviest in a stack.
ROWS_OF_A_HEAT, NEAR, LEAST_FINALISTS = 8000, 2.0, 5


class System(NamedTuple):
    """Rows in the coordinates in which a mixture is fitted.

    Attributes
    ----------
    transform : JohnsonTransform or None
        Of the columns; None leaves them as they are.
    x : ndarray of shape (n, d)
        Transformed rows.
    log_det : ndarray of shape (n,)
        Of the transformation, at the rows.
    floor : ndarray of shape (d,)
        What variances do not fall below.
    """

    transform: JohnsonTransform | None
    x: np.ndarray
    log_det: np.ndarray
    floor: np.ndarray


class Sample:
    """Rows to fit mixtures to, with columns as they are and transformed.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, in columns of unit variance.
    weight : ndarray of shape (n,)
        Not negative; rows without weight are dropped. Only ratios matter.
    transform : JohnsonTransform or None, default=None
        A transformation to keep; None fits one where it is needed.
    """

    def __init__(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        transform: JohnsonTransform | None = None,
    ):
        positive = weight > 0
        if not positive.all():
            x, weight = x[positive], weight[positive]
        self.x = x
        self.weight = weight / weight.mean()
        self.steps = rounding_steps(x)
        self._transform = transform

    @functools.cached_property
    def plain(self) -> System:
        """The columns as they are."""
        return System(None, self.x, np.zeros(len(self.x)), self.steps**2 / 12)

    @functools.cached_property
    def transformed(self) -> System:
        """The transformed columns, the transformation fitted to all rows."""
        return self.transformed_by(np.arange(len(self.x)))

    def transformed_by(self, train: np.ndarray) -> System:
        """Return all rows with the columns transformed as suits some of the rows.

        Components are no narrower than in the columns as they are.
        """
        x, steps = self.x, self.steps
        transform = self._transform or fit_johnson(
            x[train], self.weight[train], least_scale=steps
        )
        steepest = 1 / (transform.scale * transform.std)
        floor = steepest**2 * (steps**2 / 12 + FLOOR)
        return System(transform, transform.forward(x), transform.log_det(x), floor)


@dataclass(frozen=True, eq=False)
class MixtureCandidate(Candidate[Sample, StudentMixture]):
    """A number of components with so many degrees of freedom.

    Parameters
    ----------
    n_components : int
    degrees_of_freedom : float
        Infinite for normal components.
    is_transformed : bool
        Whether columns are transformed.
    axes : ndarray of shape (d, d) or None
        Along which components start far apart; see `separating_axes`.
    n_iterations : int
        Steps of a fit, for which no rows are held out.
    seeds : tuple of int
        Of the starts. The fits from several are averaged.
    """

    n_components: int
    degrees_of_freedom: float
    is_transformed: bool
    axes: np.ndarray | None
    n_iterations: int
    seeds: tuple[int, ...]

    def fit(self, rows: Sample) -> StudentMixture:
        """Return the mixture, of transformed columns if it is of such."""
        system = rows.transformed if self.is_transformed else rows.plain
        fits = [
            fit_mixture(
                system.x,
                rows.weight,
                self.n_components,
                self.degrees_of_freedom,
                floor=system.floor,
                seed=seed,
                axes=self.axes,
                n_iterations=self.n_iterations,
            )
            for seed in self.seeds
        ]
        return join_mixtures(fits, np.ones(len(fits)))


class Trial(NamedTuple):
    """What a candidate is, before it is fitted."""

    n_components: int
    degrees_of_freedom: float
    is_transformed: bool


SIMPLEST = Trial(1, np.inf, False)


class Track:
    """Folds on which trials are fitted.

    Parameters
    ----------
    sample : Sample
    folds : sequence of Fold
    seed : int
        Of the starts.
    """

    def __init__(self, sample: Sample, folds: Sequence[Fold], seed: int):
        self.sample, self.folds, self.seed = sample, folds, seed
        self._fits: dict[tuple[Trial, int], tuple[np.ndarray, int]] = {}
        self._systems: dict[int, System] = {}
        self._axes: dict[bool, np.ndarray] = {}

    def run(self, trial: Trial, which: Sequence[int] | None = None) -> MixtureCandidate:
        """Return the candidate with its log densities at the rows that folds hold out.

        Parameters
        ----------
        trial : Trial
        which : sequence of int or None, default=None
            The folds; None is all of them. What was fitted before is not fitted again.
        """
        which = range(len(self.folds)) if which is None else which
        values, lengths = zip(*(self._fit(trial, i) for i in which), strict=True)
        k, nu, is_transformed = trial
        # Few components are started several times anyway. Of many rows, in one fold, starts
        # differ less, and fits cost more.
        averaged = k > MOST_RESTARTED and len(self.folds) > 1
        n_starts = N_AVERAGED if averaged else 1
        return MixtureCandidate(
            name_of(trial),
            np.concatenate(values),
            k,
            nu,
            is_transformed,
            self._starting_axes(is_transformed) if k > 1 else None,
            round(np.mean(lengths)),
            tuple(range(self.seed, self.seed + n_starts)),
        )

    def _fit(self, trial: Trial, i: int) -> tuple[np.ndarray, int]:
        if (trial, i) in self._fits:
            return self._fits[trial, i]
        k, nu, is_transformed = trial
        system, weight = self._system(i, is_transformed), self.sample.weight
        train, held_out = self.folds[i]
        new = system.x[held_out]
        mixture = fit_mixture(
            system.x[train],
            weight[train],
            k,
            nu,
            floor=system.floor,
            seed=self.seed,
            axes=self._starting_axes(is_transformed) if k > 1 else None,
            held_out=(new, weight[held_out]),
        )
        result = mixture.log_prob(new) + system.log_det[held_out], mixture.n_iterations
        self._fits[trial, i] = result
        return result

    def _system(self, i: int, is_transformed: bool) -> System:
        """Return the columns as they are, or as suits the rows that a fold trains on."""
        if not is_transformed:
            return self.sample.plain
        if i not in self._systems:
            self._systems[i] = self.sample.transformed_by(self.folds[i].train)
        return self._systems[i]

    def _starting_axes(self, is_transformed: bool) -> np.ndarray:
        """Return axes by all rows: they only say where to start."""
        if is_transformed not in self._axes:
            system = self._system(0, is_transformed)
            self._axes[is_transformed] = separating_axes(
                system.x, self.seed, floor=system.floor
            )
        return self._axes[is_transformed]


def race(
    sample: Sample, folds: Sequence[Fold], units: np.ndarray, seed: int
) -> Choice[MixtureCandidate]:
    """Try mixtures of columns as they are, then of transformed ones, then a stack.

    All run a heat on one fold. Those that come near the best there, or have a part in a
    stack, run on all folds, from the simplest to the most complex one, and a more complex
    one must pay; see `Search`.

    Parameters
    ----------
    sample : Sample
    folds : sequence of Fold
    units : ndarray of int of shape (n,)
        Labels of rows that depend on one another.
    seed : int
        Of the starts.

    Returns
    -------
    choice : Choice
    """
    track = Track(sample, folds, seed)
    n_smallest = min(len(np.unique(sample.x[fold.train], axis=0)) for fold in folds)
    transforms = n_smallest >= LEAST_TRANSFORMED_ROWS and _transforming_pays(track)
    search = _new_search(sample, folds, units)
    for trial in _heat(track, units, n_smallest, transforms=transforms):
        search.offer(track.run(trial))
    # One normal density that nothing contradicts stays alone: its covariance is shrunk.
    stackable = [] if search.best is search.candidates[0] else search.candidates
    return search.result(
        stackable, most=MOST_STACKED, least_weight=LEAST_WEIGHT, fewest=FEWEST_STACKED
    )


def _new_search(
    sample: Sample, folds: Sequence[Fold], units: np.ndarray
) -> Search[MixtureCandidate]:
    held_out = np.concatenate([fold.held_out for fold in folds])
    weight = sample.weight[held_out]
    return Search[MixtureCandidate](weight / weight.sum(), units[held_out])


def _transforming_pays(track: Track) -> bool:
    """Return whether one normal density gains by transformed columns."""
    weight = track.sample.weight[np.concatenate([f.held_out for f in track.folds])]
    plain, transformed = (
        track.run(SIMPLEST._replace(is_transformed=those)).values
        for those in (False, True)
    )
    return bool(weight @ (transformed - plain) > 0)


def _heat(
    track: Track, units: np.ndarray, n_smallest: int, *, transforms: bool
) -> list[Trial]:
    """Return the trials that come near the best on the first fold, and the simplest one.

    Where a part of the rows was tried, the next size of the winner is among them.
    """
    whole, fold = track, track.folds[0]
    if len(fold.train) > 2 * ROWS_OF_A_HEAT:
        rng = np.random.default_rng([len(fold.train), track.seed])
        some = rng.permutation(len(fold.train))[:ROWS_OF_A_HEAT]
        fold = fold._replace(train=np.sort(fold.train[some]))
        track = Track(track.sample, [fold], track.seed)
    search = _new_search(track.sample, [fold], units)
    trials: list[Trial] = []
    for is_transformed in (False, True) if transforms else (False,):
        trials += _climb(search, track, n_smallest, is_transformed)
    values = np.stack([one.values for one in search.candidates], 1)
    order = np.argsort(-(search.weight @ values), kind="stable")
    best = values[:, order[0]]
    stack = np.argsort(-stacking_weights(values, search.weight))[:MOST_STACKED]
    kept = {0, *order[:LEAST_FINALISTS].tolist(), *stack.tolist()}
    kept |= {i for i, own in enumerate(values.T) if not search.pays(best, own, NEAR)}
    finalists = [trials[i] for i in sorted(kept)]
    if track is whole:
        return finalists
    # More rows bear more components.
    winner = trials[order[0]]
    rows_each = least_rows_each(track.sample)
    for k in LADDER:
        if k > winner.n_components and k * rows_each <= n_smallest:
            larger = winner._replace(n_components=k)
            return finalists if larger in finalists else [*finalists, larger]
    return finalists


def _climb(
    search: Search[MixtureCandidate],
    track: Track,
    n_smallest: int,
    is_transformed: bool,
) -> list[Trial]:
    """Try more components while it pays, and heavier tails; return what was tried.

    `n_smallest` is the number of distinct rows to train on in the smallest fold.
    """
    rows_each = least_rows_each(track.sample)
    least, trials = 1, []
    tails = TRANSFORMED_DEGREES_OF_FREEDOM if is_transformed else DEGREES_OF_FREEDOM
    for nu in tails:
        patience = PATIENCE if nu == DEGREES_OF_FREEDOM[0] else 1
        # A ladder is compared with itself: the best so far, of another kind, may be far
        # ahead of its first steps and behind its last.
        top, best, n_failed = 1, -np.inf, 0
        for k in LADDER:
            if k > 1 and (k < least or k * rows_each > n_smallest):
                continue
            trials.append(Trial(k, nu, is_transformed))
            candidate = track.run(trials[-1], [0])
            search.offer(candidate)
            mean = search.mean(candidate.values)
            n_failed = 0 if mean > best else n_failed + 1
            if mean > best:
                top, best = k, mean
            if n_failed == patience:
                break
        if nu == DEGREES_OF_FREEDOM[0]:
            least = top // FEWER
    return trials


def least_rows_each(sample: Sample) -> int:
    """Return how many rows a component needs, on average."""
    return max(LEAST_ROWS, 2 * sample.x.shape[1])


def name_of(trial: Trial) -> str:
    """Return what a report calls a mixture."""
    k, nu, is_transformed = trial
    kind = "normal" if np.isinf(nu) else "Student"
    tails = "" if np.isinf(nu) else f" with {nu:g} degrees of freedom"
    columns = ", of transformed columns" if is_transformed else ""
    return f"{k} {kind} component{'s' if k > 1 else ''}{tails}{columns}"
