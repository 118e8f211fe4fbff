"""Gaussian mixtures of scikit-learn: chosen by BIC, or the user's own."""

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.utils.validation import check_is_fitted

__all__ = ["MIXTURES", "best_mixture", "continued", "fitted_mixture", "refitted"]

MIXTURES = (GaussianMixture, BayesianGaussianMixture)
MAX_COMPONENTS = 20
PATIENCE = 2  # components tried beyond the best


def resample(X: np.ndarray, weight: np.ndarray | None, seed: int) -> np.ndarray:
    """Return rows drawn in proportion to their weights, which mixtures do not take."""
    if weight is None:
        return X
    rng = np.random.default_rng(seed)
    return X[rng.choice(len(X), len(X), p=weight / weight.sum())]


def _fit(mixture, X: np.ndarray):
    # The k-means start has no array-API form, and X is numpy in any case.
    with config_context(array_api_dispatch=False):
        return mixture.fit(X)


def best_mixture(Z: np.ndarray, weight: np.ndarray | None, seed: int):
    """Return the Gaussian mixture with the lowest BIC.

    Full and diagonal covariances are tried. Components are added one at a time until two in
    a row bring no improvement. There are up to 20, with at least twice as many distinct
    rows each as features.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Data with unit variances.
    weight : ndarray of shape (n_samples,) or None
    seed : int

    Returns
    -------
    mixture : GaussianMixture
        Fitted.
    """
    Z = resample(Z, weight, seed)
    most = len(np.unique(Z, axis=0)) // (2 * Z.shape[1])
    best, best_bic = None, np.inf
    for kind in ("full", "diag"):
        best_of_kind, n_worse = np.inf, 0
        for k in range(1, min(MAX_COMPONENTS, max(1, most)) + 1):
            mixture = _fit(
                GaussianMixture(
                    k, covariance_type=kind, max_iter=1000, random_state=seed
                ),
                Z,
            )
            bic = mixture.bic(Z)
            n_worse = 0 if bic < best_of_kind else n_worse + 1
            best_of_kind = min(bic, best_of_kind)
            if bic < best_bic:
                best, best_bic = mixture, bic
            if n_worse == PATIENCE:
                break
    return best


def fitted_mixture(base, X: np.ndarray, weight: np.ndarray | None, seed: int):
    """Return the user's mixture as it is if it is fitted, else a fitted clone.

    Raises
    ------
    TypeError
        If it is no Gaussian mixture.
    ValueError
        If it was fitted on another number of features.
    """
    mixture = base.estimator if isinstance(base, FrozenEstimator) else base
    if not isinstance(mixture, MIXTURES):
        raise TypeError(
            "base must be a Gaussian mixture of scikit-learn, possibly inside "
            f"FrozenEstimator; got {type(mixture).__name__}."
        )
    try:
        check_is_fitted(mixture)
    except NotFittedError:
        return refitted(mixture, X, weight, seed)
    if mixture.n_features_in_ != X.shape[1]:
        raise ValueError(
            f"base was fitted on {mixture.n_features_in_} features, but X has "
            f"{X.shape[1]}."
        )
    return mixture


def refitted(mixture, X: np.ndarray, weight: np.ndarray | None, seed: int):
    """Return a clone of a mixture, fitted to rows."""
    return _fit(clone(mixture), resample(X, weight, seed))


def continued(
    mixture: GaussianMixture,
    X: np.ndarray,
    weight: np.ndarray | None,
    seed: int,
) -> GaussianMixture:
    """Return a fitted mixture after two more steps, on other rows."""
    own = clone(mixture).set_params(
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
        tol=1e300,  # any change after the first step ends the fit, without a warning
    )
    return _fit(own, resample(X, weight, seed))
