"""Mixture components on manifolds: families with a centre and a spread, fitted by EM."""

from sk_wmvl.energies.components._base import (
    Components,
    chunk_size,
    component_family,
)
from sk_wmvl.energies.components.axis_normal import AxisNormal
from sk_wmvl.energies.components.product import ProductComponents
from sk_wmvl.energies.components.von_mises import VonMises
from sk_wmvl.energies.components.von_mises_fisher import VonMisesFisher
from sk_wmvl.energies.components.wrapped_normal import WrappedNormal

__all__ = [
    "AxisNormal",
    "Components",
    "ProductComponents",
    "VonMises",
    "VonMisesFisher",
    "WrappedNormal",
    "chunk_size",
    "component_family",
]
