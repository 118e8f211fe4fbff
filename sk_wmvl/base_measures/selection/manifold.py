"""The candidates on a manifold: the uniform density, mixtures and kernel estimates."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Fold, Rows, label_units, make_folds
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.components import component_family
from sk_wmvl.base_measures.kernel import KernelBase
from sk_wmvl.base_measures.manifold_mixture import (
    ManifoldMixture,
    start_mixture,
    try_mixture,
)
from sk_wmvl.base_measures.selection.bandwidths import (
    Stack,
    choose_stack,
    left_out_mean,
    put_kernels,
)
from sk_wmvl.base_measures.selection.neighbors import unit_squares
from sk_wmvl.base_measures.selection.search import Candidate, Choice, Search
from sk_wmvl.base_measures.uniform import UniformBase
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = ["KINDS", "choose_base", "fit_choice", "has_components", "search_base"]

KINDS = ("mixture", "kernel")
LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SMALL_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ROWS_PER_COMPONENT = 6  # at least, on average
PATIENCE = 3  # steps of the ladder without an improvement
MAX_ROWS_TO_FOLD, N_FOLDS, LEAST_FOLD = 2000, 5, 3
LEAST_KERNEL_ROWS = 8
# Of large sets, drawn at random: to fit mixtures to, whose components are few, and to
# judge candidates by.
MOST_MIXTURE_ROWS, MOST_HELD_OUT = 10_000, 5000
# Of a stack. Components have a variance for each unit alone, so that many cost little.
MOST_STACKED, LEAST_WEIGHT = 6, 0.02
FEWEST_STACKED = 2  # one alone was offered before
N_SIZES, N_STARTS = 3, 3  # of mixtures, averaged over the starts
# Nats per row; kernels ahead by as much and so many standard errors leave starts no chance.
MOST_GAINED_BY_STARTS, CLEAR = 0.2, 4.0
MOST_SPREAD_ROWS = 1000  # by which units' variances are compared
ROUNDING = 1e-26  # a variance that is no more than that of rounded unit vectors
NO_SPREAD = 1e-12  # stands for it


def draw(n: int, most: int, seed: int) -> np.ndarray:
    """Return `most` of n indices, drawn at random, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])


class Points(NamedTuple):
    """Rows as tensors.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        Points, in float64.
    weight : Tensor of shape (n,)
        Weights with mean one.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels of rows that are not separated.
    """

    x: Tensor
    weight: Tensor
    groups: np.ndarray | None = None

    def take(self, i: np.ndarray) -> "Points":
        """Return some of the rows."""
        some = torch.from_numpy(i).to(self.x.device)
        groups = None if self.groups is None else self.groups[i]
        return Points(self.x[some], self.weight[some], groups)

    def draw(self, most: int, seed: int) -> "Points":
        """Return so many rows, drawn at random, or all if they are no more."""
        if len(self.x) <= most:
            return self
        return self.take(draw(len(self.x), most, seed))

    @property
    def n_distinct(self) -> int:
        """The number of rows that differ."""
        return len(torch.unique(self.x, dim=0))


class Start(NamedTuple):
    """A start of a mixture: its seed, and the steps after which rows held out stop it."""

    seed: int
    n_iterations: int


@dataclass(frozen=True, eq=False)
class UniformCandidate(Candidate[Points, BaseMeasure]):
    """The uniform density of a compact manifold.

    Parameters
    ----------
    manifold : BaseManifold
    """

    manifold: BaseManifold

    def fit(self, rows: Points) -> UniformBase:
        """Return the density; there is nothing to fit."""
        return UniformBase(self.manifold).to(rows.x.device)


@dataclass(frozen=True, eq=False)
class MixtureCandidate(Candidate[Points, BaseMeasure]):
    """A number of components, from one start or averaged over several.

    Parameters
    ----------
    manifold : BaseManifold
    n_components : int
    prior : Tensor of shape (n_units,)
        See `Components.update`.
    starts : tuple of Start
    """

    manifold: BaseManifold
    n_components: int
    prior: Tensor
    starts: tuple[Start, ...]

    def fit(self, rows: Points) -> ManifoldMixture | KernelBase:
        """Return the mixture after the steps that were best on rows held out."""
        rows = rows.draw(MOST_MIXTURE_ROWS, self.starts[0].seed)
        mixtures = []
        for seed, n_iterations in self.starts:
            mixture = start_mixture(
                self.manifold, rows.x, rows.weight, self.n_components, self.prior, seed
            )
            for _ in range(n_iterations):
                mixture.step(rows.x, rows.weight, self.prior)
            mixtures.append(mixture)
        n = len(mixtures)
        return mixtures[0] if n == 1 else stack_bases(mixtures, np.full(n, 1 / n))


