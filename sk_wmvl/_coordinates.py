"""The affine map between the user's units and the network's: whitening with shrinkage."""

from typing import NamedTuple

import numpy as np

__all__ = ["Coordinates", "fit_coordinates", "weighted_moments"]

N_FOLDS = 5
# Never zero: an exact linear relation must not give a singular matrix.
INTENSITIES = np.concatenate([np.logspace(-10, -1, 28), [0.2, 0.3, 0.5, 0.7, 1.0]])


class Coordinates(NamedTuple):
    """The map x = mean + scale u.

    Attributes
    ----------
    mean : ndarray of shape (d,)
    scale : ndarray of shape (d, d)
    """

    mean: np.ndarray
    scale: np.ndarray

    def to_internal(self, X: np.ndarray) -> np.ndarray:
        """Return u of shape (n, d)."""
        return np.linalg.solve(self.scale, (X - self.mean).T).T


def weighted_moments(
    X: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the weighted mean and a shrunk, positive definite covariance.

    Each feature is scaled to unit variance, and the correlation matrix S is shrunk to
    :math:`(1-\rho) S + \rho\,I`, with :math:`\rho` from a grid between 1e-10 and one by
    the cross-validated Gaussian likelihood (5 folds). With many rows :math:`\rho` is
    negligible even where S has tiny eigenvalues, which an intensity chosen for the
    Frobenius norm would blot out. A feature without variance keeps scale one.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
        Only ratios matter.

    Returns
    -------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    """
    n = len(X)
    w = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    mean = w @ X
    Z = X - mean
    std = np.sqrt(w @ Z**2)
    # A spread at the level of rounding is no spread.
    constant = std <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    std[constant] = 1.0
    Z = Z / std
    rho = _shrinkage(Z[:, ~constant], w)
    S = (1 - rho) * (Z * w[:, None]).T @ Z
    np.fill_diagonal(S, 1.0)  # variances are those of the data
    return mean, S * np.outer(std, std)


def _shrinkage(Z: np.ndarray, w: np.ndarray) -> float:
    """Return the intensity with the best cross-validated Gaussian log-likelihood."""
    fold = np.arange(len(Z)) % N_FOLDS  # rows in their order: no randomness
    loss = np.zeros(len(INTENSITIES))
    for k in range(min(N_FOLDS, len(Z))):
        inside, outside = fold != k, fold == k
        w_in = w[inside] / w[inside].sum()
        centre = w_in @ Z[inside]
        R = Z[inside] - centre
        values, vectors = np.linalg.eigh((R * w_in[:, None]).T @ R)
        squares = w[outside] @ ((Z[outside] - centre) @ vectors) ** 2
        shrunk = np.outer(1 - INTENSITIES, values.clip(0)) + INTENSITIES[:, None]
        loss += w[outside].sum() * np.log(shrunk).sum(1) + (squares / shrunk).sum(1)
    return float(INTENSITIES[np.argmin(loss)])


def fit_coordinates(
    X: np.ndarray,
    weight: np.ndarray | None,
    *,
    standardize: bool,
    columns: list[int],
) -> tuple[Coordinates, np.ndarray, np.ndarray]:
    """Return coordinates, and the data's mean and covariance in the user's units.

    With `standardize` the scale is the symmetric square root of the correlation matrix
    times the standard deviations (ZCA-cor): the data come out white, and each internal
    feature stays as close as possible to its own column.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
    standardize : bool
        If False the map is the identity.
    columns : list of int
        The Euclidean columns; of the others the map is the identity, the mean zero and
        the covariance the identity.

    Returns
    -------
    coordinates : Coordinates
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    """
    d = X.shape[1]
    identity = Coordinates(np.zeros(d), np.eye(d))
    if len(columns) < d:
        mean, covariance = np.zeros(d), np.eye(d)
        if not columns:
            return identity, mean, covariance
        inner, mean[columns], covariance[np.ix_(columns, columns)] = fit_coordinates(
            X[:, columns],
            weight,
            standardize=standardize,
            columns=list(range(len(columns))),
        )
        identity.mean[columns] = inner.mean
        identity.scale[np.ix_(columns, columns)] = inner.scale
        return identity, mean, covariance
    mean, covariance = weighted_moments(X, weight)
    if not standardize:
        return identity, mean, covariance
    std = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(std, std))
    root = (vectors * np.sqrt(values)) @ vectors.T
    return Coordinates(mean, std[:, None] * root), mean, covariance
