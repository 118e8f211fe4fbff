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


# --- many points and components: products of columns --------------------------------------


def many_components(d, k, nu, width, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(k, d, d)) * width
    means = rng.normal(size=(k, d))
    scales = A @ A.swapaxes(1, 2) + width**2 / 10 * np.eye(d)
    return MixtureBase(rng.dirichlet(np.ones(k)), means, scales, np.full(k, nu)), scales


@pytest.mark.parametrize("nu", [np.inf, 10.0])
@pytest.mark.parametrize("width", [0.5, 1e-3])
def test_many_points_have_the_density_of_single_ones(nu, width):
    base, scales = many_components(4, 16, nu, width)
    assert base.has_products
    x = np.concatenate([base.sample(600).numpy(), 30 * np.ones((1, 4))])
    family = [
        stats.multivariate_normal(m, c)
        if np.isinf(nu)
        else stats.multivariate_t(m, c, nu)
        for m, c in zip(base.means.numpy(), scales, strict=True)
    ]
    logs = [part.logpdf(x) for part in family] + base.weights.log().numpy()[:, None]
    expected = np.logaddexp.reduce(logs, axis=0)
    value = base.log_prob(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(value, expected, rtol=1e-8, atol=1e-6)
    quick = base.float().log_prob(torch.from_numpy(x).float()[:-1])
    single = torch.cat(
        [base.log_prob(row) for row in torch.from_numpy(x).float()[:-1, None]]
    )
    torch.testing.assert_close(quick, single, rtol=1e-4, atol=1e-4 / width)


def test_components_far_off_and_narrow_are_measured_from_their_centers():
    base, _ = many_components(3, 8, np.inf, 1e-4)
    assert not MixtureBase(
        base.weights.numpy(),
        base.means.numpy() + 100,
        (base.chol @ base.chol.mT).numpy(),
    ).has_products


def test_gradients_of_many_points_are_those_of_single_ones():
    base, _ = many_components(3, 8, 10.0, 0.5)
    x = base.sample(600).requires_grad_()
    (slope,) = torch.autograd.grad(base.log_prob(x).sum(), x)
    row = x.detach()[17:18].requires_grad_()
    (own,) = torch.autograd.grad(base.log_prob(row).sum(), row)
    torch.testing.assert_close(slope[17:18], own)
