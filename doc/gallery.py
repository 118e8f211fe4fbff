"""Draw the pictures of the gallery page, all of them or those that are named.

    python doc/gallery.py [earthquakes] [torsions] [wind] [soils] [rotations] [textures]
        [ink] [comets] [periwinkles] [chart]

The winds are made up, and the textures and the ink come from scikit-learn. The other data
are read from the folder that SK_WMVL_DATA names.
"""

import csv
import os
import sys
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial.transform import Rotation as Turn
from sklearn.datasets import load_breast_cancer, load_digits

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.manifolds import (
    AxialSphere,
    Chart,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Simplex,
    Stiefel,
    from_lat_lon,
)
from sk_wmvl.plots import (
    DensityDisplay,
    DrawsDisplay,
    HyperbolicDisplay,
    RotationDisplay,
    SimplexDisplay,
    SphereDisplay,
    TorusDisplay,
)

OUT = Path(__file__).parent / "_static"


def folder():
    """Return the folder of the data sets."""
    return Path(os.environ["SK_WMVL_DATA"])


def save(figure, name):
    """Write the picture of a section."""
    path = OUT / f"gallery_{name}.png"
    figure.savefig(path, dpi=75, bbox_inches="tight")
    plt.close(figure)
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def earthquakes():
    """Draw places on the sphere, on a map and on a globe."""
    table = np.loadtxt(folder() / "quakes_all.csv", delimiter=",", skiprows=4)
    X = from_lat_lon(*np.unique(table, axis=0).T)
    density = RiemannianMVLDensity("sphere", random_state=0).fit(X)
    figure = plt.figure(figsize=(10, 3.4))
    world = figure.add_subplot(1, 2, 1, projection="mollweide")
    SphereDisplay.from_estimator(density, X[::8], center=(0, 150), ax=world)
    globe = figure.add_subplot(1, 2, 2)
    SphereDisplay.from_estimator(
        density, projection="orthographic", center=(20, 140), n_arrows=16, ax=globe
    )
    save(figure, "earthquakes")


def torsions():
    """Draw two angles of isoleucine on the torus."""
    path = folder() / "torus" / "ile_torsion.csv"
    X = np.loadtxt(path, delimiter=",", skiprows=1)[:, :2]
    density = RiemannianMVLDensity("torus", random_state=0).fit(X)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4))
    labels = ("φ", "ψ")
    TorusDisplay.from_estimator(density, X[::8], labels=labels, ax=axes[0])
    draws = density.sample(1000, random_state=0)
    TorusDisplay.from_estimator(density, draws, labels=labels, ax=axes[1])
    axes[0].set_title("data")
    axes[1].set_title("draws from the model")
    save(figure, "torsions")


def weather(n=3000, seed=0):
    """Return made-up winds, bearings in radians and log speeds: sea breeze and storms."""
    rng = np.random.default_rng(seed)
    storm = rng.random(n) < 0.25
    bearing = np.where(storm, rng.vonmises(-2.0, 6.0, n), rng.vonmises(0.8, 2.0, n))
    # The breeze is stronger the closer it is to its main direction.
    breeze = 1.0 + 0.4 * np.cos(bearing - 0.8) + 0.35 * rng.normal(size=n)
    gale = 2.4 + 0.2 * rng.normal(size=n)
    return np.c_[bearing, np.where(storm, gale, breeze)]


def wind():
    """Draw bearings and speeds, a product of the circle and the line."""
    X = weather()
    place = Product([("bearing", Circle("angle")), ("log_speed", Euclidean(1))])
    density = RiemannianMVLDensity(place, random_state=0).fit(X)
    bearing, speed = np.linspace(0, 2 * np.pi, 181), np.linspace(0.3, 20, 120)
    grid = np.stack(np.meshgrid(bearing, np.log(speed)), -1).reshape(-1, 2)
    # Per unit of log speed; divided by the speed it is one per m/s.
    log_density = density.score_samples(grid) - grid[:, 1]
    polar = {"projection": "polar"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), subplot_kw=polar)
    axes[0].plot(X[::3, 0], np.exp(X[::3, 1]), ".", color="0.3", ms=2, alpha=0.5)
    axes[1].pcolormesh(
        bearing,
        speed,
        np.exp(log_density).reshape(120, 181),
        cmap="Blues",
        rasterized=True,
    )
    for ax, title in zip(axes, ("winds", "density"), strict=True):
        ax.set_theta_zero_location("N")
        ax.set_theta_direction(-1)
        ax.set_ylim(0, 20)
        ax.set_yticks([5, 10, 15])
        ax.set_rlabel_position(150)
        ax.set_title(title)
    save(figure, "wind")


