"""Real data on the rarer manifolds, and a kernel estimate with one bandwidth on each.

Rows are those that `RiemannianMVLDensity` takes; a kernel's log densities are with respect
to the same volume. Digits and tumours come with scikit-learn; the others are found in
the folder that SK_WMVL_DATA names.
"""

import csv
import math
from typing import NamedTuple

import _directional
import numpy as np
import torch
from _data import split
from _manifold_data import unique_earthquakes
from scipy.spatial.transform import Rotation as Turn
from scipy.special import logsumexp
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import KFold

from sk_wmvl.manifolds import (
    SPD,
    AxialSphere,
    Chart,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Sphere,
    Stiefel,
)

__all__ = ["CASES", "Case", "Kernel"]

LOG_2PI = math.log(2 * math.pi)
WIDTHS = np.geomspace(0.01, 3, 30)
N_FOLDS = 10
EARTH = 0.0818191908426  # eccentricity of the ellipsoid WGS 84


# --- kernels ----------------------------------------------------------------------------


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
    """Return a kernel by `_directional`, in other coordinates and another measure."""

    def log_kernel(x, y, width):
        F, G = space.features(points(x)), space.features(points(y))
        kappa = np.full(len(G), 1 / width**2)
        t = F @ G.T
        if space.even:
            exponent = kappa * (np.abs(t) - space.top)
            exponent += np.log1p(np.exp(-2 * kappa * np.abs(t))) - np.log(2)
        else:
            exponent = kappa * (t - space.top)
        more = shift(x)[:, None] if callable(shift) else shift
        return exponent - space.log_z(kappa) + more

    return log_kernel


def axes(d):
    """Return axes in R^d, with the measure of half the unit sphere."""
    whole = _directional.sphere(d)
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


# --- data -------------------------------------------------------------------------------


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def orbits(folder):
    """Return inclination, node, argument of perihelion and eccentricity."""
    rows = [r for r in table(folder / "sphere/comets.csv") if r["frag"] == "False"]
    return np.array([[float(r[k]) for k in ("i", "om", "w", "e")] for r in rows]).T


def planes(folder):
    """Return normals of comets' orbits, of either sign: the planes, not the sense."""
    i, om, _, _ = orbits(folder)
    X = np.c_[np.sin(i) * np.sin(om), -np.sin(i) * np.cos(om), np.cos(i)]
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def frames(folder):
    """Return directions of perihelion and normals of orbits, as 3 x 2 matrices by row."""
    i, om, w, _ = orbits(folder)
    R = Turn.from_euler("ZXZ", np.c_[om, i, w]).as_matrix()
    return R[:, :, [0, 2]].reshape(-1, 6)


def frame_quaternions(X):
    """Return the unit quaternions of rotations whose columns 0 and 2 are frames."""
    A = X.reshape(-1, 3, 2)
    R = np.stack([A[:, :, 0], np.cross(A[:, :, 1], A[:, :, 0]), A[:, :, 1]], -1)
    return Turn.from_matrix(R).as_quat()


def tilts(folder):
    """Return normals of comets' orbits and the log of their eccentricity's odds."""
    i, om, _, e = orbits(folder)
    X = np.c_[np.sin(i) * np.sin(om), -np.sin(i) * np.cos(om), np.cos(i)]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    kept = (e > 0) & (e < 1)
    return np.c_[X, np.log(e / (1 - e))][kept]


def periwinkles(folder):
    """Return bearings of moved periwinkles, and the log of how far they went."""
    rows = table(folder / "circle/periwinkles_deg.csv")
    X = np.array([[float(r["theta_deg"]), float(r["x"])] for r in rows])
    return np.c_[np.deg2rad(X[:, 0]), np.log(X[:, 1])]


def textures(folder=None):
    """Return 569 tumours as normal laws: the mean of their nuclei's texture, its error.

    With Fisher's information as the metric, laws N(m, s^2) are the half-plane of points
    (m / sqrt 2, s); here in the disk, with the median law at its center.
    """
    del folder
    cancer = load_breast_cancer()
    names = list(cancer.feature_names)
    m, s = cancer.data[:, [names.index("mean texture"), names.index("texture error")]].T
    scale = np.exp(np.median(np.log(s)))
    z = ((m - np.median(m)) / np.sqrt(2) + 1j * s) / scale
    w = (z - 1j) / (z + 1j)
    return np.c_[w.real, w.imag]


