"""Unnormalised densities by minimum velocity, as scikit-learn estimators."""

from sk_wmvl._version import __version__
from sk_wmvl.estimators import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    NetworkDroppedWarning,
    RiemannianMVLDensity,
    WassersteinAutoencoder,
)

__all__ = [
    "ImplicitScoreEstimator",
    "ImplicitVAE",
    "MVLDensity",
    "NetworkDroppedWarning",
    "RiemannianMVLDensity",
    "WassersteinAutoencoder",
    "__version__",
]
