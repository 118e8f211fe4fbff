"""MALA and Hamiltonian Monte Carlo: invariance, moments and rejection."""

import math

import numpy as np
import pytest
import torch

import sk_wmvl.samplers.hmc
import sk_wmvl.samplers.mala
from sk_wmvl.samplers import (
    HMC,
    MALA,
    ess_bulk,
    evaluate,
    mcse_mean,
)
from tests.samplers._tools import double_well, gaussian, generator, normals

SAMPLERS_WITH_TEST = [
    pytest.param(lambda h: MALA(h**2 / 2), id="mala"),
    pytest.param(lambda h: HMC(h, 3), id="hmc"),
]


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("h", [0.3, 1.2])
def test_equilibrium_is_kept_whatever_the_step(global_random_seed, make, beta, h):
    # 1000 chains, 40 steps, started in N(0, diag(1, 4) / beta): second moments stay.
    # |z| < 4 with z = error / MCSE, the chains' correlation in time included.
    sd = torch.tensor([1.0, 2.0], dtype=torch.float64)
    start = normals(1000, 2, global_random_seed) * sd / math.sqrt(beta)
    chain = make(h / math.sqrt(beta)).run(
        gaussian(1.0, 2.0),
        start,
        n_steps=40,
        beta=beta,
        generator=generator(global_random_seed + 1000),
    )
    draws = chain.samples.transpose(0, 1).numpy()
    # Independent chains: the mean over time of each is one draw.
    for moment, expected in ((draws, 0.0), (draws**2, (sd**2 / beta).numpy())):
        per_chain = moment.mean(1)
        error = per_chain.mean(0) - expected
        assert (np.abs(error) < 4 * per_chain.std(0, ddof=1) / math.sqrt(1000)).all()


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_moments_of_a_double_well(global_random_seed, make):
    # 500 chains, 150 steps kept after 150; oracle: sums on a fine grid. Neither sampler
    # is geometrically ergodic on a quartic energy: starts far out would stay there.
    grid = np.linspace(-4, 4, 4001)
    density = np.exp(-((grid**2 - 1) ** 2) - 0.5 * grid)
    chain = make(0.4).run(
        double_well,
        0.7 * normals(500, 1, global_random_seed),
        n_steps=150,
        n_burn_in=150,
        generator=generator(global_random_seed + 1000),
    )
    draws = chain.samples[:, :, 0].T.numpy()
    for power in (1, 2):
        expected = (grid**power * density).sum() / density.sum()
        error = (draws**power).mean() - expected
        assert abs(error) < 4 * mcse_mean(draws**power)


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_no_noise_and_no_gradient_is_the_identity(make, monkeypatch):
    for module in (sk_wmvl.samplers.mala, sk_wmvl.samplers.hmc):
        monkeypatch.setattr(module, "randn_like", lambda x, g: torch.zeros_like(x))
    x = normals(5, 3, 0)
    flat = lambda x: 0 * x.sum(-1)
    step = make(0.5).step(flat, evaluate(flat, x), generator=generator(0))
    assert torch.equal(step.x, x)
    assert torch.equal(step.accept_prob, torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_a_flat_energy_accepts_everything(make):
    flat = lambda x: 0 * x.sum(-1)
    x = normals(50, 3, 0)
    step = make(3.0).step(flat, evaluate(flat, x), generator=generator(0))
    assert (step.accept_prob > 1 - 1e-12).all()
    assert (step.x != x).all()


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_beta_scales_the_energy(make):
    x = normals(50, 2, 0)
    scaled = lambda x: 3 * double_well(x)
    one = make(0.4).step(
        double_well, evaluate(double_well, x), beta=3.0, generator=generator(1)
    )
    other = make(0.4).step(scaled, evaluate(scaled, x), generator=generator(1))
    torch.testing.assert_close(one.x, other.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.accept_prob, other.accept_prob)


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_generator_decides_everything(make):
    x, before = normals(20, 2, 0), torch.get_rng_state()
    runs = [
        make(0.5).run(double_well, x, n_steps=5, generator=generator(seed)).samples
        for seed in (7, 7, 8)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_the_state_is_that_of_the_new_points(make):
    x = 0.7 * normals(200, 2, 0)
    for dtype in (torch.float32, torch.float64):
        start = evaluate(double_well, x.to(dtype))
        with torch.no_grad():
            step = make(0.5).step(double_well, start, generator=generator(0))
        fresh = evaluate(double_well, step.x)
        assert step.x.dtype == step.state.grad.dtype == dtype
        assert 0.2 < step.accept_prob.mean() < 0.99  # both outcomes occur
        torch.testing.assert_close(step.state.energy, fresh.energy)
        torch.testing.assert_close(step.state.grad, fresh.grad)


@pytest.mark.parametrize("make", SAMPLERS_WITH_TEST)
def test_non_finite_proposals_are_rejected(make):
    # Finite on (0, 2) only: NaN below, infinite above, and a gradient that overflows.
    def energy(x):
        return (torch.log(x) ** 2 + torch.where(x > 2, torch.inf, 1e-3 / x)).sum(-1)

    x = torch.linspace(0.05, 1.95, 200, dtype=torch.float64)[:, None]
    chain = make(1.5).run(energy, x, n_steps=30, generator=generator(0))
    assert torch.isfinite(chain.samples).all()
    assert ((chain.samples > 0) & (chain.samples < 2)).all()
    assert torch.isfinite(chain.state.energy).all()
    assert torch.isfinite(chain.state.grad).all()
    assert torch.isfinite(chain.accept_prob).all()


def test_an_energy_never_sees_a_nan():
    def energy(x):
        assert torch.isfinite(x).all()
        return torch.exp(x.square()).sum(-1)  # its gradient overflows

    x = torch.full((10, 1), 5.0)
    chain = HMC(10.0, 20).run(energy, x, n_steps=3, generator=generator(0))
    assert torch.equal(chain.state.x, x)


def test_hmc_of_one_leapfrog_step_is_mala():
    x, h = normals(100, 2, 0), 0.6
    z = normals(100, 2, 1)
    state = evaluate(double_well, x)
    start = torch.full((100, 1), h, dtype=torch.float64)
    new, _, _ = sk_wmvl.samplers.hmc.leapfrog(
        double_well, state, z, start, n_leapfrog=1, beta=1.0
    )
    langevin = x - h**2 / 2 * state.grad + h * z
    torch.testing.assert_close(new.x, langevin)


def test_leapfrog_is_reversible():
    x, p = normals(50, 2, 0), normals(50, 2, 1)
    h = torch.full((50, 1), 0.2, dtype=torch.float64)
    there, p_there, _ = sk_wmvl.samplers.hmc.leapfrog(
        double_well, evaluate(double_well, x), p, h, n_leapfrog=8, beta=1.0
    )
    back, p_back, alive = sk_wmvl.samplers.hmc.leapfrog(
        double_well, there, -p_there, h, n_leapfrog=8, beta=1.0
    )
    assert alive.all()
    torch.testing.assert_close(back.x, x)
    torch.testing.assert_close(-p_back, p)


def test_jitter_breaks_resonance():
    # Ten steps of 2 pi / 10 are about one period of a unit Gaussian: without jitter
    # chains hardly move. The leapfrog period is 2 asin(h / 2) per step.
    h = 2 * math.sin(math.pi / 10)
    still, free = (
        HMC(h, 10, jitter=j).run(
            gaussian(1.0), normals(100, 1, 0), n_steps=100, generator=generator(1)
        )
        for j in (0.0, 0.2)
    )
    assert (still.samples[-1] - still.samples[0]).abs().max() < 1e-3
    assert ess_bulk(free.samples[:, :, 0].T.numpy()) > 1000


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (MALA(0.0), "step_size of MALA"),
        (HMC(-1.0), "step_size of HMC"),
        (HMC(n_leapfrog=0), "n_leapfrog of HMC"),
        (HMC(jitter=1.0), "jitter of HMC"),
    ],
)
def test_wrong_parameters_are_named(sampler, message):
    state = evaluate(double_well, torch.ones(3, 1))
    with pytest.raises(ValueError, match=message):
        sampler.step(double_well, state, generator=generator(0))
