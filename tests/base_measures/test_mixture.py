"""Mixtures of normal and Student densities."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl.base_measures import MixtureBase

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 4.0]])
SCALES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[2.0, 0.0], [0.0, 1.0]], np.eye(2) / 4])
DEGREES_OF_FREEDOM = np.array([3.0, np.inf, 11.0])


def test_density_of_student_components():
    base = MixtureBase(WEIGHTS, MEANS, SCALES, DEGREES_OF_FREEDOM)
    x = np.random.default_rng(0).normal(0, 5, (40, 2))
    parts = [
        stats.multivariate_t(MEANS[0], SCALES[0], 3.0),
        stats.multivariate_normal(MEANS[1], SCALES[1]),
        stats.multivariate_t(MEANS[2], SCALES[2], 11.0),
    ]
    expected = sum(w * part.pdf(x) for w, part in zip(WEIGHTS, parts, strict=True))
    value = base.log_prob(torch.tensor(x))
    np.testing.assert_allclose(value.exp().numpy(), expected, rtol=1e-10)
    far = torch.full((1, 2), 1e4, requires_grad=True)
    (slope,) = torch.autograd.grad(base.float().log_prob(far).sum(), far)
    assert torch.isfinite(slope).all()


@pytest.mark.statistical
def test_draws_of_student_components(global_random_seed):
    base = MixtureBase(np.ones(1), MEANS[:1], SCALES[:1], np.array([3.0]))
    generator = torch.Generator().manual_seed(global_random_seed)
    draws = base.sample(4000, generator=generator).numpy()
    z = np.linalg.solve(np.linalg.cholesky(SCALES[0]), draws.T)
    # the squared distance over d has an F distribution
    assert stats.kstest(np.square(z).sum(0) / 2, stats.f(2, 3).cdf).pvalue > 1e-4
