"""Gaussian mixtures of scikit-learn as base measures: chosen by BIC, or the user's own."""

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.utils.validation import check_is_fitted, check_memory

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.gaussian import GaussianBase
from sk_wmvl.base_measures.mixture import MixtureBase, from_mixture
from sk_wmvl.base_measures.selection.euclidean import ChosenMixture, choose_mixture
from sk_wmvl.base_measures.stacked import StackedBase
from sk_wmvl.base_measures.transformed import TransformedBase
from sk_wmvl.coordinates.johnson import InvertedColumns, JohnsonColumns
from sk_wmvl.coordinates.whitening import Coordinates, central_units, fit_coordinates

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
NO_SPREAD = 1e-6


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
    chosen: ChosenMixture, shift: np.ndarray, matrix: np.ndarray, *, transformed: bool
) -> BaseMeasure:
    """Return the density of u where that of z was chosen.

    Parameters
    ----------
    chosen : ChosenMixture
        The density of z.
    shift : ndarray of shape (d,)
    matrix : ndarray of shape (d, d)
        Invertible; shift + matrix u is z, or its columns transformed.
    transformed : bool
        Whether it is the latter.

    Returns
    -------
    base : MixtureBase, TransformedBase or StackedBase
    """
    near, other = chosen.plain, chosen.transformed
    shares = [1 - chosen.share, chosen.share]
    if transformed:
        near, other, shares = other, near, shares[::-1]
    bases: list[BaseMeasure] = []
    if near is not None:
        inverse = np.linalg.inv(matrix)
        moved = inverse @ near.covariances @ inverse.T
        bases.append(
            MixtureBase(
                near.weights,
                (near.means - shift) @ inverse.T,
                0.5 * (moved + moved.swapaxes(1, 2)),
                near.dof,
            )
        )
    if other is not None and chosen.transform is not None:
        columns = JohnsonColumns(chosen.transform)
        bases.append(
            TransformedBase(
                MixtureBase(other.weights, other.means, other.covariances, other.dof),
                InvertedColumns(columns) if transformed else columns,
                shift,
                matrix,
            )
        )
    return bases[0] if len(bases) == 1 else StackedBase(bases, np.array(shares))


def euclidean_base(
    base,
    X: np.ndarray,
    weight: np.ndarray | None,
    moments: tuple[np.ndarray, np.ndarray],
    coordinates: Coordinates,
    seed: int,
    *,
    may_transform: bool = False,
    held_out: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    memory=None,
) -> tuple[BaseMeasure, Coordinates]:
    """Return a base measure in internal coordinates, and these.

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
    coordinates : Coordinates
        The affine map x = m + S u.
    seed : int
        Seed of the mixture's starts.
    may_transform : bool, default=False
        Whether other coordinates may be returned: whitened transformed columns, where
        these have more than half of what was chosen.
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
    coordinates : Coordinates
        The map to u.
    """
    mean, covariance = moments
    m, S = coordinates.mean, coordinates.scale
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
        if may_transform and fitted.transform is not None and fitted.share > 0.5:
            transform = fitted.transform.in_units(center, std)
            y = transform.forward(X)
            # A transformed column varies by about one, or not but for rounding.
            y = np.where(y.std(0) > NO_SPREAD, y, y.mean(0))
            columns = list(range(X.shape[1]))
            own, *_ = fit_coordinates(y, weight, standardize=True, columns=columns)
            coordinates = own._replace(transform=transform)
            place = (own.mean, own.scale)
            return chosen_base(fitted, *place, transformed=True), coordinates
        if not fitted.is_one_normal:
            place = ((m - center) / std, S / std[:, None])
            return chosen_base(fitted, *place, transformed=False), coordinates
        base = "gaussian"  # whose covariance has been shrunk with care
    if isinstance(base, str) and base == "gaussian":
        moved = inverse @ covariance @ inverse.T
        moved = 0.5 * (moved + moved.T)
        return GaussianBase(inverse @ (mean - m), moved), coordinates
    if isinstance(base, str) and base == "mixture":
        std = np.sqrt(np.diag(covariance))
        mixture = memory.cache(best_mixture)((X - mean) / std, weight, seed)
        return from_mixture(mixture, (m - mean) / std, S / std[:, None]), coordinates
    return from_mixture(fitted_mixture(base, X, weight, seed), m, S), coordinates
