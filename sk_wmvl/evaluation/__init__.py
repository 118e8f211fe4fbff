"""Evaluation: the likelihood of a generative model, and how its samples look.

Imports what is below it: tools to energies, samplers and normalizers.
"""

from sk_wmvl.evaluation.annealed import (
    AnnealingPlan,
    LogLikelihood,
    annealed_log_likelihood,
    plan_annealing,
)
from sk_wmvl.evaluation.bidirectional import Bounds, annealed_bounds
from sk_wmvl.evaluation.frechet import frechet_distance, frechet_from_moments
from sk_wmvl.evaluation.importance import importance_weighted_bound

__all__ = [
    "AnnealingPlan",
    "Bounds",
    "LogLikelihood",
    "annealed_bounds",
    "annealed_log_likelihood",
    "frechet_distance",
    "frechet_from_moments",
    "importance_weighted_bound",
    "plan_annealing",
]
