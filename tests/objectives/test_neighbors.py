"""Objectives outside the family: each against what it is said to estimate."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity
from torch import nn

from sk_wmvl.objectives import (
    OBJECTIVES,
    DenoisingScoreMatching,
    MinimumProbabilityFlow,
    ParzenScoreMatching,
)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(seed, n, d=2):
    rng = np.random.default_rng([seed, 17])
    return torch.tensor(rng.normal(size=(n, d)))


class Quadratic(nn.Module):
    """E = k |x - m|^2 / 2 + c."""

    def __init__(self, k=1.0, m=0.0, c=0.0):
        super().__init__()
        self.k, self.m, self.c = (
            nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (k, m, c)
        )

    def forward(self, x):
        return 0.5 * self.k * (x - self.m).square().sum(-1) + self.c


def quartic(x):
    return (0.35 * x**2 + 0.1 * x**4).sum(-1) + x[:, 0] * x[:, 1]


# --- minimum probability flow ---------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("step", [0.3, 0.01])
def test_flow_of_a_gaussian_in_closed_form(step, global_random_seed):
    # exp of a quadratic in a normal z, integrated by hand; 200 000 draws, |z| < 4.
    k, x = 0.8, 1.7
    a, b = 0.5 * k * step, 0.5 * k * x * (2 * step) ** 0.5
    exact = 2 / step * ((1 + 2 * a) ** -0.5 * np.exp(b**2 / (2 * (1 + 2 * a))) - 1)
    loss = MinimumProbabilityFlow(step)(
        Quadratic(k),
        torch.full((200_000, 1), x, dtype=torch.float64),
        generator=generator(global_random_seed),
    ).detach()
    assert abs(loss.mean() - exact) < 4 * loss.std() / len(loss) ** 0.5
    if step == 0.01:  # and so it is near score matching
        assert exact == pytest.approx(0.5 * (k * x) ** 2 - k, abs=0.02)


@pytest.mark.parametrize("step", [1.0, 0.1])
def test_flow_is_least_at_the_truth_whatever_the_step(step, monkeypatch):
    # Data and neighbors are Gauss-Hermite nodes of N(0, 1), so that the expectation is
    # exact: its gradient vanishes at k = 1, m = 0, where score matching on blurred data
    # would find k = 1 / (1 + 2 step). At other parameters it is larger.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    weight = torch.tensor(np.outer(weights, weights).reshape(-1) / (2 * np.pi))
    x, z = torch.tensor(grid).split(1, 1)
    name = "sk_wmvl.objectives.minimum_probability_flow.randn_like"
    monkeypatch.setattr(name, lambda x, g: z)

    def flow(energy):
        return (weight * MinimumProbabilityFlow(step)(energy, x)).sum()

    energy = Quadratic()
    least = flow(energy)
    slopes = torch.autograd.grad(least, [energy.k, energy.m])
    assert max(abs(float(s)) for s in slopes) < 1e-8
    for k, m in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.2)):
        assert flow(Quadratic(k, m)) > least + 1e-4


# --- Parzen and denoising -------------------------------------------------------------


def blurred(x, sigma, seed):
    """Return the noised points that an objective sees."""
    z = torch.randn(x.shape, dtype=x.dtype, generator=generator(seed))
    return x + sigma * z


def denoising(energy, x, y, sigma, control_variate):
    """Denoising score matching of one noised point y for one row x, by hand."""
    y = y.clone().requires_grad_()
    x = x.clone().requires_grad_()
    at_y = torch.autograd.grad(energy(y[None]).sum(), y)[0]
    at_x = torch.autograd.grad(energy(x[None]).sum(), x)[0]
    z = ((y - x) / sigma).detach()
    other = at_y - at_x if control_variate else at_y
    return float(0.5 * at_y @ at_y - z @ other / sigma)


@pytest.mark.parametrize("control_variate", [True, False])
def test_parzen_is_denoising_averaged_over_possible_sources(control_variate):
    x, sigma = points(0, 9), 0.6
    y = blurred(x, sigma, 3)
    with torch.no_grad():
        loss = ParzenScoreMatching(sigma, control_variate=control_variate)(
            quartic, x, generator=generator(3)
        )
    square = ((y[:, None] - x) ** 2).sum(-1).numpy()
    share = np.exp(-square / (2 * sigma**2))
    share /= share.sum(1, keepdims=True)
    for i in range(9):
        terms = [
            denoising(quartic, x[j], y[i], sigma, control_variate) for j in range(9)
        ]
        assert float(loss[i]) == pytest.approx(share[i] @ terms)


def test_parzen_regresses_on_the_score_of_the_kernel_estimate():
    # scikit-learn's estimate, by central differences.
    x, sigma = points(0, 30), 0.5
    y = blurred(x, sigma, 3)
    kde = KernelDensity(bandwidth=sigma).fit(x.numpy())
    score = np.stack(
        [
            (kde.score_samples(y.numpy() + h) - kde.score_samples(y.numpy() - h)) / 2e-4
            for h in 1e-4 * np.eye(2)
        ],
        -1,
    )
    energy = Quadratic(0.7, 0.3)
    residual = 0.7 * (y.numpy() - 0.3) + score
    expected = 0.5 * (residual**2).sum(-1) - 0.5 * (score**2).sum(-1)
    loss = ParzenScoreMatching(sigma, control_variate=False)(
        energy, x, generator=generator(3)
    )
    np.testing.assert_allclose(loss.detach(), expected, rtol=0, atol=1e-6)


@pytest.mark.statistical
def test_parzen_varies_less_than_denoising_about_the_same_mean(global_random_seed):
    # Batches of 50 within one bandwidth of each other; 500 batches, |z| < 4.
    x = 0.5 * points(0, 50)
    means = {}
    for cls in (DenoisingScoreMatching, ParzenScoreMatching):
        for control_variate in (True, False):
            g = generator(global_random_seed)
            objective = cls(0.6, control_variate=control_variate)
            with torch.no_grad():
                values = [objective(quartic, x, generator=g).mean() for _ in range(500)]
            means[cls, control_variate] = torch.stack(values)
    first = means[DenoisingScoreMatching, True]
    for values in means.values():
        error = (values.var() + first.var()).sqrt() / 500**0.5
        assert abs(values.mean() - first.mean()) < 4 * error + 1e-12
    for control_variate in (True, False):
        ratio = (
            means[ParzenScoreMatching, control_variate].var()
            / means[DenoisingScoreMatching, control_variate].var()
        )
        assert ratio < 0.9


def test_parzen_of_points_far_apart_is_denoising():
    x = 1e3 * points(0, 10)
    for control_variate in (True, False):
        one, other = (
            cls(0.1, control_variate=control_variate)(
                quartic, x, generator=generator(0)
            )
            for cls in (ParzenScoreMatching, DenoisingScoreMatching)
        )
        torch.testing.assert_close(one, other)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["dsm", "deen", "parzen"])
def test_blurred_scores_are_learned(name, global_random_seed):
    # Rows of mean square s^2 blurred by epsilon: of the energies k x^2 / 2 the best has
    # k = 1 / (s^2 + epsilon). 400 batches of 200: the slope there has |z| < 4, and at the
    # unblurred 1 / s^2 it has not.
    epsilon, x = 0.5, points(global_random_seed, 200, d=1)
    square, g = float(x.square().mean()), generator(global_random_seed)
    objective = OBJECTIVES[name](epsilon)
    z = []
    for k in (1 / (square + epsilon), 1 / square):
        energy, slopes = Quadratic(k), []
        for _ in range(400):
            loss = objective(energy, x, generator=g).mean()
            slopes.append(torch.autograd.grad(loss, energy.k)[0])
        slopes = torch.stack(slopes)
        z.append(float(slopes.mean() / slopes.std() * 20))
    assert abs(z[0]) < 4
    assert z[1] > 8


def test_deep_energy_estimator_network_is_denoising():
    # Its own loss |x - y + sigma^2 grad E(y)|^2, up to its scale and a constant.
    x, sigma = points(0, 20), 0.3
    y = blurred(x, sigma, 5)
    at_y = 0.7 * y
    own = (x - y + sigma**2 * at_y).square().sum(-1)
    loss = OBJECTIVES["deen"](sigma**2)(Quadratic(0.7), x, generator=generator(5))
    ours = 2 * sigma**4 * (loss.detach() + 2 / (2 * sigma**2))
    torch.testing.assert_close(ours, own)


# --- guards ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mpf", "parzen", "deen"])
def test_shape_dtype_and_grad_modes(name):
    objective = OBJECTIVES[name](0.01)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    for dtype in (torch.float32, torch.float64):
        module, x = network.to(dtype), points(0, 5).to(dtype)
        loss = objective(module, x, generator=generator(0))
        assert loss.shape == (5,)
        assert loss.dtype == dtype
        assert loss.requires_grad
        with torch.no_grad():
            again = objective(module, x, generator=generator(0))
        assert not again.requires_grad
        torch.testing.assert_close(again, loss.detach(), rtol=1e-4, atol=1e-4)


def test_wrong_parameters_are_named():
    x = points(0, 4)
    with pytest.raises(ValueError, match="step_size of MinimumProbabilityFlow.*got 0"):
        MinimumProbabilityFlow(0)(quartic, x)
    with pytest.raises(ValueError, match="sigma of ParzenScoreMatching.*got -1"):
        ParzenScoreMatching(-1)(quartic, x)
    for name in ("mpf", "parzen"):
        with pytest.warns(RuntimeWarning, match="rounding error of float32"):
            OBJECTIVES[name](1e-9)(quartic, x.float())
