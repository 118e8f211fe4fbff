"""Real data on the rarer manifolds, as rows that `RiemannianMVLDensity` takes.

Digits and tumours come with scikit-learn; the others are found in the folder that
SK_WMVL_DATA names.
"""

import numpy as np
import torch
from scipy.spatial.transform import Rotation as Turn
from sklearn.datasets import load_breast_cancer, load_digits

from _lib.data import read_table
from _lib.directional_data import orbit_normals, unique_earthquakes

__all__ = [
    "ellipsoid",
    "frame_quaternions",
    "frames",
    "ink",
    "on_sphere",
    "periwinkles",
    "places",
    "planes",
    "sphere_per_ellipsoid",
    "textures",
    "tilts",
]

EARTH = 0.0818191908426  # eccentricity of the ellipsoid WGS 84


def orbits(folder):
    """Return inclination, node, argument of perihelion and eccentricity."""
    rows = [r for r in read_table(folder / "sphere/comets.csv") if r["frag"] == "False"]
    return np.array([[float(r[k]) for k in ("i", "om", "w", "e")] for r in rows]).T


def planes(folder):
    """Return normals of comets' orbits, of either sign: the planes, not the sense."""
    i, om, _, _ = orbits(folder)
    return orbit_normals(i, om)


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
    kept = (e > 0) & (e < 1)
    return np.c_[orbit_normals(i, om), np.log(e / (1 - e))][kept]


def periwinkles(folder):
    """Return bearings of moved periwinkles, and the log of how far they went."""
    rows = read_table(folder / "circle/periwinkles_deg.csv")
    X = np.array([[float(r["theta_deg"]), float(r["x"])] for r in rows])
    return np.c_[np.deg2rad(X[:, 0]), np.log(X[:, 1])]


def textures(folder=None):
    """Return 569 tumours as normal distributions: the nuclei's mean texture, its error.

    Fisher's information is the metric. The distributions N(m, s^2) are then the
    half-plane of points (m / sqrt 2, s); here they are in the disk, with the median one
    at its center.
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
    weight = images / images.sum((1, 2), keepdims=True)
    place = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1)
    center = np.einsum("nij,ijk->nk", weight, place)
    gap = place - center[:, None, None]
    C = np.einsum("nij,nijk,nijl->nkl", weight, gap, gap)
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
