"""Displays hold what they draw; no image is compared."""

import matplotlib as mpl
import numpy as np
import pytest

from sk_wmvl import MVLDensity
from sk_wmvl.plots import DensityDisplay, LossCurveDisplay

mpl.use("Agg")
SMALL = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture(autouse=True)
def _close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.parametrize("d", [2, 4])
def test_density_display(d):
    X = np.random.default_rng(0).normal(size=(200, d))
    density = MVLDensity(**SMALL).fit(X)
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
    bare = DensityDisplay.from_estimator(density, X, n_arrows=0, ax=display.ax_)
    assert bare.score is None
    assert bare.ax_ is display.ax_


def test_loss_curve_display():
    X = np.random.default_rng(0).normal(size=(200, 2))
    for early_stopping, n_lines in [(True, 3), (False, 1)]:
        density = MVLDensity(early_stopping=early_stopping, **SMALL).fit(X)
        display = LossCurveDisplay.from_estimator(density)
        assert len(display.ax_.lines) == n_lines
        assert list(display.ax_.lines[0].get_ydata()) == density.loss_curve_
