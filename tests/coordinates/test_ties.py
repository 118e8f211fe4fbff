"""What repeats in data: rounded columns, and copies of rows."""

import numpy as np
import pytest

from sk_wmvl import MVLDensity
from sk_wmvl.coordinates.ties import rounding_steps

FAST = {"base": "gaussian", "max_epochs": 1, "random_state": 0}


def test_rounding_is_seen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    x[:, 1] = x[:, 1].round(1)
    np.testing.assert_allclose(rounding_steps(x), [0, 0.1], rtol=1e-9)
    np.testing.assert_array_equal(rounding_steps(np.repeat(x[:40], 20, 0)), [0, 0])


@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_ties_are_reported(factor):
    rng = np.random.default_rng(0)
    x = factor * rng.normal(size=(400, 2))
    x[:, 1] = x[:, 1].round(1)
    x[:10] = x[10:20]
    ties = MVLDensity(**FAST).fit(x).ties_
    assert ties.copies == pytest.approx(0.025)
    # at the larger scale hardly a value is taken twice
    expected = 0.1 if factor == 1 else 0.0
    np.testing.assert_allclose(ties.rounding, [0, expected], rtol=1e-9)


def test_copies_are_not_rounding():
    x = np.random.default_rng(0).normal(size=(200, 1))
    copied = MVLDensity(**FAST).fit(np.r_[x, x]).ties_
    assert copied.copies == 0.5
    assert copied.rounding == 0
    rounded = MVLDensity(**FAST).fit(x.round(1)).ties_
    assert rounded.copies > 0.5
    assert rounded.rounding == pytest.approx(0.1)
    assert rounding_steps(x.round(1)) == pytest.approx(0.1)


def test_rows_without_weight_are_no_copies():
    x = np.random.default_rng(0).normal(size=(200, 2))
    weight = np.repeat([1.0, 0.0], 200)
    density = MVLDensity(warm_start=True, **FAST)
    assert density.fit(np.r_[x, x], sample_weight=weight).ties_.copies == 0
    assert density.fit(np.r_[x, x]).ties_.copies == 0.5  # a second fit looks again
