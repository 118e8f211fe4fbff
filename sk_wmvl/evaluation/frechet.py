"""The Fréchet distance between samples, in the space of any features."""

from collections.abc import Callable

import numpy as np
from scipy import linalg

__all__ = ["frechet_distance", "frechet_from_moments"]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric root; eigenvalues below zero, by rounding, are taken as zero."""
    values, vectors = linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def frechet_from_moments(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    r"""Return the squared 2-Wasserstein distance of two Gaussians.

    .. math:: \|m_a - m_b\|^2 + \mathrm{tr}\,C_a + \mathrm{tr}\,C_b
              - 2\,\mathrm{tr}\,(C_a^{1/2} C_b C_a^{1/2})^{1/2}

    The last trace is the sum of the singular values of :math:`C_a^{1/2} C_b^{1/2}`. It is
    real and accurate for singular covariances too, unlike the root of the product
    :math:`C_a C_b`.

    Parameters
    ----------
    mean_a, mean_b : ndarray of shape (d,)
        Means.
    cov_a, cov_b : ndarray of shape (d, d)
        Covariances.

    Returns
    -------
    distance : float
        In squared units of the features; at least 0.

    References
    ----------
    [Dowson1982]_, [Heusel2017]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.evaluation import frechet_from_moments
    >>> eye = np.eye(2)
    >>> round(frechet_from_moments(np.zeros(2), eye, np.ones(2), 4 * eye), 10)
    4.0
    """
    cross = linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b)
    return float(max(distance - 2 * cross, 0.0))


def frechet_distance(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    features: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    r"""Return the Fréchet distance between two samples (FID if features are Inception's).

    Parameters
    ----------
    X, Y : ndarray of shape (n, n_columns) and (m, n_columns)
        Samples, such as images drawn and images held out.
    features : callable, default=None
        Maps samples to features of shape (n, d), such as the last hidden layer of a
        classifier; None compares the columns themselves.

    Returns
    -------
    distance : float
        In squared units of the features. For few rows it is too high on average, by about
        :math:`\mathrm{tr}(C)\,(1/n + 1/m)`, and by more for covariances of rank below d.
        Compare only values from equal n, m and features.

    Raises
    ------
    ValueError
        If a sample has fewer than two rows, the numbers of features differ, or a feature
        is not finite.

    References
    ----------
    [Heusel2017]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.evaluation import frechet_distance
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(X, X + 2), 6)  # a shift: its squared length
    12.0
    """
    sides = []
    for name, sample in (("X", X), ("Y", Y)):
        values = np.asarray(sample if features is None else features(sample))
        values = values.astype(np.float64)
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(
                f"Features of {name} must have shape (n, d) with n >= 2; got "
                f"{values.shape}."
            )
        if not np.isfinite(values).all():
            raise ValueError(f"Features of {name} have NaN or infinite values.")
        sides.append(values)
    a, b = sides
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"X has {a.shape[1]} features and Y has {b.shape[1]}; they must be equal."
        )
    cov_a, cov_b = (np.atleast_2d(np.cov(v, rowvar=False)) for v in (a, b))
    return frechet_from_moments(a.mean(0), cov_a, b.mean(0), cov_b)
