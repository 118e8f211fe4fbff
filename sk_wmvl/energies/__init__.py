"""Energies: networks, base measures, and how they compose."""

from collections.abc import Callable

from sk_wmvl._johnson import JohnsonTransform, fit_johnson
from sk_wmvl.energies._base import BaseEnergy, check_energy
from sk_wmvl.energies.base_choice import choose_base
from sk_wmvl.energies.base_measures import (
    BaseMeasure,
    GaussianBase,
    MixtureBase,
    from_mixture,
)
from sk_wmvl.energies.columns import InvertedColumns, JohnsonColumns
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
from sk_wmvl.energies.kernel_base import KernelBase, base_gradient
from sk_wmvl.energies.kernel_choice import fit_kernel_base
from sk_wmvl.energies.level import AnnealedEnergy, LevelEnergy
from sk_wmvl.energies.lifted import LiftedEnergy, tangent_basis, tangent_derivatives
from sk_wmvl.energies.manifold_mixture import ManifoldMixture, UniformBase
from sk_wmvl.energies.mlp import MLPEnergy
from sk_wmvl.energies.transformed_base import StackedBase, TransformedBase

ENERGIES: dict[str, Callable[..., BaseEnergy]] = {
    "inner_product": InnerProductEnergy,
    "mlp": MLPEnergy,
}

__all__ = [
    "ENERGIES",
    "AnnealedEnergy",
    "BaseEnergy",
    "BaseMeasure",
    "ConditionalEnergy",
    "CorrectedEnergy",
    "FeatureEnergy",
    "GaussianBase",
    "GivenContext",
    "InnerProductEnergy",
    "InvertedColumns",
    "JohnsonColumns",
    "JohnsonTransform",
    "KernelBase",
    "LevelEnergy",
    "LiftedEnergy",
    "MLPEnergy",
    "ManifoldMixture",
    "MixtureBase",
    "StackedBase",
    "TransformedBase",
    "TransformedEnergy",
    "UniformBase",
    "base_gradient",
    "check_energy",
    "choose_base",
    "fit_johnson",
    "fit_kernel_base",
    "freeze",
    "from_mixture",
    "given_context",
    "tangent_basis",
    "tangent_derivatives",
]
