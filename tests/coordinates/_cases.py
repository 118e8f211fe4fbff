"""A transformation of columns, and rows that it suits."""

import numpy as np
from scipy import stats

from sk_wmvl.coordinates import JohnsonTransform

TRANSFORM = JohnsonTransform(
    np.array([0.3, -1.0]),
    np.array([0.5, 2.0]),
    np.array([1.0, -0.2]),
    np.array([0.7, 1.3]),
)
SHIFT, MATRIX = np.array([0.2, -0.4]), np.array([[1.5, 0.2], [-0.3, 0.8]])


def distributions(transform):
    """Return those of columns whose transformations are standard normal."""
    return [
        stats.johnsonsu(-m / s, 1 / s, location, scale)
        for location, scale, m, s in zip(*transform, strict=True)
    ]


def lognormal_rows(rng, n):
    """Return two correlated lognormal columns, and a function of their log density."""
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    normal = stats.multivariate_normal([0, 0], covariance)

    def log_density(x):
        return normal.logpdf(np.log(x)) - np.log(x).sum(1)

    return np.exp(rng.multivariate_normal([0, 0], covariance, n)), log_density