def soils():
    """Draw compositions of three parts."""
    with (folder() / "simplex" / "gemas.csv").open(newline="") as file:
        rows = [[r["sand"], r["silt"], r["clay"]] for r in csv.DictReader(file)]
    X = np.array([row for row in rows if all(row)], dtype=float)
    X /= X.sum(1, keepdims=True)
    print(f"{(X == 0).any(1).sum()} of {len(X)} soils have a zero")
    density = RiemannianMVLDensity(Simplex(), random_state=0).fit(X)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4))
    labels = ("sand", "silt", "clay")
    SimplexDisplay.from_estimator(density, X[::4], labels=labels, ax=axes[0])
    draws = density.sample(500, random_state=0)
    SimplexDisplay.from_estimator(density, draws, labels=labels, ax=axes[1])
    axes[0].set_title("data")
    axes[1].set_title("draws from the model")
    save(figure, "soils")


def rotations():
    """Draw turns of the wrist, one map per axis."""
    with (folder() / "so3" / "drill_quaternions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("Q1", "Q2", "Q3", "Q4")
    rows = [r for r in rows if all(r[k] not in ("", "NA") for k in names)]
    X = np.array([[float(r[k]) for k in names] for r in rows])
    subject = [int(r["Subject"]) for r in rows]
    place = Rotation(scalar_first=True, project=True)
    density = RiemannianMVLDensity(place, random_state=0).fit(X, groups=subject)
    print(density.base_, density.correction_scale_)
    display = RotationDisplay.from_estimator(
        density, X, projection="orthographic", n_grid=90
    )
    save(display.figure_, "rotations")


def textures():
    """Draw normal distributions in the Poincaré disk."""
    cancer = load_breast_cancer(as_frame=True)
    mean, error = cancer.data["mean texture"], cancer.data["texture error"]
    scale = np.exp(np.log(error).median())
    z = (((mean - mean.median()) / 2**0.5 + 1j * error) / scale).to_numpy()
    w = (z - 1j) / (z + 1j)
    X = np.c_[w.real, w.imag]
    density = RiemannianMVLDensity(Hyperbolic(model="ball"), random_state=0).fit(X)
    print(density.base_, density.correction_scale_)
    figure, axes = plt.subplots(1, 2, figsize=(8, 4))
    HyperbolicDisplay.from_estimator(density, X, n_arrows=14, ax=axes[0])
    axes[0].set_title("tumours")
    draws = density.sample(len(X), random_state=0)
    HyperbolicDisplay.from_estimator(density, draws, ax=axes[1])
    axes[1].set_title("draws from the model")
    save(figure, "textures")


def ink_covariances():
    """Return the covariances (xx, xy, yy) of the place of the ink of 1797 digits."""
    images = load_digits().images
    weight = images / images.sum((1, 2), keepdims=True)
    place = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1)
    gap = place - np.einsum("nij,ijk->nk", weight, place)[:, None, None]
    C = np.einsum("nij,nijk,nijl->nkl", weight, gap, gap)
    return np.c_[C[:, 0, 0], C[:, 0, 1], C[:, 1, 1]]


def ink():
    """Draw quantities of covariance matrices."""
    X = ink_covariances()[::3]
    density = RiemannianMVLDensity("spd", base="mixture", random_state=0).fit(X)
    print(density.base_, density.correction_scale_)
    quantities = {
        "log area": lambda C: 0.5 * np.log(C[:, 0] * C[:, 2] - C[:, 1] ** 2),
        "correlation": lambda C: C[:, 1] / np.sqrt(C[:, 0] * C[:, 2]),
        "log (height / width)": lambda C: 0.5 * np.log(C[:, 2] / C[:, 0]),
    }
    display = DrawsDisplay.from_estimator(density, X, quantities, random_state=0)
    save(display.figure_, "ink")


