"""The choice of a base measure on a manifold: by rows that are held out."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.energies.base_measures import BaseMeasure
from sk_wmvl.energies.components import component_family
from sk_wmvl.energies.kernel_base import fit_kernel_base, unit_squares
from sk_wmvl.energies.manifold_mixture import UniformBase, start_mixture, try_mixture
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = ["choose_base"]

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SMALL_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ROWS_PER_COMPONENT = 6  # at least, on average
PATIENCE = 3  # steps of the ladder without an improvement
MAX_ROWS_TO_FOLD, N_FOLDS = 2000, 5
# Pairs of rows are looked at, and every row scored by all.
LEAST_KERNEL_ROWS, MOST_KERNEL_ROWS = 8, 10_000


class Fold(NamedTuple):
    """Rows to fit to, and rows held out, with their weights; labels of the former."""

    x: Tensor
    weight: Tensor
    x_valid: Tensor
    weight_valid: Tensor
    groups: np.ndarray | None = None


class Search:
    """The best base measure so far, by held-out log densities.

    Parameters
    ----------
    share : Tensor of shape (n,)
        Weights of the held-out rows; they sum to one.
    """

    def __init__(self, share: Tensor):
        self.share = share
        self.values = torch.full_like(share, -torch.inf)
        self.make: Callable[[], BaseMeasure] | None = None
        self.needed = 1.0  # standard errors of the difference

    def offer(self, values: Tensor, make: Callable[[], BaseMeasure]) -> bool:
        """Take a candidate if it is better by more than the error; return whether."""
        gain = values - self.values
        mean = (self.share * gain).sum()
        error = (self.share * (gain - mean)).square().sum().sqrt()
        if self.make is None or bool(mean > self.needed * error):
            self.needed = 1.0 if self.make is None else 0.5
            self.values, self.make = values, make
            return True
        return False


@torch.no_grad()
def choose_base(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    x_valid: Tensor,
    weight_valid: Tensor,
    *,
    kinds: tuple[str, ...] = ("mixture", "kernel"),
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> BaseMeasure:
    r"""Return the base measure under which rows held out are likeliest.

    On a compact manifold the uniform density is where the search starts. Then come
    mixtures with more and more components, each number fitted anew by expectation
    maximisation [Dempster1977]_ and stopped at the best held-out likelihood; then the
    kernel estimate (`fit_kernel_base`). Up to 2000 rows all are cross-validated, in five
    folds, and the chosen one is fitted to all; beyond, `x_valid` is enough. What is more
    complex has to be better by half the standard error of the mean difference, and to
    replace the uniform density by a whole one.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    x : Tensor of shape (n, d)
        Points, in float64.
    weight : Tensor of shape (n,)
        Weights with mean one.
    x_valid : Tensor of shape (n_valid, d)
        Held-out points.
    weight_valid : Tensor of shape (n_valid,)
        Their weights.
    kinds : tuple of {'mixture', 'kernel'}, default=('mixture', 'kernel')
        What to try.
    seed : int, default=0
        Seed of the starts and folds.
    groups : ndarray of int of shape (n + n_valid,) or None, default=None
        Labels of the rows of x and then of x_valid; a group is never divided.

    Returns
    -------
    base : UniformBase, ManifoldMixture or KernelBase

    Raises
    ------
    ValueError
        If there are no components for the manifold and no uniform density on it.
    """
    if not has_components(manifold):
        if manifold.is_compact:
            return UniformBase(manifold).to(x.device)
        raise ValueError(
            f"There is no base measure for {manifold!r}: it is not compact and has no "
            "mixture components. Use base=None with normalizer=None, or bound it."
        )
    n_distinct = len(torch.unique(x, dim=0))
    small = n_distinct <= MAX_ROWS_TO_FOLD or len(x_valid) == 0
    folds = []
    if small:
        x, weight = torch.cat([x, x_valid]), torch.cat([weight, weight_valid])
        folds = make_folds(manifold, x, weight, seed, groups)
    inner = groups if small or groups is None else groups[: len(x)]
    folds = folds or [Fold(x, weight, x_valid, weight_valid, inner)]
    held_out = torch.cat([fold.weight_valid for fold in folds])
    search = Search(held_out / held_out.sum())
    spread = unit_variances(manifold, x, weight, seed)
    if manifold.is_compact:
        uniform = UniformBase(manifold).to(x.device)
        values = uniform.log_prob(torch.cat([fold.x_valid for fold in folds]))
        search.offer(values, lambda: uniform)
    if "mixture" in kinds or n_distinct < LEAST_KERNEL_ROWS:
        _offer_mixtures(search, manifold, folds, x, weight, spread, seed, small)
    n_rows = len(x)
    if (
        "kernel" in kinds
        and n_distinct >= LEAST_KERNEL_ROWS
        and n_rows <= MOST_KERNEL_ROWS
    ):
        bases = [
            fit_kernel_base(
                manifold, fold.x, fold.weight, spread, seed=seed, groups=fold.groups
            )
            for fold in folds
        ]
        each = zip(bases, folds, strict=True)
        values = torch.cat([base.log_prob(fold.x_valid) for base, fold in each])

        def make_kernel() -> BaseMeasure:
            if not small:
                return bases[0]
            return fit_kernel_base(manifold, x, weight, spread, seed=seed, groups=inner)

        search.offer(values, make_kernel)
    assert search.make is not None  # one component is always tried
    return search.make()


def _offer_mixtures(search, manifold, folds, x, weight, spread, seed, small) -> None:
    """Climb the ladder of components until it stops paying."""
    n_distinct = len(torch.unique(x, dim=0))
    n_failed = 0
    for k in SMALL_LADDER if small else LADDER:
        crowded = k > n_distinct or k * ROWS_PER_COMPONENT > len(x)
        if n_failed == PATIENCE or (k > 1 and crowded):
            break
        prior = spread * k ** (-2 / (manifold.dim or 1))  # what is left to each
        trials = [try_mixture(manifold, fold, k, prior, seed) for fold in folds]
        n_iterations = round(sum(t.n_iterations for t in trials) / len(trials))

        def make(k=k, prior=prior, n=n_iterations, trial=trials[0]) -> BaseMeasure:
            if not small:
                return trial.mixture
            mixture = start_mixture(manifold, x, weight, k, prior, seed)
            for _ in range(n):
                mixture.step(x, weight, prior)
            return mixture

        taken = search.offer(torch.cat([trial.values for trial in trials]), make)
        n_failed = 0 if taken else n_failed + 1


def has_components(manifold: BaseManifold) -> bool:
    """Return whether there is a family of components for a manifold."""
    if isinstance(manifold, Product):
        return all(has_components(factor) for _, factor in manifold.factors)
    try:
        component_family(manifold)
    except NotImplementedError:
        return False
    return True


def unit_variances(
    manifold: BaseManifold, x: Tensor, weight: Tensor, seed: int
) -> Tensor:
    """Return half the mean squared distance of random pairs, for each unit."""
    rng = np.random.default_rng(seed)
    p = (weight / weight.sum()).cpu().numpy()
    first, second = rng.choice(len(x), (2, 2000), p=p)
    square = unit_squares(manifold, x[first], x[second])
    return (0.5 * square.mean(0)).clamp(min=1e-12)


def make_folds(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    seed: int,
    groups: np.ndarray | None = None,
) -> list[Fold]:
    """Return folds for cross-validation; groups, or copies of a row, stay together."""
    # by features, which do not depend on the sign of an axis or a quaternion
    labels = manifold.features(x).cpu().numpy() if groups is None else groups
    _, label = np.unique(labels, axis=0, return_inverse=True)
    label = label.reshape(-1)
    n = label.max() + 1
    fold = np.random.default_rng(seed).permutation(np.arange(n) % min(N_FOLDS, n))
    folds = []
    for k in range(fold.max() + 1 if n > 1 else 0):
        kept = fold[label] != k
        inside = torch.from_numpy(kept).to(x.device)
        inner = None if groups is None else groups[kept]
        folds.append(
            Fold(x[inside], weight[inside], x[~inside], weight[~inside], inner)
        )
    return folds or [Fold(x, weight, x, weight, groups)]
