"""A square of degrees shows a full turn of two angles."""

import numpy as np
import pytest

from sk_wmvl.datasets import VonMisesMixture
from sk_wmvl.plots import TorusDisplay


def test_torus(known):
    known = known(VonMisesMixture([[np.pi, -1.0]], [[4.0, 9.0]]))
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


def test_torus_slice(known):
    known = known(VonMisesMixture([[0.0, 1.0, 2.0]], [[4.0, 9.0, 9.0]]))
    X = known.distribution.sample(40, random_state=0)
    display = TorusDisplay.from_estimator(known, X, features=(2, 0), n_grid=12)
    at = X[known.score_samples(X).argmax()].copy()
    at[[2, 0]] = np.deg2rad([display.x[3], display.y[8]])
    assert display.log_density[8, 3] == pytest.approx(known.score_samples([at])[0])
    assert display.points is None
    assert display.ax_.get_xlabel() == "angle 2 (degrees)"
