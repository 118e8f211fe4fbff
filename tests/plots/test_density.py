"""A plane shows the density, the data and the score, and slices where there is more."""

import numpy as np
import pytest

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import Banana, CorrelatedGaussian
from sk_wmvl.plots import DensityDisplay


@pytest.mark.parametrize("d", [2, 4])
def test_density_display(known, d):
    density = known(CorrelatedGaussian(d))
    X = density.sample(200, random_state=0)
    display = DensityDisplay.from_estimator(density, X, features=(d - 1, 0), n_grid=30)
    assert display.log_density.shape == (30, 30)
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == f"x{d - 1}"
    # The slice goes through the densest row and has its value there.
    at = X[np.argmax(density.score_samples(X))].copy()
    at[d - 1], at[0] = display.x[3], display.y[7]
    assert display.log_density[7, 3] == pytest.approx(density.score_samples([at])[0])
    points, score = display.score
    assert points.shape == score.shape == (18 * 18, 2)
    at[d - 1], at[0] = points[40]
    np.testing.assert_allclose(score[40], density.score_fn([at])[0, [d - 1, 0]])
    bare = DensityDisplay.from_estimator(density, X, n_arrows=0, ax=display.ax_)
    assert bare.score is None
    assert bare.ax_ is display.ax_


def test_only_a_plane_shows_the_data(known):
    banana = known(Banana())
    X = banana.sample(50, random_state=0)
    display = DensityDisplay.from_estimator(banana, X, n_grid=9)
    np.testing.assert_array_equal(display.ax_.lines[0].get_xydata(), X)
    assert display.x[0] == pytest.approx(X[:, 0].min() - 0.08 * np.ptp(X[:, 0]))
    more = known(CorrelatedGaussian(3))
    at = np.array([0.1, 0.2, 0.3])
    display = DensityDisplay.from_estimator(
        more, more.sample(20, random_state=0), at=at, n_grid=9
    )
    assert display.points is None
    row = np.array([display.x[2], display.y[5], at[2]])
    assert display.log_density[5, 2] == pytest.approx(more.score_samples([row])[0])


def test_names_are_the_estimators(known):
    banana = known(Banana())
    banana.feature_names_in_ = np.array(["length", "width"], dtype=object)
    X = banana.sample(20, random_state=0)
    ax = DensityDisplay.from_estimator(banana, X, n_grid=9, n_arrows=0).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "width")


def test_a_fitted_estimator():
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = MVLDensity(
        base="gaussian", max_epochs=1, hidden_layer_sizes=(4,), random_state=0
    ).fit(X)
    display = DensityDisplay.from_estimator(density, X, n_grid=5, n_arrows=3)
    assert np.isfinite(display.log_density).all()
    assert np.isfinite(display.score[1]).all()
