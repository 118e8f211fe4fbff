"""Histograms of quantities of the data and of draws have mass one."""

import numpy as np
import pytest

from sk_wmvl.plots import DrawsDisplay


class Shifted:
    def sample(self, n_samples, random_state=None):
        return np.random.default_rng(random_state).normal(3, 1, (n_samples, 2))


def test_draws():
    X = np.random.default_rng(1).normal(0, 1, (500, 2))
    quantities = {"first": lambda X: X[:, 0], "sum": lambda X: X.sum(1)}
    display = DrawsDisplay.from_estimator(
        Shifted(), X, quantities, n_draws=300, random_state=0, n_bins=20
    )
    assert [ax.get_xlabel() for ax in display.axes_] == ["first", "sum"]
    np.testing.assert_array_equal(display.of_data["sum"], X.sum(1))
    assert len(display.of_draws["first"]) == 300
    assert display.of_draws["first"].mean() == pytest.approx(3, abs=0.3)
    for patch in display.ax_.patches:
        heights, edges = patch.get_data()[:2]
        assert (heights * np.diff(edges)).sum() == pytest.approx(1, abs=0.01)
    again = DrawsDisplay.from_estimator(
        Shifted(), X, {"first": quantities["first"]}, axes=display.ax_
    )
    assert again.ax_ is display.ax_ is again.axes_[0]