@dataclass(frozen=True, eq=False)
class KernelCandidate(Candidate[Points, BaseMeasure]):
    """The kernel estimate.

    Parameters
    ----------
    manifold : BaseManifold
    spread : Tensor of shape (n_units,)
        The widest bandwidth; see `fit_kernel_base`.
    seed : int
        Of the rows that are held out to choose bandwidths by.
    stack : Stack or None
        The bandwidths. None chooses them anew from the rows that it is fitted to.
    """

    manifold: BaseManifold
    spread: Tensor
    seed: int
    stack: Stack | None

    def fit(self, rows: Points) -> KernelBase:
        """Return the estimate, with kernels at all of the rows."""
        x, weight, groups = rows
        stack = self.stack or choose_stack(
            self.manifold, x, weight, self.spread, seed=self.seed, groups=groups
        )
        return put_kernels(self.manifold, x, weight, self.spread, stack, groups)


ManifoldCandidate = UniformCandidate | MixtureCandidate | KernelCandidate


def choose_base(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    x_valid: Tensor,
    weight_valid: Tensor,
    *,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> BaseMeasure:
    r"""Return the base measure under which rows held out are likeliest.

    On a compact manifold the search starts from the uniform density. It tries mixtures with
    more and more components. Each number is fitted by expectation maximisation
    [Dempster1977]_, stopped at the best held-out likelihood. The three best numbers are
    started three times, and the mixtures averaged [Ormoneit1998]_, unless the kernel
    estimate (`fit_kernel_base`) is far ahead. It is offered next. Last, up to six of all
    these are stacked, with the weights that make held-out rows likeliest [Smyth1999]_.

    A more complex density must be better by half the standard error of the mean difference,
    and by a whole one to replace the uniform density. Up to 2000 distinct rows are all
    cross-validated, in five folds; of more, `x_valid` is held out, up to 5000 rows of it
    drawn at random. The choice is fitted to all rows, but mixtures to 10 000 of them,
    drawn at random. Kernel estimates take all rows, gathered in cells.

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

    References
    ----------
    [Dempster1977]_, [Ormoneit1998]_, [Smyth1999]_
    """
    x, weight = torch.cat([x, x_valid]), torch.cat([weight, weight_valid])
    rows = Rows(x.numpy(), weight.numpy(), groups)
    held_out = np.arange(len(x) - len(x_valid), len(x))
    return search_base(manifold, rows, held_out=held_out, kinds=kinds, seed=seed)[0]


def search_base(
    manifold: BaseManifold,
    rows: Rows,
    *,
    held_out: np.ndarray,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
) -> tuple[BaseMeasure, Choice[ManifoldCandidate]]:
    """Return what `choose_base` does, and the choice, for a fit to other rows.

    Of arrays, which a memory recognises.
    """
    if not has_components(manifold):
        if manifold.is_compact:
            nothing = UniformCandidate("uniform", np.zeros(0), manifold)
            return UniformBase(manifold), Choice((nothing,), np.ones(1), {})
        raise ValueError(
            f"There is no base measure for {manifold!r}: it is not compact and has no "
            "mixture components. Use base=None with normalizer=None, or bound it."
        )
    return _search(manifold, rows, held_out, kinds, seed)


def fit_choice(choice: Choice[ManifoldCandidate], rows: Rows) -> BaseMeasure:
    """Fit what was chosen to rows, with weights of mean one."""
    return _fit(choice, as_points(rows))


@torch.no_grad()
def _search(
    manifold: BaseManifold,
    rows: Rows,
    held_out: np.ndarray,
    kinds: tuple[str, ...],
    seed: int,
) -> tuple[BaseMeasure, Choice[ManifoldCandidate]]:
    """Try the uniform density, mixtures, the kernel estimate, and a stack."""
    n = len(rows.points)
    train = np.setdiff1d(np.arange(n), held_out)
    # Those held out are last: starts are drawn, and sums are taken, in this order.
    points = as_points(rows).take(np.r_[train, held_out])
    n_train, n_held_out = len(train), len(held_out)
    n_distinct = points.take(np.arange(n_train)).n_distinct
    if n_distinct <= MAX_ROWS_TO_FOLD or n_held_out == 0:
        folds = _folds(manifold, points, seed)
        if n > MOST_MIXTURE_ROWS:
            inside, rest = folds[0]
            folds = [Fold(inside, rest[draw(len(rest), MOST_HELD_OUT, seed)])]
    else:
        judges = n_train + draw(n_held_out, MOST_HELD_OUT, seed)
        folds = [Fold(np.arange(n_train), judges)]
    parts = [(points.take(f.train), points.take(f.held_out)) for f in folds]
    weight = torch.cat([part.weight for _, part in parts])
    # Rows are taken for independent here, in groups and copies too.
    search = Search[ManifoldCandidate]((weight / weight.sum()).numpy())
    spread = choose_spread(manifold, points, seed)
    stackable: list[ManifoldCandidate] = []
    if manifold.is_compact:
        x_out = torch.cat([part.x for _, part in parts])
        values = UniformBase(manifold).log_prob(x_out).numpy()
        search.offer(UniformCandidate("uniform", values, manifold))
    kernels = None
    if "kernel" in kinds and n_distinct >= LEAST_KERNEL_ROWS:
        kernels = _try_kernels(manifold, parts, spread, seed)
    if "mixture" in kinds or kernels is None:
        stackable += _offer_mixtures(
            search, manifold, parts, points, spread, seed, rival=kernels
        )
    if kernels is not None:
        search.offer(kernels)
        stackable += [kernels]
    # The uniform density is a part of every other candidate already.
    if isinstance(search.best, UniformCandidate):
        stackable = []
    choice = search.result(
        stackable, most=MOST_STACKED, least_weight=LEAST_WEIGHT, fewest=FEWEST_STACKED
    )
    return _fit(choice, points), choice


@torch.no_grad()
def _fit(choice: Choice[ManifoldCandidate], points: Points) -> BaseMeasure:
    fits = [part.fit(points) for part in choice.parts]
    if len(fits) == 1:
        return fits[0]
    # the uniform density is never stacked
    return stack_bases(cast(list[ManifoldMixture | KernelBase], fits), choice.weights)


def as_points(rows: Rows) -> Points:
    """Return rows as tensors in float64; without weights each counts one."""
    x = torch.from_numpy(rows.points)
    weight = torch.ones(len(x), dtype=torch.float64)
    if rows.weight is not None:
        weight = torch.from_numpy(rows.weight).double()
    return Points(x, weight, rows.groups)


def _folds(manifold: BaseManifold, points: Points, seed: int) -> list[Fold]:
    """Return folds for cross-validation, or all rows on both sides where there are none."""
    # by features, which do not depend on the sign of an axis or a quaternion
    units = label_units(manifold.features(points.x).numpy(), points.groups)
    folds = make_folds(units, N_FOLDS, seed)
    if points.groups is not None:
        # Where one group has nearly all rows, there is too little to fit to without it.
        folds = [f for f in folds if points.take(f.train).n_distinct >= LEAST_FOLD]
    everything = np.arange(len(units))
    return folds or [Fold(everything, everything)]


def _offer_mixtures(
    search: Search[ManifoldCandidate],
    manifold: BaseManifold,
    parts: list[tuple[Points, Points]],
    points: Points,
    spread: Tensor,
    seed: int,
    *,
    rival: KernelCandidate | None,
) -> list[MixtureCandidate]:
    """Climb the ladder of components until it stops paying; return what was tried.

    Several starts are averaged unless the rival is better by much more than this gains.
    """
    n_distinct = points.n_distinct
    parts = [(rows.draw(MOST_MIXTURE_ROWS, seed), out) for rows, out in parts]

    def attempt(k: int, prior: Tensor, start: int) -> tuple[Tensor, Start]:
        """Return held-out log densities, and the start with its number of steps."""
        trials = [
            try_mixture(manifold, train, held_out, k, prior, start)
            for train, held_out in parts
        ]
        n_iterations = round(sum(t.n_iterations for t in trials) / len(trials))
        return torch.cat([t.values for t in trials]), Start(start, n_iterations)

    def ladder() -> Iterator[MixtureCandidate]:
        for k in LADDER if len(parts) == 1 else SMALL_LADDER:
            crowded = k > n_distinct or k * ROWS_PER_COMPONENT > len(points.x)
            if k > 1 and crowded:
                return
            prior = spread * k ** (-2 / (manifold.dim or 1))  # what is left to each
            values, start = attempt(k, prior, seed)
            name = f"{k} component{'s' if k > 1 else ''}"
            yield MixtureCandidate(name, values.numpy(), manifold, k, prior, (start,))

    # The best of all is the reference: only the uniform density was tried before.
    tried = search.climb(ladder(), PATIENCE)
    several = [size for size in tried if size.n_components > 1]  # one has one start
    means = [search.mean(size.values) for size in several]
    if rival is not None and several:
        ahead = rival.values - MOST_GAINED_BY_STARTS
        if search.pays(ahead, several[int(np.argmax(means))].values, CLEAR):
            return tried
    for i in np.argsort(means)[::-1][:N_SIZES]:
        size = several[i]
        k, prior, starts = size.n_components, size.prior, size.starts
        values = [torch.from_numpy(size.values)]
        for start in range(seed + 1, seed + N_STARTS):
            more, again = attempt(k, prior, start)
            values.append(more)
            starts += (again,)
        averaged = torch.stack(values).logsumexp(0) - math.log(N_STARTS)
        name = f"{k} components, averaged over {N_STARTS} starts"
        candidate = MixtureCandidate(name, averaged.numpy(), manifold, k, prior, starts)
        tried.append(candidate)
        search.offer(candidate)
    return tried


def _try_kernels(
    manifold: BaseManifold,
    parts: list[tuple[Points, Points]],
    spread: Tensor,
    seed: int,
) -> KernelCandidate:
    """Return the kernel estimate, tried on the rows held out."""
    values, stacks = [], []
    for (x, weight, groups), held_out in parts:
        stack = choose_stack(manifold, x, weight, spread, seed=seed, groups=groups)
        base = put_kernels(manifold, x, weight, spread, stack, groups)
        values.append(base.log_prob(held_out.x))
        stacks.append(stack)
    return KernelCandidate(
        "kernel estimate",
        torch.cat(values).numpy(),
        manifold,
        spread,
        seed,
        stacks[0] if len(stacks) == 1 else None,
    )


def stack_bases(
    bases: Sequence[ManifoldMixture | KernelBase], weights: np.ndarray
) -> ManifoldMixture | KernelBase:
    """Return mixtures, of which one may be a kernel estimate, as one, so weighted."""
    kernel = next((base for base in bases if isinstance(base, KernelBase)), None)
    # its components come first
    order = sorted(range(len(bases)), key=lambda i: bases[i] is not kernel)
    parts = [
        base.mixture if isinstance(base, KernelBase) else base
        for base in (bases[i] for i in order)
    ]
    components, masses, background = parts[0].components, [], 0.0
    for part in parts[1:]:
        components = components.join(part.components)
    for part, weight in zip(parts, weights[order].tolist(), strict=True):
        masses.append(part.log_weights.exp() * weight)
        background += part.background * weight
    stacked = ManifoldMixture(
        parts[0].manifold, components, torch.cat(masses), background
    )
    return (
        stacked
        if kernel is None
        else KernelBase(stacked, kernel.centers, kernel.members)
    )


def has_components(manifold: BaseManifold) -> bool:
    """Return whether there is a family of components for a manifold."""
    if isinstance(manifold, Product):
        return all(has_components(factor) for _, factor in manifold.factors)
    try:
        component_family(manifold)
    except NotImplementedError:
        return False
    return True


def choose_spread(manifold: BaseManifold, rows: Points, seed: int) -> Tensor:
    """Return the variance per dimension of the rows in each unit, of shape (n_units,).

    The variance is half the mean squared distance of random pairs. Units of one kind, such
    as angles, all get the mean of their variances if that makes kernel estimates of one
    bandwidth likelier, with each row left out of its own. For an angle with two clusters
    varies more than an angle with one, though its clusters are no wider.
    """
    rng = np.random.default_rng(seed)
    p = (rows.weight / rows.weight.sum()).cpu().numpy()
    first, second = rng.choice(len(rows.x), (2, 2000), p=p)
    squares = unit_squares(manifold, rows.x[first], rows.x[second])
    own = 0.5 * squares.mean(0)
    own = torch.where(own > ROUNDING, own, NO_SPREAD)
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
