"""Estimators: what a user calls, with scikit-learn's interface.

Imports all other folders, except the plots and the data sets.
"""

from sk_wmvl.estimators._density import NetworkDroppedWarning
from sk_wmvl.estimators.density import MVLDensity
from sk_wmvl.estimators.riemannian_density import RiemannianMVLDensity
from sk_wmvl.estimators.score_estimator import ImplicitScoreEstimator
from sk_wmvl.estimators.variational_autoencoder import ImplicitVAE
from sk_wmvl.estimators.wasserstein_autoencoder import WassersteinAutoencoder

__all__ = [
    "ImplicitScoreEstimator",
    "ImplicitVAE",
    "MVLDensity",
    "NetworkDroppedWarning",
    "RiemannianMVLDensity",
    "WassersteinAutoencoder",
]
