"""Weights of stacks, against direct searches."""

import numpy as np
import pytest
from scipy import optimize
from scipy.optimize import minimize
from scipy.special import softmax

from sk_wmvl.base_measures.selection.stacking import (
    stacking_weights,
    stratified_weights,
)


def test_stacking_maximises_the_likelihood():
    values = np.random.default_rng(0).normal(size=(200, 3))
    weights = stacking_weights(values, np.full(200, 1 / 200))
    direct = optimize.minimize(
        lambda w: -np.log(np.exp(values) @ w).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    assert -np.log(np.exp(values) @ weights).mean() <= direct.fun + 1e-4


@pytest.mark.parametrize("uniform", [None, -1.5])
def test_stratified_weights_maximise_the_likelihood(uniform):
    # Against a quasi-Newton search of the softmaxes' arguments.
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 4, 3)) + rng.normal(size=(4, 3))
    row_weight = rng.uniform(size=200)
    row_weight /= row_weight.sum()

    def loss(a):
        weights = softmax(a[:12].reshape(4, 3), 0)
        total = (np.exp(values) * weights).sum((1, 2))
        if uniform is not None:
            background = 1 / (1 + np.exp(-a[12]))
            total = (1 - background) * total + background * np.exp(uniform)
        return -row_weight @ np.log(total)

    best = minimize(loss, np.zeros(13))
    weights, background = stratified_weights(values, row_weight, uniform=uniform)
    np.testing.assert_allclose(weights.sum(0), 1)
    assert (background > 0) == (uniform is not None)
    total = (1 - background) * (np.exp(values) * weights).sum((1, 2))
    if uniform is not None:
        total += background * np.exp(uniform)
    assert -row_weight @ np.log(total) == pytest.approx(best.fun, abs=1e-3)


def test_weights_that_are_not_kept_stay_zero():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3, 2))
    values[:, 0] += 800  # what is left out may be far likelier
    kept = np.array([[False, False], [True, True], [True, False]])
    equal = np.full(50, 1 / 50)
    weights, background = stratified_weights(values, equal, kept=kept)
    assert background == 0
    np.testing.assert_array_equal(weights > 0, kept)
    few, _ = stratified_weights(values[:, 1:], equal, kept=kept[1:])
    np.testing.assert_allclose(weights[1:], few)
