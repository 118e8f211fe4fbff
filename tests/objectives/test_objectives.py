"""Every objective against closed forms: value, gradient, variance and bias."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sk_wmvl.objectives import (
    OBJECTIVES,
    AnnealedScoreMatching,
    BaseProposalObjective,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    DetachedMinimumVelocity,
    FiniteDifferenceScoreMatching,
    MinimumProbabilityFlow,
    MinimumVelocity,
    ScoreMatching,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import HMC, Langevin, evaluate

STEP = 1e-6  # so small that the O(step) bias hides in the Monte-Carlo error


def make(name, step):
    return {
        "mvl": lambda: MinimumVelocity(Langevin(step)),
        "mvl, plain": lambda: MinimumVelocity(Langevin(step), control_variate=False),
        "mvl, antithetic": lambda: MinimumVelocity(Langevin(step), antithetic=True),
        "mvl, shortened": lambda: MinimumVelocity(Langevin(step, max_drift=1.0)),
        "detached": lambda: DetachedMinimumVelocity(Langevin(step)),
        "sm": ScoreMatching,
        "ssm": lambda: SlicedScoreMatching(2, variance_reduced=False),
        "ssm-vr": SlicedScoreMatching,
        "fd-ssm": lambda: FiniteDifferenceScoreMatching(step),
        "mpf": lambda: MinimumProbabilityFlow(step),
        "dsm": lambda: DenoisingScoreMatching(step**0.5),
        "dsm, plain": lambda: DenoisingScoreMatching(step**0.5, control_variate=False),
        "cd1": lambda: ContrastiveDivergence(Langevin(step)),
        "cd1, plain": lambda: ContrastiveDivergence(
            Langevin(step), control_variate=False
        ),
    }[name]()


LOSSES = [
    "mvl",
    "mvl, plain",
    "mvl, antithetic",
    "mvl, shortened",
    "detached",
    "sm",
    "ssm",
    "ssm-vr",
    "fd-ssm",
    "mpf",
    "dsm",
    "dsm, plain",
]
ALL = [*LOSSES, "cd1", "cd1, plain"]
REDUCED = [
    "mvl",
    "mvl, antithetic",
    "mvl, shortened",
    "detached",
    "fd-ssm",
    "mpf",
    "dsm",
]


class Gaussian(nn.Module):
    """E = x'Px / 2: score matching is |Px|^2 / 2 - tr P."""

    def __init__(self, d=3):
        super().__init__()
        a = np.random.default_rng(3).normal(size=(d, d))
        self.P = torch.tensor(a @ a.T / d + 0.3 * np.eye(d))

    def forward(self, x):
        return 0.5 * ((x @ self.P) * x).sum(-1)

    def exact(self, x):
        return 0.5 * (x @ self.P).square().sum(-1) - self.P.trace()


class Quartic(nn.Module):
    """E = k|x|^2 / 2 + c sum x^4 / 4, with closed-form gradients in k and c."""

    def __init__(self, k=0.7, c=0.4):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(k, dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x):
        return (0.5 * self.k * x**2 + 0.25 * self.c * x**4).sum(-1)

    def exact(self, x):
        score = self.k * x + self.c * x**3
        return (0.5 * score**2 - self.k - 3 * self.c * x**2).sum(-1)

    def exact_gradient(self, x):
        score = (self.k * x + self.c * x**3).detach()
        dk = (score * x - 1).sum(-1)
        dc = (score * x**3 - 3 * x**2).sum(-1)
        return torch.stack([dk, dc], -1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(seed, n, d=3):
    rng = np.random.default_rng([seed, 17])
    return torch.tensor(rng.normal(size=(n, d)))


@pytest.mark.statistical
@pytest.mark.parametrize("energy", [Gaussian(), Quartic()], ids=["gaussian", "quartic"])
@pytest.mark.parametrize("name", LOSSES)
def test_expectation_is_score_matching(name, energy, global_random_seed):
    # 200 000 differences to the exact value at the same points; |z| < 4.
    x = points(global_random_seed, 200_000)
    with torch.no_grad():
        loss = make(name, STEP)(energy, x, generator=generator(global_random_seed))
        difference = loss - energy.exact(x)
    if name == "sm":
        assert difference.abs().max() < 1e-12
        return
    se = difference.std() / len(x) ** 0.5
    rounding = 1e-5 if "mvl" in name or name == "fd-ssm" else 0.0  # 1e-16 |E| / step
    assert abs(difference.mean()) < 4 * se + rounding + 10 * STEP


@pytest.mark.statistical
@pytest.mark.parametrize("name", ALL)
def test_parameter_gradient_is_unbiased(name, global_random_seed):
    # 100 batches of 2 000; |z| < 4 for each of two parameters.
    energy, z = Quartic(), []
    objective, g = make(name, STEP), generator(global_random_seed)
    for batch in range(100):
        x = points(1000 * global_random_seed + batch, 2000, d=2)
        loss = objective(energy, x, generator=g).mean()
        gradient = torch.autograd.grad(loss, [energy.k, energy.c])
        z.append(torch.stack(gradient) - energy.exact_gradient(x).mean(0))
    z = torch.stack(z)
    if name == "sm":
        assert z.abs().max() < 1e-10
        return
    se = z.std(0) / len(z) ** 0.5
    assert (z.mean(0).abs() < 4 * se + 1e-4).all()


@pytest.mark.statistical
@pytest.mark.parametrize("name", REDUCED)
def test_variance_is_flat_with_the_control_variate(name, global_random_seed):
    # 20 000 draws at each of five steps; the standard deviation moves by < 30 %.
    energy = Gaussian()
    x = 0.5 * points(global_random_seed, 20_000)
    stds = []
    for step in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]:
        g = generator(global_random_seed)
        with torch.no_grad():
            loss = make(name, step)(energy, x, generator=g)
        stds.append(float((loss - energy.exact(x)).std()))
    assert max(stds) < 1.3 * min(stds[1:])


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "order"), [("mvl, plain", -0.5), ("cd1, plain", -0.5), ("dsm, plain", -1)]
)
def test_variance_grows_without(name, order, global_random_seed):
    # 50 000 draws; the slope over three decades is within 0.03 of theory.
    energy, steps = Gaussian(), [1e-2, 1e-3, 1e-4, 1e-5]
    x = points(global_random_seed, 50_000)
    stds = []
    for step in steps:
        g = generator(global_random_seed)
        with torch.no_grad():
            stds.append(float(make(name, step)(energy, x, generator=g).std()))
    slope = np.polyfit(np.log(steps[1:]), np.log(stds[1:]), 1)[0]
    assert abs(slope - order) < 0.03


