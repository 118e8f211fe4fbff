"""Displays on manifolds hold what they draw, where it belongs; no image is compared."""

import matplotlib as mpl
import numpy as np
import pytest

from sk_wmvl.datasets import VonMisesFisherMixture, VonMisesMixture
from sk_wmvl.plots import CircleDisplay, SimplexDisplay, SphereDisplay, TorusDisplay

mpl.use("Agg")
POLE = np.array([0.0, 0.0, 1.0])


@pytest.fixture(autouse=True)
def _close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


class Known:
    """A fitted estimator, as far as displays can see."""

    def __init__(self, distribution):
        self.distribution = distribution

    def score_samples(self, X):
        assert np.isfinite(X).all()
        return self.distribution.log_density(X)

    def score_fn(self, X):
        return self.distribution.score(X)


class Uniform:
    feature_names_in_ = np.array(["sand", "silt", "clay"], dtype=object)

    def score_samples(self, X):
        return np.full(len(X), np.log(2))


def on_circle(angle):
    return np.c_[np.cos(angle), np.sin(angle)]


@pytest.mark.parametrize("form", ["angles", "vectors"])
def test_circle(form):
    angle = np.r_[np.full(30, 0.1), np.full(10, -1.0)]
    if form == "angles":
        known, X = Known(VonMisesMixture([[0.5]], [[2.0]])), angle[:, None]
    else:
        known, X = (
            Known(VonMisesFisherMixture(on_circle([0.5]), [2.0])),
            on_circle(angle),
        )
    display = CircleDisplay.from_estimator(
        known, X, n_grid=400, n_bins=12, compass=True
    )
    # A whole turn, of mass one, with its top at the mean.
    assert display.theta[-1] == pytest.approx(2 * np.pi)
    assert np.trapezoid(display.density, display.theta) == pytest.approx(1)
    assert display.theta[display.density.argmax()] == pytest.approx(0.5, abs=0.01)
    ax = display.ax_
    assert display.figure_ is ax.figure
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), display.density)
    heights = np.array([bar.get_height() for bar in ax.patches])
    assert heights.sum() * 2 * np.pi / 12 == pytest.approx(1)
    assert heights[0] == pytest.approx(0.75 / (np.pi / 6))
    assert heights[10] == pytest.approx(0.25 / (np.pi / 6))
    assert ax.get_theta_direction() == -1
    again = CircleDisplay.from_estimator(known, X, n_bins=0, ax=ax)
    assert again.ax_ is ax


def test_circle_at_the_seam():
    # -1e-17 mod 2 pi rounds to 2 pi: the row is still counted.
    X = np.array([[-1e-17], [0.1]])
    known = Known(VonMisesMixture([[0.0]], [[0.0]]))
    display = CircleDisplay.from_estimator(known, X, n_bins=4)
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert sum(heights) * np.pi / 2 == pytest.approx(1)


def test_circle_refuses_three_columns():
    with pytest.raises(ValueError, match="one angle"):
        CircleDisplay.from_estimator(None, np.eye(3))


def test_mollweide():
    mean = np.array([0.0, 0.6, 0.8])
    known = Known(VonMisesFisherMixture([mean], [5.0]))
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
    points, arrows = display._arrows()
    assert points.shape == arrows.shape == (7 * 14, 2)
    # Arrows on the meridian of the mean point along it, towards the mean.
    at = np.argmin(np.abs(points[:, 0]) + np.abs(points[:, 1]))
    assert arrows[at, 1] > 0
    assert SphereDisplay.from_estimator(known, ax=display.ax_).points is None


def test_orthographic():
    mean = np.array([0.6, 0.0, 0.8])
    known = Known(VonMisesFisherMixture([mean], [5.0]))
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
    points, arrows = display._arrows()
    middle = np.argmin(np.linalg.norm(points, axis=1))
    assert arrows[middle, 1] < 0
    assert abs(arrows[middle, 0]) < 1e-9
    assert display.ax_.get_xlim() == (-1.02, 1.02)
    assert display.ax_.get_aspect() == 1


def test_sphere_refuses():
    import matplotlib.pyplot as plt

    with pytest.raises(ValueError, match="projection must be one of"):
        SphereDisplay(None, None, None, projection="mercator")
    known = Known(VonMisesFisherMixture([POLE], [1.0]))
    with pytest.raises(ValueError, match="subplot_kw"):
        SphereDisplay.from_estimator(known, ax=plt.subplots()[1])


def test_torus():
    known = Known(VonMisesMixture([[np.pi, -1.0]], [[4.0, 9.0]]))
    X = known.distribution.sample(40, random_state=0) + 2 * np.pi
    display = TorusDisplay.from_estimator(
        known, X, n_grid=36, n_arrows=6, labels=("φ", "ψ")
    )
    cell = np.deg2rad(10) ** 2
    assert np.exp(display.log_density).sum() * cell == pytest.approx(1)
    row, column = np.unravel_index(display.log_density.argmax(), (36, 36))
    assert abs(display.x[column]) == 175
    assert display.y[row] == -55
    assert display.points.min() >= -180
    assert display.points.max() < 180
    np.testing.assert_allclose(np.cos(np.deg2rad(display.points)), np.cos(X))
    points, score = display.score
    np.testing.assert_allclose(score, known.score_fn(np.deg2rad(points)))
    assert display.ax_.get_xlim() == (-180, 180)
    assert display.ax_.get_ylabel() == "ψ (degrees)"


def test_torus_slice():
    known = Known(VonMisesMixture([[0.0, 1.0, 2.0]], [[4.0, 9.0, 9.0]]))
    X = known.distribution.sample(40, random_state=0)
    display = TorusDisplay.from_estimator(known, X, features=(2, 0), n_grid=12)
    at = X[known.score_samples(X).argmax()].copy()
    at[[2, 0]] = np.deg2rad([display.x[3], display.y[8]])
    assert display.log_density[8, 3] == pytest.approx(known.score_samples([at])[0])
    assert display.points is None
    assert display.ax_.get_xlabel() == "angle 2 (degrees)"


def test_simplex():
    X = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    display = SimplexDisplay.from_estimator(Uniform(), X, n_grid=20)
    assert display.parts.shape == (210, 3)
    assert (display.parts > 0).all()
    np.testing.assert_allclose(display.parts.sum(1), 1)
    np.testing.assert_allclose(display.parts.mean(0), 1 / 3)
    np.testing.assert_array_equal(display.log_density, np.log(2))
    assert [text.get_text() for text in display.ax_.texts] == ["sand", "silt", "clay"]
    drawn = display.ax_.lines[1].get_xydata()
    np.testing.assert_allclose(drawn, [[0, 0], [0.55, 0.5 * 0.75**0.5]])
    # Euclidean distances between corners are equal.
    corners = display.project(np.eye(3))
    gaps = np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1)
    np.testing.assert_allclose(gaps, 1)


def test_simplex_refuses_four_parts():
    with pytest.raises(ValueError, match="three parts"):
        SimplexDisplay.from_estimator(Uniform(), np.full((2, 4), 0.25))


def test_nothing_finite_to_shade():
    with pytest.raises(ValueError, match="nowhere finite"):
        SimplexDisplay(np.eye(3), np.full(3, np.nan)).plot()
