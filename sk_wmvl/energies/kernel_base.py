"""Kernel estimates as a base measure: components at the rows, left out at their own."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.energies.base_measures import BaseMeasure
from sk_wmvl.energies.components import Components, component_family
from sk_wmvl.energies.manifold_mixture import ManifoldMixture
from sk_wmvl.energies.stacking import stacking_weights
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = [
    "KernelBase",
    "LeftOut",
    "Stack",
    "base_gradient",
    "choose_stack",
    "fit_kernel_base",
    "left_out_mean",
    "put_kernels",
    "unit_squares",
]

BANDWIDTHS = np.logspace(-4, 0, 9)  # common ones, parts of the variance
# The distance to the k-th neighbor sets a row's own bandwidth, times a factor.
NEIGHBORS = (2, 4, 8, 16, 32, 64)
FACTORS = (0.25, 0.5, 1.0, 2.0)
MAX_ROWS_TO_FOLD, N_FOLDS = 10_000, 5
MAX_HELD_OUT = 1500  # rows to compare bandwidths by, where one part is enough
MOST_STACKED, LEAST_SHARE = 6, 0.02
LEAST_BACKGROUND = 1e-4
# Rows at a time, and entries of an array (rows, components).
GRADIENT_CHUNK, MOST_ENTRIES = 8192, 16_000_000
CHUNK = 512  # rows at a time: bounds the memory of (rows, components)


class KernelBase(BaseMeasure):
    """Kernel density estimates on a manifold, stacked over a uniform background.

    Parameters
    ----------
    mixture : ManifoldMixture
        Components at the rows, one or several at each, and then others.
    centers : Tensor of shape (K, d)
        Where each component at a row is; the first K of the mixture's.

    See Also
    --------
    fit_kernel_base : Chooses the bandwidths.

    Examples
    --------
    A row does not see the component at its own place when it is left out:

    >>> import torch
    >>> from sk_wmvl.energies import KernelBase, ManifoldMixture
    >>> from sk_wmvl.energies.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> x = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    >>> q = KernelBase(ManifoldMixture(Torus(1), VonMises(Torus(1), x, 0.1), half, 0), x)
    >>> bool(q.log_prob_left_out(x)[0] < q.log_prob(x)[0] - 10)
    True
    """

    centers: Tensor

    def __init__(self, mixture: ManifoldMixture, centers: Tensor):
        super().__init__()
        self.mixture = mixture
        self.register_buffer("centers", centers)

    @property
    def n_components(self) -> int:
        """The number of components."""
        return self.mixture.n_components

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.mixture.log_prob(x)

    def log_prob_left_out(self, x: Tensor) -> Tensor:
        """Return log densities, of shape (n,), without components at the point itself.

        What a row that the estimate was made of is compared with: with its own component
        it would see itself.
        """
        own = same_rows(x.detach(), self.centers)
        values = []
        for rows, mask in zip(x.split(CHUNK), own.split(CHUNK), strict=True):
            joint = self.mixture.joint(rows)
            k = mask.shape[1]
            kept = joint[:, :k].masked_fill(mask, -torch.inf)
            # the weights of the others are scaled up to one
            left = 1 - mask.to(joint.dtype) @ self.mixture.log_weights[:k].exp()
            rest = torch.cat([kept, joint[:, k:]], -1).logsumexp(-1)
            values.append(rest - left.clamp(min=1e-300).log())
        return torch.cat(values)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        return self.mixture.sample(n_samples, generator=generator)


class Stack(NamedTuple):
    """Which kernel estimates are stacked, and how much each weighs.

    Attributes
    ----------
    kept : ndarray of int
        Of the candidates.
    weights : ndarray of shape (len(kept),)
    background : float
        Weight of the uniform density; with `weights` it sums to one.
    """

    kept: np.ndarray
    weights: np.ndarray
    background: float


class LeftOut(nn.Module):
    """A kernel estimate as its own rows see it: `log_prob_left_out`.

    Parameters
    ----------
    base : KernelBase
        The estimate.
    """

    def __init__(self, base: KernelBase):
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.base.log_prob_left_out(x)


def base_gradient(base: BaseMeasure, x: Tensor) -> Tensor:
    """Return derivatives of a base's log density; a kernel estimate leaves the row out.

    Parameters
    ----------
    base : BaseMeasure
        Copied to where `x` is.
    x : Tensor of shape (n, d)
        Points, in the dtype of the base.

    Returns
    -------
    gradient : Tensor of shape (n, d)
    """
    own: nn.Module = LeftOut(base) if isinstance(base, KernelBase) else base
    own = copy.deepcopy(own).to(x.device)
    size = min(GRADIENT_CHUNK, max(1, MOST_ENTRIES // base.n_components))
    grads = [energy_and_grad(own, rows)[1] for rows in x.split(size)]
    return torch.cat(grads)


def same_rows(x: Tensor, centers: Tensor) -> Tensor:
    """Return, of shape (n, K), where a point is a center to the last bit."""
    both = torch.cat([x.to(centers), centers]).cpu().numpy()
    _, inverse = np.unique(both, axis=0, return_inverse=True)
    label = torch.from_numpy(inverse.reshape(-1)).to(x.device)
    return label[: len(x), None] == label[None, len(x) :]


def _components(
    manifold: BaseManifold, centers: Tensor, variance: Tensor
) -> Components:
    return component_family(manifold)(manifold, centers, variance)


def unit_squares(manifold: BaseManifold, x: Tensor, y: Tensor) -> Tensor:
    """Return squared distances per dimension in each unit, of shape (n, n_units)."""
    if isinstance(manifold, Product):
        members = [factor for _, factor in manifold.factors]
        widths = [factor.ambient_dim for factor in members]
        parts = zip(members, x.split(widths, -1), y.split(widths, -1), strict=True)
        return torch.cat([unit_squares(m, a, b) for m, a, b in parts], -1)
    if component_family(manifold).n_units(manifold) > 1:
        return manifold.log(x, y).square()
    return (manifold.dist(x, y).square() / (manifold.dim or 1))[:, None]


def _neighbor_squares(
    manifold: BaseManifold, x: Tensor, variance: Tensor
) -> dict[int, Tensor]:
    """Return mean squares to the k-th nearest row elsewhere, in units of `variance`."""
    n, parts = len(x), []
    most = min(max(NEIGHBORS), n - 1)
    for rows in x.split(max(1, 1_000_000 // n)):
        left, right = rows.repeat_interleave(n, 0), x.repeat(len(rows), 1)
        square = (unit_squares(manifold, left, right) / variance).mean(-1)
        square = square.view(len(rows), n)
        square = torch.where(square <= 1e-20, torch.inf, square)  # copies of the row
        parts.append(square.topk(most, largest=False).values)
    nearest = torch.cat(parts)
    finite = torch.where(torch.isinf(nearest), 0.0, nearest)
    nearest = torch.where(torch.isinf(nearest), finite.amax().clamp(min=1e-12), nearest)
    return {k: nearest[:, k - 1] for k in NEIGHBORS if k <= most}


def _bandwidths(
    manifold: BaseManifold, x: Tensor, variance: Tensor
) -> list[Callable[[], Tensor]]:
    """Return what makes the variances of n kernels, (n, n_units), for each candidate."""
    n = len(x)
    squares = _neighbor_squares(manifold, x, variance)

    def common(h):
        return lambda: h * variance.expand(n, -1)

    def adaptive(factor, square):
        return lambda: (factor * square).clamp(min=1e-10)[:, None] * variance

    each = [adaptive(f, square) for square in squares.values() for f in FACTORS]
    return [common(h) for h in BANDWIDTHS] + each


def _distinct(
    x: Tensor, weight: Tensor, groups: np.ndarray | None
) -> tuple[Tensor, Tensor, np.ndarray | None]:
    """Return distinct rows with the weights of their copies summed, and their labels."""
    keys = x.cpu().numpy()
    if groups is not None:
        keys = np.column_stack([keys, groups])
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    total = np.bincount(inverse.reshape(-1), weight.cpu().numpy())
    rows = x[torch.from_numpy(first).to(x.device)]
    labels = None if groups is None else groups[first]
    return rows, torch.from_numpy(total).to(weight), labels


def _held_out_parts(
    manifold: BaseManifold, x: Tensor, seed: int, groups: np.ndarray | None
) -> list[np.ndarray]:
    """Return masks of rows held out; groups, or copies of a row, stay together."""
    if groups is not None and len(np.unique(groups)) == 1:
        groups = None  # one group cannot be held out of itself
    labels = manifold.features(x).cpu().numpy() if groups is None else groups
    _, label = np.unique(labels, axis=0, return_inverse=True)
    label = label.reshape(-1)
    n = int(label.max()) + 1
    order = np.random.default_rng(seed).permutation(n)
    if n > MAX_ROWS_TO_FOLD:
        return [np.isin(label, order[:MAX_HELD_OUT])]
    fold = np.arange(n) % min(N_FOLDS, n)
    return [np.isin(label, order[fold == k]) for k in range(fold.max() + 1)]


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
    tables, shares = [], []
    for part in _held_out_parts(manifold, x, seed, groups):
        outside = torch.from_numpy(part).to(x.device)
        centers, rows = x[~outside], x[outside]
        log_weight = (weight[~outside] / weight[~outside].sum()).log()
        columns = []
        for make in _bandwidths(manifold, centers, variance):
            parts = _components(manifold, centers, make())
            chunks = [
                (parts.log_prob(some) + log_weight).logsumexp(1)
                for some in rows.split(CHUNK)
            ]
            columns.append(torch.cat(chunks))
        tables.append(torch.stack(columns, 1))
        shares.append(weight[outside])
    # small parts lack distant neighbors
    fewest = min(table.shape[1] for table in tables)
    values = torch.cat([table[:, :fewest] for table in tables]).cpu().numpy()
    share = torch.cat(shares).cpu().numpy()
    share = share / share.sum()
    if manifold.is_compact:
        uniform = np.full((len(values), 1), -manifold.log_volume())
        values = np.concatenate([values, uniform], 1)
    weights = stacking_weights(values, share)
    kept = np.argsort(-weights[:fewest])[:MOST_STACKED]
    kept = kept[weights[kept] >= min(LEAST_SHARE, weights[kept[0]])]
    chosen = np.append(kept, fewest) if manifold.is_compact else kept
    weights = stacking_weights(values[:, chosen], share)
    background = 0.0
    if manifold.is_compact:
        background = float(np.clip(weights[-1], LEAST_BACKGROUND, 0.999))
        weights = weights[:-1] / weights[:-1].sum() * (1 - background)
    return Stack(kept, weights, background)


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
    makers = _bandwidths(manifold, x, variance)
    spread = torch.cat([makers[i]() for i in stack.kept])
    each = torch.outer(torch.tensor(stack.weights).to(weight), weight / weight.sum())
    centers = x.repeat(len(stack.kept), 1)
    parts = _components(manifold, centers, spread)
    mixture = ManifoldMixture(manifold, parts, each.flatten(), stack.background)
    return KernelBase(mixture, centers)


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
    proportion to the squared distance of each row to its k-th neighbor [Breiman1977]_. The
    weights of the candidates, and of a uniform background where the manifold is compact,
    are those that make held-out rows likeliest [Smyth1999]_: data have several scales
    at once. Few estimates are kept, those with the largest weights. Up to 10 000 distinct
    rows all are held out, in five folds; beyond, 1500 of them. Neither a row's
    own component nor the bandwidths of its neighbors know it then. Copies of a row are
    one row of a larger weight.

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
    [Breiman1977]_, [Smyth1999]_
    """
    stack = choose_stack(manifold, x, weight, variance, seed=seed, groups=groups)
    return put_kernels(manifold, x, weight, variance, stack, groups)
