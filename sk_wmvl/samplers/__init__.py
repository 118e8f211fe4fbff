"""Samplers: Markov transitions, of which the first step is an objective.

Imports tools, manifolds, base measures and energies.
"""

from sk_wmvl.samplers._base import BaseSampler, Chain, State, Transition, evaluate
from sk_wmvl.samplers._draw import draw
from sk_wmvl.samplers._warmup import adapt_step_size
from sk_wmvl.samplers.birth_death import BirthDeath
from sk_wmvl.samplers.diagnostics import ess_bulk, ess_tail, mcse_mean, rhat
from sk_wmvl.samplers.geodesic_hmc import GeodesicHMC
from sk_wmvl.samplers.grid import IndependentDraws, draw_on_grid, thin_base
from sk_wmvl.samplers.hmc import HMC
from sk_wmvl.samplers.ito import ItoSampler
from sk_wmvl.samplers.langevin import Langevin
from sk_wmvl.samplers.leave_one_out import LeaveOneOutDensity
from sk_wmvl.samplers.mala import MALA
from sk_wmvl.samplers.riemannian_langevin import RiemannianLangevin
from sk_wmvl.samplers.riemannian_langevin_local import LocalRiemannianLangevin
from sk_wmvl.samplers.spos import SPOS
from sk_wmvl.samplers.svgd import SVGD

SAMPLERS = {
    "langevin": Langevin,
    "mala": MALA,
    "hmc": HMC,
    "svgd": SVGD,
    "spos": SPOS,
    "birth-death": BirthDeath,
}

__all__ = [
    "HMC",
    "MALA",
    "SAMPLERS",
    "SPOS",
    "SVGD",
    "BaseSampler",
    "BirthDeath",
    "Chain",
    "GeodesicHMC",
    "IndependentDraws",
    "ItoSampler",
    "Langevin",
    "LeaveOneOutDensity",
    "LocalRiemannianLangevin",
    "RiemannianLangevin",
    "State",
    "Transition",
    "adapt_step_size",
    "draw",
    "draw_on_grid",
    "ess_bulk",
    "ess_tail",
    "evaluate",
    "mcse_mean",
    "rhat",
    "thin_base",
]