@pytest.mark.parametrize(
    "name", ["mvl", "mvl, antithetic", "detached", "fd-ssm", "mpf", "dsm", "dsm, plain"]
)
def test_bias_is_of_order_step(name, monkeypatch):
    # Gauss-Hermite nodes stand in for the noise, so the expectation is exact.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = torch.tensor(nodes)[:, None]
    for module in (
        "samplers.langevin",
        "objectives.denoising",
        "objectives.minimum_probability_flow",
    ):
        monkeypatch.setattr(f"sk_wmvl.{module}.randn_like", lambda x, g: z)
    energy = Quartic()
    x = torch.full((40, 1), 0.8, dtype=torch.float64)
    steps = np.array([1e-2, 1e-3, 1e-4])
    biases = []
    for step in steps:
        with torch.no_grad():
            values = make(name, step)(energy, x) - energy.exact(x)
        biases.append(abs(np.average(values.numpy(), weights=weights)))
    slope = np.polyfit(np.log(steps), np.log(biases), 1)[0]
    assert abs(slope - 1) < 0.05


@pytest.mark.parametrize("name", ALL)
def test_shape_dtype_and_grad_modes(name):
    objective = make(name, 1e-3)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    for dtype in (torch.float32, torch.float64):
        module, x = network.to(dtype), points(0, 5).to(dtype)
        loss = objective(module, x, generator=generator(0))
        assert loss.shape == (5,)
        assert loss.dtype == x.dtype
        assert loss.requires_grad
        with torch.no_grad():
            again = objective(module, x, generator=generator(0))
        assert not again.requires_grad
        torch.testing.assert_close(again, loss.detach(), rtol=1e-5, atol=1e-5)
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.statistical
@pytest.mark.parametrize("name", [n for n in REDUCED if n != "mvl, shortened"])
def test_float32_holds_down_to_the_floor(name, global_random_seed):
    # At the stated floor, 200 000 draws; rounding may move the mean by 2 %. Shortened
    # steps are left out: at the floor they are below it (see Langevin's max_drift).
    step = 1e-6 if "dsm" not in name else 1e-8
    energy = Gaussian().float()
    energy.P = energy.P.float()
    x = points(global_random_seed, 200_000).float()
    with torch.no_grad():
        loss = make(name, step)(energy, x, generator=generator(global_random_seed))
    difference = (loss - energy.exact(x)).double()
    se = difference.std() / len(x) ** 0.5
    assert abs(difference.mean()) < 4 * se + 0.02 * abs(energy.exact(x).mean())


@pytest.mark.parametrize("name", ["mvl", "detached", "fd-ssm", "mpf", "dsm", "cd1"])
def test_below_the_floor_float32_warns_and_float64_does_not(name):
    objective = make(name, 1e-7 if name != "dsm" else 1e-9)
    with pytest.warns(RuntimeWarning, match="rounding error of float32"):
        objective(lambda x: (x**2).sum(-1), points(0, 5).float())
    objective(lambda x: (x**2).sum(-1), points(0, 5))


