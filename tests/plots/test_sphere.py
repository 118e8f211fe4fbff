"""Maps of the sphere put the density, the data and the score where they belong."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_wmvl.datasets import VonMisesFisherMixture
from sk_wmvl.plots import SphereDisplay

POLE = np.array([0.0, 0.0, 1.0])


def test_mollweide(known):
    mean = np.array([0.0, 0.6, 0.8])
    known = known(VonMisesFisherMixture([mean], [5.0]))
    X = known.distribution.sample(50, random_state=0)
    display = SphereDisplay.from_estimator(
        known, X, n_grid=60, center=(0, 90), n_arrows=7
    )
    assert display.ax_.name == "mollweide"
    assert display.log_density.shape == (60, 120)
    # The mean has longitude 90 degrees: it is in the middle.
    row, column = np.unravel_index(display.log_density.argmax(), (60, 120))
    assert abs(display.x[row, column]) < 0.03
    assert display.y[row, column] == pytest.approx(np.arcsin(0.8), abs=0.03)
    np.testing.assert_allclose(
        display.project([mean]), [[0, np.arcsin(0.8)]], atol=1e-12
    )
    # By the area element the grid's densities have mass one.
    area = np.cos(display.y) * (np.pi / 60) ** 2
    assert (np.exp(display.log_density) * area).sum() == pytest.approx(1, abs=2e-3)
    points, arrows = display._place_arrows()
    assert points.shape == arrows.shape == (7 * 14, 2)
    # Arrows on the meridian of the mean point along it, towards the mean.
    at = np.argmin(np.abs(points[:, 0]) + np.abs(points[:, 1]))
    assert arrows[at, 1] > 0
    assert SphereDisplay.from_estimator(known, ax=display.ax_).points is None


def test_orthographic(known):
    mean = np.array([0.6, 0.0, 0.8])
    known = known(VonMisesFisherMixture([mean], [5.0]))
    display = SphereDisplay.from_estimator(
        known,
        np.array([mean, -mean]),
        projection="orthographic",
        center=(90, 0),
        n_grid=41,
        n_arrows=5,
    )
    # Seen from the north pole, longitude 0 is down: up is south on the far side.
    np.testing.assert_allclose(display.project([mean])[0], [0, -0.6], atol=1e-12)
    np.testing.assert_allclose(display.project([[0, 1.0, 0]])[0], [1, 0], atol=1e-12)
    assert np.isnan(display.project([-mean])).all()
    inside = np.hypot(display.x, display.y) < 1
    np.testing.assert_array_equal(np.isfinite(display.log_density), inside)
    assert display.log_density[20, 20] == pytest.approx(
        known.score_samples(POLE[None])[0]
    )
    points, arrows = display._place_arrows()
    middle = np.argmin(np.linalg.norm(points, axis=1))
    assert arrows[middle, 1] < 0
    assert abs(arrows[middle, 0]) < 1e-9
    assert display.ax_.get_xlim() == (-1.02, 1.02)
    assert display.ax_.get_aspect() == 1


def test_sphere_refuses(known):
    with pytest.raises(ValueError, match="projection must be one of"):
        SphereDisplay(None, None, None, projection="mercator")
    known = known(VonMisesFisherMixture([POLE], [1.0]))
    with pytest.raises(ValueError, match="subplot_kw"):
        SphereDisplay.from_estimator(known, ax=plt.subplots()[1])
