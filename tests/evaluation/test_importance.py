"""The importance-weighted bound, against a marginal that is known."""

import math

import pytest
import torch

from sk_wmvl._random import make_generator
from sk_wmvl.evaluation import importance_weighted_bound
from tests.evaluation._models import (
    NOISE,
    NORMAL,
    W,
    assert_agrees,
    linear,
    linear_log_prob,
    simulate_linear,
)


@pytest.mark.statistical
def test_importance_weighted_bound(global_random_seed):
    g = make_generator(global_random_seed)
    x = simulate_linear(NORMAL.sample(60, generator=g), g)
    precision = torch.eye(2).double() + W.T @ W / NOISE**2
    cov = torch.linalg.inv(precision)
    root = 1.3 * torch.linalg.cholesky(cov)  # wider than the posterior

    def sample_posterior(x):
        z = x @ W @ cov.T / NOISE**2
        e = torch.randn(z.shape, generator=g, dtype=z.dtype)
        log_q = -0.5 * e.square().sum(1) - math.log(2 * math.pi) - root.logdet()
        return z + e @ root.T, log_q

    truth = linear_log_prob(x)
    result = importance_weighted_bound(linear, x, NORMAL, sample_posterior, n_draws=500)
    assert_agrees(result, truth)
    # Two draws are 0.05 nats too low on average, and 3000 rows have an error of 0.006.
    many = x.repeat(50, 1)
    few = importance_weighted_bound(linear, many, NORMAL, sample_posterior, n_draws=2)
    assert (few.value - truth.repeat(50)).mean() < (result.value - truth).mean()


def test_wrong_numbers_of_draws_are_named():
    x = torch.zeros(3, 4).double()
    with pytest.raises(ValueError, match="n_draws must be"):
        importance_weighted_bound(linear, x, NORMAL, lambda x: x, n_draws=1)
