"""Draws from a model: independent if possible, else by Hamiltonian Monte Carlo."""

import math

import torch
from torch import Tensor, nn

from sk_wmvl._warnings import warn
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers._envelope import has_cube
from sk_wmvl.samplers._warmup import adapt_step_size
from sk_wmvl.samplers.diagnostics import rhat
from sk_wmvl.samplers.geodesic_hmc import make_hmc
from sk_wmvl.samplers.grid import draw_on_grid, thin_base

__all__ = ["draw"]

N_POOL = 10  # proposals per draw
MIN_POOL = 10_000
MIN_EFFECTIVE = 3  # effective proposals per draw with which few draws share a proposal
MOST_POOL = 200_000  # proposals, if more of them would be enough
N_TRIAL, SAME = 200, 1e-3  # proposals, and nats, by which a proposal is the model
SPARE = 1.2  # more proposals than seem to be needed
CHUNK = 10_000  # proposals at a time
# Moves that separate draws which start at the same proposal, and steps of each.
N_REFRESH, N_LEAPFROG = 20, 2
N_ADAPT_CHAINS = 64
N_ADAPT = 40
N_CHAINS = 256
N_WARM_UP = 200
N_STEPS = 200
THIN = 10
MAX_RHAT = 1.1


def draw(
    energy: nn.Module,
    proposal: nn.Module,
    n_samples: int,
    *,
    generator: torch.Generator,
    manifold: BaseManifold | None = None,
    cover: nn.Module | None = None,
) -> Tensor:
    r"""Return draws from :math:`\exp(-E)`.

    Draws are independent in three cases. If nothing corrects the base measure, they are
    draws of it. If a model without a base is its proposal, as a family in closed form is,
    they are draws of that. On compact manifolds of up to three dimensions they come from
    `thin_base` or `draw_on_grid`.

    In all other cases proposals are resampled by importance weight, so that separated modes
    have about the right weights. There are ten proposals per draw, or as many more as are
    needed, up to 40 per draw or 200 000 in all. If at least three per draw are effective,
    systematic resampling takes a proposal :math:`nw_i` times to within one
    [Kitagawa1996]_: at most once, but for the heaviest. Further copies are moved apart by
    20 moves of `HMC` of two leapfrog steps, whose size is adapted and then fixed. With
    fewer effective proposals 256 chains explore the model: after 200 moves of warm-up they
    make at least 200 more. Every tenth state is used, and R-hat is checked.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    proposal : Module
        A normalised density with ``sample`` and ``log_prob``.
    n_samples : int
        Number of draws.
    generator : torch.Generator
        Source of noise, on the CPU.
    manifold : BaseManifold or None, default=None
        The space of the points; None is Euclidean space. On a manifold the moves are those
        of `GeodesicHMC`. If it has no geodesics, proposals are only resampled.
    cover : Module or None, default=None
        A density like `proposal` with mass wherever the model has some, to resample from;
        None is `proposal` itself.

    Returns
    -------
    x : Tensor of shape (n_samples, d)

    Warns
    -----
    UserWarning
        If R-hat exceeds 1.1: the chains have not mixed.

    References
    ----------
    [Kitagawa1996]_
    """
    independent = _draw_independently(energy, proposal, n_samples, generator, manifold)
    if independent is not None:
        return independent
    cover = proposal if cover is None else cover
    n_pool, n_needed = max(N_POOL * n_samples, MIN_POOL), MIN_EFFECTIVE * n_samples
    pool, log_weights = _propose(energy, cover, n_pool, generator)
    weights, n_effective = _normalize(log_weights)
    n_enough = math.ceil(SPARE * n_needed * n_pool / n_effective)
    if n_effective < n_needed and n_enough <= max(MOST_POOL, 4 * n_pool):
        more = _propose(energy, cover, n_enough - n_pool, generator)
        pool = torch.cat([pool, more[0]])
        weights, n_effective = _normalize(torch.cat([log_weights, more[1]]))
    if n_effective >= n_needed:
        rows, n_copies = _take(weights, n_samples, generator)
        x = pool[rows.to(pool.device)]
        if n_copies:
            # the copies come first
            moved = _move_apart(
                energy, pool, weights, x[:n_copies], generator, manifold
            )
            x = torch.cat([moved, x[n_copies:]])
        return x[torch.randperm(n_samples, generator=generator).to(x.device)]

    def resample(n: int) -> Tensor:
        rows = torch.multinomial(weights, n, replacement=True, generator=generator)
        return pool[rows.to(pool.device)]

    try:
        sampler = _adapted(energy, resample(N_ADAPT_CHAINS), generator, manifold)
    except NotImplementedError:  # no geodesics to move along
        warn(
            f"{n_samples} draws were resampled from only {n_effective:.0f} effective "
            f"ones, as {manifold!r} has no geodesics along which they could move on.",
        )
        return resample(n_samples)
    chain = sampler.run(
        energy,
        resample(N_CHAINS),
        n_steps=max(N_STEPS, THIN * math.ceil(n_samples / N_CHAINS)),
        n_burn_in=N_WARM_UP,
        thin=THIN,
        generator=generator,
    )
    seen = chain.samples
    if manifold is not None:
        seen = _features(manifold, seen)
    kept = seen.transpose(0, 1).cpu().numpy()
    worst = max(float(rhat(kept[:, :, j])) for j in range(kept.shape[2]))
    if worst > MAX_RHAT:
        warn(
            f"The chains behind sample() have not mixed: R-hat is {worst:.2f} > "
            f"{MAX_RHAT}. The draws may sit in the wrong proportions between modes. Use "
            "a base measure closer to the data, or a larger alpha.",
        )
    flat = chain.samples.flatten(0, 1)
    order = torch.randperm(len(flat), generator=generator)[:n_samples]
    return flat[order.to(flat.device)]