def comets():
    """Draw planes of orbits as axes, and perihelia with normals as frames.

    Comets that the spacecraft SOHO found are left out: most are fragments of one.
    """
    with (folder() / "sphere" / "comets.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["frag"] == "False"]
    rows = [r for r in rows if "SOHO" not in r["full_name"]]
    print(f"{len(rows)} comets")
    i, node, argument = np.array(
        [[float(r[k]) for k in ("i", "om", "w")] for r in rows]
    ).T
    R = Turn.from_euler("ZXZ", np.c_[node, i, argument]).as_matrix()
    normals, frames = R[:, :, 2], R[:, :, [0, 2]].reshape(-1, 6)
    axes = RiemannianMVLDensity(AxialSphere(), random_state=0).fit(normals)
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2))
    SphereDisplay.from_estimator(
        axes, normals[::2], projection="orthographic", center=(90, 0), ax=panels[0]
    )
    panels[0].set_title("planes of orbits")
    pairs = RiemannianMVLDensity(Stiefel(3, 2, project=True), random_state=0).fit(
        frames
    )
    quantities = {
        "latitude of perihelion (sine)": lambda X: X[:, 4],
        "inclination (cosine)": lambda X: X[:, 5],
    }
    DrawsDisplay.from_estimator(
        pairs, frames, quantities, random_state=0, axes=panels[1:]
    )
    save(figure, "comets")


def periwinkles():
    """Draw the bearings of periwinkles and how far they went: a product of few rows."""
    path = folder() / "circle" / "periwinkles_deg.csv"
    distance, bearing = np.loadtxt(path, delimiter=",", skiprows=1).T
    X = np.c_[np.deg2rad(bearing), np.log(distance)]
    place = Product([("bearing", Circle("angle")), ("log_distance", Euclidean(1))])
    density = RiemannianMVLDensity(place, random_state=0).fit(X)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    labels = ("bearing (radians)", "log distance")
    DensityDisplay.from_estimator(density, X, labels=labels, ax=axes[0])
    draws = density.sample(300, random_state=0)
    draws[:, 0] %= 2 * np.pi
    DensityDisplay.from_estimator(density, draws, labels=labels, n_arrows=0, ax=axes[1])
    axes[0].set_title("periwinkles")
    axes[1].set_title("draws from the model")
    save(figure, "periwinkles")


def earth(y):
    """Return the metric of WGS 84 by geodetic latitude and longitude, equator 1."""
    square = 1 - 0.0818191908426**2 * y[:, 0].sin() ** 2
    north = ((1 - 0.0818191908426**2) / square**1.5) ** 2
    east = (y[:, 0].cos() ** 2 / square).clamp(min=1e-12)
    return torch.diag_embed(torch.stack([north, east], -1))


def chart():
    """Draw earthquakes by latitude and longitude on the ellipsoid."""
    table = np.loadtxt(folder() / "quakes_all.csv", delimiter=",", skiprows=4)
    X = np.deg2rad(np.unique(table, axis=0))
    place = Chart(
        metric=earth,
        dim=2,
        low=[-np.pi / 2, -np.pi],
        high=[np.pi / 2, np.pi],
        periodic=[False, True],
    )
    density = RiemannianMVLDensity(place, random_state=0).fit(X)
    latitude, longitude = np.linspace(-1.4, 1.5, 120), np.linspace(-np.pi, np.pi, 200)
    grid = np.stack(np.meshgrid(latitude, longitude, indexing="ij"), -1).reshape(-1, 2)
    values = density.score_samples(grid).reshape(120, 200)
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.2))
    for ax, rows, title in zip(
        axes,
        (X[::8], density.sample(len(X) // 8, random_state=0)),
        ("earthquakes", "draws from the model"),
        strict=True,
    ):
        points = np.c_[(rows[:, 1] + np.pi) % (2 * np.pi) - np.pi, rows[:, 0]]
        DensityDisplay(
            longitude,
            latitude,
            values,
            points=points,
            labels=("longitude (radians)", "latitude"),
        ).plot(ax=ax)
        ax.set_title(title)
    save(figure, "chart")


if __name__ == "__main__":
    pages = (
        earthquakes,
        torsions,
        wind,
        soils,
        rotations,
        textures,
        ink,
        comets,
        periwinkles,
        chart,
    )
    pictures = {f.__name__: f for f in pages}
    for name in sys.argv[1:] or pictures:
        start = time.perf_counter()
        pictures[name]()
        print(f"{name}: {time.perf_counter() - start:.0f} s")
