"""The candidates in Euclidean space: normal and Student mixtures, and what fits them."""

from typing import NamedTuple

import numpy as np

from sk_wmvl._rows import Fold, label_units, make_folds
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.mixture import MixtureBase
from sk_wmvl.base_measures.selection.race import (
    SIMPLEST,
    MixtureCandidate,
    Sample,
    System,
    name_of,
    race,
)
from sk_wmvl.base_measures.selection.search import Choice
from sk_wmvl.base_measures.selection.student_mixture import (
    StudentMixture,
    continue_fit,
    join_mixtures,
)
from sk_wmvl.base_measures.stacked import StackedBase
from sk_wmvl.base_measures.transformed import TransformedBase
from sk_wmvl.coordinates.johnson import (
    InvertedColumns,
    JohnsonColumns,
    JohnsonTransform,
)

__all__ = ["ChosenMixture", "adapt", "choose_mixture", "search_mixture"]

MAX_UNITS_TO_FOLD, N_FOLDS = 2000, 5
# Of more rows than these a random part is enough to choose by, and a larger one to refine
# what was chosen: a mixture has no more parameters than some thousands.
MOST_ROWS_TO_CHOOSE_BY, MOST_ROWS_TO_REFINE_BY, N_REFINING_STEPS = 50_000, 50_000, 5
SOME = 301  # a stream of the seed that nothing else uses


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

    The race starts from one normal density. It tries more components, doubled as long as
    rows held out become likelier, with normal and with heavier tails (10 and 3 degrees of
    freedom); each mixture is fitted by `fit_mixture`. It then tries the same with columns
    made nearly normal (`fit_johnson`, without 3 degrees of freedom), if one normal density
    gains by that and 50 distinct rows are left to fit to in every fold; with five folds
    this takes 63 rows. This first heat is run on one fold, and on 8000 of its rows where
    there are twice as many. All mixtures within two standard errors of the best there, five
    in any case, and the heaviest in a stack run on all folds. A more complex mixture must
    be better by half the standard error of the mean difference, and by a whole one to
    replace the one normal density. Last, they are stacked, with the weights that make
    held-out rows likeliest [Smyth1999]_. The stack is taken if it is better still.

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
        name = name_of(SIMPLEST)
        normal = MixtureCandidate(name, np.zeros(0), *SIMPLEST, None, 0, (seed,))
        choice = Choice((normal,), np.ones(1), {})
    else:
        if n_units <= MAX_UNITS_TO_FOLD or len(held_out) == 0:
            folds = make_folds(units, N_FOLDS, seed)
        else:
            folds = [Fold(np.setdiff1d(np.arange(len(units)), held_out), held_out)]
        choice = race(sample, folds, units, seed)
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
