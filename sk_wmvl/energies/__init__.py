"""Energies: the networks, and how they compose with base measures and spaces.

Imports tools, manifolds, coordinates and base measures.
"""

from collections.abc import Callable

from sk_wmvl.energies._base import BaseEnergy, check_energy
from sk_wmvl.energies.composed import (
    CorrectedEnergy,
    FeatureEnergy,
    TransformedEnergy,
    freeze,
)
from sk_wmvl.energies.conditional import (
    ConditionalEnergy,
    GivenContext,
    given_context,
)
from sk_wmvl.energies.inner_product import InnerProductEnergy
from sk_wmvl.energies.level import AnnealedEnergy, LevelEnergy
from sk_wmvl.energies.mlp import MLPEnergy
from sk_wmvl.energies.tangent_space import (
    TangentSpaceEnergy,
    tangent_basis,
    tangent_derivatives,
)

ENERGIES: dict[str, Callable[..., BaseEnergy]] = {
    "inner_product": InnerProductEnergy,
    "mlp": MLPEnergy,
}

__all__ = [
    "ENERGIES",
    "AnnealedEnergy",
    "BaseEnergy",
    "ConditionalEnergy",
    "CorrectedEnergy",
    "FeatureEnergy",
    "GivenContext",
    "InnerProductEnergy",
    "LevelEnergy",
    "MLPEnergy",
    "TangentSpaceEnergy",
    "TransformedEnergy",
    "check_energy",
    "freeze",
    "given_context",
    "tangent_basis",
    "tangent_derivatives",
]
