"""The candidates in Euclidean space: normal and Student mixtures, and what fits them."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sk_wmvl._rows import Fold, label_units, make_folds
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.mixture import MixtureBase
from sk_wmvl.base_measures.selection.search import Candidate, Choice, Search
from sk_wmvl.base_measures.selection.separating_axes import separating_axes
from sk_wmvl.base_measures.selection.student_mixture import (
    FLOOR,
    MOST_RESTARTED,
    StudentMixture,
    continue_fit,
    fit_mixture,
    join_mixtures,
)
from sk_wmvl.base_measures.stacked import StackedBase
from sk_wmvl.base_measures.transformed import TransformedBase
from sk_wmvl.coordinates.johnson import (
    InvertedColumns,
    JohnsonColumns,
    JohnsonTransform,
    fit_johnson,
)
from sk_wmvl.coordinates.ties import rounding_steps

__all__ = ["ChosenMixture", "adapt", "choose_mixture", "search_mixture"]

LADDER = (1, 2, 4, 8, 16, 32, 64)
DEGREES_OF_FREEDOM = (np.inf, 10.0, 3.0)
# The transformation has heavy tails of its own.
TRANSFORMED_DEGREES_OF_FREEDOM = DEGREES_OF_FREEDOM[:2]
LEAST_ROWS = 6  # per component, on average, or two per dimension
PATIENCE = 2  # steps of the ladder without an improvement; one, with heavier tails
# Heavier tails need fewer components than normal densities, but not much fewer.
FEWER = 4
MAX_UNITS_TO_FOLD, N_FOLDS = 2000, 5
# Of more rows than these a random part is enough to choose by, and a larger one to refine
# what was chosen: a mixture has no more parameters than some thousands.
MOST_ROWS_TO_CHOOSE_BY, MOST_ROWS_TO_REFINE_BY, N_REFINING_STEPS = 50_000, 50_000, 5
SOME = 301  # a stream of the seed that nothing else uses
# Of a stack. Each part is a mixture of full covariances: few are enough, and they cost.
MOST_STACKED, LEAST_WEIGHT = 3, 0.05
# A stack of one is a candidate that was offered before the best, and now is better.
FEWEST_STACKED = 1
N_AVERAGED = 4  # fits of many components, from as many starts
LEAST_TRANSFORMED_ROWS = 50  # distinct ones, to fit transformations to


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


class ChosenMixture(NamedTuple):
    """A mixture of columns as they are, one of transformed columns, or both, stacked.

    Attributes
    ----------
    plain : StudentMixture or None
        Of the columns as they are.
    transformed : StudentMixture or None
        Of the transformed ones.
    transform : JohnsonTransform or None
        To these.
    transformed_weight : float
        The weight of the density that `transformed` is.
    """

    plain: StudentMixture | None
    transformed: StudentMixture | None = None
    transform: JohnsonTransform | None = None
    transformed_weight: float = 0.0

    @property
    def is_one_normal(self) -> bool:
        """Whether it is one normal density of columns as they are."""
        plain = self.plain
        if plain is None or self.transformed is not None:
            return False
        normal = bool(np.isinf(plain.degrees_of_freedom).all())
        return normal and len(plain.weights) == 1

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log densities of shape (n,)."""
        parts = []
        if self.plain is not None:
            parts.append(np.log1p(-self.transformed_weight) + self.plain.log_prob(x))
        if self.transformed is not None and self.transform is not None:
            value = self.transformed.log_prob(self.transform.forward(x))
            value = np.log(self.transformed_weight) + value
            parts.append(value + self.transform.log_det(x))
        return np.logaddexp.reduce(parts)

    def base(
        self, shift: np.ndarray, matrix: np.ndarray, *, transformed: bool
    ) -> BaseMeasure:
        """Return the density of u where this is that of z.

        Parameters
        ----------
        shift : ndarray of shape (d,)
        matrix : ndarray of shape (d, d)
            Invertible; shift + matrix u is z, or its columns transformed.
        transformed : bool
            Whether it is the latter.

        Returns
        -------
        base : MixtureBase, TransformedBase or StackedBase
        """
        near, other = self.plain, self.transformed
        weights = [1 - self.transformed_weight, self.transformed_weight]
        if transformed:
            near, other, weights = other, near, weights[::-1]
        bases: list[BaseMeasure] = []
        if near is not None:
            inverse = np.linalg.inv(matrix)
            moved = inverse @ near.covariances @ inverse.T
            bases.append(
                MixtureBase(
                    near.weights,
                    (near.means - shift) @ inverse.T,
                    0.5 * (moved + moved.swapaxes(1, 2)),
                    near.degrees_of_freedom,
                )
            )
        if other is not None and self.transform is not None:
            columns = JohnsonColumns(self.transform)
            bases.append(
                TransformedBase(
                    MixtureBase(
                        other.weights,
                        other.means,
                        other.covariances,
                        other.degrees_of_freedom,
                    ),
                    InvertedColumns(columns) if transformed else columns,
                    shift,
                    matrix,
                )
            )
        return bases[0] if len(bases) == 1 else StackedBase(bases, np.array(weights))


