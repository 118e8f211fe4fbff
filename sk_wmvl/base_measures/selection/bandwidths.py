"""The choice of bandwidths for kernel estimates on a manifold: by rows held out."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Fold, label_units, make_folds, merge_copies
from sk_wmvl.base_measures.components import (
    Components,
    chunk_size,
    component_family,
    scaled_exp,
)
from sk_wmvl.base_measures.kernel import KernelBase, Members
from sk_wmvl.base_measures.manifold_mixture import ManifoldMixture
from sk_wmvl.base_measures.selection.cells import Cells, gather_cells
from sk_wmvl.base_measures.selection.neighbors import COPY, find_neighbors
from sk_wmvl.base_measures.selection.stacking import stratified_weights
from sk_wmvl.manifolds import BaseManifold

__all__ = [
    "Stack",
    "choose_stack",
    "fit_kernel_base",
    "left_out_mean",
    "put_kernels",
]

BANDWIDTHS = np.logspace(-4, 0, 9)  # common ones, parts of the variance
# The distance to the k-th neighbor times a factor is a row's own bandwidth.
NEIGHBORS = (2, 4, 8, 16, 32, 64)
FACTORS = (0.25, 0.5, 1.0, 2.0)
FACTORS_AT_CELLS = (0.0625, *FACTORS)  # the variance of their rows is added
# Where there are several units, the mean square to so many neighbors times a factor is the
# variance in each.
LOCAL_NEIGHBORS = (16, 32, 64, 128)
LOCAL_FACTORS = (0.125, 0.25, 0.5, 1.0)
SCALE_NEIGHBOR = 16  # the distance to it is the local scale, by which weights vary
N_STRATA, ROWS_PER_STRATUM = 5, 500
# More rows are gathered in so many cells, and some of them are held out.
MOST_CELLS = 10_000
N_FOLDS, MAX_HELD_OUT = 5, 5000
# In a stratum; the first number falls to the second as cells hold more rows.
MOST_STACKED, MOST_STACKED_AT_CELLS, LEAST_WEIGHT = 8, 3, 0.01
LEAST_BACKGROUND = 1e-4


class Stack(NamedTuple):
    """Which kernel estimates are stacked, and how much each weighs.

    Attributes
    ----------
    kept : ndarray of int
        Of the candidates.
    weights : ndarray of shape (len(kept), n_strata)
        Each stratum's sum to one.
    background : float
        Weight of the uniform density.
    factors : tuple of float
        Of the candidates; see `Bandwidths`.
    """

    kept: np.ndarray
    weights: np.ndarray
    background: float
    factors: tuple[float, ...] = FACTORS


class Neighborhood(NamedTuple):
    """Squared distances of the neighbors of rows, over the variance.

    Attributes
    ----------
    squares : Tensor of shape (n, n_neighbors)
        To the nearest rows, the nearest first; means over units.
    local : Tensor of shape (n, len(LOCAL_NEIGHBORS), n_units) or None
        Means over neighbors, where there are several units.
    """

    squares: Tensor
    local: Tensor | None


class Bandwidths:
    """The bandwidths tried, and the strata, each with weights of its own for them.

    Parameters
    ----------
    variance : Tensor of shape (n_units,)
        See `fit_kernel_base`.
    near : Neighborhood
        Of the rows, or the centers of cells.
    within : Tensor of shape (n, n_units)
        The variances of the rows of a cell, which add to those of its kernels.
    factors : tuple of float
        By which squared distances to neighbors are multiplied.
    """

    def __init__(
        self,
        variance: Tensor,
        near: Neighborhood,
        within: Tensor,
        factors: tuple[float, ...] = FACTORS,
    ):
        self.variance, self.near, self.within = variance, near, within
        most = near.squares.shape[1]
        self.adaptive = [(k, f) for k in NEIGHBORS if k <= most for f in factors]
        several = range(len(LOCAL_NEIGHBORS)) if near.local is not None else ()
        self.local = [(i, f) for i in several for f in LOCAL_FACTORS]

    def __len__(self) -> int:
        return len(BANDWIDTHS) + len(self.local) + len(self.adaptive)

    def variances(self, i: int) -> Tensor:
        """Return the variances of n kernels, (n, n_units), of candidate i."""
        return self._bandwidths(i) + self.within

    def _bandwidths(self, i: int) -> Tensor:
        n = len(self.near.squares)
        if i < len(BANDWIDTHS):
            return BANDWIDTHS[i] * self.variance.expand(n, -1)
        i -= len(BANDWIDTHS)
        if i < len(self.local):
            which, factor = self.local[i]
            assert self.near.local is not None  # or there were none to try
            return (factor * self.near.local[:, which]).clamp(min=COPY) * self.variance
        k, factor = self.adaptive[i - len(self.local)]
        square = (factor * self.near.squares[:, k - 1]).clamp(min=COPY)
        return square[:, None] * self.variance

    def strata(self, n_strata: int) -> Tensor:
        """Return the part of each row that is in each stratum, of shape (n, n_strata).

        Strata have their middles at quantiles of the log local scale, the first at the
        smallest and the last at the largest. A row between two middles is in both strata,
        in part. Strata with the same middle have the same rows.
        """
        k = min(SCALE_NEIGHBOR, self.near.squares.shape[1])
        scale = self.near.squares[:, k - 1].log().cpu().numpy()
        # of rows there are, so that none is empty
        middles = np.quantile(scale, np.linspace(0, 1, n_strata), method="lower")
        middles, which, n = np.unique(middles, return_inverse=True, return_counts=True)
        place = np.interp(scale, middles, np.arange(len(middles)))
        parts = (1 - np.abs(place[:, None] - np.arange(len(middles)))).clip(min=0)
        return torch.from_numpy((parts / n)[:, which]).to(self.near.squares)


def _components(
    manifold: BaseManifold, centers: Tensor, variance: Tensor
) -> Components:
    return component_family(manifold)(manifold, centers, variance)


def _gather(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    variance: Tensor,
    factors: tuple[float, ...],
) -> tuple[Cells, Bandwidths]:
    """Return the cells that kernels are put at, and the bandwidths to try."""
    cells = gather_cells(manifold, x, weight, variance, MOST_CELLS)
    near = _neighborhood(manifold, cells.centers, variance)
    return cells, Bandwidths(variance, near, cells.variances, factors)


def _neighborhood(manifold: BaseManifold, x: Tensor, variance: Tensor) -> Neighborhood:
    """Return the neighborhoods of rows among one another."""
    several = len(variance) > 1
    reach = max(NEIGHBORS + LOCAL_NEIGHBORS * several)
    _, squares, units = find_neighbors(manifold, x, variance, reach)
    there = squares.isfinite()
    local = None
    if several:
        # Copies do not count in the mean, nor do ties in a unit: kernels at rounded
        # values would be spikes. If all are tied, the mean over units is taken.
        counted = there[..., None] & (units > COPY)
        numbers = counted.cumsum(1)
        sums = torch.where(counted, units, 0.0).cumsum(1)
        means = sums / numbers.clamp(min=1)
        means = torch.where(numbers > 0, means, means.mean(-1, keepdim=True))
        last = means.shape[1] - 1
        local = means[:, [min(k - 1, last) for k in LOCAL_NEIGHBORS]]
    squares, there = squares[:, : max(NEIGHBORS)], there[:, : max(NEIGHBORS)]
    most = torch.where(there, squares, 0.0).amax().clamp(min=1e-12)
    return Neighborhood(torch.where(there, squares, most), local)


def _distinct(
    x: Tensor, weight: Tensor, groups: np.ndarray | None
) -> tuple[Tensor, Tensor, np.ndarray | None]:
    """Return distinct rows with the weights of their copies summed, and their groups.

    Rows without weight are left out, for they would be neighbors of others.
    """
    positive = weight > 0
    if not bool(positive.all()):
        groups = None if groups is None else groups[positive.cpu().numpy()]
        x, weight = x[positive], weight[positive]
    first, label = merge_copies(x.cpu().numpy(), groups)
    total = np.bincount(label, weight.cpu().numpy())
    rows = x[torch.from_numpy(first).to(x.device)]
    labels = None if groups is None else groups[first]
    return rows, torch.from_numpy(total).to(weight), labels


def _folds(
    manifold: BaseManifold, x: Tensor, seed: int, groups: np.ndarray | None
) -> list[Fold]:
    """Return folds, or a single part held out where there are many rows."""
    if groups is not None and len(np.unique(groups)) == 1:
        groups = None  # one group cannot be held out of itself
    units = label_units(manifold.features(x).cpu().numpy(), groups)
    if len(x) > MOST_CELLS:
        folds = _some_folds(units, seed)
    else:
        folds = make_folds(units, N_FOLDS, seed, dealt=True)
    # one row has no neighbor: a group of nearly all rows is not held out
    large = [fold for fold in folds if len(fold.train) > 1]
    if large or groups is None:
        return large or folds
    return _folds(manifold, x, seed, None)


def _some_folds(units: np.ndarray, seed: int) -> list[Fold]:
    """Return folds of which 5000 rows are held out in all, at most a fifth in each."""
    n_rows, n_units = len(units), int(units.max()) + 1
    rng = np.random.default_rng(seed)
    n_folds = min(math.ceil(MAX_HELD_OUT * N_FOLDS / n_rows), N_FOLDS)
    size = max(1, min(n_units // N_FOLDS, MAX_HELD_OUT // n_folds))
    folds = []
    for part in rng.permutation(n_units)[: n_folds * size].reshape(n_folds, size):
        train, held_out = np.isin(units, part, invert=True), np.isin(units, part)
        rows = rng.permutation(np.flatnonzero(held_out))[: MAX_HELD_OUT // n_folds]
        folds.append(Fold(np.flatnonzero(train), np.sort(rows)))
    return folds


@torch.no_grad()
def choose_stack(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    variance: Tensor,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> Stack:
    """Return the stack of kernel estimates under which rows held out are likeliest.

    See `fit_kernel_base`, which has the same parameters.
    """
    x, weight, groups = _distinct(x, weight, groups)
    n_strata = min(N_STRATA, 1 + len(x) // ROWS_PER_STRATUM)
    folds = _folds(manifold, x, seed, groups)
    is_large = len(x) > MOST_CELLS
    factors = FACTORS_AT_CELLS if is_large else FACTORS
    parts = []
    for fold in folds:
        train = torch.from_numpy(fold.train).to(x.device)
        parts.append(_gather(manifold, x[train], weight[train], variance, factors))
    # small parts lack distant neighbors, the last candidates
    n_candidates = min(len(candidates) for _, candidates in parts)
    tables, weights_out = [], []
    for fold, (cells, candidates) in zip(folds, parts, strict=True):
        held_out = torch.from_numpy(fold.held_out).to(x.device)
        mass = (cells.weight / cells.weight.sum())[:, None]
        mass = mass * candidates.strata(n_strata)
        columns = []
        for i in range(n_candidates):
            kernels = _components(manifold, cells.centers, candidates.variances(i))
            columns.append(_strata_log_prob(kernels, mass, x[held_out]))
        tables.append(torch.stack(columns, 1))
        weights_out.append(weight[held_out])
    values = torch.cat(tables).cpu().numpy()
    weight_out = torch.cat(weights_out).cpu().numpy()
    weight_out = weight_out / weight_out.sum()
    uniform = -manifold.log_volume() if manifold.is_compact else None
    weights, _ = stratified_weights(values, weight_out, uniform=uniform)
    # few are kept in each stratum, the heaviest
    most = MOST_STACKED
    if is_large:
        most = max(MOST_STACKED_AT_CELLS, MOST_STACKED * MOST_CELLS // len(x))
    floor = np.sort(weights, 0)[-min(most, len(weights))]
    kept = weights >= np.minimum(np.maximum(floor, LEAST_WEIGHT), weights.max(0))
    some = np.flatnonzero(kept.any(1))
    weights, background = stratified_weights(
        values[:, some], weight_out, kept=kept[some], uniform=uniform
    )
    if manifold.is_compact:
        background = float(np.clip(background, LEAST_BACKGROUND, 0.999))
    return Stack(some, weights, background, factors)


def _strata_log_prob(kernels: Components, mass: Tensor, x: Tensor) -> Tensor:
    """Return logs of kernels summed over each stratum, at rows: (len(x), n_strata)."""
    values = []
    for rows in x.split(chunk_size(len(mass))):
        parts, most = scaled_exp(kernels.log_prob(rows))
        values.append((parts @ mass).clamp(min=1e-300).log() + most)
    return torch.cat(values)


def left_out_mean(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    variance: Tensor,
    groups: np.ndarray | None = None,
) -> float:
    """Return the mean log density at rows left out, of the best common bandwidth."""
    x, weight, groups = _distinct(x, weight, groups)
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    if groups is not None and len(np.unique(groups)) > 1:
        own = torch.from_numpy(groups[:, None] == groups).to(x.device)
    left = (weight * ~own).sum(1)
    means = []
    for h in BANDWIDTHS:
        parts = _components(manifold, x, (h * variance).expand(len(x), -1))
        values = (parts.log_prob(x) + weight.log()).masked_fill(own, -torch.inf)
        means.append(float(weight @ (values.logsumexp(1) - left.log()) / weight.sum()))
    return max(means)


@torch.no_grad()
def put_kernels(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    variance: Tensor,
    stack: Stack,
    groups: np.ndarray | None = None,
) -> KernelBase:
    """Return the kernel estimates of a stack, put at rows; see `fit_kernel_base`."""
    x, weight, _ = _distinct(x, weight, groups)
    cells, candidates = _gather(manifold, x, weight, variance, stack.factors)
    weights = torch.from_numpy(stack.weights).to(weight)
    mass = candidates.strata(weights.shape[1]) @ weights.T  # (n_cells, kept)
    mass = torch.where(mass < LEAST_WEIGHT, 0.0, mass)
    part = cells.weight / cells.weight.sum() * (1 - stack.background)
    mass = mass / mass.sum(1, keepdim=True) * part[:, None]
    used = [torch.nonzero(mass[:, j]).flatten() for j in range(len(stack.kept))]
    spread = [candidates.variances(i)[u] for i, u in zip(stack.kept, used, strict=True)]
    each = torch.cat([mass[u, j] for j, u in enumerate(used)])
    at = torch.cat(used)
    kernels = _components(manifold, cells.centers[at], torch.cat(spread))
    mixture = ManifoldMixture(manifold, kernels, each, stack.background)
    members = Members(x, cells.label, weight / cells.weight[cells.label], at)
    return KernelBase(mixture, cells.centers[at], members)


def fit_kernel_base(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    variance: Tensor,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> KernelBase:
    r"""Return the stack of kernel estimates under which rows held out are likeliest.

    Candidates have a common variance on a grid below `variance`, or variances in
    proportion to the squared distance of each row to its k-th neighbor [Breiman1977]_.
    Where there are several units, they also have variances in proportion to the mean
    squares to the k nearest rows in each.

    Data have several scales at once, so that candidates are stacked. Their weights, and
    that of a uniform background where the manifold is compact, make held-out rows
    likeliest [Smyth1999]_. The weights vary with the local scale, a row's distance to its
    16th neighbor. Up to five strata of it, one more for every 500 distinct rows, have
    weights of their own, and a row between two strata has weights in between. The
    candidates with the largest weights are kept in each stratum.

    Up to 10 000 distinct rows are all held out, in five folds. More are gathered in
    10 000 cells of near rows [Ward1963]_, and 5000 are held out, in three folds or
    fewer. A kernel is at the center of a cell, weighs as much as its rows, and is wider by
    their variance: the rows smoothed, to second order. Neighbors are cells then, and fewer
    candidates are kept in a stratum. A row that is held out has no component, and no part
    in cells and the bandwidths of its neighbors. Copies of a row are one row of a larger
    weight.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    x : Tensor of shape (n, d)
        Points, in float64; at least three that differ.
    weight : Tensor of shape (n,)
        Weights of the rows.
    variance : Tensor of shape (n_units,)
        The variance per dimension of the rows, in each unit of the components: the widest
        bandwidth tried.
    seed : int
        Chooses the rows that are held out.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels; a group is held out whole. Without, copies of a row are.

    Returns
    -------
    base : KernelBase

    References
    ----------
    [Breiman1977]_, [Smyth1999]_, [Ward1963]_
    """
    stack = choose_stack(manifold, x, weight, variance, seed=seed, groups=groups)
    return put_kernels(manifold, x, weight, variance, stack, groups)
