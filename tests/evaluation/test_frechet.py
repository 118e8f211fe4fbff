"""The Fréchet distance against closed forms."""

import math

import numpy as np
import pytest
from scipy import linalg

from sk_wmvl.evaluation import frechet_distance, frechet_from_moments


def test_covariances_that_commute():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    a, b = rng.uniform(0.1, 3, (2, 5))
    m = rng.normal(size=5)
    truth = m @ m + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    value = frechet_from_moments(m, (q * a) @ q.T, np.zeros(5), (q * b) @ q.T)
    assert value == pytest.approx(truth, rel=1e-10)


def test_general_covariances():
    rng = np.random.default_rng(1)
    a, b = (x @ x.T for x in rng.normal(size=(2, 6, 8)))
    zero = np.zeros(6)
    truth = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet_from_moments(zero, a, zero, b) == pytest.approx(truth, rel=1e-8)
    assert frechet_from_moments(zero, b, zero, a) == pytest.approx(truth, rel=1e-8)


def test_singular_covariances():
    # on orthogonal subspaces the distance is the sum of the traces
    a, b = np.diag([1.0, 2, 0, 0]), np.diag([0, 0, 3.0, 0])
    zero = np.zeros(4)
    assert frechet_from_moments(zero, a, zero, b) == pytest.approx(6, abs=1e-12)
    assert frechet_from_moments(zero, a, zero, a) == pytest.approx(0, abs=1e-12)
    # rank 3 in 50 columns: rounding leaves no imaginary part and nothing below zero
    X = np.random.default_rng(2).normal(size=(4, 50))
    assert frechet_distance(X, X) == pytest.approx(0, abs=1e-10)


@pytest.mark.statistical
def test_samples_approach_the_law(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n, d = 20_000, 4
    X, Y = rng.normal(size=(n, d)), 1 + 2 * rng.normal(size=(n, d))
    # |m|^2 + d (2 - 1)^2; each mean errs by sqrt(5/n), and each sd by about 1/sqrt(n)
    sd = math.sqrt(
        d * ((2 * math.sqrt(5 / n)) ** 2 + (2 * math.sqrt(5 / (2 * n))) ** 2)
    )
    assert abs(frechet_distance(X, Y) - 2 * d) < 4 * sd + 5 * d / n
    assert frechet_distance(X, Y, features=lambda x: x[:, :1]) < frechet_distance(X, Y)


def test_errors_say_what_is_wrong():
    X = np.zeros((3, 2))
    with pytest.raises(ValueError, match="n >= 2; got"):
        frechet_distance(X[:1], X)
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(X, X * np.nan)
    with pytest.raises(ValueError, match="2 features and Y has 1"):
        frechet_distance(X, X[:, :1])
