"""A ternary plot shows three parts, with zeros on the edge."""

import numpy as np
import pytest

from sk_wmvl.plots import SimplexDisplay


class Uniform:
    feature_names_in_ = np.array(["sand", "silt", "clay"], dtype=object)

    def score_samples(self, X):
        return np.full(len(X), np.log(2))


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
