"""Langevin dynamics on manifolds: generators by hand."""

import math
import pickle

import pytest
import torch
from sklearn.base import clone

import sk_wmvl.manifolds._base
import sk_wmvl.samplers.riemannian_langevin_local
from sk_wmvl.manifolds import LocalChart, Sphere
from sk_wmvl.samplers import (
    SAMPLERS,
    GeodesicHMC,
    LocalRiemannianLangevin,
    RiemannianLangevin,
    evaluate,
)
from tests.objectives._riemannian import CASES, design, generator_of, points
from tests.samplers._tools import generator

LANGEVIN = [RiemannianLangevin, LocalRiemannianLangevin]


def rates(sampler, f, energy, x, beta, seed):
    """Return what one step does to f, per unit of time; the noise's part taken out."""
    state = evaluate(energy, x)
    step = sampler.step(energy, state, beta=beta, generator=generator(seed))
    increment = f(step.x) - f(x) - (f.grad(x) * step.noise).sum(-1)
    return (increment / step.step_size).detach()


@pytest.mark.statistical
@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("make", LANGEVIN)
@pytest.mark.parametrize("name", CASES)
def test_generator(name, make, beta, global_random_seed):
    # Eight points, 10 000 steps of 1e-4 from each; |z| < 4, beside a bias of O(step):
    # at most 2e-3 of the rate's size (see the test of the bias below).
    manifold, function = CASES[name]
    f, energy = function(3), function(7)
    x = points(manifold, 8, global_random_seed)
    many = x.repeat_interleave(10_000, 0)
    seed = global_random_seed + 1000
    rate = rates(make(manifold, 1e-4), f, energy, many, beta, seed).view(8, -1)
    expected = generator_of(f, energy, x, beta).detach()
    se = rate.std(1) / 100
    assert (
        (rate.mean(1) - expected).abs() < 4 * se + 2e-3 * (1 + expected.abs())
    ).all()


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("make", LANGEVIN)
@pytest.mark.parametrize("name", CASES)
def test_bias_of_the_generator_is_of_order_step(name, make, beta, monkeypatch):
    # A design stands in for the noise, so that the rate is exact but for O(step).
    manifold, function = CASES[name]
    f, energy = function(3), function(7)
    for module in (sk_wmvl.manifolds._base, sk_wmvl.samplers.riemannian_langevin_local):
        monkeypatch.setattr(module, "randn_like", lambda x, g: design(x.shape))
    k = manifold.dim if make is LocalRiemannianLangevin else manifold.frame_dim
    x = points(manifold, 1, 5).repeat(2 * k, 1)
    expected = generator_of(f, energy, x[:1], beta).detach()
    errors = [
        float(rates(make(manifold, h), f, energy, x, beta, 0).mean() - expected)
        for h in (1e-4, 1e-5)
    ]
    assert abs(errors[0]) < 1e-2 * (1 + abs(float(expected)))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)


class Graph:
    """The surface z = h(y) = (y_1^2 + y_1 y_2) / 2 over the plane, as a chart alone."""

    def chart(self, x):
        def height(y):
            return 0.5 * (y[:, 0] ** 2 + y[:, 0] * y[:, 1])

        def metric(y):
            slope = torch.stack([y[:, 0] + 0.5 * y[:, 1], 0.5 * y[:, 0]], -1)
            eye = torch.eye(2, dtype=y.dtype)
            return eye + slope[:, :, None] * slope[:, None, :]

        return LocalChart(
            x[:, :2], lambda y: torch.cat([y, height(y)[:, None]], -1), metric
        )


