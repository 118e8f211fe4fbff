"""Columns made nearly normal."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from sk_wmvl.coordinates import InvertedColumns, JohnsonColumns
from sk_wmvl.coordinates.johnson import JohnsonTransform, _loss, fit_johnson
from tests.coordinates._cases import TRANSFORM, distributions


def test_slopes_are_derivatives():
    x = np.random.default_rng(0).normal(0, 3, (50, 2))
    h = 1e-6
    rise = TRANSFORM.forward(x + h) - TRANSFORM.forward(x - h)
    np.testing.assert_allclose(TRANSFORM.slopes(x), rise / (2 * h), rtol=1e-6)
    expected = np.log(TRANSFORM.slopes(x)).sum(1)
    np.testing.assert_allclose(TRANSFORM.log_det(x), expected)


@pytest.mark.parametrize(
    "distribution", [stats.gamma(2), stats.t(3), stats.norm(), stats.gumbel_l()]
)
def test_one_column_is_fitted_by_maximum_likelihood(distribution):
    x = distribution.rvs(400, random_state=np.random.default_rng(0))[:, None]
    x = (x - x.mean()) / x.std()
    own = distributions(fit_johnson(x, np.ones(400)))[0].logpdf(x).mean()
    # scipy's fit is of the same family, without bounds
    direct = stats.johnsonsu(*stats.johnsonsu.fit(x)).logpdf(x).mean()
    assert own > direct - 2e-3


def test_columns_are_transformed_together(global_random_seed):
    # one column is nearly the exponential of the other: the joint likelihood is higher
    # than with what each alone prefers
    rng = np.random.default_rng(global_random_seed)
    z = rng.normal(size=500)
    x = np.c_[z, np.exp(z)] + 0.02 * rng.normal(size=(500, 2))
    x = (x - x.mean(0)) / x.std(0)
    one = np.ones(500)

    def likelihood(transform):
        y = transform.forward(x)
        normal = stats.multivariate_normal(y.mean(0), np.cov(y.T))
        return (normal.logpdf(y) + transform.log_det(x)).mean()

    alone = [fit_johnson(x[:, j : j + 1], one) for j in range(2)]
    apart = JohnsonTransform(
        *(np.concatenate(part) for part in zip(*alone, strict=True))
    )
    assert likelihood(fit_johnson(x, one)) > likelihood(apart)


def test_weights_are_copies():
    rng = np.random.default_rng(0)
    x, weight = np.exp(rng.normal(size=(80, 3))), rng.integers(1, 4, 80)
    # copies have other quantiles, where the search starts
    a = fit_johnson(x, weight.astype(float))
    b = fit_johnson(np.repeat(x, weight, 0), np.ones(weight.sum()))
    np.testing.assert_allclose(a.forward(x), b.forward(x), atol=0.02)


def test_the_sign_of_columns_is_immaterial():
    x = np.exp(np.random.default_rng(0).normal(size=(200, 3)))
    one = np.ones(200)
    np.testing.assert_allclose(
        fit_johnson(-x, one).forward(-x), -fit_johnson(x, one).forward(x), atol=1e-3
    )


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(100, 3)) @ rng.normal(size=(3, 3)))
    x = np.c_[x / x.std(0), np.zeros(100)]  # and a column without a spread
    weight = rng.random(100)
    weight /= weight.sum()
    point = rng.normal(size=8)

    def value(p):
        return _loss(x, weight, p.reshape(2, 4))[0]

    gradient = _loss(x, weight, point.reshape(2, 4))[1].ravel()
    expected = optimize.approx_fprime(point, value, 1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_a_column_of_one_value_stays_finite():
    x = np.c_[np.zeros(60), np.exp(np.random.default_rng(0).normal(size=60))]
    transform = fit_johnson(x, np.ones(60))
    np.testing.assert_allclose(transform.forward(x)[:, 0], 0)
    assert np.isfinite(transform.log_det(x)).all()


def test_no_scale_is_below_its_bound():
    x = np.exp(2 * np.random.default_rng(0).normal(size=(300, 2)))
    x /= x.std(0)
    scale = fit_johnson(x, np.ones(300), least_scale=np.array([0.1, 0.0])).scale
    assert scale[0] >= 0.1
    assert 0.02 <= scale[1] < 0.1


def test_inverted_columns_invert():
    columns = JohnsonColumns(TRANSFORM)
    inverted = InvertedColumns(columns)
    x = torch.tensor(np.random.default_rng(0).normal(0, 5, (30, 2)))
    y = columns(x)
    np.testing.assert_allclose(y.numpy(), TRANSFORM.forward(x.numpy()), atol=1e-12)
    np.testing.assert_allclose(
        columns.log_det(x).numpy(), TRANSFORM.log_det(x.numpy()), atol=1e-12
    )
    torch.testing.assert_close(inverted(y), x)
    torch.testing.assert_close(inverted.inverse(x), y)
    torch.testing.assert_close(inverted.log_det(y), -columns.log_det(x))


def test_units_of_a_transformation():
    center, std = np.array([1e3, -2.0]), np.array([50.0, 0.1])
    x = np.random.default_rng(0).normal(0, 3, (20, 2))
    moved = TRANSFORM.in_units(center, std)
    np.testing.assert_allclose(moved.forward(center + std * x), TRANSFORM.forward(x))
