"""The curve is the density, the rose is the data."""

import numpy as np
import pytest

from sk_wmvl.datasets import VonMisesFisherMixture, VonMisesMixture
from sk_wmvl.plots import CircleDisplay


def on_circle(angle):
    return np.c_[np.cos(angle), np.sin(angle)]


@pytest.mark.parametrize("form", ["angles", "vectors"])
def test_circle(known, form):
    angle = np.r_[np.full(30, 0.1), np.full(10, -1.0)]
    if form == "angles":
        known, X = known(VonMisesMixture([[0.5]], [[2.0]])), angle[:, None]
    else:
        known, X = (
            known(VonMisesFisherMixture(on_circle([0.5]), [2.0])),
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


def test_circle_at_the_seam(known):
    # -1e-17 mod 2 pi rounds to 2 pi: the row is still counted.
    X = np.array([[-1e-17], [0.1]])
    known = known(VonMisesMixture([[0.0]], [[0.0]]))
    display = CircleDisplay.from_estimator(known, X, n_bins=4)
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert sum(heights) * np.pi / 2 == pytest.approx(1)


def test_circle_refuses_three_columns():
    with pytest.raises(ValueError, match="one angle"):
        CircleDisplay.from_estimator(None, np.eye(3))
