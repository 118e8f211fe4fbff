"""Hamiltonian Monte Carlo on manifolds: moments in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ive

from sk_wmvl.manifolds import Euclidean, Product, Sphere, Torus
from sk_wmvl.samplers import (
    HMC,
    GeodesicHMC,
    adapt_step_size,
    evaluate,
    mcse_mean,
    rhat,
)
from sk_wmvl.samplers.hmc import leapfrog
from tests.objectives._riemannian import CASES, points
from tests.samplers._tools import generator


def trajectory(sampler, energy, x, u, h):
    """Return where a trajectory leads, and its velocity there."""
    manifold = sampler.manifold
    end, v, alive = leapfrog(
        energy,
        evaluate(energy, x),
        u,
        h,
        n_leapfrog=sampler.n_leapfrog,
        beta=1.0,
        flow=sampler._flow,
        gradient=lambda state: manifold.egrad2rgrad(state.x, state.grad),
    )
    assert alive.all()
    return end.x, v


def resultant_length(kappa):
    """Return A(kappa) = I_1 / I_0, the mean resultant length on the circle."""
    return ive(1, kappa) / ive(0, kappa)


@pytest.mark.statistical
@pytest.mark.parametrize("n_leapfrog", [1, 4])
def test_von_mises_fisher_on_the_sphere(n_leapfrog, global_random_seed):
    # kappa = 4, 400 chains, 100 moves after 60; A = coth k - 1/k and E t^2 = 1 - 2A/k.
    # |z| < 4 by the Monte-Carlo standard error.
    kappa, manifold = 4.0, Sphere(2)
    mu = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    noise = generator(global_random_seed)
    energy = lambda x: -kappa * (x @ mu)
    start = manifold.random_point(400, generator=noise)
    tuned, state = adapt_step_size(
        GeodesicHMC(manifold, 1.0, n_leapfrog),
        energy,
        start,
        n_steps=60,
        generator=noise,
    )
    chain = tuned.run(energy, state.x, n_steps=100, generator=noise)
    target = 0.574 if n_leapfrog == 1 else 0.8
    assert -0.06 < float(chain.accept_prob.mean()) - target < 0.1
    t = (chain.samples @ mu).T.numpy()
    length = 1 / math.tanh(kappa) - 1 / kappa
    across = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64) / math.sqrt(5)
    s = (chain.samples @ across).T.numpy()
    for draws, expected in ((t, length), (t**2, 1 - 2 * length / kappa), (s, 0.0)):
        assert abs(draws.mean() - expected) < 4 * mcse_mean(draws)


@pytest.mark.statistical
def test_von_mises_on_the_torus(global_random_seed):
    # Concentrations 2 and 5 about 1 and -2, 300 chains, 100 moves after 60; |z| < 4.
    manifold, noise = Torus(2), generator(global_random_seed)
    kappa, mean = torch.tensor([2.0, 5.0]).double(), torch.tensor([1.0, -2.0]).double()
    energy = lambda x: -((x - mean).cos() @ kappa)
    tuned, state = adapt_step_size(
        GeodesicHMC(manifold),
        energy,
        manifold.random_point(300, generator=noise),
        n_steps=60,
        generator=noise,
    )
    chain = tuned.run(energy, state.x, n_steps=100, generator=noise)
    assert chain.samples.abs().max() <= math.pi
    for j in range(2):
        cos = (chain.samples[:, :, j] - mean[j]).cos().T.numpy()
        expected = resultant_length(float(kappa[j]))
        assert abs(cos.mean() - expected) < 4 * mcse_mean(cos)
    features = manifold.features(chain.samples.flatten(0, 1)).view(100, 300, -1)
    worst = max(rhat(features[:, :, j].T.numpy()) for j in range(features.shape[2]))
    assert worst < 1.05


@pytest.mark.statistical
@pytest.mark.parametrize("h", [0.1, 0.5])
@pytest.mark.parametrize("name", ["S1", "S5", "SO3", "S2 x S1", "H2"])
def test_geodesic_hmc_keeps_its_target(name, h, global_random_seed):
    # 20 000 points started in the target, by resampling 200 000 by weight: after 4 moves
    # the means of two functions stay. The start is itself a sample, so |z| < 4 counts
    # the error of the pool too: that of the paired change, sqrt(2) wider.
    manifold, function = CASES[name]
    energy = function(7)
    noise = generator(global_random_seed)
    with torch.no_grad():
        pool = manifold.random_point(200_000, generator=noise)
        if name == "H2":
            # Drawn from the wrapped normal exp(v), v ~ N(0, I): its density is that of v
            # over sinh r / r.
            energy = lambda x: manifold.to_user(x) @ torch.tensor([6.0, 1, 0]).double()
            r = torch.acosh(manifold.to_user(pool)[:, 0])
            weight = 0.5 * r**2 + (torch.sinh(r) / r).log() - energy(pool)
        else:
            weight = -energy(pool)
        rows = torch.multinomial(
            (weight - weight.max()).exp(), 20_000, replacement=True, generator=noise
        )
    start = pool[rows]
    chain = GeodesicHMC(manifold, h, 3).run(energy, start, n_steps=4, generator=noise)
    assert 0.1 < float(chain.accept_prob.mean()) < 0.9999
    for f in (function(3), function(11)):
        change = (f(chain.state.x) - f(start)).detach()
        assert abs(change.mean()) < 4 * (2 / len(change)) ** 0.5 * change.std()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["S2", "H2"])
def test_ten_thousand_steps_stay_on_the_manifold(name):
    # One trajectory, with no fresh velocity to hide an error; it keeps H, too.
    manifold = CASES[name][0]
    energy = lambda x: 3 * manifold.to_user(x)[:, 0]
    x, h = points(manifold, 3, 0), torch.full((3, 1), 0.02, dtype=torch.float64)
    u = manifold.random_tangent(x, generator=generator(1))
    end, v = trajectory(GeodesicHMC(manifold, n_leapfrog=10_000), energy, x, u, h)
    sign = torch.tensor([-1.0 if name == "H2" else 1.0, 1.0, 1.0]).double()
    rows, moves = manifold.to_user(end), manifold.push_to_user(end, v)
    assert ((sign * rows * rows).sum(-1).abs() - 1).abs().max() < 1e-13
    assert (sign * rows * moves).sum(-1).abs().max() < 1e-12
    before, after = (
        energy(x) + 0.5 * manifold.inner(x, u, u) for x, u in ((x, u), (end, v))
    )
    torch.testing.assert_close(before, after, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["S2", "T2", "H2", "SO3"])
def test_trajectories_are_reversible(name):
    manifold, function = CASES[name]
    energy, x = function(7), points(manifold, 20, 0)
    h = torch.full((20, 1), 0.05, dtype=torch.float64)
    u = manifold.random_tangent(x, generator=generator(1))
    sampler = GeodesicHMC(manifold, n_leapfrog=6)
    there, v = trajectory(sampler, energy, x, u, h)
    back, w = trajectory(sampler, energy, there, -v, h)
    torch.testing.assert_close(back, manifold.projection(x))
    torch.testing.assert_close(-w, u, rtol=1e-6, atol=1e-8)


def test_euclidean_space_gives_hmc():
    energy = lambda x: (x.square() - 1).square().sum(-1)
    x = torch.randn(50, 2, dtype=torch.float64, generator=generator(0))
    one, other = (
        sampler.run(energy, x, n_steps=5, generator=generator(1)).samples
        for sampler in (HMC(0.2, 3), GeodesicHMC(Euclidean(2), 0.2, 3))
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_lost_trajectories_are_rejected():
    # A finite energy on one half of the sphere only.
    energy = lambda x: torch.where(x[:, 2] > 0, 0.0, torch.nan) - x[:, 2].log()
    x = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64).repeat(50, 1)
    chain = GeodesicHMC(Sphere(2), 1.0, 3).run(
        energy, x, n_steps=20, generator=generator(0)
    )
    assert (chain.samples[:, :, 2] > 0).all()
    assert 0.05 < float(chain.accept_prob.mean()) < 0.95


def test_a_manifold_without_geodesics_is_named():
    class Rough(Product):
        def geodesic(self, x, u):
            raise NotImplementedError("no closed form")

    manifold = Rough([("a", Sphere(2)), ("b", Torus(1))])
    energy = lambda x: x.sum(-1)
    with pytest.raises(
        NotImplementedError, match="which Rough.*Use RiemannianLangevin"
    ):
        GeodesicHMC(manifold).step(energy, evaluate(energy, points(manifold, 2, 0)))


def test_wrong_trajectories_are_named():
    x, energy = points(Sphere(2), 4, 0), lambda x: x[:, 0]
    for params, message in (
        ({"n_leapfrog": 0}, "n_leapfrog of GeodesicHMC"),
        ({"jitter": 1.0}, "jitter of GeodesicHMC"),
    ):
        with pytest.raises(ValueError, match=message):
            GeodesicHMC(Sphere(2), **params).step(energy, evaluate(energy, x))


def test_bessel_ratio_by_sums():
    t = np.linspace(-np.pi, np.pi, 2001)[:-1]
    w = np.exp(2 * np.cos(t))
    assert resultant_length(2.0) == pytest.approx((w * np.cos(t)).sum() / w.sum())