def choose_mixture(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    held_out: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> ChosenMixture:
    r"""Return the mixture under which rows held out are likeliest.

    The search starts from one normal density. It tries more components, doubled as long as
    that pays, with normal and with heavier tails (10 and 3 degrees of freedom); each
    mixture is fitted by `fit_mixture`. It then tries the same with columns made nearly
    normal (`fit_johnson`, without 3 degrees of freedom), if one normal density gains by
    that and 50 distinct rows are left to fit to in every fold; with five folds this takes
    63 rows. A more complex mixture must be better by half the standard error of the mean
    difference, and by a whole one to replace the one normal density. Last, all mixtures are
    stacked, with the weights that make held-out rows likeliest [Smyth1999]_. The stack is
    taken if it is better still.

    Up to 2000 rows, or groups, are cross-validated in five folds; of more, one part is held
    out. The choice is fitted to all rows. If it has more than eight components and was
    cross-validated, it is the average of four fits from different starts, whose mean log
    density is at least the mean of theirs. Of more than 50 000 rows so many are drawn to
    choose by, and as many others refine the choice.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, in columns of unit variance.
    weight : ndarray of shape (n,)
        Weights of the rows.
    held_out : ndarray of int
        The rows held out, where one part is enough.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels; a group is never divided. Without, copies of a row stay together.
    seed : int, default=0
        Seed of the starts and folds.

    Returns
    -------
    mixture : ChosenMixture

    References
    ----------
    [Smyth1999]_, [Johnson1949]_
    """
    return search_mixture(x, weight, held_out=held_out, groups=groups, seed=seed)[0]


def search_mixture(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    held_out: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[ChosenMixture, Choice[MixtureCandidate]]:
    """Return what `choose_mixture` does, and the choice, for a fit to other rows."""
    if len(x) > MOST_ROWS_TO_CHOOSE_BY:
        return _search_some(x, weight, held_out, groups, seed)
    sample = Sample(x, weight)
    positive = weight > 0
    if not positive.all():
        held_out = np.flatnonzero(np.isin(np.arange(len(x)), held_out)[positive])
        groups = None if groups is None else groups[positive]
    units = label_units(sample.x, groups)
    n_units = int(units.max()) + 1
    if n_units == 1:
        # nothing can be held out
        name = _name(1, np.inf, False)
        normal = MixtureCandidate(name, np.zeros(0), 1, np.inf, False, None, 0, (seed,))
        choice = Choice((normal,), np.ones(1), {})
    else:
        if n_units <= MAX_UNITS_TO_FOLD or len(held_out) == 0:
            folds = make_folds(units, N_FOLDS, seed)
        else:
            folds = [Fold(np.setdiff1d(np.arange(len(units)), held_out), held_out)]
        choice = _search(sample, folds, units, seed)
    return _fit(choice, sample), choice


def _search_some(
    x: np.ndarray,
    weight: np.ndarray,
    held_out: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
) -> tuple[ChosenMixture, Choice[MixtureCandidate]]:
    """Search with some of many rows, and let more of them refine what is chosen."""
    rng = np.random.default_rng([seed, SOME])
    order = rng.permutation(len(x))
    if groups is not None:  # whole groups, in random order
        rank = rng.permutation(int(groups.max()) + 1)
        order = np.argsort(rank[groups], kind="stable")
    some = np.sort(order[:MOST_ROWS_TO_CHOOSE_BY])
    fitted, choice = search_mixture(
        x[some],
        weight[some],
        held_out=np.flatnonzero(np.isin(some, held_out)),
        groups=None if groups is None else groups[some],
        seed=seed,
    )
    return adapt(fitted, x, weight, n_steps=N_REFINING_STEPS), choice


def adapt(
    fitted: ChosenMixture, x: np.ndarray, weight: np.ndarray, *, n_steps: int
) -> ChosenMixture:
    """Return what was fitted after a few more steps on other rows; see `Sample`.

    Numbers of components, weights of a stack and the transformation stay as they are. Of
    more than 50 000 rows so many are drawn.
    """
    if len(x) > MOST_ROWS_TO_REFINE_BY:
        rng = np.random.default_rng([len(x), SOME])
        some = np.sort(rng.permutation(len(x))[:MOST_ROWS_TO_REFINE_BY])
        x, weight = x[some], weight[some]
    sample = Sample(x, weight, fitted.transform)

    def go_on(mixture: StudentMixture, system: System) -> StudentMixture:
        return continue_fit(
            mixture, system.x, sample.weight, floor=system.floor, n_steps=n_steps
        )

    plain, transformed = fitted.plain, fitted.transformed
    if plain is not None:
        plain = go_on(plain, sample.plain)
    if transformed is not None:
        transformed = go_on(transformed, sample.transformed)
    return fitted._replace(plain=plain, transformed=transformed)


def _fit(choice: Choice[MixtureCandidate], sample: Sample) -> ChosenMixture:
    mixtures, weights = [part.fit(sample) for part in choice.parts], choice.weights
    is_transformed = np.array([part.is_transformed for part in choice.parts])

    def join(those: np.ndarray) -> StudentMixture | None:
        some = np.flatnonzero(those)
        if len(some) == 0:
            return None
        return join_mixtures([mixtures[i] for i in some], weights[some])

    return ChosenMixture(
        join(~is_transformed),
        join(is_transformed),
        sample.transformed.transform if is_transformed.any() else None,
        float(weights[is_transformed].sum()),
    )


def _search(
    sample: Sample, folds: list[Fold], units: np.ndarray, seed: int
) -> Choice[MixtureCandidate]:
    """Try mixtures of columns as they are, then of transformed ones, then a stack."""
    held_out = np.concatenate([fold.held_out for fold in folds])
    weight = sample.weight[held_out]
    search = Search[MixtureCandidate](weight / weight.sum(), units[held_out])
    n_smallest = min(len(np.unique(sample.x[fold.train], axis=0)) for fold in folds)
    _climb(search, sample, folds, seed, n_smallest, is_transformed=False)
    if n_smallest >= LEAST_TRANSFORMED_ROWS:
        _climb(search, sample, folds, seed, n_smallest, is_transformed=True)
    # One normal density that nothing contradicts stays alone: its covariance is shrunk.
    stackable = [] if search.best is search.candidates[0] else search.candidates
    return search.result(
        stackable, most=MOST_STACKED, least_weight=LEAST_WEIGHT, fewest=FEWEST_STACKED
    )


def _climb(
    search: Search[MixtureCandidate],
    sample: Sample,
    folds: list[Fold],
    seed: int,
    n_smallest: int,
    *,
    is_transformed: bool,
) -> None:
    """Try more components while it pays, and heavier tails.

    `n_smallest` is the number of distinct rows to train on in the smallest fold.
    """
    systems = [
        sample.transformed_by(fold.train) if is_transformed else sample.plain
        for fold in folds
    ]
    # of all rows: they only say where to start
    axes = separating_axes(systems[0].x, seed, floor=systems[0].floor)

    def attempt(k: int, nu: float) -> MixtureCandidate:
        values, lengths = [], []
        for (train, held_out), system in zip(folds, systems, strict=True):
            new = system.x[held_out]
            mixture = fit_mixture(
                system.x[train],
                sample.weight[train],
                k,
                nu,
                floor=system.floor,
                seed=seed,
                axes=axes,
                held_out=(new, sample.weight[held_out]),
            )
            values.append(mixture.log_prob(new) + system.log_det[held_out])
            lengths.append(mixture.n_iterations)
        # Few components are started several times anyway. Of many rows, in one fold, starts
        # differ less, and fits cost more.
        averaged = k > MOST_RESTARTED and len(folds) > 1
        return MixtureCandidate(
            _name(k, nu, is_transformed),
            np.concatenate(values),
            k,
            nu,
            is_transformed,
            axes,
            round(np.mean(lengths)),
            tuple(range(seed, seed + (N_AVERAGED if averaged else 1))),
        )

    first = attempt(1, DEGREES_OF_FREEDOM[0])
    if is_transformed:
        plain = search.candidates[0].values
        if not search.pays(first.values, plain, 0.0):
            return
    rows_each = max(LEAST_ROWS, 2 * sample.x.shape[1])
    least = 1

    def ladder(nu: float) -> Iterator[MixtureCandidate]:
        for k in LADDER:
            if k == 1 or (k >= least and k * rows_each <= n_smallest):
                is_first = (k, nu) == (1, DEGREES_OF_FREEDOM[0])
                yield first if is_first else attempt(k, nu)

    tried = TRANSFORMED_DEGREES_OF_FREEDOM if is_transformed else DEGREES_OF_FREEDOM
    for nu in tried:
        patience = PATIENCE if nu == DEGREES_OF_FREEDOM[0] else 1
        # A ladder is compared with itself: the best so far, of another kind, may be far
        # ahead of its first steps and behind its last.
        _, top = search.climb(ladder(nu), patience, own_kind=True)
        if nu == DEGREES_OF_FREEDOM[0]:
            least = top.n_components // FEWER


def _name(k: int, nu: float, is_transformed: bool) -> str:
    """Return what a report calls a mixture."""
    kind = "normal" if np.isinf(nu) else "Student"
    tails = "" if np.isinf(nu) else f" with {nu:g} degrees of freedom"
    columns = ", of transformed columns" if is_transformed else ""
    return f"{k} {kind} component{'s' if k > 1 else ''}{tails}{columns}"
