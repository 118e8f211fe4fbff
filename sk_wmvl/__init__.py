"""Unnormalised densities by minimum velocity, as scikit-learn estimators."""

from sk_wmvl._density import MVLDensity
from sk_wmvl._riemannian_density import RiemannianMVLDensity
from sk_wmvl._version import __version__

__all__ = ["MVLDensity", "RiemannianMVLDensity", "__version__"]
