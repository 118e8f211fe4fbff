"""Fits of normal and Student mixtures, and the axes along which they start."""

import numpy as np
import pytest
from scipy import optimize, stats

from sk_wmvl.base_measures.selection.separating_axes import separating_axes
from sk_wmvl.base_measures.selection.student_mixture import (
    Table,
    _step,
    continue_fit,
    fit_mixture,
)
from sk_wmvl.coordinates.ties import rounding_steps


@pytest.mark.parametrize("degrees_of_freedom", [np.inf, 5.0])
def test_weights_are_copies(degrees_of_freedom):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(50, 3)), rng.integers(1, 4, 50)
    copies = np.repeat(x, weight, 0)
    rest = {"floor": np.zeros(3), "seed": 0}
    a = fit_mixture(x, weight.astype(float), 1, degrees_of_freedom, **rest)
    b = fit_mixture(copies, np.ones(len(copies)), 1, degrees_of_freedom, **rest)
    np.testing.assert_allclose(a.means, b.means, atol=1e-8)
    np.testing.assert_allclose(a.covariances, b.covariances, atol=1e-8)


def test_a_student_density_is_fitted_by_maximum_likelihood():
    x = stats.multivariate_t([1.0, -1.0], np.eye(2), 4.0).rvs(
        3000, random_state=np.random.default_rng(0)
    )
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 1, 4.0, floor=np.zeros(2), seed=0)

    def loss(p):
        L = np.array([[np.exp(p[2]), 0.0], [p[3], np.exp(p[4])]])
        return -stats.multivariate_t(p[:2], L @ L.T, 4.0).logpdf(x).mean()

    best = optimize.minimize(loss, np.zeros(5), method="BFGS")
    assert -fitted.log_prob(x).mean() - best.fun < 1e-4


def modes_among_noise(d, seed):
    """Return 8 modes on a circle, six deviations apart, and d - 2 columns of noise."""
    rng = np.random.default_rng(seed)
    angle = np.arange(8) * np.pi / 4
    centers = np.zeros((8, d))
    centers[:, :2] = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    which = rng.integers(0, 8, 6000)
    x = centers[which] + 0.5 * rng.standard_normal((6000, d))
    return (x - x.mean(0)) / x.std(0), which


@pytest.mark.parametrize("d", [2, 5, 20])
def test_every_one_of_eight_modes_is_found(d, global_random_seed):
    x, which = modes_among_noise(d, global_random_seed)
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 8, np.inf, floor=np.zeros(d), seed=global_random_seed)
    found = fitted.joint(x)[0].argmax(0)
    table = np.zeros((8, 8))
    np.add.at(table, (which, found), 1)
    assert (table.max(1) > 0.99 * table.sum(1)).all()
    assert len(set(table.argmax(1))) == 8


# --- axes -----------------------------------------------------------------------------


@pytest.mark.parametrize("d", [5, 20])
def test_modes_are_apart_along_separating_axes(d, global_random_seed):
    x, which = modes_among_noise(d, global_random_seed)

    def ratio(y):
        """Return the mean squared distance to the own mode's mean, over that to all's."""
        means = np.stack([y[which == k].mean(0) for k in range(8)])
        own = np.square(y - means[which]).sum(1).mean()
        return own / y.var(0).sum()

    # x: (2 * 0.03 + d - 2) / d; in the plane of the modes alone 0.03
    assert ratio(x) > 0.6
    assert ratio(x @ separating_axes(x, global_random_seed)) < 0.2


def test_copies_do_not_change_what_is_near():
    x = np.random.default_rng(0).normal(size=(200, 3))
    copies = np.repeat(x, 3, 0)
    np.testing.assert_array_equal(separating_axes(copies, 0), separating_axes(x, 0))


def test_columns_of_two_values_are_no_axes_of_clusters(global_random_seed):
    # Near rows agree in binary columns, whose scatter is that of rounding at least; eight
    # modes are found beside four of them.
    rng = np.random.default_rng(global_random_seed)
    x, which = modes_among_noise(6, global_random_seed)
    x[:, 2:] = rng.choice([-1.0, 1.0], (len(x), 4))
    floor = rounding_steps(x) ** 2 / 12
    axes = separating_axes(x, 0, floor=floor)
    lengths = np.linalg.norm(axes, axis=1)
    assert lengths[:2].min() > lengths[2:].max()
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 8, np.inf, floor=floor, seed=0)
    found = fitted.joint(x)[0].argmax(0)
    table = np.zeros((8, 8))
    np.add.at(table, (which, found), 1)
    assert (table.max(1) > 0.99 * table.sum(1)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_or_equal_rows_have_a_finite_axes(n):
    x = np.random.default_rng(0).normal(size=(n, 4))
    assert np.isfinite(separating_axes(x, 0)).all()
    assert np.isfinite(separating_axes(np.repeat(x[:1], 9, 0), 0)).all()


# --- nearly collinear columns -----------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-4, 1e-5, 3e-6])
@pytest.mark.parametrize("seed", range(3))
def test_collinear_columns_cost_nothing(noise, seed):
    rng = np.random.default_rng(seed)

    def parts_and_total(n):
        parts = rng.gamma(3.0, size=(n, 3))
        return np.c_[parts, parts.sum(1) + noise * rng.normal(size=n)]

    X, T = parts_and_total(800), parts_and_total(4000)
    assert np.linalg.cond(np.corrcoef(X.T)) > 1e9
    units = X.std(0)
    x, t, weight = X / units, T / units, np.ones(800)
    # of the normal density with the moments of a gamma density of shape 3
    best = -0.5 * (4 * np.log(2 * np.pi * np.e) + 3 * np.log(3) + 2 * np.log(noise))
    parameters = 14 / 800  # that 800 rows estimate: half of them is lost in either set
    for k, nu in ((1, np.inf), (4, np.inf), (4, 10.0)):
        mixture = fit_mixture(x, weight, k, nu, floor=np.zeros(4), seed=seed)
        assert (
            mixture.log_prob(t).mean() - np.log(units).sum() > best - 0.1 - parameters
        )
        again = continue_fit(mixture, x, weight, floor=np.zeros(4), n_steps=3)
        change = again.log_prob(t).mean() - mixture.log_prob(t).mean()
        assert abs(change) < 0.1


@pytest.mark.parametrize("nu", [np.inf, 10.0])
@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_a_step_by_products_is_a_step_by_deviations(nu, spread):
    rng = np.random.default_rng(0)
    means = rng.normal(size=(6, 4))
    x = means[rng.integers(6, size=400)] + spread * rng.normal(size=(400, 4))
    x[0] = 1e3  # far from all
    mixture = fit_mixture(x, np.ones(400), 6, nu, floor=np.zeros(4), seed=0)
    weight, floor = rng.uniform(0.5, 2, 400), np.full(4, 1e-6)
    steps = [
        _step(mixture, Table(x, has_products=those), weight, floor)
        for those in (True, False)
    ]
    assert Table(x).products is not None
    (by_products, mean), (by_deviations, expected) = steps
    assert mean == pytest.approx(expected, abs=1e-7)
    for own, other in zip(by_products[:3], by_deviations[:3], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-8 * spread**2)


def test_products_of_many_columns_are_not_held():
    assert Table(np.zeros((3000, 80))).products is None
