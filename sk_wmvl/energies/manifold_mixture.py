"""Base measures on manifolds: uniform, and mixtures with a uniform background."""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from sk_wmvl.energies.base_measures import BaseMeasure
from sk_wmvl.energies.components import Components, component_family
from sk_wmvl.manifolds import BaseManifold

__all__ = ["ManifoldMixture", "UniformBase", "fit_manifold_mixture"]

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SMALL_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ROWS_PER_COMPONENT = 6  # at least, on average
PATIENCE = 3  # steps of the ladder without an improvement
MAX_ROWS_TO_FOLD, N_FOLDS = 2000, 5
N_ITERATIONS = 300
CHECK_EVERY, N_WORSE = 10, 3  # stop when three checks in a row have brought
ENOUGH = 1e-4  # no more than this, in nats per row
CHUNK = 2048  # rows at a time: bounds the memory of (rows, components)


class UniformBase(BaseMeasure):
    """The uniform density on a compact manifold.

    Parameters
    ----------
    manifold : BaseManifold
        Compact, with its dimension known.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import UniformBase
    >>> from sk_wmvl.manifolds import Sphere
    >>> UniformBase(Sphere(2)).log_prob(torch.tensor([[0.0, 0.0, 1.0]]))  # -log(4 pi)
    tensor([-2.5310])
    """

    anchor: Tensor

    def __init__(self, manifold: BaseManifold):
        super().__init__()
        self.manifold = manifold
        self.log_volume = manifold.log_volume()
        self.register_buffer("anchor", torch.zeros((), dtype=torch.float64))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        # a sum that is zero, so that its derivative exists
        return 0.0 * x.sum(-1) - self.log_volume

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        x = self.manifold.random_point(
            n_samples, generator=generator, dtype=self.anchor.dtype
        )
        return x.to(self.anchor.device)


