"""Rows and columns that repeat leave the score of the others as it is."""

import numpy as np
import pandas as pd
import pytest
import torch

from sk_wmvl import ImplicitScoreEstimator
from sk_wmvl.kernels import RBF
from sk_wmvl.score_methods import (
    SCORE_METHODS,
    CurlFreeKernel,
    KernelField,
    SpanField,
)

METHODS = sorted(SCORE_METHODS)
N, N_NEW = 200, 300


def normal(seed):
    """Return rows and new rows of N(0, I), whose score is minus the row."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 2)), rng.normal(size=(N_NEW, 2)), rng


def error(score, new):
    """Return the relative squared error; the score zero has 1."""
    return float(((score + new) ** 2).mean() / (new**2).mean())


def fit(method, X):
    return ImplicitScoreEstimator(method, random_state=0).fit(X)


# name: a maker of three columns from two, and the derivatives of the third in these
REDUNDANT = {
    "constant": (lambda X: np.c_[X, np.full(len(X), 7e6)], [0, 0]),
    "constant first": (lambda X: np.c_[np.zeros(len(X)), X], None),
    "duplicate": (lambda X: np.c_[X, X[:, 0]], [1, 0]),
    "sum": (lambda X: np.c_[X, X.sum(1)], [1, 1]),
    "other units": (lambda X: np.c_[X, 1e4 * X[:, 1] - 3e7], [0, 1e4]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", REDUNDANT)
def test_columns_without_information(kind, method, global_random_seed):
    X, T, _ = normal(global_random_seed)
    widen, change = REDUNDANT[kind]
    with pytest.warns(UserWarning, match="constant, or exact linear.*: [02]\\. Rows"):
        density = fit(method, widen(X))
    score = density.score_fn(widen(T))
    if change is None:
        score = score[:, 1:]
    else:  # by the chain rule
        score = score[:, :2] + score[:, 2:] * np.array(change)
    # The same as without these columns: the widened rows are a line or plane in space,
    # whitened to almost the same units.
    assert error(score, T) < 1.1 * error(fit(method, X).score_fn(T), T) + 0.01
    assert np.isfinite(density.score(widen(T)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", [0.03, 0.5])
# the flag is a column of two values, of which the fit tells
@pytest.mark.filterwarnings("ignore:Columns take few values")
def test_a_flag_beside_normal_columns(part, method, global_random_seed):
    X, T, rng = normal(global_random_seed)
    old, new = (rng.random(k) < part for k in (N, N_NEW))
    score = fit(method, np.c_[X, old]).score_fn(np.c_[T, new])[:, :2]
    assert error(score, T) < 0.5  # without the flag it is 0.1 to 0.3


@pytest.mark.parametrize("method", METHODS)
def test_copies_count_as_one_row_in_the_choice(method, global_random_seed):
    X, T, _ = normal(global_random_seed)
    once = error(fit(method, X[:40]).score_fn(T), T)
    often = error(fit(method, np.repeat(X[:40], 5, 0)).score_fn(T), T)
    assert often < 1.3 * once  # folds are other ones


def test_warnings_name_columns():
    X, _, _ = normal(0)
    frame = pd.DataFrame({"a": X[:, 0], "flag": X[:, 1] > 0, "nought": 0.0})
    with pytest.warns(UserWarning, match="Columns") as caught:
        fit("stein", frame)
    text = " ".join(str(w.message) for w in caught)
    assert "those before them: nought." in text
    assert "no density: flag." in text
    assert {w.filename for w in caught} == {__file__}


def test_a_field_of_a_subspace():
    # Its derivative is that of its log density, and vanishes across the subspace.
    basis = torch.tensor([[0.6], [0.8]], dtype=torch.float64)
    x = torch.tensor([[0.3], [-1.0]], dtype=torch.float64)
    c = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    inner = KernelField(CurlFreeKernel(RBF(2.0)), x, c, torch.zeros(2).double())
    field = SpanField(inner, basis)
    at, step = torch.tensor([[0.4, -0.2]], dtype=torch.float64), 1e-6
    for k, move in enumerate(step * torch.eye(2, dtype=torch.float64)):
        slope = (field.log_density(at + move) - field.log_density(at - move)) / step / 2
        torch.testing.assert_close(slope, field(at)[:, k], atol=1e-8, rtol=1e-6)
    divergence = sum(
        (field(at + move) - field(at - move))[:, k] / step / 2
        for k, move in enumerate(step * torch.eye(2, dtype=torch.float64))
    )
    torch.testing.assert_close(divergence, field.divergence(at), atol=1e-8, rtol=1e-6)
