"""Means and scales of columns, whatever a few far values are."""

import numpy as np
import pytest

from sk_wmvl import MVLDensity
from sk_wmvl.coordinates.whitening import central_rows, central_units


def test_central_values():
    X = np.random.default_rng(0).normal(size=(1001, 3)) * [1, 10, 100]
    X[:10, 0] = 1e9
    X[5:30, 1] = -1e9
    X[:, 2] = np.arange(1001) > 800  # most values are equal: all are central
    expected = np.arange(1001) >= 30
    np.testing.assert_array_equal(central_rows(X, [0, 1, 2]), expected)
    np.testing.assert_array_equal(central_rows(X, [0]), np.arange(1001) >= 10)
    mean, std = central_units(X)
    np.testing.assert_allclose(mean[0], X[10:, 0].mean())
    np.testing.assert_allclose(std[1], np.delete(X[:, 1], np.arange(5, 30)).std())
    np.testing.assert_allclose(std[2], X[:, 2].std())
    # outliers in most rows are none
    X = np.random.default_rng(0).normal(size=(40, 30))
    X[np.arange(40), np.arange(40) % 30] = 1e9
    assert central_rows(X, list(range(30))).all()
    np.testing.assert_array_equal(central_units(np.full((5, 1), 7.0))[1], 1)


@pytest.mark.slow
@pytest.mark.parametrize("far", [1e4, 1e8])
def test_one_far_value_does_not_blur_the_others(far):
    # The value alone in its fold may decide for the heaviest tails, of three degrees of
    # freedom, for all: on normal rows these cost 0.09 nats.
    X = np.random.default_rng(0).normal(size=(400, 2))
    alone = MVLDensity(max_epochs=1, random_state=0).fit(X).score(X)
    density = MVLDensity(max_epochs=1, random_state=0).fit(np.r_[X, [[far, -far]]])
    assert density.score(X) > alone - 0.15
    assert np.isfinite(density.score_samples([[far, -far]]))
