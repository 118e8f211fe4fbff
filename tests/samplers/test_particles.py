"""Samplers whose particles interact, against sums by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_wmvl.kernels import IMQ, RBF
from sk_wmvl.objectives import ContrastiveDivergence, DetachedMinimumVelocity
from sk_wmvl.samplers import (
    SAMPLERS,
    SPOS,
    SVGD,
    BirthDeath,
    ItoSampler,
    Langevin,
    LeaveOneOutDensity,
    evaluate,
)
from tests.samplers._tools import double_well, gaussian, generator, normals

standard = gaussian(1.0)


PARTICLES = [SVGD, SPOS, BirthDeath]


each = pytest.mark.parametrize("cls", PARTICLES)


def loop_direction(x, score, length, *, statistic):
    """SVGD with the Gaussian kernel, pair by pair."""
    n = len(x)
    direction = np.zeros_like(x)
    for i in range(n):
        for j in range(n):
            if i == j and statistic == "u":
                continue
            r = x[j] - x[i]
            k = math.exp(-(r @ r) / (2 * length**2))
            direction[i] += k * score[j] - k * r / length**2
    return direction / (n if statistic == "v" else n - 1)


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_svgd_pair_by_pair(statistic, beta):
    x = normals(12, 3, 0) + 50  # far from the origin
    state = evaluate(double_well, x - 50)._replace(x=x)
    sampler = SVGD(0.1, kernel=RBF(1.2), statistic=statistic)
    step = sampler.step(double_well, state, beta=beta)
    direction = loop_direction(
        x.numpy(), -beta * state.grad.numpy(), 1.2, statistic=statistic
    )
    torch.testing.assert_close(step.x, x + 0.1 * torch.tensor(direction))
    assert step.noise is None
    assert step.mirror is None


def test_spos_runs_from_langevin_to_svgd():
    state = evaluate(double_well, normals(30, 2, 0))

    def step(sampler):
        return sampler.step(double_well, state, beta=0.5, generator=generator(1))

    langevin, svgd = step(Langevin(0.1)), step(SVGD(0.1))
    none, half, all_ = (step(SPOS(0.1, alpha=a)) for a in (0, 0.5, 1))
    torch.testing.assert_close(none.x, langevin.x)
    torch.testing.assert_close(none.noise, langevin.noise)
    torch.testing.assert_close(all_.x, svgd.x)
    assert (all_.noise == 0).all()
    # In between the drifts mix by alpha and the noise by the root of 1 - alpha.
    torch.testing.assert_close(half.noise, 0.5**0.5 * langevin.noise)
    drift = 0.5 * (langevin.x - langevin.noise + svgd.x)
    torch.testing.assert_close(half.x - half.noise, drift)


@pytest.mark.statistical
def test_noise_of_spos_keeps_the_target(global_random_seed):
    # 200 particles started in N(0, 1), 400 steps of 0.05 with alpha = 0.7. The released
    # code's noise, (1 - alpha) sqrt(2 eps), would leave a variance of 0.6 or so.
    x = normals(200, 1, global_random_seed)
    g = generator(global_random_seed + 1000)
    chain = SPOS(0.05, alpha=0.7).run(
        standard, x, n_steps=300, n_burn_in=100, generator=g
    )
    assert abs(chain.samples.mean()) < 0.1
    assert abs(chain.samples.var(1).mean() - 1) < 0.15


def test_svgd_finds_a_gaussian():
    x = 0.1 * normals(60, 1, 0) + 4
    chain = SVGD(0.5, kernel=RBF(), statistic="v").run(standard, x, n_steps=300)
    last = chain.samples[-1]
    assert abs(last.mean()) < 0.01
    assert 0.8 < last.var() < 1.1
    quarter = SVGD(0.5).run(standard, x, n_steps=300, beta=0.25).samples[-1]
    assert abs(quarter.std() / last.std() - 2) < 0.2


def test_births_and_deaths_move_mass_towards_the_target():
    # Nine tenths of the particles sit in the left mode of an even mixture.
    def energy(x):
        return -torch.logaddexp(-((x + 5) ** 2) / 2, -((x - 5) ** 2) / 2).sum(-1)

    x = normals(200, 1, 0) + torch.where(torch.arange(200) < 180, -5.0, 5.0)[:, None]
    state = evaluate(energy, x)
    weight = BirthDeath(0.01).step(energy, state, generator=generator(0)).log_weight
    assert abs(weight.sum()) < 1e-12
    # d/dt log mass of the right mode: log(9) times the mass of the left one.
    right = weight[180:].mean() / 0.01
    assert abs(right - 0.9 * math.log(9)) < 0.25
    # A constant in the energy is immaterial, the rate a factor.
    shifted = evaluate(lambda x: energy(x) + 100, x)
    again = BirthDeath(0.01, rate=2.0).step(energy, shifted).log_weight
    torch.testing.assert_close(again, 2 * weight)


def test_births_and_deaths_by_hand():
    x = normals(7, 2, 0)
    state = evaluate(double_well, x)
    sampler = BirthDeath(0.1, log_density=lambda x: x[:, 0])
    b = x[:, 0] + 0.5 * state.energy
    expected = [-0.1 * (b[i] - (b.sum() - b[i]) / 6) for i in range(7)]
    step = sampler.step(double_well, state, beta=0.5, generator=generator(3))
    torch.testing.assert_close(step.log_weight, torch.stack(expected))
    langevin = Langevin(0.1).step(double_well, state, beta=0.5, generator=generator(3))
    assert torch.equal(step.x, langevin.x)
    assert torch.equal(step.noise, langevin.noise)


@each
def test_beta_scales_the_energy(cls):
    x = normals(20, 2, 0)
    scaled = lambda x: 3 * double_well(x)
    steps = [
        cls(0.1).step(e, evaluate(e, x), beta=b, generator=generator(0))
        for e, b in ((double_well, 3.0), (scaled, 1.0))
    ]
    torch.testing.assert_close(steps[0].x, steps[1].x)
    if cls is BirthDeath:
        torch.testing.assert_close(steps[0].log_weight, steps[1].log_weight)


@each
def test_order_of_the_particles_is_immaterial(cls, monkeypatch):
    for module in ("spos", "birth_death"):
        monkeypatch.setattr(
            f"sk_wmvl.samplers.{module}.randn_like", lambda x, g: torch.zeros_like(x)
        )
    x, order = normals(20, 2, 0), torch.randperm(20, generator=generator(1))
    one = cls(0.1).step(double_well, evaluate(double_well, x))
    other = cls(0.1).step(double_well, evaluate(double_well, x[order]))
    torch.testing.assert_close(one.x[order], other.x)


@each
def test_generator_decides_everything(cls):
    x, before = normals(20, 2, 0), torch.get_rng_state()
    runs = [
        cls(0.01).run(double_well, x, n_steps=5, generator=generator(seed)).samples
        for seed in (7, 7, 8)
    ]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2]) == (cls is SVGD)
    assert torch.equal(torch.get_rng_state(), before)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_that_coincide(cls, dtype):
    for x in (torch.ones(6, 2, dtype=dtype), normals(3, 2, 0).to(dtype).repeat(5, 1)):
        step = cls(0.1).step(
            double_well,
            evaluate(double_well, x),
            generator=generator(0),
            antithetic=True,
        )
        for tensor in (step.x, step.noise, step.mirror, step.log_weight):
            if tensor is not None:
                assert tensor.dtype == dtype
                assert torch.isfinite(tensor).all()


@pytest.mark.statistical
def test_birth_death_finds_the_weights_of_modes(global_random_seed):
    # 0.8 N(-5, 1) + 0.2 N(5, 1) from even halves, with no way across: after 20 times the
    # time scale of births the weight is right to 0.04, and so are the modes; Langevin keeps
    # the halves. 200 particles, ten looks.
    log_weights = torch.tensor([0.8, 0.2], dtype=torch.float64).log()
    means = torch.tensor([-5.0, 5.0], dtype=torch.float64)

    def energy(x):
        return -torch.logsumexp(log_weights - 0.5 * (x - means) ** 2, -1)

    x = normals(200, 1, global_random_seed) + means.repeat_interleave(100)[:, None]
    weights = []
    for sampler in (BirthDeath(0.02, rate=5.0), Langevin(0.02)):
        chain = sampler.run(
            energy,
            x,
            n_steps=100,
            n_burn_in=100,
            thin=10,
            generator=generator(global_random_seed + 1000),
        )
        left = chain.samples[chain.samples < 0]
        weights.append(len(left) / chain.samples.numel())
        assert left.mean() == pytest.approx(-5, abs=0.3)
        assert left.std() == pytest.approx(1, abs=0.15)
    assert weights[0] == pytest.approx(0.8, abs=0.04)
    assert weights[1] == 0.5


@each
def test_a_batch_of_one_is_an_error_by_name(cls):
    state = evaluate(double_well, normals(1, 2, 0))
    with pytest.raises(
        ValueError, match=f"{cls.__name__}.*batch of 1.*At least 2 rows"
    ):
        cls().step(double_well, state, generator=generator(0))


@each
@pytest.mark.parametrize("value", [0, -1e-3, math.nan, math.inf, "small"])
def test_step_size_is_positive(cls, value):
    state = evaluate(double_well, normals(5, 2, 0))
    with pytest.raises(ValueError, match=f"step_size of {cls.__name__} must be"):
        cls(value).step(double_well, state, generator=generator(0))


def test_parameters_are_checked_by_name():
    state = evaluate(double_well, normals(5, 2, 0))

    def step(sampler):
        return sampler.step(double_well, state, generator=generator(0))

    for alpha in (-0.1, 1.1, math.nan, "half"):
        with pytest.raises(ValueError, match=r"alpha of SPOS must lie in \[0, 1\]"):
            step(SPOS(alpha=alpha))
    for cls in (SVGD, SPOS):
        with pytest.raises(
            ValueError, match=f"statistic of {cls.__name__} must be 'u'"
        ):
            step(cls(statistic="w"))
        with pytest.raises(ValueError, match="kernel='cosine' is not known.*imq"):
            step(cls(kernel="cosine"))
        with pytest.raises(ValueError, match="too small"):
            step(cls(kernel=IMQ(1e-9)))
    with pytest.raises(ValueError, match="rate of BirthDeath must be"):
        step(BirthDeath(rate=-1))
    with pytest.raises(ValueError, match="bandwidth of LeaveOneOutDensity must be"):
        step(BirthDeath(log_density=LeaveOneOutDensity(0.0)))
    with pytest.raises(ValueError, match=r"must map .*\(5, 2\).*\(5,\); got \(5, 2\)"):
        step(BirthDeath(log_density=lambda x: x))
    with pytest.raises(ValueError, match=r"\(5,\); got <class 'float'>"):
        step(BirthDeath(log_density=lambda x: 0.0))
    with pytest.raises(ValueError, match="is -inf at row 2"):
        step(BirthDeath(log_density=lambda x: torch.tensor([0, 0, -torch.inf, 0, 0])))
    with pytest.raises(ValueError, match=r"drift of ItoSampler .*\(5, 2\).*got \(5,\)"):
        step(ItoSampler(lambda x, g: g[:, 0], 1.0))
    with pytest.raises(ValueError, match=r"diffusion of ItoSampler .*got \(3,\)"):
        step(ItoSampler(lambda x, g: g, torch.ones(3)))
    with pytest.raises(ValueError, match="step_size of ItoSampler"):
        step(ItoSampler(lambda x, g: g, 1.0, 0.0))


@pytest.mark.parametrize("sampler", [SPOS(), BirthDeath(), "spos", "birth-death"])
@pytest.mark.parametrize("objective", [DetachedMinimumVelocity, ContrastiveDivergence])
def test_objectives_that_hold_the_step_constant_refuse_them(objective, sampler):
    with pytest.raises(
        ValueError, match="would overlook the rest. Use MinimumVelocity"
    ):
        objective(sampler)(double_well, normals(5, 2, 0))


def test_a_step_held_constant_needs_noise():
    with pytest.raises(ValueError, match="offers no mirrored step"):
        DetachedMinimumVelocity(SVGD())(double_well, normals(5, 2, 0))


@pytest.mark.parametrize("name", ["svgd", "spos", "birth-death"])
def test_members_are_components(name):
    sampler = SAMPLERS[name]()
    assert clone(sampler).get_params() == sampler.get_params()
    nested = SVGD(kernel=RBF(1.0)).set_params(kernel__length_scale=2.0)
    assert nested.kernel.length_scale == 2.0
