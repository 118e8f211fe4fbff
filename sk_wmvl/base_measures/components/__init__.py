"""Components: the densities that mixtures and kernel estimates are made of.

Imports tools and manifolds.
"""

from sk_wmvl.base_measures.components._base import (
    Components,
    chunk_size,
    component_family,
)
from sk_wmvl.base_measures.components._sums import log_sum_exp, scaled_exp
from sk_wmvl.base_measures.components.axis_normal import AxisNormal
from sk_wmvl.base_measures.components.product import ProductComponents
from sk_wmvl.base_measures.components.von_mises import VonMises
from sk_wmvl.base_measures.components.von_mises_fisher import VonMisesFisher
from sk_wmvl.base_measures.components.wrapped_normal import WrappedNormal

__all__ = [
    "AxisNormal",
    "Components",
    "ProductComponents",
    "VonMises",
    "VonMisesFisher",
    "WrappedNormal",
    "chunk_size",
    "component_family",
    "log_sum_exp",
    "scaled_exp",
]
