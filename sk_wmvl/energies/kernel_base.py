"""A kernel estimate as a base measure: one component per row, left out at its own row."""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.energies.base_measures import BaseMeasure
from sk_wmvl.energies.components import Components, component_family
from sk_wmvl.energies.manifold_mixture import ManifoldMixture
from sk_wmvl.manifolds import BaseManifold, Product

__all__ = ["KernelBase", "LeftOut", "base_gradient", "fit_kernel_base", "unit_squares"]

N_BANDWIDTHS = 16  # common ones, over three orders of magnitude of the variance
NEIGHBORS = (4, 8, 16, 32)  # the distance to which sets a row's own bandwidth ...
FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0)  # ... times one of these
MAX_TRIED = 1500  # rows left out in turn to compare bandwidths
N_BACKGROUND_STEPS = 30
LEAST_BACKGROUND = 1e-4
GRADIENT_CHUNK = 8192  # rows at a time
CHUNK = 512  # rows at a time: bounds the memory of (rows, components)


class KernelBase(BaseMeasure):
    """A kernel density estimate on a manifold, over a uniform background.

    Parameters
    ----------
    mixture : ManifoldMixture
        One component at each row.
    centers : Tensor of shape (K, d)
        The rows.

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
            copies = mask.sum(1).to(joint.dtype)
            left = 1 - copies / k * (1 - self.mixture.background)
            rest = torch.cat([kept, joint[:, k:]], -1).logsumexp(-1)
            values.append(rest - left.clamp(min=1e-300).log())
        return torch.cat(values)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        return self.mixture.sample(n_samples, generator=generator)


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
    grads = [energy_and_grad(own, rows)[1] for rows in x.split(GRADIENT_CHUNK)]
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


def _background(log_kernel: Tensor, log_uniform: float, weight: Tensor) -> float:
    """Return the uniform share that makes rows left out likeliest, by EM."""
    share = 0.01
    total = float(weight.sum())
    for _ in range(N_BACKGROUND_STEPS):
        odds = math.log(share) + log_uniform - math.log1p(-share) - log_kernel
        share = float((torch.sigmoid(odds) * weight).sum()) / total
        share = min(max(share, LEAST_BACKGROUND), 0.999)
    return share


@torch.no_grad()
def fit_kernel_base(
    manifold: BaseManifold, x: Tensor, weight: Tensor, variance: Tensor, *, seed: int
) -> KernelBase:
    r"""Return the kernel estimate under which rows left out are likeliest.

    Candidates are a common variance on a grid below `variance`, and variances in
    proportion to the squared distance of each row to its k-th neighbor [Breiman1977]_.
    Where the manifold is compact, the share of a uniform background is found for each. Rows
    with copies are left out together with them.

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
        Chooses the rows that are left out in turn, if there are many.

    Returns
    -------
    base : KernelBase

    References
    ----------
    [Breiman1977]_
    """
    n = len(x)
    candidates = [h * variance.expand(n, -1) for h in np.logspace(-4, 0, N_BANDWIDTHS)]
    for square in _neighbor_squares(manifold, x, variance).values():
        candidates += [
            (factor * square).clamp(min=1e-10)[:, None] * variance for factor in FACTORS
        ]
    order = np.random.default_rng(seed).permutation(n)[:MAX_TRIED]
    tried = torch.from_numpy(order).to(x.device)
    rows, row_weight = x[tried], weight[tried]
    own = same_rows(rows, x)
    log_weight = (weight / weight.sum()).log()
    # the others' weights sum to less than one
    others = torch.where(own, -torch.inf, log_weight).logsumexp(1)
    log_uniform = -manifold.log_volume()
    best, best_mean = None, -math.inf
    for spread in candidates:
        parts = _components(manifold, x, spread)
        log_kernel = torch.cat(
            [
                (parts.log_prob(part) + log_weight)
                .masked_fill(mask, -torch.inf)
                .logsumexp(1)
                for part, mask in zip(rows.split(CHUNK), own.split(CHUNK), strict=True)
            ]
        )
        log_kernel = log_kernel - others
        background = 0.0
        if manifold.is_compact:
            background = _background(log_kernel, log_uniform, row_weight)
            uniform = torch.full_like(log_kernel, math.log(background) + log_uniform)
            log_kernel = torch.logaddexp(math.log1p(-background) + log_kernel, uniform)
        mean = float((log_kernel * row_weight).sum() / row_weight.sum())
        if best is None or mean > best_mean:
            best, best_mean = (parts, background), mean
    assert best is not None
    parts, background = best
    weights = (1 - background) * log_weight.exp()
    return KernelBase(ManifoldMixture(manifold, parts, weights, background), x)
