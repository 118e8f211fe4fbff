"""The choice of a base measure on a manifold: by rows that are held out."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.components import component_family
from sk_wmvl.base_measures.kernel import KernelBase
from sk_wmvl.base_measures.manifold_mixture import (
    ManifoldMixture,
    start_mixture,
    try_mixture,
)
from sk_wmvl.base_measures.selection.bandwidths import (
    choose_stack,
    left_out_mean,
    put_kernels,
    unit_squares,
)
from sk_wmvl.base_measures.selection.stacking import stacking_weights
from sk_wmvl.base_measures.uniform import UniformBase
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = ["choose_base"]

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SMALL_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ROWS_PER_COMPONENT = 6  # at least, on average
PATIENCE = 3  # steps of the ladder without an improvement
MAX_ROWS_TO_FOLD, N_FOLDS, LEAST_FOLD = 2000, 5, 3
# Pairs of rows are looked at, and every row scored by all.
LEAST_KERNEL_ROWS, MOST_KERNEL_ROWS = 8, 10_000
MOST_STACKED, LEAST_SHARE = 6, 0.02
N_SIZES, N_STARTS = 3, 3  # of mixtures, averaged over the starts
MOST_SPREAD_ROWS = 1000  # by which units' variances are compared


class Fold(NamedTuple):
    """Rows to fit to, and rows held out, with their weights; labels of the former."""

    x: Tensor
    weight: Tensor
    x_valid: Tensor
    weight_valid: Tensor
    groups: np.ndarray | None = None


class Candidate(NamedTuple):
    """Held-out log densities of a base measure, and how to fit it to all rows."""

    values: Tensor
    make: Callable[[], ManifoldMixture | KernelBase]


class Size(NamedTuple):
    """A number of mixture components on the ladder: its prior, and its first trials."""

    k: int
    prior: Tensor
    values: Tensor
    n_iterations: int


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
    maximisation [Dempster1977]_ and stopped at the best held-out likelihood; the three best
    numbers are started three times, and the mixtures averaged [Ormoneit1998]_. Then comes
    the kernel estimate (`fit_kernel_base`), and at last up to six of all these stacked,
    with the weights that make held-out rows likeliest [Smyth1999]_. Up to 2000 rows all are
    cross-validated, in five folds; beyond, `x_valid` is enough. What is more complex has
    to be better by half the standard error of the mean difference, and to replace the
    uniform density by a whole one. The chosen one is fitted to all rows.

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
    folds = [Fold(x, weight, x_valid, weight_valid, _first(groups, len(x)))]
    is_folded = n_distinct <= MAX_ROWS_TO_FOLD or len(x_valid) == 0
    x, weight = torch.cat([x, x_valid]), torch.cat([weight, weight_valid])
    if is_folded:
        folds = make_folds(manifold, x, weight, seed, groups)
    rows = Fold(x, weight, x[:0], weight[:0], groups)
    held_out = torch.cat([fold.weight_valid for fold in folds])
    search = Search(held_out / held_out.sum())
    spread = choose_spread(manifold, rows, seed)

    def make_uniform() -> UniformBase:
        return UniformBase(manifold).to(x.device)

    if manifold.is_compact:
        x_out = torch.cat([fold.x_valid for fold in folds])
        search.offer(make_uniform().log_prob(x_out), make_uniform)
    tried: list[Candidate] = []
    if "mixture" in kinds or n_distinct < LEAST_KERNEL_ROWS:
        tried += _offer_mixtures(search, manifold, folds, rows, spread, seed)
    most = MOST_KERNEL_ROWS if "mixture" in kinds else math.inf
    if "kernel" in kinds and LEAST_KERNEL_ROWS <= n_distinct <= most:
        tried += [_offer_kernels(search, manifold, folds, rows, spread, seed)]
    if search.make is not make_uniform:
        _offer_stack(search, tried)
    assert search.make is not None  # one component is always tried
    return search.make()


def _first(labels: np.ndarray | None, n: int) -> np.ndarray | None:
    return None if labels is None else labels[:n]


def _offer_mixtures(
    search: Search, manifold, folds: list[Fold], rows: Fold, spread: Tensor, seed: int
) -> list[Candidate]:
    """Climb the ladder of components until it stops paying; return what was tried."""
    x, weight, *_ = rows
    n_distinct = len(torch.unique(x, dim=0))

    def attempt(k: int, prior: Tensor, start: int) -> tuple[Tensor, int]:
        """Return held-out log densities, and after how many steps they were best."""
        trials = [try_mixture(manifold, fold, k, prior, start) for fold in folds]
        n_iterations = round(sum(t.n_iterations for t in trials) / len(trials))
        return torch.cat([trial.values for trial in trials]), n_iterations

    def fit(k: int, prior: Tensor, start: int, n_iterations: int) -> ManifoldMixture:
        mixture = start_mixture(manifold, x, weight, k, prior, start)
        for _ in range(n_iterations):
            mixture.step(x, weight, prior)
        return mixture

    n_failed = 0
    sizes, tried = [], []
    for k in LADDER if len(folds) == 1 else SMALL_LADDER:
        crowded = k > n_distinct or k * ROWS_PER_COMPONENT > len(x)
        if n_failed == PATIENCE or (k > 1 and crowded):
            break
        prior = spread * k ** (-2 / (manifold.dim or 1))  # what is left to each
        size = Size(k, prior, *attempt(k, prior, seed))
        sizes.append(size)

        def make(size=size) -> ManifoldMixture:
            return fit(size.k, size.prior, seed, size.n_iterations)

        tried.append(Candidate(size.values, make))
        n_failed = 0 if search.offer(size.values, make) else n_failed + 1
    several = [size for size in sizes if size.k > 1]  # one component has one start
    means = [float(search.share @ size.values) for size in several]
    for i in np.argsort(means)[::-1][:N_SIZES]:
        k, prior, *first = several[i]
        trials = [first, *(attempt(k, prior, seed + i) for i in range(1, N_STARTS))]

        def make_all(k=k, prior=prior, trials=trials) -> ManifoldMixture | KernelBase:
            mixtures = [fit(k, prior, seed + i, n) for i, (_, n) in enumerate(trials)]
            return stack_bases(mixtures, np.full(N_STARTS, 1 / N_STARTS))

        values = torch.stack([values for values, _ in trials]).logsumexp(0)
        tried.append(Candidate(values - math.log(N_STARTS), make_all))
        search.offer(*tried[-1])
    return tried


def _offer_kernels(
    search: Search, manifold, folds: list[Fold], rows: Fold, spread: Tensor, seed: int
) -> Candidate:
    """Try the kernel estimate, and return it."""
    stacks = [
        choose_stack(manifold, f.x, f.weight, spread, seed=seed, groups=f.groups)
        for f in folds
    ]
    values = [
        put_kernels(manifold, f.x, f.weight, spread, stack, f.groups).log_prob(
            f.x_valid
        )
        for f, stack in zip(folds, stacks, strict=True)
    ]

    def make() -> KernelBase:
        x, weight, *_, groups = rows
        stack = stacks[0]
        if len(folds) > 1:
            stack = choose_stack(manifold, x, weight, spread, seed=seed, groups=groups)
        return put_kernels(manifold, x, weight, spread, stack, groups)

    candidate = Candidate(torch.cat(values), make)
    search.offer(*candidate)
    return candidate


def _offer_stack(search: Search, tried: list[Candidate]) -> None:
    """Try what was tried before, together."""
    values = torch.stack([candidate.values for candidate in tried], 1)
    table, share = values.cpu().numpy(), search.share.cpu().numpy()
    shares = stacking_weights(table, share)
    kept = np.argsort(-shares)[:MOST_STACKED]
    kept = kept[shares[kept] >= LEAST_SHARE]
    if len(kept) < 2:
        return
    shares = stacking_weights(table[:, kept], share)
    stacked = values[:, kept] + torch.from_numpy(np.log(shares)).to(values)
    makers = [tried[i].make for i in kept]
    search.offer(
        stacked.logsumexp(1), lambda: stack_bases([make() for make in makers], shares)
    )


def stack_bases(
    bases: Sequence[ManifoldMixture | KernelBase], shares: np.ndarray
) -> ManifoldMixture | KernelBase:
    """Return mixtures, of which one may be a kernel estimate, as one, in these shares."""
    kernel = next((base for base in bases if isinstance(base, KernelBase)), None)
    # its components come first
    order = sorted(range(len(bases)), key=lambda i: bases[i] is not kernel)
    parts = [
        base.mixture if isinstance(base, KernelBase) else base
        for base in (bases[i] for i in order)
    ]
    components, weights, background = parts[0].components, [], 0.0
    for part in parts[1:]:
        components = components.join(part.components)
    for part, share in zip(parts, shares[order].tolist(), strict=True):
        weights.append(part.log_weights.exp() * share)
        background += part.background * share
    stacked = ManifoldMixture(
        parts[0].manifold, components, torch.cat(weights), background
    )
    return stacked if kernel is None else KernelBase(stacked, kernel.centers)


def has_components(manifold: BaseManifold) -> bool:
    """Return whether there is a family of components for a manifold."""
    if isinstance(manifold, Product):
        return all(has_components(factor) for _, factor in manifold.factors)
    try:
        component_family(manifold)
    except NotImplementedError:
        return False
    return True


def choose_spread(manifold: BaseManifold, rows: Fold, seed: int) -> Tensor:
    """Return the variance per dimension of the rows in each unit, of shape (n_units,).

    Half the mean squared distance of random pairs. Units that are lengths of one kind, as
    angles are, may have their mean: an angle with two clusters varies more than one with a
    single one, but its clusters are not wider. They have it if kernel estimates of one
    bandwidth, left out at their own rows, are likelier then.
    """
    rng = np.random.default_rng(seed)
    p = (rows.weight / rows.weight.sum()).cpu().numpy()
    first, second = rng.choice(len(rows.x), (2, 2000), p=p)
    squares = unit_squares(manifold, rows.x[first], rows.x[second])
    own = (0.5 * squares.mean(0)).clamp(min=1e-12)
    kinds = own.split(component_family(manifold).alike(manifold))
    pooled = torch.cat([part.mean().expand(len(part)) for part in kinds])
    if torch.equal(own, pooled):
        return own
    some = torch.from_numpy(rng.permutation(len(rows.x))[:MOST_SPREAD_ROWS])
    some = some.to(rows.x.device)
    groups = None if rows.groups is None else rows.groups[some.cpu().numpy()]
    x, weight = rows.x[some], rows.weight[some]
    means = [left_out_mean(manifold, x, weight, v, groups) for v in (own, pooled)]
    return pooled if means[1] > means[0] else own


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
        if groups is not None and len(torch.unique(x[inside], dim=0)) < LEAST_FOLD:
            continue  # too few to fit to: nearly all rows are of one group
        inner = None if groups is None else groups[kept]
        folds.append(
            Fold(x[inside], weight[inside], x[~inside], weight[~inside], inner)
        )
    return folds or [Fold(x, weight, x, weight, groups)]
