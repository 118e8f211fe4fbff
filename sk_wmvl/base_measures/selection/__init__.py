"""Selection: the search for the base measure under which rows held out are likeliest.

Imports tools, manifolds, coordinates and the base measures beside it; `select_base` is what
others call.
"""

from sk_wmvl.base_measures.selection.bandwidths import fit_kernel_base
from sk_wmvl.base_measures.selection.euclidean import ChosenMixture, choose_mixture
from sk_wmvl.base_measures.selection.gaussian_mixture import MIXTURES
from sk_wmvl.base_measures.selection.manifold import choose_base
from sk_wmvl.base_measures.selection.select import SelectedBase, select_base

__all__ = [
    "MIXTURES",
    "ChosenMixture",
    "SelectedBase",
    "choose_base",
    "choose_mixture",
    "fit_kernel_base",
    "select_base",
]
