"""A kernel estimate with one bandwidth on each of the rarer manifolds.

Log densities are with respect to the volume that `RiemannianMVLDensity` has there.
"""

import math

import numpy as np
from scipy.special import logsumexp

from _lib.directional_kernels import log_kernels, sphere

__all__ = [
    "Kernel",
    "axes",
    "directional_kernel",
    "hyperbolic_kernel",
    "spd_kernel",
    "with_normals",
]

LOG_2PI = math.log(2 * math.pi)


class Kernel:
    """A kernel estimate, whose widths suit validation rows best.

    Parameters
    ----------
    log_kernel : callable
        Maps rows (m, d), centers (n, d) and widths to log densities (m, n).
    X : array of shape (n, d)
    X_valid : array or None
        None leaves out one row of X at a time.
    widths : list
        What to choose from.
    """

    def __init__(self, log_kernel, X, X_valid, widths):
        self.log_kernel = log_kernel
        seen = X if X_valid is None else X_valid
        values = []
        for width in widths:
            log_k = log_kernel(seen, X, width)
            if X_valid is None:
                np.fill_diagonal(log_k, -np.inf)
            values.append(logsumexp(log_k, axis=1).mean())
        self.width = widths[int(np.argmax(values))]
        self.points = X if X_valid is None else np.r_[X, X_valid]
        self.label = "width " + " ".join(f"{w:.3g}" for w in np.atleast_1d(self.width))

    def score_samples(self, X):
        """Return log densities of shape (n,)."""
        log_k = self.log_kernel(X, self.points, self.width)
        return logsumexp(log_k, axis=1) - math.log(len(self.points))


def hyperbolic_kernel(x, y, width):
    """Wrapped normals on the Poincaré disk."""
    square = ((x[:, None] - y) ** 2).sum(-1)
    gaps = (1 - (x**2).sum(1))[:, None] * (1 - (y**2).sum(1))
    d = np.arccosh(1 + 2 * square / gaps)
    return -LOG_2PI - 2 * np.log(width) - d**2 / (2 * width**2) - log_sinh_over(d)


def spd_kernel(x, y, width):
    """Wrapped normals on positive definite matrices [[a, b], [b, c]], rows (a, b, c)."""
    (a, b, c), (p, q, r) = x.T[:, :, None], y.T[:, None]
    det = a * c - b * b
    half = (c * p - 2 * b * q + a * r) / det / 2
    ratio = (p * r - q * q) / det
    root = np.sqrt(np.maximum(half**2 - ratio, 0))
    first = np.log(half + root)
    second = np.log(ratio) - first
    square = first**2 + second**2
    constant = 1.5 * LOG_2PI + 3 * np.log(width)
    return -constant - square / (2 * width**2) - log_sinh_over((first - second) / 2)


def log_sinh_over(d):
    """Return log(sinh d / d)."""
    d = np.maximum(np.abs(d), 1e-6)
    return d + np.log(-np.expm1(-2 * d) / (2 * d))


def directional_kernel(space, points=np.asarray, shift=0.0):
    """Return a kernel by `directional_kernels`, in other coordinates or another measure.

    Parameters
    ----------
    space : Space
    points : callable, default=np.asarray
        From rows to the rows of the space.
    shift : float or callable, default=0
        What is added to log densities, or how it follows from rows.
    """

    def log_kernel(x, y, width):
        t = space.features(points(x)) @ space.features(points(y)).T
        kappas = np.full(len(y), 1 / width**2)
        more = shift(x)[:, None] if callable(shift) else shift
        return log_kernels(space, t, kappas) + more

    return log_kernel


def axes(d):
    """Return axes in R^d, with the measure of half the unit sphere."""
    whole = sphere(d)
    return whole._replace(
        log_z=lambda k: whole.log_z(k) - math.log(2),
        log_volume=whole.log_volume - math.log(2),
        even=True,
    )


def with_normals(kernel, n):
    """Return a kernel of the first n columns times a normal one of the last."""

    def log_kernel(x, y, width):
        first, h = width
        r = (x[:, -1:] - y[:, -1]) / h
        log_normal = -0.5 * r**2 - 0.5 * LOG_2PI - math.log(h)
        return kernel(x[:, :n], y[:, :n], first) + log_normal

    return log_kernel
