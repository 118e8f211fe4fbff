"""The choice of a base measure in Euclidean space: by rows that are held out."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sk_wmvl.energies.separating_axes import separating_axes
from sk_wmvl.energies.stacking import stacking_weights
from sk_wmvl.energies.student_mixture import StudentMixture, fit_mixture
from sk_wmvl.energies.ties import rounding_steps

__all__ = ["choose_mixture", "rounding_variance"]

LADDER = (1, 2, 4, 8, 16, 32, 64)
DOFS = (np.inf, 10.0, 3.0)
LEAST_ROWS = 6  # per component, on average, or two per dimension
PATIENCE = 2  # steps of the ladder without an improvement; one, with heavier tails
# Heavier tails need fewer components than normal densities, but not much fewer.
FEWER = 4
MAX_UNITS_TO_FOLD, N_FOLDS = 2000, 5
LEAST_SHARE = 0.05  # of a mixture in the stack
MOST_STACKED = 3


class Fold(NamedTuple):
    """Indices of rows to fit to, and of rows held out."""

    inside: np.ndarray
    outside: np.ndarray


class Candidate(NamedTuple):
    """A number of components and of degrees of freedom, tried.

    Attributes
    ----------
    values : ndarray of shape (n_held_out,)
        Held-out log densities.
    make : callable
        Returns the mixture, fitted to all rows.
    """

    values: np.ndarray
    make: Callable[[], StudentMixture]


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
) -> StudentMixture:
    r"""Return the mixture under which rows held out are likeliest.

    The search starts from one normal density. Then come more components, doubled as long
    as it pays, with normal and with heavier tails (10 and 3 degrees of freedom); each is
    fitted by `fit_mixture`. What is more complex has to be better by half the standard
    error of the mean difference, and to replace the one normal density by a whole one.
    At last all of them are stacked: the mixture of mixtures with the weights that make held
    out rows likeliest [Smyth1999]_ is taken if it is better still.

    Up to 2000 rows, or groups, are cross-validated in five folds; beyond, one part held
    out is enough. What is chosen is fitted to all rows.

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
    mixture : StudentMixture

    References
    ----------
    [Smyth1999]_
    """
    positive = weight > 0
    if not positive.all():
        held_out = np.flatnonzero(np.isin(np.arange(len(x)), held_out)[positive])
        groups = None if groups is None else groups[positive]
        x, weight = x[positive], weight[positive]
    weight = weight / weight.mean()  # only ratios matter
    floor = rounding_variance(x)
    labels = x if groups is None else groups
    _, label = np.unique(labels, axis=0, return_inverse=True)
    label = label.reshape(-1)
    n_units = int(label.max()) + 1
    folded = n_units <= MAX_UNITS_TO_FOLD or len(held_out) == 0
    if n_units == 1:
        return fit_mixture(x, weight, 1, np.inf, floor=floor, seed=seed)
    if folded:
        order = np.arange(n_units) % min(N_FOLDS, n_units)
        fold = np.random.default_rng(seed).permutation(order)[label]
        parts = [np.flatnonzero(fold == k) for k in range(fold.max() + 1)]
    else:
        parts = [held_out]
    everything = np.arange(len(x))
    # of all rows: they only say where to start
    axes = separating_axes(x, seed, floor=floor)
    folds = [Fold(np.setdiff1d(everything, part), part) for part in parts]
    outside = np.concatenate(parts)
    share = weight[outside] / weight[outside].sum()
    clusters = label[outside]

    def pays(candidate: np.ndarray, other: np.ndarray, needed: float) -> bool:
        """Return whether the mean gain exceeds so many standard errors, of whole units."""
        gain = candidate - other
        mean = share @ gain
        sums = np.bincount(clusters, share * (gain - mean))
        return bool(mean > needed * np.sqrt(np.square(sums).sum()))

    def attempt(k: int, dof: float) -> Candidate:
        fits = [
            fit_mixture(
                x[fold.inside],
                weight[fold.inside],
                k,
                dof,
                floor=floor,
                seed=seed,
                axes=axes,
                held_out=(x[fold.outside], weight[fold.outside]),
            )
            for fold in folds
        ]
        values = [
            fit.log_prob(x[fold.outside]) for fit, fold in zip(fits, folds, strict=True)
        ]
        n = round(np.mean([fit.n_iterations for fit in fits]))

        def make() -> StudentMixture:
            return fit_mixture(
                x,
                weight,
                k,
                dof,
                floor=floor,
                seed=seed,
                axes=axes,
                n_iterations=n,
            )

        return Candidate(np.concatenate(values), make)

    n_smallest = min(len(np.unique(x[fold.inside], axis=0)) for fold in folds)
    rows_each = max(LEAST_ROWS, 2 * x.shape[1])
    candidates: list[Candidate] = []
    best, needed, least = None, 1.0, 1
    for dof in DOFS:
        n_failed, of_kind, n_best = 0, None, 1
        patience = PATIENCE if dof == DOFS[0] else 1
        for k in LADDER:
            if 1 < k < least:
                continue
            if n_failed == patience or (k > 1 and k * rows_each > n_smallest):
                break
            tried = attempt(k, dof)
            candidates.append(tried)
            # the ladder goes on while its own kind improves
            climbs = of_kind is None or pays(tried.values, of_kind.values, 0.5)
            n_failed = 0 if climbs else n_failed + 1
            if climbs:
                of_kind, n_best = tried, k
            if best is None:
                best = tried
            elif pays(tried.values, best.values, needed):
                best, needed = tried, 0.5
        if dof == DOFS[0]:
            least = n_best // FEWER
    assert best is not None
    if best is candidates[0]:
        return best.make()
    values = np.stack([candidate.values for candidate in candidates], 1)
    shares = stacking_weights(values, share)
    kept = np.argsort(-shares)[:MOST_STACKED]
    kept = kept[shares[kept] >= LEAST_SHARE]
    shares = stacking_weights(values[:, kept], share)
    stacked = np.logaddexp.reduce(values[:, kept] + np.log(shares), axis=1)
    if not pays(stacked, best.values, 0.5):
        return best.make()
    mixtures = [candidates[i].make() for i in kept]
    return StudentMixture(
        np.concatenate([s * m.weights for s, m in zip(shares, mixtures, strict=True)]),
        np.concatenate([m.means for m in mixtures]),
        np.concatenate([m.covariances for m in mixtures]),
        np.concatenate([m.dof for m in mixtures]),
        max(m.n_iterations for m in mixtures),
    )
