"""Markov transitions. The first step of a sampler from the data is an objective."""

from sk_wmvl.samplers._base import BaseSampler, Chain, State, Transition, evaluate
from sk_wmvl.samplers._draw import draw
from sk_wmvl.samplers._warmup import adapt_step_size
from sk_wmvl.samplers.diagnostics import ess_bulk, ess_tail, mcse_mean, rhat
from sk_wmvl.samplers.hmc import HMC
from sk_wmvl.samplers.langevin import Langevin
from sk_wmvl.samplers.mala import MALA

SAMPLERS = {"langevin": Langevin, "mala": MALA, "hmc": HMC}

__all__ = [
    "HMC",
    "MALA",
    "SAMPLERS",
    "BaseSampler",
    "Chain",
    "Langevin",
    "State",
    "Transition",
    "adapt_step_size",
    "draw",
    "ess_bulk",
    "ess_tail",
    "evaluate",
    "mcse_mean",
    "rhat",
]
