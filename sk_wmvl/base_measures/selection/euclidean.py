"""The choice of a base measure in Euclidean space: by rows that are held out."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sk_wmvl.base_measures.selection.separating_axes import separating_axes
from sk_wmvl.base_measures.selection.stacking import stacking_weights
from sk_wmvl.base_measures.selection.student_mixture import (
    FLOOR,
    MOST_RESTARTED,
    StudentMixture,
    fit_mixture,
)
from sk_wmvl.coordinates.johnson import JohnsonTransform, fit_johnson
from sk_wmvl.coordinates.ties import rounding_steps

__all__ = ["ChosenMixture", "choose_mixture", "rounding_variance"]

LADDER = (1, 2, 4, 8, 16, 32, 64)
DOFS = (np.inf, 10.0, 3.0)
TRANSFORMED_DOFS = DOFS[:2]  # the transformation has heavy tails of its own
LEAST_ROWS = 6  # per component, on average, or two per dimension
PATIENCE = 2  # steps of the ladder without an improvement; one, with heavier tails
# Heavier tails need fewer components than normal densities, but not much fewer.
FEWER = 4
MAX_UNITS_TO_FOLD, N_FOLDS = 2000, 5
LEAST_SHARE = 0.05  # of a mixture in the stack
MOST_STACKED = 3
N_AVERAGED = 4  # fits of many components, from as many starts
LEAST_TRANSFORMED_ROWS = 50  # distinct ones, to fit transformations to


class Fold(NamedTuple):
    """Indices of rows to fit to, and of rows held out."""

    inside: np.ndarray
    outside: np.ndarray


class System(NamedTuple):
    """All rows in the coordinates in which a mixture is fitted.

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


class Candidate(NamedTuple):
    """Coordinates, a number of components and of degrees of freedom, tried.

    Attributes
    ----------
    values : ndarray of shape (n_held_out,)
        Held-out log densities.
    is_transformed : bool
        Whether columns are transformed.
    make : callable
        Returns the mixture, fitted to all rows, and the transformation.
    """

    values: np.ndarray
    is_transformed: bool
    make: Callable[[], tuple[StudentMixture, JohnsonTransform | None]]


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
    share : float
        The weight of the density that `transformed` is.
    """

    plain: StudentMixture | None
    transformed: StudentMixture | None = None
    transform: JohnsonTransform | None = None
    share: float = 0.0

    @property
    def is_one_normal(self) -> bool:
        """Whether it is one normal density of columns as they are."""
        plain = self.plain
        if plain is None or self.transformed is not None:
            return False
        return len(plain.weights) == 1 and bool(np.isinf(plain.dof).all())

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log densities of shape (n,)."""
        parts = []
        if self.plain is not None:
            parts.append(np.log1p(-self.share) + self.plain.log_prob(x))
        if self.transformed is not None and self.transform is not None:
            value = self.transformed.log_prob(self.transform.forward(x))
            parts.append(np.log(self.share) + value + self.transform.log_det(x))
        return np.logaddexp.reduce(parts)


def rounding_variance(x: np.ndarray) -> np.ndarray:
    """Return what rounding adds to the variances of columns, zero where there is none.

    The error of rounding is uniform, with variance a twelfth of the step's square
    (`rounding_steps`). Without such a floor a component could shrink onto one value.

    Parameters
    ----------
    x : ndarray of shape (n, d)

    Returns
    -------
    variance : ndarray of shape (d,)
    """
    return rounding_steps(x) ** 2 / 12


