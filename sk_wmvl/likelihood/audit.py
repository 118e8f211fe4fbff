r"""A search for mass that draws miss.

Draws of a cover estimate Z if they reach every mode of the model. Ascents of the log
density start where the correction is lowest and anywhere; Gaussians at their ends join what
is drawn from. If Z then is larger, the draws had missed mass.
"""

import copy
import math
from typing import NamedTuple

import torch

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.energies._base import CHUNK, evaluate_in_chunks
from sk_wmvl.likelihood.gain import log_mean_exp
from sk_wmvl.likelihood.modes import find_modes
from sk_wmvl.likelihood.pool import Cover, Pool, affordable
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["Audit", "audit"]

N_STARTS = 512  # of ascents
MOST_WORK = 4e6  # starts times components, so that an ascent stays a matter of seconds
N_STEEP = 8192  # draws among which those are found where the correction is steepest
# Further points at which the correction alone is evaluated, which takes a fraction of the
# time of weighing draws: narrow places have few draws near them.
N_SCOUTS, SCOUTED = 2**18, 2**22  # points, and numbers, of which these take 32 MB
TOLERANCE = 0.01  # nats of log Z; less is not worth a repair


class Audit(NamedTuple):
    """What a search for modes has found.

    Attributes
    ----------
    cover : Cover
        With places at the modes.
    pool : Pool
        Draws of it.
    log_z : float
        By these draws, in nats.
    missed : float
        By how much log Z was too low before, in nats; zero if by no more than 0.01 nats or
        two standard errors.
    n_modes : int
        How many distinct modes the ascents have reached.
    """

    cover: Cover
    pool: Pool
    log_z: float
    missed: float
    n_modes: int


@torch.no_grad()
def audit(
    energy: CorrectedEnergy,
    cover: Cover,
    pool: Pool,
    manifold: BaseManifold,
    *,
    generator: torch.Generator,
) -> Audit:
    """Search for modes of a corrected base measure that a cover misses.

    Parameters
    ----------
    energy : CorrectedEnergy
        At the scale in question; its base is that of the cover.
    cover : Cover
    pool : Pool
        Draws of the cover.
    manifold : BaseManifold
        With its dimension known.
    generator : torch.Generator
        Source of draws, on the CPU.

    Returns
    -------
    audit : Audit
    """
    at_draws = -energy.scale * evaluate_in_chunks(energy.correction, pool.x)
    before, error_before, _ = log_mean_exp(pool.log_weight + at_draws)
    work = 1 if energy.base is None else energy.base.work
    n_starts = int(min(N_STARTS, max(32, MOST_WORK // work), len(pool)))
    # Where modes are need not be known to many digits, and float32 takes half the time.
    quick = copy.deepcopy(energy).float()
    n_scouts = affordable(min(N_SCOUTS, SCOUTED // pool.x.shape[1]), cover.base)
    scouts = cover.sample(n_scouts, generator=generator).float()
    starts = _starts(quick, pool, at_draws, scouts, n_starts)
    modes = find_modes(quick, starts, manifold, unit=_unit(pool, manifold))
    n_modes = int(modes.has_converged.sum())
    if len(modes.x) == 0:
        return Audit(cover, pool, before, 0.0, 0)
    places = modes.places(manifold)
    if places is None:  # nothing can be drawn from there, but mass is mass
        excess = float(modes.log_mass.logsumexp(0)) - before
        return Audit(cover, pool, before, excess if excess > 1 else 0.0, n_modes)
    wider = cover.with_places(places)
    more = wider.draw(len(pool), generator=generator)
    at_more = -energy.scale * evaluate_in_chunks(energy.correction, more.x)
    after, error_after, _ = log_mean_exp(more.log_weight + at_more)
    missed = after - before
    noise = 2 * math.hypot(error_before, error_after)
    # The error of what misses a mode is too small itself, and a large one is not known.
    noise = min(noise, 1.0)
    if not missed > max(TOLERANCE, noise):
        missed = 0.0
    return Audit(wider, more, after, missed, n_modes)


def _starts(
    energy: CorrectedEnergy,
    pool: Pool,
    at_draws: torch.Tensor,
    scouts: torch.Tensor,
    n: int,
) -> torch.Tensor:
    """Return points from which to climb, in float32.

    They are where the correction is lowest, where the model has most mass for one draw,
    where the correction is steepest, and anywhere: a mode that few draws are near is among
    the first three.
    """
    quarter = max(1, n // 4)
    at_scouts = evaluate_in_chunks(energy.correction, scouts)
    lowest = scouts[torch.topk(-at_scouts, quarter).indices]
    heaviest = torch.topk(pool.log_weight + at_draws, quarter).indices
    some = pool.x[:N_STEEP].float()
    slopes = [energy_and_grad(energy.correction, rows)[1] for rows in some.split(CHUNK)]
    steepest = torch.topk(torch.cat(slopes).square().sum(1), quarter).indices
    anywhere = torch.arange(max(1, n - 3 * quarter), device=pool.x.device)
    others = pool.x[torch.cat([heaviest, steepest, anywhere])].float()
    return torch.cat([lowest, others])


def _unit(pool: Pool, manifold: BaseManifold) -> torch.Tensor:
    """Return the length in which steps are taken: one in whitened coordinates.

    It is a robust standard deviation of the draws, of each column in Euclidean space, and
    of the features elsewhere.
    """
    x = pool.x[:N_STEEP].float()
    flat = isinstance(manifold, Euclidean)
    z = x if flat else manifold.features(x)
    quantiles = torch.tensor([0.25, 0.75], dtype=z.dtype, device=z.device)
    low, high = torch.quantile(z, quantiles, dim=0)
    spread = (high - low).clamp(min=1e-6) / 1.35
    return spread if flat else spread.mean().clamp(max=1.0)
