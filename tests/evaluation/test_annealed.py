"""Estimates of log p(x) against models whose marginal is known otherwise."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.evaluation import (
    annealed_bounds,
    annealed_log_likelihood,
    importance_weighted_bound,
    plan_annealing,
)
from sk_wmvl.manifolds import Circle, Euclidean, Sphere
from sk_wmvl.samplers import HMC, GeodesicHMC, Langevin

NOISE = 0.3
W = torch.tensor(
    [[1.0, 0.5], [-0.3, 0.8], [0.2, -1.2], [0.7, 0.1]], dtype=torch.float64
)
NORMAL = GaussianBase(np.zeros(2), np.eye(2))


def normal_log_likelihood(x, mean, noise=NOISE):
    square = (x - mean).square().sum(-1) / noise**2
    return -0.5 * square - 0.5 * x.shape[1] * math.log(2 * math.pi * noise**2)


def linear(x, z):
    return normal_log_likelihood(x, z @ W.T.to(z))


def simulate_linear(z, g):
    mean = z @ W.T.to(z)
    return mean + NOISE * torch.randn(mean.shape, generator=g, dtype=z.dtype)


class Uniform:
    """The uniform law on a sphere of dimension m, or on the circle by angle."""

    def __init__(self, manifold):
        self.manifold = manifold

    def sample(self, n, *, generator=None):
        return self.manifold.random_point(n, generator=generator)

    def log_prob(self, z):
        return torch.full_like(z[:, 0], -self.manifold.log_volume())


def assert_agrees(result, truth):
    """Sum over rows, whose errors are independent; allow for the bias of the log."""
    gap = (result.value - truth).sum()
    bias = 0.5 * result.std_error.square().sum()
    error = result.std_error.square().sum().sqrt()
    assert abs(gap + bias) < 4 * error
    assert error / len(truth) < 0.1


@pytest.mark.statistical
def test_linear_decoder(global_random_seed):
    g = make_generator(global_random_seed)
    x = simulate_linear(NORMAL.sample(60, generator=g), g)
    law = stats.multivariate_normal(
        np.zeros(4), W.numpy() @ W.numpy().T + NOISE**2 * np.eye(4)
    )
    result = annealed_log_likelihood(
        linear, x, Euclidean(2), NORMAL, generator=g, n_temperatures=100
    )
    assert_agrees(result, torch.from_numpy(law.logpdf(x.numpy())))
    assert 0.6 < result.accept_prob < 0.95


@pytest.mark.statistical
@pytest.mark.parametrize("m", [1, 2, 8])
@pytest.mark.parametrize("n_leapfrog", [1, 3])
def test_code_on_a_sphere(m, n_leapfrog, global_random_seed):
    # z uniform on S^m, x normal about a z: the integral over z is a Bessel function.
    a, g, d = 2.0, make_generator(global_random_seed), m + 1
    manifold = Sphere(m)
    x = 2.0 * torch.randn(40, d, generator=g, dtype=torch.float64)
    r = x.norm(dim=1).numpy()
    k = a * r / NOISE**2
    order = d / 2 - 1
    log_bessel = np.log(special.ive(order, k)) + k
    log_mean = math.lgamma(d / 2) + order * np.log(2 / k) + log_bessel
    truth = (
        -0.5 * (r**2 + a**2) / NOISE**2
        - 0.5 * d * math.log(2 * math.pi * NOISE**2)
        + log_mean
    )
    result = annealed_log_likelihood(
        lambda x, z: normal_log_likelihood(x, a * z),
        x,
        manifold,
        Uniform(manifold),
        generator=g,
        n_temperatures=200,
        sampler=GeodesicHMC(manifold, n_leapfrog=n_leapfrog),
    )
    assert_agrees(result, torch.from_numpy(truth))


def two_modes(x, z):
    """Decode an angle by a curve that comes near itself: posteriors with two modes."""
    angle = torch.atan2(z[:, 1], z[:, 0])
    return normal_log_likelihood(
        x, torch.stack([angle.cos(), (2 * angle).sin()], 1), 0.2
    )


@pytest.mark.statistical
def test_two_modes_by_quadrature(global_random_seed):
    g = make_generator(global_random_seed)
    x = 0.5 * torch.randn(40, 2, generator=g, dtype=torch.float64)
    angle = (torch.arange(4000, dtype=torch.float64) + 0.5) * 2 * math.pi / 4000
    nodes = torch.stack([angle.cos(), angle.sin()], 1)
    log_p = torch.stack([two_modes(row.expand(4000, 2), nodes) for row in x])
    truth = log_p.logsumexp(1) - math.log(4000)
    result = annealed_log_likelihood(
        two_modes, x, Sphere(1), Uniform(Sphere(1)), generator=g, n_temperatures=200
    )
    assert_agrees(result, truth)


@pytest.mark.statistical
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_bounds_enclose_the_truth(dtype, global_random_seed):
    g = make_generator(global_random_seed)
    law = stats.multivariate_normal(
        np.zeros(4), W.numpy() @ W.numpy().T + NOISE**2 * np.eye(4)
    )
    bounds = annealed_bounds(
        linear,
        lambda z: simulate_linear(z, g),
        Euclidean(2),
        GaussianBase(np.zeros(2), np.eye(2)).to(dtype),
        n_rows=200,
        generator=g,
        dtype=dtype,
        n_temperatures=20,  # few, so that there is a gap
        n_chains=4,
    )
    truth = torch.from_numpy(law.logpdf(bounds.x.double().numpy()))
    n = math.sqrt(len(truth))
    for below, above in (
        (bounds.lower, truth),
        (truth, bounds.upper),
        (bounds.lower, bounds.upper),
    ):
        gap = above - below
        assert gap.mean() > -4 * gap.std() / n
    assert (bounds.upper - bounds.lower).mean() > 0


@pytest.mark.statistical
def test_gap_closes_with_temperatures(global_random_seed):
    gaps = []
    for n_temperatures in (5, 50):
        g = make_generator(global_random_seed)
        bounds = annealed_bounds(
            two_modes,
            lambda z, g=g: (
                torch.stack([z[:, 0], 2 * z[:, 0] * z[:, 1]], 1)
                + 0.2 * torch.randn(len(z), 2, generator=g, dtype=z.dtype)
            ),
            Sphere(1),
            Uniform(Sphere(1)),
            n_rows=200,
            generator=g,
            n_temperatures=n_temperatures,
            n_chains=4,
        )
        gaps.append((bounds.upper - bounds.lower).mean())
    assert 0 < gaps[1] < gaps[0] / 2


@pytest.mark.statistical
def test_variance_is_what_the_plan_says(global_random_seed):
    g = make_generator(global_random_seed)
    x = simulate_linear(NORMAL.sample(50, generator=g), g)
    plan = plan_annealing(
        linear, x, Euclidean(2), NORMAL, generator=g, n_temperatures=200
    )
    assert plan.t[-1] == 1
    assert (np.diff(plan.t) > 0).all()
    result = annealed_log_likelihood(
        linear, x, Euclidean(2), NORMAL, generator=g, n_chains=64, plan=plan
    )
    variance = float((64 * result.std_error.square()).mean())
    perfect = plan.length**2 / 200
    assert perfect / 2 < variance < 6 * perfect  # transitions are not perfect


def test_seed_decides_and_global_state_is_untouched():
    x = simulate_linear(
        NORMAL.sample(5, generator=make_generator(0)), make_generator(1)
    )
    before = torch.get_rng_state()
    first, second = (
        annealed_log_likelihood(
            linear,
            x,
            Euclidean(2),
            NORMAL,
            generator=make_generator(3),
            n_temperatures=5,
            n_chains=2,
        ).value
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


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

    law = stats.multivariate_normal(
        np.zeros(4), W.numpy() @ W.numpy().T + NOISE**2 * np.eye(4)
    )
    truth = torch.from_numpy(law.logpdf(x.numpy()))
    result = importance_weighted_bound(linear, x, NORMAL, sample_posterior, n_draws=500)
    assert_agrees(result, truth)
    few = importance_weighted_bound(linear, x, NORMAL, sample_posterior, n_draws=2)
    assert (few.value - truth).mean() < (result.value - truth).mean()


def test_errors_say_what_to_do():
    g, x = make_generator(0), torch.zeros(3, 4).double()
    run = annealed_log_likelihood
    with pytest.raises(ValueError, match="one value per row"):
        run(lambda x, z: x @ W, x, Euclidean(2), NORMAL, generator=g)
    with pytest.raises(ValueError, match="not finite at 12 of 12"):
        run(linear, x * math.nan, Euclidean(2), NORMAL, generator=g)
    with pytest.raises(ValueError, match="n_chains must be an integer"):
        run(linear, x, Euclidean(2), NORMAL, generator=g, n_chains=0)
    with pytest.raises(ValueError, match="n_temperatures must be an integer"):
        run(linear, x, Euclidean(2), NORMAL, generator=g, n_temperatures=0)
    with pytest.raises(ValueError, match="Metropolis"):
        run(linear, x, Euclidean(2), NORMAL, generator=g, sampler=Langevin())
    with pytest.raises(ValueError, match="tensor of floats"):
        run(linear, x[0], Euclidean(2), NORMAL, generator=g)
    with pytest.raises(ValueError, match="n_draws must be"):
        importance_weighted_bound(linear, x, NORMAL, lambda x: x, n_draws=1)


def test_any_manifold_and_sampler():
    # the circle by its angle, whose points are not unit vectors
    g = make_generator(0)
    x = torch.zeros(2, 2).double()

    def log_likelihood(x, z):
        return normal_log_likelihood(x, torch.cat([z.cos(), z.sin()], 1), 1.0)

    manifold = Circle()
    result = annealed_log_likelihood(
        log_likelihood,
        x,
        manifold,
        Uniform(manifold),
        generator=g,
        n_temperatures=10,
    )
    # constant in z: every weight is the same
    truth = torch.full((2,), -0.5 - math.log(2 * math.pi)).double()
    torch.testing.assert_close(result.value, truth)
    sampler = HMC(0.5, n_leapfrog=4)
    args = linear, torch.zeros(2, 4).double(), Euclidean(2), NORMAL
    annealed_log_likelihood(*args, generator=g, n_temperatures=3, sampler=sampler)
    assert sampler.step_size == 0.5
