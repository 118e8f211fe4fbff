"""Estimators: what a user calls, with scikit-learn's interface.

Imports every room but the plots, the data sets and the main job.
"""

from sk_wmvl.estimators.density import MVLDensity
from sk_wmvl.estimators.riemannian_density import RiemannianMVLDensity
from sk_wmvl.estimators.score_estimator import ImplicitScoreEstimator
from sk_wmvl.estimators.variational_autoencoder import ImplicitVAE
from sk_wmvl.estimators.wasserstein_autoencoder import WassersteinAutoencoder

__all__ = [
    "ImplicitScoreEstimator",
    "ImplicitVAE",
    "MVLDensity",
    "RiemannianMVLDensity",
    "WassersteinAutoencoder",
]
