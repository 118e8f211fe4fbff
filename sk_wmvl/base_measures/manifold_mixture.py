"""Mixtures on manifolds, with a uniform background where these are compact."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from sk_wmvl.base_measures._base import BaseMeasure, InflatedCopy
from sk_wmvl.base_measures.components import (
    Components,
    chunk_size,
    component_family,
    log_sum_exp,
    scaled_exp,
)
from sk_wmvl.base_measures.uniform import UniformBase
from sk_wmvl.manifolds import BaseManifold

__all__ = ["ManifoldMixture", "Trial", "start_mixture", "try_mixture"]

N_ITERATIONS = 200
LEAST_BACKGROUND = 0.25  # of an inflated mixture
FEW_DIMENSIONS = 3
# A fit stops after two checks in a row that gain less than ENOUGH, in nats per row.
CHECK_EVERY, N_WORSE, ENOUGH = 10, 2, 5e-4


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
    >>> from sk_wmvl.base_measures import ManifoldMixture
    >>> from sk_wmvl.base_measures.components import VonMises
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

    @property
    def n_components(self) -> int:
        """The number of components."""
        return len(self.log_weights)

    def joint(self, x: Tensor) -> Tensor:
        """Return log of weight times density, (n, K + 1); the background is last."""
        return self.weighted(self.components.log_prob(x))

    def weighted(self, log_prob: Tensor) -> Tensor:
        """Return the same, given log densities of components, (n, K)."""
        value = self.log_weights + log_prob
        if self.background == 0:
            return value
        uniform = math.log(self.background) - self.manifold.log_volume()
        return torch.cat([value, torch.full_like(value[:, :1], uniform)], -1)

    @property
    def work(self) -> int:
        """The time that a point takes, in components of a normal mixture."""
        return self.n_components * self.components.work

    def log_probs(self, x: Tensor, copies: Sequence[InflatedCopy]) -> Tensor:
        """Return log densities of this and of inflated copies; see `BaseMeasure`."""
        wider = [copy.base for copy in copies if isinstance(copy.base, ManifoldMixture)]
        if len(wider) < len(copies):  # uniform densities
            return super().log_probs(x, copies)
        others = [mixture.components for mixture in wider]
        values = []
        for rows in x.split(chunk_size(self.n_components)):
            parts = self.components.log_probs(rows, others)
            sums = [
                log_sum_exp(mixture.weighted(part))
                for mixture, part in zip([self, *wider], parts, strict=True)
            ]
            values.append(torch.stack(sums, 1))
        return torch.cat(values) if values else x.new_zeros(0, 1 + len(wider))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        size = chunk_size(self.n_components)
        parts = [log_sum_exp(self.joint(rows)) for rows in x.split(size)]
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

    def inflated(self, factor: float) -> BaseMeasure:
        """Return inflated components, over a background of a quarter at least.

        In up to three dimensions of a compact manifold it is the uniform density, of which
        draws reach every place, and which costs nothing.
        """
        if self.manifold.is_compact and (self.manifold.dim or 0) <= FEW_DIMENSIONS:
            return UniformBase(self.manifold).to(self.log_weights)
        components = type(self.components)(
            self.manifold,
            self.components.centers.double(),
            self.components.variances.double() * factor**2,
        )
        background = self.background
        if self.manifold.is_compact:
            background = max(background, LEAST_BACKGROUND)
        weights = self.log_weights.exp()
        weights = weights * ((1 - background) / weights.sum())
        wider = ManifoldMixture(self.manifold, components, weights, background)
        return wider.to(self.log_weights)

    def step(self, x: Tensor, weight: Tensor, prior: Tensor) -> None:
        """Make one step of expectation maximisation, in place."""
        size = chunk_size(self.n_components)
        each = []
        for rows, mass in zip(x.split(size), weight.split(size), strict=True):
            part, _ = scaled_exp(self.joint(rows))
            each.append(part.mul_((mass / part.sum(-1))[:, None]))
        responsibility = torch.cat(each)
        n = responsibility.sum(0)
        k = len(self.log_weights)
        self.components.update(x, responsibility[:, :k], prior)
        total = n[:k].clamp(min=1e-9)
        # at least one row's worth, so that no place is impossible
        background = float(n[-1].clamp(min=1.0)) if self.background > 0 else 0.0
        self.background = background / (float(total.sum()) + background)
        self.log_weights = (total / (total.sum() + background)).log()


def start_mixture(
    manifold: BaseManifold,
    x: Tensor,
    weight: Tensor,
    k: int,
    variance: Tensor,
    seed: int,
) -> ManifoldMixture:
    """Return k components at rows far apart, of equal weight."""
    features = manifold.features(x).cpu().numpy()
    _, rows = kmeans_plusplus(
        features, k, sample_weight=weight.cpu().numpy(), random_state=seed
    )
    family = component_family(manifold)
    centers = x[torch.tensor(rows, device=x.device)]
    centers = family.starting_points(manifold, centers).clone()
    background = 1 / (len(x) + 1) if manifold.is_compact else 0.0
    weights = torch.full((k,), (1 - background) / k, dtype=x.dtype, device=x.device)
    components = family(manifold, centers, variance)
    # One step with each row given to one component: in many dimensions a component at a
    # single row is far from all others, and the background would take them.
    nearest = torch.cat(
        [components.log_prob(rows).argmax(1) for rows in x.split(chunk_size(k))]
    )
    responsibility = torch.nn.functional.one_hot(nearest, k).to(x) * weight[:, None]
    components.update(x, responsibility, variance)
    return ManifoldMixture(manifold, components, weights, background)


class Trial(NamedTuple):
    """A number of components, tried on rows held out.

    Attributes
    ----------
    values : Tensor of shape (n,)
        Held-out log densities.
    n_iterations : int
        Steps after which their mean was best.
    """

    values: Tensor
    n_iterations: int


def try_mixture(
    manifold: BaseManifold,
    train: tuple,
    held_out: tuple,
    k: int,
    prior: Tensor,
    seed: int,
) -> Trial:
    """Fit k components, and stop where held-out rows are likeliest.

    Parameters
    ----------
    manifold : BaseManifold
    train : tuple
        Points and weights to fit to, and what else there is.
    held_out : tuple
        The same of the rows held out.
    k : int
    prior : Tensor of shape (n_units,)
        See `Components.update`.
    seed : int
    """
    x, weight, *_ = train
    x_out, weight_out, *_ = held_out
    mixture = start_mixture(manifold, x, weight, min(k, len(x)), prior, seed)
    part = weight_out / weight_out.sum()
    best, best_mean, n_worse = None, -math.inf, 0
    for step in range(1, N_ITERATIONS + 1):
        mixture.step(x, weight, prior)
        if step % CHECK_EVERY:
            continue
        values = mixture.log_prob(x_out)
        mean = float((part * values).sum())
        n_worse = 0 if mean > best_mean + ENOUGH else n_worse + 1
        if best is None or mean > best_mean:
            best, best_mean = Trial(values, step), mean
        if n_worse == N_WORSE:
            break
    assert best is not None
    return best