def test_detached_agrees_with_the_graph_to_first_order():
    # The same noise; halving the step halves the difference of values and gradients.
    energy, x = Quartic(), points(0, 500, d=2)
    errors = []
    for step in (2e-4, 1e-4):
        results = []
        for objective in (
            MinimumVelocity(Langevin(step), antithetic=True),
            DetachedMinimumVelocity(Langevin(step)),
        ):
            loss = objective(energy, x, generator=generator(0)).mean()
            gradient = torch.autograd.grad(loss, [energy.k, energy.c])
            results.append(torch.stack([loss.detach(), *gradient]))
        errors.append((results[0] - results[1]).abs())
    torch.testing.assert_close(
        errors[0] / errors[1], torch.full((3,), 2.0).double(), rtol=0.02, atol=0
    )


def test_shortened_steps():
    sampler = Langevin(1e-3, max_drift=2.0)
    energy = Quartic()
    x = torch.tensor([[0.1], [10.0]], dtype=torch.float64)
    objective = MinimumVelocity(sampler)
    drift = 0.5 * (0.7 * 10 + 0.4 * 1000)
    step = sampler.step(energy, evaluate(energy, x), beta=0.5, generator=generator(0))
    expected = torch.tensor([1e-3, 1e-3 / (drift / 2) ** 2], dtype=torch.float64)
    torch.testing.assert_close(step.step_size.detach(), expected)
    assert not step.step_size.requires_grad
    # The loss of each sample is divided by its own step: close to exact at both.
    many = x.repeat(20_000, 1)
    with torch.no_grad():
        loss = objective(energy, many, generator=generator(0)).view(-1, 2)
    torch.testing.assert_close(loss.mean(0), energy.exact(x), rtol=0.05, atol=0.05)


def test_shortening_keeps_a_stiff_fit_bounded():
    # A model 100 times too stiff for its step: without shortening, descent stiffens it
    # further; with it, the gradient points the right way.
    x = points(0, 5000, d=1)
    slopes = []
    for max_drift in (None, 0.1**-0.5):
        energy = Quartic(k=100.0, c=0.0)
        objective = DetachedMinimumVelocity(Langevin(0.1, max_drift=max_drift))
        loss = objective(energy, x, generator=generator(0)).mean()
        slopes.append(float(torch.autograd.grad(loss, energy.k)[0]))
    assert slopes[0] < 0 < slopes[1]


def test_contrastive_divergence_is_not_a_loss():
    # Its gradient is that of score matching, but its value is |grad E|^2 - lap E.
    energy, x = Gaussian(), points(0, 50_000)
    with torch.no_grad():
        value = make("cd1", STEP)(energy, x, generator=generator(0)).mean()
    twice = (energy.exact(x) + 0.5 * (x @ energy.P).square().sum(-1)).mean()
    assert abs(value - twice) < 0.1
    assert abs(value - energy.exact(x).mean()) > 0.5


@pytest.mark.parametrize("name", ALL)
def test_randomness_is_explicit(name):
    objective, energy, x = make(name, 1e-3), Quartic(), points(0, 10)
    before = torch.get_rng_state().clone()
    first = objective(energy, x, generator=generator(1))
    second = objective(energy, x, generator=generator(1))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_registry_members_are_components(name):
    objective = OBJECTIVES[name](0.01)
    assert clone(objective).get_params().keys() == objective.get_params().keys()
    assert type(objective).__name__ in repr(objective)
    # see test_global.py and test_annealed.py for the others
    if not isinstance(objective, BaseProposalObjective | AnnealedScoreMatching):
        loss = OBJECTIVES[name]()(Quartic(), points(0, 4), generator=generator(0))
        assert loss.shape == (4,)


def test_wrong_parameters_are_named():
    x = points(0, 4)
    with pytest.raises(ValueError, match="step_size of Langevin.*got -1"):
        MinimumVelocity(Langevin(-1))(Quartic(), x)
    with pytest.raises(ValueError, match="sigma of DenoisingScoreMatching"):
        DenoisingScoreMatching(0.0)(Quartic(), x)
    with pytest.raises(ValueError, match="n_projections"):
        SlicedScoreMatching(0)(Quartic(), x)
    with pytest.raises(ValueError, match="sampler='walk' is not known.*langevin"):
        MinimumVelocity("walk")(Quartic(), x)
    with pytest.raises(TypeError, match="call it: Langevin"):
        MinimumVelocity(Langevin)(Quartic(), x)
    for sampler in (HMC(), "mala"):
        with pytest.raises(ValueError, match="its step has no derivative"):
            DetachedMinimumVelocity(sampler)(Quartic(), x)
