"""The Poincaré disk shows distances, areas and velocities as the plane has them."""

import numpy as np
import pytest

from sk_wmvl.manifolds import Hyperbolic
from sk_wmvl.plots import HyperbolicDisplay


class Normal:
    """exp(-d^2 / 2) about the center of the plane, and its score."""

    def __init__(self, manifold):
        self.manifold_ = manifold

    def _distance(self, X):
        if X.shape[1] == 3:
            return np.arccosh(np.maximum(X[:, 0], 1))
        return 2 * np.arctanh(np.linalg.norm(X, axis=1))

    def score_samples(self, X):
        return -0.5 * self._distance(X) ** 2

    def score_fn(self, X):
        d = self._distance(X)[:, None]
        if X.shape[1] == 3:
            s = X[:, 1:] / np.linalg.norm(X[:, 1:], axis=1, keepdims=True)
            return -d * np.c_[np.sinh(d), np.cosh(d) * s]
        r = np.linalg.norm(X, axis=1, keepdims=True)
        return -d * (1 - r**2) / 2 * X / r


@pytest.mark.parametrize("model", ["ball", "hyperboloid"])
def test_hyperbolic_disk(model):
    plane = Hyperbolic(2, model=model)
    d = np.array([0.5, 2.0])
    disk = np.tanh(d / 2)[:, None] * [0.6, -0.8]
    rows = (
        disk
        if model == "ball"
        else np.c_[np.cosh(d), np.sinh(d)[:, None] * [[0.6, -0.8]]]
    )
    display = HyperbolicDisplay.from_estimator(
        Normal(plane), rows, n_grid=40, n_arrows=6
    )
    np.testing.assert_allclose(display.points, disk)
    assert display.x[-1] == pytest.approx(np.tanh(1.3 * 2 / 2))
    r = np.hypot(display.x[:, None], display.x)
    outside = np.isnan(display.log_density)
    np.testing.assert_array_equal(outside, r >= display.x[-1])
    expected = -0.5 * (2 * np.arctanh(r[~outside])) ** 2
    np.testing.assert_allclose(display.log_density[~outside], expected, atol=1e-9)
    points, velocity = display.score
    np.testing.assert_allclose(velocity, Normal(plane).score_fn(points), atol=1e-9)
    assert display.figure_ is display.ax_.figure
    again = HyperbolicDisplay.from_estimator(Normal(plane), n_grid=9, ax=display.ax_)
    assert again.ax_ is display.ax_
    assert again.x[-1] == pytest.approx(np.tanh(1.5))


def test_hyperbolic_wants_a_plane():
    with pytest.raises(ValueError, match=r"three, on the hyperboloid.*shape \(1, 4\)"):
        HyperbolicDisplay.from_estimator(Normal(Hyperbolic(3)), [[1.0, 0, 0, 0]])
