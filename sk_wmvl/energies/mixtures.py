"""Gaussian mixtures of scikit-learn as base measures: chosen by BIC, or the user's own."""

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.utils.validation import check_is_fitted, check_memory

from sk_wmvl._coordinates import central_units
from sk_wmvl.energies.base_measures import (
    BaseMeasure,
    GaussianBase,
    MixtureBase,
    from_mixture,
)
from sk_wmvl.energies.euclidean_choice import ChosenMixture, choose_mixture
from sk_wmvl.energies.transformed_base import StackedBase, TransformedBase

__all__ = [
    "MIXTURES",
    "best_mixture",
    "chosen_base",
    "euclidean_base",
    "fitted_mixture",
]

MIXTURES = (GaussianMixture, BayesianGaussianMixture)
MAX_COMPONENTS = 20
PATIENCE = 2  # components tried beyond the best


def resample(X: np.ndarray, weight: np.ndarray | None, seed: int) -> np.ndarray:
    """Return rows drawn with probability proportional to weight: mixtures take none."""
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

    Full and diagonal covariances are tried; components are added one at a time, up to 20
    and with at least twice as many distinct rows each as features, until two in a row
    bring no improvement.

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
    """Return the user's mixture: as it is if fitted, else a fitted clone.

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
        return _fit(clone(mixture), resample(X, weight, seed))
    if mixture.n_features_in_ != X.shape[1]:
        raise ValueError(
            f"base was fitted on {mixture.n_features_in_} features, but X has "
            f"{X.shape[1]}."
        )
    return mixture


def chosen_base(
    chosen: ChosenMixture, shift: np.ndarray, matrix: np.ndarray
) -> BaseMeasure:
    """Return the density of u where that of x = shift + matrix u was chosen.

    Parameters
    ----------
    chosen : ChosenMixture
        The density of x.
    shift : ndarray of shape (d,)
    matrix : ndarray of shape (d, d)
        Invertible.

    Returns
    -------
    base : MixtureBase, TransformedBase or StackedBase
    """
    bases: list[BaseMeasure] = []
    if chosen.plain is not None:
        plain, inverse = chosen.plain, np.linalg.inv(matrix)
        moved = inverse @ plain.covariances @ inverse.T
        bases.append(
            MixtureBase(
                plain.weights,
                (plain.means - shift) @ inverse.T,
                0.5 * (moved + moved.swapaxes(1, 2)),
                plain.dof,
            )
        )
    if chosen.transformed is not None and chosen.transform is not None:
        y = chosen.transformed
        inner = MixtureBase(y.weights, y.means, y.covariances, y.dof)
        bases.append(TransformedBase(inner, chosen.transform, shift, matrix))
    if len(bases) == 1:
        return bases[0]
    return StackedBase(bases, np.array([1 - chosen.share, chosen.share]))


def euclidean_base(
    base,
    X: np.ndarray,
    weight: np.ndarray | None,
    moments: tuple[np.ndarray, np.ndarray],
    coordinates: tuple[np.ndarray, np.ndarray],
    seed: int,
    *,
    held_out: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    memory=None,
) -> BaseMeasure:
    """Return a base measure in internal coordinates.

    Parameters
    ----------
    base : {'auto', 'gaussian', 'mixture'}, mixture or FrozenEstimator
        What held-out rows choose, see `choose_mixture`; the Gaussian with the given
        moments; the mixture with the lowest BIC; the user's.
    X : ndarray of shape (n_samples, n_features)
        Data.
    weight : ndarray of shape (n_samples,) or None
        Weights.
    moments : tuple of ndarray
        Mean (d,) and covariance (d, d) of the data.
    coordinates : tuple of ndarray
        Mean m (d,) and scale S (d, d) of the map x = m + S u.
    seed : int
        Seed of the mixture's starts.
    held_out : ndarray of int or None, default=None
        The rows held out to choose by, where there are many.
    groups : ndarray of int of shape (n_samples,) or None, default=None
        Labels of rows that are not separated.
    memory : str, object with the interface of joblib.Memory, or None, default=None
        Where mixtures that have been chosen are kept.

    Returns
    -------
    base : BaseMeasure
        The density of u.
    """
    (mean, covariance), (m, S) = moments, coordinates
    inverse = np.linalg.inv(S)
    memory = check_memory(memory)
    if isinstance(base, str) and base == "auto":
        center, std = central_units(X)
        fitted = memory.cache(choose_mixture)(
            (X - center) / std,
            np.ones(len(X)) if weight is None else weight,
            held_out=np.arange(0) if held_out is None else held_out,
            groups=groups,
            seed=seed,
        )
        if not fitted.is_one_normal:
            return chosen_base(fitted, (m - center) / std, S / std[:, None])
        base = "gaussian"  # whose covariance has been shrunk with care
    if isinstance(base, str) and base == "gaussian":
        moved = inverse @ covariance @ inverse.T
        return GaussianBase(inverse @ (mean - m), 0.5 * (moved + moved.T))
    if isinstance(base, str) and base == "mixture":
        std = np.sqrt(np.diag(covariance))
        mixture = memory.cache(best_mixture)((X - mean) / std, weight, seed)
        return from_mixture(mixture, (m - mean) / std, S / std[:, None])
    return from_mixture(fitted_mixture(base, X, weight, seed), m, S)