def _take(weights: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, int]:
    """Return n rows, each taken n w times on average, and how many are further copies.

    These come first. Marks at equal distances along the sum of the weights say which rows
    are taken, so that a row is taken n w times to within one. Its neighbors in the sum are
    random ones, as proposals come in random order.
    """
    ends = n * weights.double().cumsum(0) / weights.sum(dtype=torch.float64)
    start = torch.rand((), generator=generator, dtype=torch.float64)
    marks = (ends - start).ceil().clamp(0, n).long()
    marks[-1] = n  # whatever the rounding of the sum
    rows = torch.repeat_interleave(marks.diff(prepend=marks.new_zeros(1)))
    is_copy = torch.zeros(n, dtype=torch.bool)
    is_copy[1:] = rows[1:] == rows[:-1]
    return torch.cat([rows[is_copy], rows[~is_copy]]), int(is_copy.sum())


def _adapted(
    energy, x: Tensor, generator, manifold: BaseManifold | None, n_leapfrog: int = 5
):
    """Return a sampler with its step size adapted from some points on."""
    sampler = make_hmc(manifold, n_leapfrog)
    return adapt_step_size(sampler, energy, x, n_steps=N_ADAPT, generator=generator)[0]


def _move_apart(
    energy: nn.Module,
    pool: Tensor,
    weights: Tensor,
    x: Tensor,
    generator: torch.Generator,
    manifold: BaseManifold | None,
) -> Tensor:
    """Return points after some moves each; where none can be made, as they are."""
    rows = torch.multinomial(
        weights, N_ADAPT_CHAINS, replacement=True, generator=generator
    )
    try:
        start = pool[rows.to(pool.device)]
        sampler = _adapted(energy, start, generator, manifold, N_LEAPFROG)
    except NotImplementedError:  # no geodesics to move along
        return x
    chain = sampler.run(energy, x, n_steps=N_REFRESH, generator=generator)
    return chain.state.x


@torch.no_grad()
def _propose(
    energy: nn.Module, proposal: nn.Module, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return n proposals and the logs of their importance weights."""
    pools, log_weights = [], []
    for first in range(0, n, CHUNK):
        pool = proposal.sample(min(CHUNK, n - first), generator=generator)
        pools.append(pool)
        log_weights.append(-energy(pool) - proposal.log_prob(pool))
    return torch.cat(pools), torch.cat(log_weights)


def _normalize(log_weights: Tensor) -> tuple[Tensor, float]:
    """Return weights, of which the largest is one, and their effective number."""
    weights = (log_weights - log_weights.max()).exp().cpu()
    return weights, float(weights.sum().square() / weights.square().sum())


def _features(manifold: BaseManifold, samples: Tensor) -> Tensor:
    """Return the features of chains, (n_kept, n_chains, n_features)."""
    return manifold.features(samples.flatten(0, 1)).unflatten(0, samples.shape[:2])


def _draw_independently(
    energy: nn.Module,
    proposal: nn.Module,
    n_samples: int,
    generator: torch.Generator,
    manifold: BaseManifold | None,
) -> Tensor | None:
    """Return independent draws, or None if there is no way to make them."""
    if isinstance(energy, CorrectedEnergy) and energy.base is not None:
        if energy.scale == 0:
            return energy.base.sample(n_samples, generator=generator)
        thinned = energy
    else:
        thinned = None
        # the same but for log Z: no weight differs from another
        trial = _propose(energy, proposal, N_TRIAL, generator)[1]
        if float(trial.max() - trial.min()) < SAME:
            return proposal.sample(n_samples, generator=generator)
    if manifold is None or not has_cube(manifold):
        return None
    draws = None
    if thinned is not None:
        draws = thin_base(thinned, n_samples, generator=generator, manifold=manifold)
    if draws is None:
        draws = draw_on_grid(
            energy, proposal, n_samples, generator=generator, manifold=manifold
        )
    return None if draws is None else draws.x
