"""Which quadratic form of score matching suits a set of statistics."""

from sk_wmvl.exponential import Candidate, DirectionEnergy
from sk_wmvl.exponential._directions import DirectionObjective
from sk_wmvl.exponential._quadratic import DistinctRows, Objective, QuadraticObjective
from sk_wmvl.manifolds import BaseManifold

__all__ = ["pose"]


def pose(candidate: Candidate, manifold: BaseManifold, data: DistinctRows) -> Objective:
    """Return the quadratic objective of some rows, in its own form if it has one."""
    alone = candidate.penalty is None and data.gradient is None
    if alone and isinstance(candidate.energy, DirectionEnergy):
        return DirectionObjective(candidate, manifold, data)
    return QuadraticObjective(candidate, manifold, data)
