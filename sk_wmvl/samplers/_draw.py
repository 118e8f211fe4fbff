"""Draws from a model: resampled proposals, carried on by Hamiltonian Monte Carlo."""

import warnings

import torch
from torch import Tensor, nn

from sk_wmvl.samplers._warmup import adapt_step_size
from sk_wmvl.samplers.diagnostics import rhat
from sk_wmvl.samplers.hmc import HMC

__all__ = ["draw"]

N_PROPOSALS = 8  # proposals per chain to choose starting points from
MAX_CHAINS = 2048
N_WARM_UP = 100
N_STEPS = 100
MAX_RHAT = 1.1


@torch.no_grad()
def draw(
    energy: nn.Module,
    proposal: nn.Module,
    n_samples: int,
    *,
    generator: torch.Generator,
) -> Tensor:
    r"""Return draws from :math:`\exp(-E)` by many short chains.

    Chains start at proposals resampled by importance weight, so that separated modes
    hold about their right share from the start; the step size is adapted in a warm-up and
    then fixed; the last half of each chain is checked by R-hat, and its end is returned.
    Up to 2048 draws each come from a chain of their own and are independent given the
    starting points; beyond, chains are thinned.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    proposal : Module
        A normalised density with ``sample`` and ``log_prob``.
    n_samples : int
        How many draws.
    generator : torch.Generator
        Source of noise, on the CPU.

    Returns
    -------
    x : Tensor of shape (n_samples, d)

    Warns
    -----
    UserWarning
        If R-hat exceeds 1.1: the chains have not mixed.
    """
    n_chains = min(max(n_samples, 64), MAX_CHAINS)
    pool = proposal.sample(N_PROPOSALS * n_chains, generator=generator)
    log_weights = -energy(pool) - proposal.log_prob(pool)
    weights = (log_weights - log_weights.max()).exp().cpu()
    chosen = torch.multinomial(weights, n_chains, replacement=True, generator=generator)
    sampler, state = adapt_step_size(
        HMC(),
        energy,
        pool[chosen.to(pool.device)],
        n_steps=N_WARM_UP,
        generator=generator,
    )
    rounds = -(-n_samples // n_chains)
    chain = sampler.run(energy, state.x, n_steps=N_STEPS * rounds, generator=generator)
    half = chain.samples[-max(N_STEPS // 2, 4) :].transpose(0, 1).cpu().numpy()
    worst = float(max(rhat(half[:, :, j]) for j in range(half.shape[2])))
    if worst > MAX_RHAT:
        warnings.warn(
            f"The chains behind sample() have not mixed: R-hat is {worst:.2f} > "
            f"{MAX_RHAT}. The draws may sit in the wrong proportions between modes. Use a "
            "base measure closer to the data (base='mixture').",
            stacklevel=3,
        )
    ends = chain.samples[N_STEPS - 1 :: N_STEPS].flatten(0, 1)
    order = torch.randperm(len(ends), generator=generator)[:n_samples]
    return ends[order.to(ends.device)]
