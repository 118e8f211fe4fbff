"""Kernel estimates on spheres, tori and rotations: the baselines to beat, well tuned.

A kernel is exp(κ t(x, y)), where t is the inner product of features: unit vectors,
cosines and sines of angles, or unit quaternions, where q and -q are one rotation. There
are three kinds: one bandwidth; the same with a uniform background; and adaptive, where
every point has its own κ, by the distance of its k-th neighbor. What is free is chosen
on other rows, or by leaving one out.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from sk_wmvl.datasets.directional import log_bessel

__all__ = [
    "RootKernel",
    "Space",
    "adaptive_kernel",
    "background_kernel",
    "log_kernels",
    "one_bandwidth_kernel",
    "rotations",
    "sphere",
    "torus",
]

LOG_2PI = np.log(2 * np.pi)
KAPPAS = np.geomspace(0.3, 3e5, 49)
BACKGROUNDS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
ADAPTIVE_BACKGROUNDS = (0.003, 0.01, 0.03)
NEIGHBORS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SCALES = np.geomspace(0.3, 12, 12)
KAPPA_MAX = 1e6  # 0.06 degrees: repeated rows get no infinite peak
CHUNK = 2_000_000  # entries of a kernel matrix at a time


class Space(NamedTuple):
    """What the kernels need to know.

    Attributes
    ----------
    features : callable
        Maps rows to (n, q); the kernel is exp(κ features(x) · features(y)) / Z(κ).
    top : float
        The largest inner product, of a point with itself.
    log_z : callable
        log Z(κ) - κ top, for an array of κ.
    log_volume : float
    dim : int
    even : bool
        Whether q and -q are one point.
    """

    features: object
    top: float
    log_z: object
    log_volume: float
    dim: int
    even: bool = False


def _vmf_log_z(d):
    order = d / 2 - 1
    return lambda k: (order + 1) * LOG_2PI + log_bessel(order, k) - k


def sphere(d):
    """Return the unit sphere in R^d, with its surface measure."""
    log_area = float(_vmf_log_z(d)(0.0))
    return Space(np.asarray, 1.0, _vmf_log_z(d), log_area, d - 1)


def torus(m):
    """Return m angles, with Lebesgue measure."""
    one = _vmf_log_z(2)
    return Space(
        lambda X: np.c_[np.cos(X), np.sin(X)],
        float(m),
        lambda k: m * one(k),
        m * LOG_2PI,
        m,
    )


def rotations():
    """Return unit quaternions up to sign, with *normalized* Haar measure."""
    haar = _vmf_log_z(4)(0.0)  # log 2 pi^2: from the area of S^3 to a probability
    return Space(np.asarray, 1.0, lambda k: _vmf_log_z(4)(k) - haar, 0.0, 3, True)


class KernelEstimate:
    """A mixture of kernels at points, each with its concentration, and the uniform.

    Parameters
    ----------
    space : Space
    X : array of shape (n, d)
    kappas : float or array of shape (n,)
    background : float, default=0
        Weight of the uniform distribution.
    label : str, default=""
    """

    def __init__(self, space, X, kappas, background=0.0, label=""):
        self.space, self.background, self.label = space, background, label
        self.points = space.features(X)
        self.kappas = np.broadcast_to(np.asarray(kappas, dtype=float), len(X))

    def score_samples(self, X):
        """Return log densities of shape (m,)."""
        F = self.space.features(X)
        parts = np.array_split(F, 1 + F.shape[0] * len(self.points) // CHUNK)
        log_kernel = np.concatenate(
            [
                log_mean_kernel(self.space, part @ self.points.T, self.kappas)
                for part in parts
            ]
        )
        return with_background(self.space, log_kernel, self.background)


def log_kernels(space, t, kappas):
    """Return log kernels of inner products t of shape (m, n), for n concentrations."""
    if not space.even:
        return kappas * (t - space.top) - space.log_z(kappas)
    # log of the mean of exp(k t) and exp(-k t)
    exponent = kappas * (np.abs(t) - space.top)
    exponent += np.log1p(np.exp(-2 * kappas * np.abs(t))) - np.log(2)
    return exponent - space.log_z(kappas)


def log_mean_kernel(space, t, kappas, left_out=None):
    """Return log of the mean kernel of rows of inner products t of shape (m, n).

    Entries that are true in `left_out`, of the same shape, do not count.
    """
    exponent = log_kernels(space, t, kappas)
    n = t.shape[1]
    if left_out is not None:
        exponent[left_out] = -np.inf
        n = n - left_out.sum(1)
    return logsumexp(exponent, axis=1) - np.log(n)


def with_background(space, log_kernel, weight):
    """Return the log density of a mixture with the uniform distribution."""
    if weight == 0:
        return log_kernel
    with np.errstate(divide="ignore"):
        return np.logaddexp(
            np.log1p(-weight) + log_kernel if weight < 1 else -np.inf,
            np.log(weight) - space.log_volume,
        )


def _inner(space, X, X_valid, groups):
    """Return inner products of validation rows with X, and what is left out of them."""
    F = space.features(X)
    if X_valid is not None:
        return space.features(X_valid) @ F.T, None
    groups = np.arange(len(X)) if groups is None else groups
    return F @ F.T, groups[:, None] == groups


def _one(space, X, X_valid, groups, backgrounds):
    t, left_out = _inner(space, X, X_valid, groups)
    best = (-np.inf, None, None)
    for kappa in KAPPAS:
        log_kernel = log_mean_kernel(space, t, kappa, left_out)
        for weight in backgrounds:
            value = with_background(space, log_kernel, weight).mean()
            best = max(best, (value, kappa, weight))
    _, kappa, weight = best
    label = f"kappa {kappa:.3g}, uniform {weight:g}"
    return lambda rows: KernelEstimate(space, rows, kappa, weight, label)


def one_bandwidth_kernel(space, X, X_valid=None, groups=None):
    """Return how to estimate from rows: the concentration that suits X_valid best.

    Parameters
    ----------
    space : Space
    X : array of shape (n, d)
    X_valid : array of shape (m, d) or None, default=None
        None leaves one row of X out at a time, or one of the groups.
    groups : array of shape (n,) or None, default=None
        Rows of one subject, say, have the same number.

    Returns
    -------
    fit : callable
        From rows to `KernelEstimate`.
    """
    return _one(space, X, X_valid, groups, (0.0,))


def background_kernel(space, X, X_valid=None, groups=None):
    """Return how to estimate from rows, with a weight of the uniform distribution."""
    return _one(space, X, X_valid, groups, BACKGROUNDS)


def neighbor_distances(space, X, k):
    """Return squared chords of X to its neighbors number k, of shape (n, len(k))."""
    F = space.features(X)
    k = np.asarray(k)
    chords = []
    for part in np.array_split(np.arange(len(F)), 1 + len(F) ** 2 // CHUNK):
        t = F[part] @ F.T
        if space.even:
            t = np.abs(t)
        # The first is the row itself.
        nearest = -np.partition(-t, k, axis=1)[:, k]
        chords.append(2 * (space.top - nearest))
    return np.maximum(np.concatenate(chords), 0)


def adaptive_kernel(space, X, X_valid=None, groups=None):
    """Return how to estimate from rows, each with its own concentration.

    κ_i is scale · dim / r² with r the chord to the k-th neighbor, at most KAPPA_MAX; k,
    the scale and the weight of the uniform distribution suit X_valid best.
    """
    t, left_out = _inner(space, X, X_valid, groups)
    ks = [k for k in NEIGHBORS if k < len(X) // 3]
    chords = neighbor_distances(space, X, ks)
    best = (-np.inf, None, None, None)
    for j, k in enumerate(ks):
        for scale in SCALES:
            kappas = _kappas(space, chords[:, j], scale)
            log_kernel = log_mean_kernel(space, t, kappas, left_out)
            for weight in ADAPTIVE_BACKGROUNDS:
                value = with_background(space, log_kernel, weight).mean()
                best = max(best, (value, k, scale, weight))
    _, k, scale, weight = best
    label = f"neighbor {k}, scale {scale:.2g}, uniform {weight:g}"

    def fit(rows):
        chord = neighbor_distances(space, rows, [k])[:, 0]
        kappas = _kappas(space, chord, scale)
        return KernelEstimate(space, rows, kappas, weight, label)

    return fit


def _kappas(space, chord, scale):
    return 1 / np.maximum(chord / (scale * space.dim), 1 / KAPPA_MAX)


class RootKernel:
    """A kernel estimate of compositions: on the sphere of their roots, folded.

    Every point stands with all its reflections at the coordinate planes, so that the
    boundary reflects. The concentration is chosen leaving one row out. Log densities are
    with respect to Lebesgue measure on the first p - 1 parts.

    Parameters
    ----------
    X : array of shape (n, p)
        Compositions.
    """

    def __init__(self, X):
        p = X.shape[1]
        roots = np.sqrt(X)
        signs = np.stack(np.meshgrid(*[[1.0, -1.0]] * p), -1).reshape(-1, p)
        images = (roots[:, None] * signs).reshape(-1, p)
        rows = np.arange(min(len(X), 300))  # that choose
        t = roots[rows] @ images.T
        left_out = rows[:, None] == np.repeat(np.arange(len(X)), len(signs))
        space = sphere(p)
        values = [log_mean_kernel(space, t, k, left_out).mean() for k in KAPPAS[::2]]
        kappa = KAPPAS[::2][int(np.argmax(values))]
        self.kernel = KernelEstimate(space, images, kappa)
        self.label = f"kappa {kappa:.3g}"

    def score_samples(self, X):
        """Return log densities."""
        p = X.shape[1]
        # 2^p images, each of mass 1, divide the whole sphere: the orthant has all of them.
        on_sphere = self.kernel.score_samples(np.sqrt(X)) + p * np.log(2)
        return on_sphere - (p - 1) * np.log(2) - 0.5 * np.log(X).sum(1)
