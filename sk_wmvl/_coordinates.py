"""The affine map between the user's units and the network's: whitening with shrinkage."""

from typing import NamedTuple

import numpy as np

__all__ = ["Coordinates", "fit_coordinates", "weighted_moments"]


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

    Each feature is scaled to unit variance, and the correlation matrix S is shrunk as
    :math:`(1-\rho) S + \rho\,I` with the intensity of Ledoit and Wolf,

    .. math::

        \rho = \min\Bigl(1, \frac{\sum_i w_i^2\|z_iz_i^\top - S\|^2}{\|S - I\|^2}\Bigr),
        \qquad \textstyle\sum_i w_i = 1,

    which vanishes like 1/n and keeps the matrix invertible when rows are few. A feature
    without variance keeps scale one.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
        Only ratios matter.

    Returns
    -------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)

    References
    ----------
    [Ledoit2004]_
    """
    n, d = X.shape
    w = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    mean = w @ X
    Z = X - mean
    std = np.sqrt(w @ Z**2)
    # A spread at the level of rounding is no spread.
    std[std <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = 1.0
    Z = Z / std
    S = (Z * w[:, None]).T @ Z
    norms = (Z**2).sum(1)
    spread = norms**2 - 2 * np.einsum("ni,ij,nj->n", Z, S, Z, optimize=True)
    noise = (w**2) @ (spread + (S**2).sum())
    signal = ((S - np.eye(d)) ** 2).sum()
    rho = min(1.0, noise / signal) if signal > 0 else 0.0
    # Even with many rows an exact linear relation must not give a singular matrix.
    rho = max(rho, 1e-6)
    return mean, ((1 - rho) * S + rho * np.eye(d)) * np.outer(std, std)


def fit_coordinates(
    X: np.ndarray, weight: np.ndarray | None, *, standardize: bool
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

    Returns
    -------
    coordinates : Coordinates
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    """
    mean, covariance = weighted_moments(X, weight)
    d = len(mean)
    if not standardize:
        return Coordinates(np.zeros(d), np.eye(d)), mean, covariance
    std = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(std, std))
    root = (vectors * np.sqrt(values)) @ vectors.T
    return Coordinates(mean, std[:, None] * root), mean, covariance