def test_local_step_in_a_skewed_chart(monkeypatch):
    # The Laplacian of the position is the sum of curvatures times the normal.
    monkeypatch.setattr(
        sk_wmvl.samplers.riemannian_langevin_local,
        "randn_like",
        lambda x, g: design(x.shape),
    )
    y = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    hx, hy, hxx, hxy, hyy = 0.4 - 0.35, 0.2, 1.0, 0.5, 0.0
    w = math.sqrt(1 + hx**2 + hy**2)
    curvature = (1 + hy**2) * hxx - 2 * hx * hy * hxy + (1 + hx**2) * hyy
    normal = torch.tensor([[-hx, -hy, 1.0]], dtype=torch.float64) / w
    expected = curvature / w**3 * normal
    height = 0.5 * (0.4**2 - 0.4 * 0.7)
    x = torch.cat([y, torch.tensor([[height]], dtype=torch.float64)], -1).repeat(4, 1)
    flat = lambda x: 0 * x.sum(-1)
    step = LocalRiemannianLangevin(Graph(), 1e-6).step(flat, evaluate(flat, x))
    rate = ((step.x - x).mean(0, keepdim=True)) / 1e-6
    torch.testing.assert_close(rate, expected, rtol=1e-4, atol=1e-4)
    # The noise is tangent, and its covariance that of the projection on the surface.
    cov = step.noise.T @ step.noise / 4 / 2e-6
    torch.testing.assert_close(
        cov, torch.eye(3, dtype=torch.float64) - normal.T @ normal, rtol=0, atol=1e-10
    )


def test_a_metric_must_be_positive_definite():
    class Bad:
        def chart(self, x):
            return LocalChart(
                x, lambda y: y, lambda y: -torch.eye(2).expand(len(y), 2, 2)
            )

    flat = lambda x: 0 * x.sum(-1)
    with pytest.raises(ValueError, match="not positive definite at row 0"):
        LocalRiemannianLangevin(Bad()).step(flat, evaluate(flat, torch.zeros(3, 2)))


@pytest.mark.parametrize("make", LANGEVIN)
def test_parameters_are_reached_through_the_step(make):
    # d/da of f(x-) by finite differences, at fixed noise.
    manifold, function = CASES["S2"]
    f, energy = function(3), function(7)
    x = points(manifold, 6, 0)

    def value():
        state = evaluate(energy, x, create_graph=True)
        step = make(manifold, 0.01).step(
            energy, state, beta=0.5, generator=generator(1), antithetic=True
        )
        return (f(step.x) + 2 * f(step.mirror)).sum()

    (slope,) = torch.autograd.grad(value(), energy.a)
    for i in range(3):
        ends = []
        for h in (1e-5, -1e-5):
            with torch.no_grad():
                energy.a[i] += h
            ends.append(value().item())
            with torch.no_grad():
                energy.a[i] -= h
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[i].item(), rel=1e-6)


def test_shortened_steps_measure_the_gradient_in_the_metric():
    manifold, function = CASES["SO3"]
    energy, x = function(7), points(CASES["SO3"][0], 5, 0)
    step = RiemannianLangevin(manifold, 1e-3, max_drift=0.1).step(
        energy, evaluate(energy, x), beta=0.5, generator=generator(0)
    )
    g = energy.grad(x)
    speed = 0.25 * energy.inner(x, g, g)
    torch.testing.assert_close(step.step_size, (1e-3 / (speed / 0.01)).detach())


@pytest.mark.parametrize("make", [*LANGEVIN, GeodesicHMC])
def test_members_are_components(make):
    sampler = make(Sphere(2), 0.05)
    assert clone(sampler).set_params(step_size=0.1).step_size == 0.1
    assert "Sphere(dim=2)" in repr(sampler)
    copy = pickle.loads(pickle.dumps(sampler))
    x, energy = points(Sphere(2), 4, 0), lambda x: x[:, 0]
    before = torch.get_rng_state()
    one, two = (
        s.step(energy, evaluate(energy, x), generator=generator(2)).x
        for s in (sampler, copy)
    )
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
    step = sampler.step(energy, evaluate(energy, x.float()), generator=generator(2))
    assert step.x.dtype == torch.float32
    with pytest.raises(ValueError, match="step_size of .* must be a finite number > 0"):
        make(Sphere(2), 0.0).step(energy, evaluate(energy, x))
    assert make not in SAMPLERS.values()  # they move points of a manifold
