"""Exponential families: energies linear in their parameters, fitted in closed form.

Imports tools, manifolds, coordinates, base measures and energies.
"""

from collections.abc import Callable

from sk_wmvl.exponential._base import (
    Candidate,
    ExponentialFamily,
    LinearEnergy,
    check_robustness,
)
from sk_wmvl.exponential._monomials import MonomialEnergy
from sk_wmvl.exponential.bingham import BinghamFamily
from sk_wmvl.exponential.fisher_bingham import FisherBinghamFamily
from sk_wmvl.exponential.gaussian import GaussianFamily
from sk_wmvl.exponential.kernel import KernelFamily, SectionEnergy
from sk_wmvl.exponential.polynomial import PolynomialFamily
from sk_wmvl.exponential.von_mises_fisher import DirectionEnergy, VonMisesFisherFamily

# Each entry makes a family from the estimator's alpha, if the family has a penalty.
FAMILIES: dict[str, Callable[[float], ExponentialFamily]] = {
    "bingham": lambda alpha: BinghamFamily(),
    "fisher_bingham": lambda alpha: FisherBinghamFamily(),
    "gaussian": lambda alpha: GaussianFamily(),
    "kernel": lambda alpha: KernelFamily(alpha=alpha),
    "polynomial": lambda alpha: PolynomialFamily(alpha=alpha),
    "von_mises_fisher": lambda alpha: VonMisesFisherFamily(),
}

__all__ = [
    "FAMILIES",
    "BinghamFamily",
    "Candidate",
    "DirectionEnergy",
    "ExponentialFamily",
    "FisherBinghamFamily",
    "GaussianFamily",
    "KernelFamily",
    "LinearEnergy",
    "MonomialEnergy",
    "PolynomialFamily",
    "SectionEnergy",
    "VonMisesFisherFamily",
    "check_robustness",
]
