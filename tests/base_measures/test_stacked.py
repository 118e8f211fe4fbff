"""Stacks of base measures: densities and draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl.base_measures import GaussianBase, StackedBase


@pytest.mark.statistical
def test_stacked_density_and_draws(global_random_seed):
    means, weights = (-2.0, 1.0, 5.0), np.array([0.2, 0.7, 0.1])
    bases = [GaussianBase(np.full(1, m), np.eye(1)) for m in means]
    base = StackedBase(bases, weights)
    x = np.linspace(-5, 8, 30)
    expected = weights @ [stats.norm(m).pdf(x) for m in means]
    value = base.log_prob(torch.tensor(x)[:, None]).exp()
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-10)
    generator = torch.Generator().manual_seed(global_random_seed)
    draws = base.sample(4000, generator=generator).numpy()[:, 0]

    def cdf(x):
        return weights @ [stats.norm(m).cdf(x) for m in means]

    assert stats.kstest(draws, cdf).pvalue > 1e-4
    # in random order: neighbours are independent
    r = np.corrcoef(draws[1:], draws[:-1])[0, 1]
    assert abs(r) * np.sqrt(len(draws)) < 4
    assert base.sample(1, generator=generator).shape == (1, 1)  # none of two parts
