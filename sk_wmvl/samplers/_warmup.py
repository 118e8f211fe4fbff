"""Choice of a sampler's step size: dual averaging on the acceptance probability."""

import math

import torch
from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl.samplers._base import BaseSampler, State, Transition, evaluate

__all__ = ["adapt_step_size"]

# Constants of Hoffman & Gelman (2014), section 3.2.
SHRINKAGE = 0.05  # how weakly the iterates are pulled to their center
DELAY = 10  # how long early iterates count for little
FORGETTING = 0.75  # how fast they are forgotten
# A start off by more than 2**40 has the wrong units, or an energy that is never finite.
MAX_DOUBLINGS = 40


def adapt_step_size(
    sampler: BaseSampler,
    energy: nn.Module,
    x: Tensor,
    *,
    n_steps: int,
    target_accept: float | None = None,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[BaseSampler, State]:
    r"""Run chains while bringing their mean acceptance to a target; return both.

    First the step is doubled or halved until the mean acceptance of one move crosses the
    target. Then, with the acceptance :math:`a_k` of move k averaged over the chains,

    .. math:: \log h_{k+1} = \mu - \frac{\sqrt{k}}{\gamma (k + k_0)}
              \sum_{i \le k} (a^* - a_i),

    and the step returned is a running geometric mean of the iterates with weights
    :math:`k^{-\kappa}`. With a fixed step the chain leaves its target invariant.

    Parameters
    ----------
    sampler : BaseSampler
        With a Metropolis test (`MALA`, `HMC`). Not changed; its step size is the start.
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n_chains, d)
        Where the chains start.
    n_steps : int
        Moves of every chain; 0 is the first search only.
    target_accept : float, default=None
        The target :math:`a^*`, in (0, 1). None is the sampler's own `target_accept`.
    beta : float, default=1.0
        Inverse temperature.
    generator : torch.Generator, default=None
        Source of noise, on the CPU.

    Returns
    -------
    sampler : BaseSampler
        A copy with the step size found.
    state : State
        Where the chains ended.

    Raises
    ------
    ValueError
        If the sampler has no Metropolis test.

    References
    ----------
    [Hoffman2014]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.samplers import MALA, adapt_step_size
    >>> energy = lambda x: 0.5 * (x**2 / 1e-4).sum(-1)  # standard deviation 0.01
    >>> x, g = 0.01 * torch.randn(100, 2).double(), torch.Generator().manual_seed(0)
    >>> sampler, _ = adapt_step_size(MALA(1.0), energy, x, n_steps=100, generator=g)
    >>> 5e-5 < sampler.step_size < 4e-4
    True
    """
    sampler = clone(sampler)
    state = evaluate(energy, x)
    first = sampler.step(energy, state, beta=beta, generator=generator)
    accept = _mean_accept(first)
    target = sampler.target_accept if target_accept is None else target_accept
    if not 0 < target < 1:
        raise ValueError(f"target_accept must lie in (0, 1); got {target!r}.")

    log_step = math.log(sampler.step_size)
    up = accept > target
    for _ in range(MAX_DOUBLINGS):
        if (accept > target) != up:
            break
        log_step += math.log(2) if up else -math.log(2)
        sampler.step_size = math.exp(log_step)
        tried = sampler.step(energy, state, beta=beta, generator=generator)
        accept = _mean_accept(tried)

    # Hoffman & Gelman pull to ten times the start, because a step that is too long is soon
    # noticed. Here the start is already near the target.
    center, shortfall, log_mean = log_step, 0.0, log_step
    for k in range(1, n_steps + 1):
        move = sampler.step(energy, state, beta=beta, generator=generator)
        state = move.state or evaluate(energy, move.x)
        shortfall += target - _mean_accept(move)
        log_step = center - math.sqrt(k) / (SHRINKAGE * (k + DELAY)) * shortfall
        log_mean += k**-FORGETTING * (log_step - log_mean)
        sampler.step_size = math.exp(log_step)
    sampler.step_size = math.exp(log_mean)
    return sampler, state


def _mean_accept(move: Transition) -> float:
    if move.accept_prob is None:
        raise ValueError(
            "The sampler has no Metropolis test, so no acceptance to adapt to. "
            "Use 'mala' or 'hmc'."
        )
    return float(move.accept_prob.mean())
