"""Unnormalised densities by minimum velocity, as scikit-learn estimators."""

from sk_wmvl._autoencoder import ImplicitVAE
from sk_wmvl._density import MVLDensity
from sk_wmvl._riemannian_density import RiemannianMVLDensity
from sk_wmvl._score_estimator import ImplicitScoreEstimator
from sk_wmvl._version import __version__
from sk_wmvl._wasserstein_autoencoder import WassersteinAutoencoder

__all__ = [
    "ImplicitScoreEstimator",
    "ImplicitVAE",
    "MVLDensity",
    "RiemannianMVLDensity",
    "WassersteinAutoencoder",
    "__version__",
]