def choose_mixture(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    held_out: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> ChosenMixture:
    r"""Return the mixture under which rows held out are likeliest.

    The search starts from one normal density. Then come more components, doubled as long
    as it pays, with normal and with heavier tails (10 and 3 degrees of freedom); each is
    fitted by `fit_mixture`. Then the same with columns made nearly normal (`fit_johnson`,
    without 3 degrees of freedom), if one normal density gains by it and 50 distinct rows
    are left in every fold: of five that is from 63 rows on. What is more complex has to
    be better by half the standard error of the mean difference, and to replace the one
    normal density by a whole one. At last all of them are stacked: the mixture of mixtures
    with the weights that make held out rows likeliest [Smyth1999]_ is taken if it is
    better still.

    Up to 2000 rows, or groups, are cross-validated in five folds; beyond, one part held
    out is enough. What is chosen is fitted to all rows. Of more than eight components that
    were cross-validated, the average of four fits from different starts is taken, whose
    mean log density is at least the mean of theirs.

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
    positive = weight > 0
    if not positive.all():
        held_out = np.flatnonzero(np.isin(np.arange(len(x)), held_out)[positive])
        groups = None if groups is None else groups[positive]
        x, weight = x[positive], weight[positive]
    weight = weight / weight.mean()  # only ratios matter
    labels = x if groups is None else groups
    _, label = np.unique(labels, axis=0, return_inverse=True)
    label = label.reshape(-1)
    n_units = int(label.max()) + 1
    folded = n_units <= MAX_UNITS_TO_FOLD or len(held_out) == 0
    if n_units == 1:
        floor = rounding_variance(x)
        return ChosenMixture(fit_mixture(x, weight, 1, np.inf, floor=floor, seed=seed))
    if folded:
        order = np.arange(n_units) % min(N_FOLDS, n_units)
        fold = np.random.default_rng(seed).permutation(order)[label]
        parts = [np.flatnonzero(fold == k) for k in range(fold.max() + 1)]
    else:
        parts = [held_out]
    everything = np.arange(len(x))
    folds = [Fold(np.setdiff1d(everything, part), part) for part in parts]
    search = _Search(x, weight, folds, label, seed)
    search.climb(is_transformed=False)
    if search.n_smallest >= LEAST_TRANSFORMED_ROWS:
        search.climb(is_transformed=True)
    return search.result()


class _Search:
    """Mixtures tried so far, and the best of them by held-out log densities.

    Parameters
    ----------
    x : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    folds : list of Fold
    label : ndarray of int of shape (n,)
        Of units that are not divided.
    seed : int
    """

    def __init__(self, x, weight, folds: list[Fold], label: np.ndarray, seed: int):
        self.x, self.weight, self.folds, self.seed = x, weight, folds, seed
        outside = np.concatenate([fold.outside for fold in folds])
        self.share = weight[outside] / weight[outside].sum()
        self.clusters = label[outside]
        self.n_smallest = min(len(np.unique(x[f.inside], axis=0)) for f in folds)
        self.candidates: list[Candidate] = []
        self.best: Candidate | None = None

    def pays(self, candidate: np.ndarray, other: np.ndarray, needed: float) -> bool:
        """Return whether the mean gain exceeds so many standard errors, of whole units."""
        gain = candidate - other
        mean = self.share @ gain
        sums = np.bincount(self.clusters, self.share * (gain - mean))
        return bool(mean > needed * np.sqrt(np.square(sums).sum()))

    def climb(self, *, is_transformed: bool) -> None:
        """Try more components while it pays, and heavier tails."""
        x, weight, folds, seed = self.x, self.weight, self.folds, self.seed
        steps = rounding_steps(x)

        def fit_system(inside: np.ndarray) -> System:
            if not is_transformed:
                return System(None, x, np.zeros(len(x)), steps**2 / 12)
            return _transformed_system(x, weight, inside, steps)

        systems = [fit_system(fold.inside) for fold in folds]
        # of all rows: they only say where to start
        axes = separating_axes(systems[0].x, seed, floor=systems[0].floor)
        fit = functools.partial(fit_mixture, seed=seed, axes=axes)

        @functools.cache
        def final_system() -> System:
            return fit_system(np.arange(len(x)))

        def attempt(k: int, dof: float) -> Candidate:
            values, lengths = [], []
            for (inside, outside), system in zip(folds, systems, strict=True):
                y, new = system.x[inside], system.x[outside]
                rows = (new, weight[outside])
                mixture = fit(
                    y, weight[inside], k, dof, floor=system.floor, held_out=rows
                )
                values.append(mixture.log_prob(new) + system.log_det[outside])
                lengths.append(mixture.n_iterations)
            n = round(np.mean(lengths))

            def make() -> tuple[StudentMixture, JohnsonTransform | None]:
                transform, y, _, floor = final_system()
                # Few components start anew by themselves, and the likeliest start goes on.
                # Many rows decide better where components go, and training costs more.
                averaged = k > MOST_RESTARTED and len(folds) > 1
                seeds = range(seed, seed + (N_AVERAGED if averaged else 1))
                fits = [
                    fit(y, weight, k, dof, floor=floor, n_iterations=n, seed=start)
                    for start in seeds
                ]
                return _join(fits, np.ones(len(fits))), transform

            return Candidate(np.concatenate(values), is_transformed, make)

        rows_each = max(LEAST_ROWS, 2 * x.shape[1])
        least = 1
        for dof in TRANSFORMED_DOFS if is_transformed else DOFS:
            n_failed, of_kind, n_best = 0, None, 1
            patience = PATIENCE if dof == DOFS[0] else 1
            for k in LADDER:
                if 1 < k < least:
                    continue
                crowded = k > 1 and k * rows_each > self.n_smallest
                if n_failed == patience or crowded:
                    break
                tried = attempt(k, dof)
                if is_transformed and (k, dof) == (1, DOFS[0]):
                    plain = self.candidates[0].values
                    if not self.pays(tried.values, plain, 0.0):
                        return
                self.offer(tried)
                # the ladder goes on while its own kind improves
                climbs = of_kind is None or self.pays(tried.values, of_kind.values, 0.5)
                n_failed = 0 if climbs else n_failed + 1
                if climbs:
                    of_kind, n_best = tried, k
            if dof == DOFS[0]:
                least = n_best // FEWER

    def offer(self, candidate: Candidate) -> None:
        """Keep a candidate, as the best if it is."""
        self.candidates.append(candidate)
        # more to replace the one normal density than to go on from there
        needed = 1.0 if self.best is self.candidates[0] else 0.5
        if self.best is None or self.pays(candidate.values, self.best.values, needed):
            self.best = candidate

    def result(self) -> ChosenMixture:
        """Return the best, or all of them stacked."""
        assert self.best is not None
        kept, shares = [self.best], np.ones(1)
        if self.best is not self.candidates[0]:
            values = np.stack([candidate.values for candidate in self.candidates], 1)
            shares = stacking_weights(values, self.share)
            some = np.argsort(-shares)[:MOST_STACKED]
            some = some[shares[some] >= LEAST_SHARE]
            shares = stacking_weights(values[:, some], self.share)
            stacked = np.logaddexp.reduce(values[:, some] + np.log(shares), axis=1)
            if self.pays(stacked, self.best.values, 0.5):
                kept = [self.candidates[i] for i in some]
            else:
                shares = np.ones(1)
        made = [candidate.make() for candidate in kept]
        other = [i for i, candidate in enumerate(kept) if candidate.is_transformed]
        plain = [i for i in range(len(kept)) if i not in other]
        mixtures = [mixture for mixture, _ in made]
        return ChosenMixture(
            _join([mixtures[i] for i in plain], shares[plain]) if plain else None,
            _join([mixtures[i] for i in other], shares[other]) if other else None,
            made[other[0]][1] if other else None,
            float(shares[other].sum()),
        )


def _transformed_system(x, weight, inside: np.ndarray, steps: np.ndarray) -> System:
    """Return rows with transformed columns; components are no narrower than in plain."""
    transform = fit_johnson(x[inside], weight[inside], least_scale=steps)
    steepest = 1 / (transform.scale * transform.std)
    floor = steepest**2 * (steps**2 / 12 + FLOOR)
    return System(transform, transform.forward(x), transform.log_det(x), floor)


def _join(mixtures: Sequence[StudentMixture], shares: np.ndarray) -> StudentMixture:
    """Return mixtures as one, in proportion to shares."""
    shares = shares / shares.sum()
    return StudentMixture(
        np.concatenate([s * m.weights for s, m in zip(shares, mixtures, strict=True)]),
        np.concatenate([m.means for m in mixtures]),
        np.concatenate([m.covariances for m in mixtures]),
        np.concatenate([m.dof for m in mixtures]),
        max(m.n_iterations for m in mixtures),
    )