class ManifoldMixture(BaseMeasure):
    """A mixture of components, with a uniform background where the manifold is compact.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    components : Components
        K components.
    weights : Tensor of shape (K,)
        Positive.
    background : float
        Weight of the uniform density; with `weights` it sums to one.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import ManifoldMixture
    >>> from sk_wmvl.energies.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> zero = torch.zeros(1, 1, dtype=torch.float64)
    >>> half = torch.tensor([0.5], dtype=torch.float64)
    >>> q = ManifoldMixture(Torus(1), VonMises(Torus(1), zero, 1.0), half, 0.5)
    >>> q.log_prob(zero)
    tensor([-1.3846], dtype=torch.float64)
    """

    log_weights: Tensor

    def __init__(
        self,
        manifold: BaseManifold,
        components: Components,
        weights: Tensor,
        background: float,
    ):
        super().__init__()
        self.manifold = manifold
        self.components = components
        self.background = background
        self.register_buffer("log_weights", weights.log())

    def joint(self, x: Tensor) -> Tensor:
        """Return log of weight times density, (n, K + 1); the background is last."""
        value = self.log_weights + self.components.log_prob(x)
        if self.background == 0:
            return value
        uniform = math.log(self.background) - self.manifold.log_volume()
        return torch.cat([value, torch.full_like(value[:, :1], uniform)], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        parts = [self.joint(rows).logsumexp(-1) for rows in x.split(CHUNK)]
        return torch.cat(parts) if parts else x.new_zeros(0)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        weights = self.log_weights.exp().cpu()
        weights = torch.cat([weights, weights.new_tensor([self.background])])
        which = torch.multinomial(
            weights, n_samples, replacement=True, generator=generator
        )
        inside = which < len(self.log_weights)
        x = self.components.sample(torch.where(inside, which, 0), generator=generator)
        if self.background > 0:
            uniform = self.manifold.random_point(
                n_samples, generator=generator, dtype=x.dtype
            ).to(x.device)
            x = torch.where(inside.to(x.device)[:, None], x, uniform)
        return x

    def step(self, x: Tensor, weight: Tensor, prior: float) -> None:
        """Make one step of expectation maximisation, in place."""
        joint = self.joint(x)
        share = (joint - joint.logsumexp(-1, keepdim=True)).exp() * weight[:, None]
        n = share.sum(0)
        k = len(self.log_weights)
        self.components.update(x, share[:, :k], prior)
        total = n[:k].clamp(min=1e-9)
        # at least one row's worth: no place is impossible
        background = float(n[-1].clamp(min=1.0)) if self.background > 0 else 0.0
        self.background = background / (float(total.sum()) + background)
        self.log_weights = (total / (total.sum() + background)).log()


def _start(manifold, x, weight, k, variance, seed) -> ManifoldMixture:
    features = manifold.features(x).cpu().numpy()
    _, rows = kmeans_plusplus(
        features, k, sample_weight=weight.cpu().numpy(), random_state=seed
    )
    centers = x[torch.tensor(rows, device=x.device)].clone()
    background = 1 / (len(x) + 1) if manifold.is_compact else 0.0
    weights = torch.full((k,), (1 - background) / k, dtype=x.dtype, device=x.device)
    components = component_family(manifold)(manifold, centers, variance)
    return ManifoldMixture(manifold, components, weights, background)


def _spread(manifold: BaseManifold, x: Tensor, weight: Tensor, seed: int) -> float:
    """Return half the mean squared distance of random pairs, per dimension."""
    rng = np.random.default_rng(seed)
    p = (weight / weight.sum()).cpu().numpy()
    first, second = rng.choice(len(x), (2, 2000), p=p)
    square = manifold.dist(x[first], x[second]).square().mean()
    return max(float(square) / 2 / (manifold.dim or 1), 1e-12)


class Fold(NamedTuple):
    """Rows to fit to, and rows held out, with their weights."""

    x: Tensor
    weight: Tensor
    x_valid: Tensor
    weight_valid: Tensor


class Trial(NamedTuple):
    """A number of components, tried on rows held out.

    Attributes
    ----------
    values : Tensor of shape (n,)
        Held-out log densities.
    n_iterations : int
        Steps after which their mean was best.
    mixture : ManifoldMixture
        As it was then, of the last fold.
    """

    values: Tensor
    n_iterations: int
    mixture: ManifoldMixture


@torch.no_grad()
def fit_manifold_mixture(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    x_valid: Tensor,
    weight_valid: Tensor,
    *,
    seed: int,
) -> BaseMeasure:
    r"""Return the mixture whose number of components rows held out ask for.

    More and more components are tried, each number fitted anew by expectation
    maximisation and stopped at the best held-out likelihood. Up to 2000 rows they are
    cross-validated among themselves, in five folds, and the chosen mixture is fitted to
    all of `x`; beyond, `x_valid` is enough. A larger mixture is preferred if its
    mean held-out log-likelihood is higher by half the standard error of the difference,
    and a mixture to the uniform density, where the search starts on a compact manifold, if
    it is higher by a whole one.

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
    seed : int
        Seed of the starts and folds.

    Returns
    -------
    base : UniformBase or ManifoldMixture

    References
    ----------
    [Dempster1977]_
    """
    n_distinct = len(torch.unique(x, dim=0))
    small = n_distinct <= MAX_ROWS_TO_FOLD or len(x_valid) == 0
    folds = (
        _make_folds(x, weight, seed)
        if small
        else [Fold(x, weight, x_valid, weight_valid)]
    )
    held_out = torch.cat([fold.weight_valid for fold in folds])
    share = held_out / held_out.sum()
    spread = _spread(manifold, x, weight, seed)
    best: BaseMeasure | None = None
    best_values, best_k, n_iterations = torch.full_like(share, -torch.inf), 0, 0
    if manifold.is_compact:
        best = UniformBase(manifold).to(x.device)
        best_values = best.log_prob(torch.cat([fold.x_valid for fold in folds]))
    n_failed = 0
    for k in SMALL_LADDER if small else LADDER:
        if n_failed == PATIENCE or (k > 1 and k * ROWS_PER_COMPONENT > n_distinct):
            break
        trials = [
            _run(manifold, fold, k, _prior(manifold, spread, k), seed) for fold in folds
        ]
        values = torch.cat([trial.values for trial in trials])
        gain = values - best_values
        mean = (share * gain).sum()
        error = (share * (gain - mean)).square().sum().sqrt()
        needed = 1.0 if isinstance(best, UniformBase) else 0.5
        if best is None or bool(mean > needed * error):
            best, best_values, n_failed, best_k = trials[-1].mixture, values, 0, k
            n_iterations = round(sum(t.n_iterations for t in trials) / len(trials))
        else:
            n_failed += 1
    assert best is not None  # k = 1 is always tried
    if small and best_k:
        prior = _prior(manifold, spread, best_k)
        best = _start(manifold, x, weight, best_k, prior, seed)
        for _ in range(n_iterations):
            best.step(x, weight, prior)
    return best


def _prior(manifold: BaseManifold, spread: float, k: int) -> float:
    """Return the variance that is left to each of k components."""
    return spread * k ** (-2 / (manifold.dim or 1))


def _make_folds(x: Tensor, weight: Tensor, seed: int) -> list[Fold]:
    """Return folds for cross-validation."""
    n = len(x)
    fold = np.random.default_rng(seed).permutation(np.arange(n) % min(N_FOLDS, n))
    folds = []
    for k in range(fold.max() + 1):
        inside = torch.from_numpy(fold != k).to(x.device)
        folds.append(Fold(x[inside], weight[inside], x[~inside], weight[~inside]))
    return folds


def _run(
    manifold: BaseManifold,
    fold: Fold,
    k: int,
    prior: float,
    seed: int,
) -> Trial:
    """Fit k components, and stop where held-out rows are likeliest."""
    x, weight, x_valid, weight_valid = fold
    mixture = _start(manifold, x, weight, min(k, len(x)), prior, seed)
    share = weight_valid / weight_valid.sum()
    best, best_mean, n_worse = None, -math.inf, 0
    for step in range(1, N_ITERATIONS + 1):
        mixture.step(x, weight, prior)
        if step % CHECK_EVERY:
            continue
        values = mixture.log_prob(x_valid)
        mean = float((share * values).sum())
        n_worse = 0 if mean > best_mean + ENOUGH else n_worse + 1
        if best is None or mean > best_mean:
            best, best_mean = Trial(values, step, copy.deepcopy(mixture)), mean
        if n_worse == N_WORSE:
            break
    assert best is not None
    return best
