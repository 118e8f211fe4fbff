"""Real directions, angles, rotations and compositions, with their fixed splits.

Files are found in the folder that SK_WMVL_DATA names. Large sets are split at random into
80 % training, 10 % validation and 10 % test rows, by seed; small sets go in ten folds,
rotations by subject: then a seed is the number of a fold, and there is no validation part.
"""

from typing import NamedTuple

import numpy as np

from _lib.data import N_FOLDS, fold, read_table, split

__all__ = ["SETS", "orbit_normals", "unique_earthquakes"]


class DataSet(NamedTuple):
    """A data set and where it lives.

    Attributes
    ----------
    kind : {'sphere', 'circle', 'torus', 'rotation', 'simplex'}
    load : callable
        From the folder to X of shape (n, d), or (X, groups).
    folds : int
        The number of folds; 0 for random splits by seed.
    """

    kind: str
    load: object
    folds: int = 0

    def parts(self, folder, seed):
        """Return training, validation (or None) and test rows, and groups of the first."""
        X = self.load(folder)
        if not self.folds:
            return [*(X[rows] for rows in split(len(X), seed)), None]
        if isinstance(X, tuple):
            X, groups = X
            test = groups == np.unique(groups)[seed]
            return [X[~test], None, X[test], groups[~test]]
        train, test = fold(len(X), self.folds, seed)
        return [X[train], None, X[test], None]


def from_degrees(latitude, longitude):
    """Return unit vectors from degrees."""
    return from_radians(np.deg2rad(latitude), np.deg2rad(longitude))


def from_radians(latitude, longitude):
    r = np.cos(latitude)
    X = np.c_[r * np.cos(longitude), r * np.sin(longitude), np.sin(latitude)]
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def earthquakes(folder):
    table = np.loadtxt(folder / "quakes_all.csv", delimiter=",", skiprows=4)
    return from_degrees(*table.T)


def unique_earthquakes(folder):
    table = np.loadtxt(folder / "quakes_all.csv", delimiter=",", skiprows=4)
    return from_degrees(*np.unique(table, axis=0).T)


def floods(folder):
    table = np.loadtxt(folder / "flood.csv", delimiter=",", skiprows=2)
    return from_degrees(*table.T)


def comets(folder):
    """Return normals of the orbits, without fragments."""
    rows = [r for r in read_table(folder / "sphere/comets.csv") if r["frag"] == "False"]
    i, om = np.array([[float(r["i"]), float(r["om"])] for r in rows]).T
    return orbit_normals(i, om)


def orbit_normals(inclination, node):
    """Return unit normals of orbits from their angles, in radians."""
    i, om = inclination, node
    X = np.c_[np.sin(i) * np.sin(om), -np.sin(i) * np.cos(om), np.cos(i)]
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def venus(folder):
    table = np.loadtxt(folder / "sphere/craters_venus.csv", delimiter=",", skiprows=1)
    return from_radians(table[:, 2], table[:, 1])


def isoleucine(folder):
    return np.loadtxt(folder / "torus/ile_torsion.csv", delimiter=",", skiprows=1)


def tim8(folder):
    return np.loadtxt(folder / "torus/tim8_torsion_rad.csv", delimiter=",", skiprows=1)


def drill(folder):
    """Return complete quaternions, and their subjects."""
    names = ("Q1", "Q2", "Q3", "Q4")
    rows = read_table(folder / "so3/drill_quaternions.csv")
    rows = [r for r in rows if all(r[k] not in ("", "NA") for k in names)]
    Q = np.array([[float(r[k]) for k in names] for r in rows])
    subjects = np.array([int(r["Subject"]) for r in rows])
    return Q / np.linalg.norm(Q, axis=1, keepdims=True), subjects


def _angles(name, unit=1.0):
    def load(folder):
        path = folder / "circle" / name
        return unit * np.loadtxt(path, skiprows=1, ndmin=2)[:, :1]

    return load


def arrivals(folder):
    rows = read_table(folder / "circle/icu_arrival_times.csv")
    return np.array([[float(r["theta_rad"])] for r in rows])


def _composition(name, parts):
    def load(folder):
        rows = read_table(folder / "simplex" / name)
        rows = [r for r in rows if all(r[k] and float(r[k]) > 0 for k in parts)]
        X = np.array([[float(r[k]) for k in parts] for r in rows])
        return X / X.sum(1, keepdims=True)

    return load


DEGREE = np.pi / 180
GRAINS = ("sand", "silt", "clay")
SETS = {
    "earthquake": DataSet("sphere", earthquakes),
    "earthquake-unique": DataSet("sphere", unique_earthquakes),
    "flood": DataSet("sphere", floods),
    "comets": DataSet("sphere", comets),
    "venus": DataSet("sphere", venus),
    "ile": DataSet("torus", isoleucine),
    "ile-phi-psi": DataSet("torus", lambda folder: isoleucine(folder)[:, :2]),
    "tim8": DataSet("torus", tim8),
    "drill": DataSet("rotation", drill, folds=8),
    "turtles": DataSet("circle", _angles("turtles_deg.csv", DEGREE), N_FOLDS),
    "ants": DataSet("circle", _angles("ants_deg.csv", DEGREE), N_FOLDS),
    "wind": DataSet("circle", _angles("wind_col_de_la_roa_rad.csv"), N_FOLDS),
    "arrivals": DataSet("circle", arrivals, N_FOLDS),
    "arctic-lake": DataSet("simplex", _composition("ArcticLake.csv", GRAINS), N_FOLDS),
    "hongite": DataSet("simplex", _composition("Hongite.csv", tuple("ABCDE")), N_FOLDS),
    "gemas": DataSet("simplex", _composition("gemas.csv", GRAINS), N_FOLDS),
}
