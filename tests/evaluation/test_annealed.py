"""Annealed estimates of log p(x) against models whose marginal is known otherwise."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.evaluation import AnnealingPlan, annealed_log_likelihood, plan_annealing
from sk_wmvl.manifolds import Circle, Euclidean, Sphere
from sk_wmvl.samplers import HMC, GeodesicHMC, Langevin
from tests.evaluation._models import (
    NOISE,
    NORMAL,
    Uniform,
    W,
    assert_agrees,
    linear,
    linear_log_prob,
    normal_log_likelihood,
    simulate_linear,
    two_modes,
)

PLAN = AnnealingPlan(np.array([0.1, 0.4, 1.0]), np.array([0.3, 0.2, 0.1]), 1.0)


@pytest.mark.statistical
def test_linear_decoder(global_random_seed):
    g = make_generator(global_random_seed)
    x = simulate_linear(NORMAL.sample(60, generator=g), g)
    result = annealed_log_likelihood(
        linear, x, Euclidean(2), NORMAL, generator=g, n_temperatures=100
    )
    assert_agrees(result, linear_log_prob(x))
    assert 0.6 < result.accept_prob < 0.95


@pytest.mark.statistical
@pytest.mark.parametrize(("m", "n_leapfrog"), [(1, 3), (2, 1), (8, 3)])
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


@pytest.mark.statistical
def test_two_modes_by_quadrature(global_random_seed):
    g = make_generator(global_random_seed)
    x = 0.5 * torch.randn(40, 2, generator=g, dtype=torch.float64)
    angle = (torch.arange(4000, dtype=torch.float64) + 0.5) * 2 * math.pi / 4000
    nodes = torch.stack([angle.cos(), angle.sin()], 1)
    log_p = torch.stack([two_modes(row.expand(4000, 2), nodes) for row in x])
    truth = log_p.logsumexp(1) - math.log(4000)
    result = annealed_log_likelihood(
        two_modes, x, Sphere(1), Uniform(Sphere(1)), generator=g, n_temperatures=100
    )
    assert_agrees(result, truth)


@pytest.mark.statistical
def test_variance_is_what_the_plan_says(global_random_seed):
    g = make_generator(global_random_seed)
    x = simulate_linear(NORMAL.sample(30, generator=g), g)
    plan = plan_annealing(
        linear, x, Euclidean(2), NORMAL, generator=g, n_temperatures=100
    )
    assert plan.t[-1] == 1
    assert (np.diff(plan.t) > 0).all()
    result = annealed_log_likelihood(
        linear, x, Euclidean(2), NORMAL, generator=g, n_chains=64, plan=plan
    )
    variance = float((64 * result.std_error.square()).mean())
    perfect = plan.length**2 / 100
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


def test_any_manifold():
    # the circle by its angle, whose points are not unit vectors
    x, manifold = torch.zeros(2, 2).double(), Circle()
    result = annealed_log_likelihood(
        lambda x, z: normal_log_likelihood(x, torch.cat([z.cos(), z.sin()], 1), 1.0),
        x,
        manifold,
        Uniform(manifold),
        generator=make_generator(0),
        plan=PLAN,
    )
    # constant in z: every weight is the same
    truth = torch.full((2,), -0.5 - math.log(2 * math.pi)).double()
    torch.testing.assert_close(result.value, truth)


def test_the_sampler_is_left_as_it_is():
    sampler, x = HMC(0.5, n_leapfrog=4), torch.zeros(2, 4).double()
    annealed_log_likelihood(
        linear,
        x,
        Euclidean(2),
        NORMAL,
        generator=make_generator(0),
        sampler=sampler,
        plan=PLAN,
    )
    assert sampler.step_size == 0.5


def test_a_float32_decoder_is_called_once_a_gradient():
    # each of the two moves has two leapfrog steps; one call more makes the first state
    calls = []

    def decoder(x, z):
        calls.append(z.dtype)
        return linear(x, z)

    annealed_log_likelihood(
        decoder,
        torch.zeros(2, 4),
        Euclidean(2),
        GaussianBase(np.zeros(2), np.eye(2)).float(),
        generator=make_generator(0),
        plan=PLAN,
    )
    assert calls == [torch.float32] * 5