def ink(folder=None):
    """Return every third digit, 599, as covariances of its ink, (xx, xy, yy)."""
    del folder
    images = load_digits().images[::3]
    share = images / images.sum((1, 2), keepdims=True)
    place = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1)
    center = np.einsum("nij,ijk->nk", share, place)
    gap = place - center[:, None, None]
    C = np.einsum("nij,nijk,nijl->nkl", share, gap, gap)
    return np.c_[C[:, 0, 0], C[:, 0, 1], C[:, 1, 1]]


def places(folder):
    """Return latitudes and longitudes of earthquakes, in radians."""
    X = unique_earthquakes(folder)
    return np.c_[np.arcsin(X[:, 2].clip(-1, 1)), np.arctan2(X[:, 1], X[:, 0])]


def ellipsoid(y):
    """Return the metric of the earth by geodetic latitude and longitude, equator 1."""
    square = 1 - EARTH**2 * y[:, 0].sin() ** 2
    north = ((1 - EARTH**2) / square**1.5) ** 2
    east = (y[:, 0].cos() ** 2 / square).clamp(min=1e-12)
    return torch.diag_embed(torch.stack([north, east], -1))


def on_sphere(y):
    """Return the unit vectors with these latitudes and longitudes."""
    r = np.cos(y[:, 0])
    return np.c_[r * np.cos(y[:, 1]), r * np.sin(y[:, 1]), np.sin(y[:, 0])]


def sphere_per_ellipsoid(y):
    """Return log of the area of `on_sphere` per area of the ellipsoid."""
    square = 1 - EARTH**2 * np.sin(y[:, 0]) ** 2
    return 2 * np.log(square) - np.log(1 - EARTH**2)


# --- cases ------------------------------------------------------------------------------


class Case(NamedTuple):
    """A data set on a manifold.

    Attributes
    ----------
    manifold : BaseManifold
    load : callable
        From the folder to rows.
    log_kernel : callable
        For `Kernel`.
    widths : list
    folds : int
        The number of folds; 0 for random splits by seed.
    bundled : bool
        Whether the data come with scikit-learn.
    """

    manifold: object
    load: object
    log_kernel: object
    widths: object = tuple(WIDTHS)
    folds: int = 0
    bundled: bool = False

    def parts(self, folder, seed):
        """Return training, validation (or None) and test rows."""
        X = self.load(folder)
        if self.folds:
            kfold = KFold(self.folds, shuffle=True, random_state=0)
            train, test = list(kfold.split(X))[seed]
            return X[train], None, X[test]
        return [X[rows] for rows in split(len(X), seed)]


PAIRS = [(a, b) for a in WIDTHS[::2] for b in WIDTHS[::2]]
CASES = {
    "textures": Case(
        Hyperbolic(2, model="ball"), textures, hyperbolic_kernel, bundled=True
    ),
    "ink": Case(SPD(2), ink, spd_kernel, bundled=True),
    "comet-planes": Case(AxialSphere(2), planes, directional_kernel(axes(3))),
    "comet-frames": Case(
        Stiefel(3, 2),
        frames,
        directional_kernel(
            _directional.rotations(), frame_quaternions, -Stiefel(3, 2).log_volume()
        ),
    ),
    "earthquakes-by-degrees": Case(
        Chart(
            metric=ellipsoid,
            dim=2,
            low=[-math.pi / 2, -math.pi],
            high=[math.pi / 2, math.pi],
            periodic=[False, True],
        ),
        places,
        directional_kernel(_directional.sphere(3), on_sphere, sphere_per_ellipsoid),
    ),
    "comet-orbits": Case(
        Product([("normal", Sphere(2)), ("shape", Euclidean(1))]),
        tilts,
        with_normals(directional_kernel(_directional.sphere(3)), 3),
        PAIRS,
    ),
    "periwinkles": Case(
        Product([("bearing", Circle("angle")), ("log_distance", Euclidean(1))]),
        periwinkles,
        with_normals(directional_kernel(_directional.torus(1)), 1),
        PAIRS,
        folds=N_FOLDS,
    ),
}
