"""Objectives: what is minimised, one value per row.

Imports what is below them: tools to energies, samplers, and the entropy.
"""

from sk_wmvl.objectives._base import BaseObjective, BaseProblem, Batch
from sk_wmvl.objectives._proposal_based import BaseProposalObjective
from sk_wmvl.objectives.annealed import AnnealedScoreMatching
from sk_wmvl.objectives.contrastive_divergence import ContrastiveDivergence
from sk_wmvl.objectives.denoising import DenoisingScoreMatching
from sk_wmvl.objectives.detached import DetachedMinimumVelocity
from sk_wmvl.objectives.finite_difference import FiniteDifferenceScoreMatching
from sk_wmvl.objectives.maximum_likelihood import LogPartition, MaximumLikelihood
from sk_wmvl.objectives.minimum_probability_flow import MinimumProbabilityFlow
from sk_wmvl.objectives.minimum_velocity import MinimumVelocity
from sk_wmvl.objectives.noise_contrastive import NoiseContrastive
from sk_wmvl.objectives.parzen import ParzenScoreMatching
from sk_wmvl.objectives.riemannian import RiemannianObjective
from sk_wmvl.objectives.score_matching import ScoreMatching
from sk_wmvl.objectives.sliced import SlicedScoreMatching
from sk_wmvl.samplers import SPOS, SVGD, BirthDeath, Langevin

# Each makes an objective from the estimator's step size; those without a step ignore it.
OBJECTIVES = {
    "mvl": lambda epsilon=1e-3: DetachedMinimumVelocity(
        Langevin(epsilon, max_drift=epsilon**-0.5)
    ),
    "mvl-graph": lambda epsilon=1e-3: MinimumVelocity(Langevin(epsilon)),
    "mvl-svgd": lambda epsilon=1e-3: MinimumVelocity(SVGD(epsilon)),
    "mvl-spos": lambda epsilon=1e-3: MinimumVelocity(SPOS(epsilon)),
    "mvl-birth-death": lambda epsilon=1e-3: MinimumVelocity(BirthDeath(epsilon)),
    "annealed": lambda epsilon=1e-3: AnnealedScoreMatching(),
    "sm": lambda epsilon=1e-3: ScoreMatching(),
    "ssm": lambda epsilon=1e-3: SlicedScoreMatching(variance_reduced=False),
    "ssm-vr": lambda epsilon=1e-3: SlicedScoreMatching(),
    "fd-ssm": FiniteDifferenceScoreMatching,
    "dsm": lambda epsilon=1e-3: DenoisingScoreMatching(epsilon**0.5),
    "deen": lambda epsilon=1e-3: DenoisingScoreMatching(
        epsilon**0.5, control_variate=False
    ),
    "parzen": lambda epsilon=1e-3: ParzenScoreMatching(epsilon**0.5),
    "mpf": MinimumProbabilityFlow,
    "nce": lambda epsilon=1e-3: NoiseContrastive(),
    "mle": lambda epsilon=1e-3: MaximumLikelihood(),
    "cd1": lambda epsilon=1e-3: ContrastiveDivergence(Langevin(epsilon)),
}

__all__ = [
    "OBJECTIVES",
    "AnnealedScoreMatching",
    "BaseObjective",
    "BaseProblem",
    "BaseProposalObjective",
    "Batch",
    "ContrastiveDivergence",
    "DenoisingScoreMatching",
    "DetachedMinimumVelocity",
    "FiniteDifferenceScoreMatching",
    "LogPartition",
    "MaximumLikelihood",
    "MinimumProbabilityFlow",
    "MinimumVelocity",
    "NoiseContrastive",
    "ParzenScoreMatching",
    "RiemannianObjective",
    "ScoreMatching",
    "SlicedScoreMatching",
]
