"""Base measures: the normalised densities that a network corrects.

Imports tools, manifolds and coordinates; a base measure knows no network.
"""

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.gaussian import GaussianBase
from sk_wmvl.base_measures.kernel import KernelBase, base_gradient
from sk_wmvl.base_measures.manifold_mixture import ManifoldMixture
from sk_wmvl.base_measures.mixture import MixtureBase, from_mixture
from sk_wmvl.base_measures.stacked import StackedBase
from sk_wmvl.base_measures.transformed import TransformedBase
from sk_wmvl.base_measures.uniform import UniformBase

__all__ = [
    "BaseMeasure",
    "GaussianBase",
    "KernelBase",
    "ManifoldMixture",
    "MixtureBase",
    "StackedBase",
    "TransformedBase",
    "UniformBase",
    "base_gradient",
    "from_mixture",
]
