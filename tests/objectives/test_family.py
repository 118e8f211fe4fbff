"""Minimum velocity with every sampler against what it is said to estimate."""

import numpy as np
import pytest
import torch
from torch import nn

from sk_wmvl.kernels import IMQ, RBF
from sk_wmvl.objectives import OBJECTIVES, MinimumVelocity, ScoreMatching
from sk_wmvl.samplers import SPOS, SVGD, BirthDeath, ItoSampler, Langevin

NAMES = ["mvl-svgd", "mvl-spos", "mvl-birth-death"]


class Quartic(nn.Module):
    """E = k|x|^2 / 2 + c sum x^4 / 4."""

    def __init__(self, k=0.7, c=0.4):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(k, dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x):
        return (0.5 * self.k * x**2 + 0.25 * self.c * x**4).sum(-1)


class Mixture(nn.Module):
    """E of w N(m1, s1^2) + (1 - w) N(m2, s2^2) on the line; the logit of w is free."""

    def __init__(self, w, means, sds):
        super().__init__()
        self.logit = nn.Parameter(torch.logit(torch.tensor(w, dtype=torch.float64)))
        self.means, self.sds = torch.tensor([means, sds], dtype=torch.float64)

    def forward(self, x):
        z = (x - self.means) / self.sds
        logs = -0.5 * z**2 - torch.log(self.sds) - 0.5 * np.log(2 * np.pi)
        weights = torch.stack([self.logit, -self.logit])
        return -torch.logsumexp(logs + nn.functional.logsigmoid(weights), -1)

    def sample(self, n, seed):
        rng = np.random.default_rng([seed, 11])
        first = rng.random(n) < float(torch.sigmoid(self.logit.detach()))
        k = torch.tensor(np.where(first, 0, 1))
        draws = self.means[k] + self.sds[k] * torch.tensor(rng.normal(size=n))
        return draws[:, None]


def gaussian_energy(mean, sd):
    return lambda x: 0.5 * ((x - mean) / sd).square().sum(-1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(seed, n, d=2):
    rng = np.random.default_rng([seed, 17])
    return torch.tensor(rng.normal(size=(n, d)))


# --- SVGD: half the kernelised Stein discrepancy --------------------------------------


def half_ksd(x, score, kernel, statistic):
    """Half the discrepancy, with the Stein kernel written out pair by pair."""
    n, d = x.shape
    length = kernel.length_scale
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i == j and statistic == "u":
                continue
            r = (x[i] - x[j]) / length
            t = r @ r
            if isinstance(kernel, RBF):
                k = np.exp(-t / 2)
                gradient = -k * r / length
                trace = k * (d - t) / length**2
            else:  # exponent -1/2
                k = (1 + t) ** -0.5
                gradient = -((1 + t) ** -1.5) * r / length
                trace = (d * (1 + t) ** -1.5 - 3 * t * (1 + t) ** -2.5) / length**2
            total += k * score[i] @ score[j] + trace
            total += score[j] @ gradient - score[i] @ gradient
    return 0.5 * total / (n * n if statistic == "v" else n * (n - 1))


def quartic_score(x, k, c):
    return -k * x - c * x**3


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("kernel", [RBF(1.3), IMQ(0.8)], ids=["rbf", "imq"])
def test_svgd_is_half_the_kernelised_stein_discrepancy(kernel, statistic):
    # At a step of 1e-6 the bias is some 5e-9; the bound is 1e-7.
    x, thetas = points(0, 50), [(0.7, 0.4), (1.2, -0.1), (0.3, 0.0)]
    objective = MinimumVelocity(SVGD(1e-6, kernel=kernel, statistic=statistic))
    with torch.no_grad():
        losses = [float(objective(Quartic(*t), x).mean()) for t in thetas]
    y = x.numpy()
    ksds = [half_ksd(y, quartic_score(y, *t), kernel, statistic) for t in thetas]
    np.testing.assert_allclose(np.diff(losses), np.diff(ksds), rtol=0, atol=1e-7)
    # So are the gradients: the discrepancy is a quadratic in each parameter, whose central
    # difference is exact.
    energy = Quartic(*thetas[0])
    loss = objective(energy, x).mean()
    gradient = torch.autograd.grad(loss, [energy.k, energy.c])
    for value, shift in zip(gradient, np.eye(2), strict=True):
        ends = [
            half_ksd(y, quartic_score(y, *(thetas[0] + s * shift)), kernel, statistic)
            for s in (0.5, -0.5)
        ]
        assert float(value) == pytest.approx(ends[0] - ends[1], abs=1e-7)


def test_median_bandwidth_carries_no_gradient():
    # The same loss and gradient as with the number it comes to.
    x, energy = points(0, 43), Quartic()  # 903 pairs: there is a middle one
    distances = [np.linalg.norm(a - b) for i, a in enumerate(x) for b in x[:i]]
    results = []
    for kernel in (RBF(), RBF(float(np.median(distances)))):
        loss = MinimumVelocity(SVGD(1e-4, kernel=kernel))(energy, x).mean()
        gradient = torch.autograd.grad(loss, [energy.k, energy.c])
        results.append(torch.stack([loss.detach(), *gradient]))
    torch.testing.assert_close(results[0], results[1])


# --- SPOS: Fisher and Stein in proportion ---------------------------------------------


def gaussian_half_ksd(mean, sd, length, d):
    r"""Half the discrepancy of N(0, I) to N(mean, sd^2 I), with a Gaussian kernel.

    With delta = a x + b and the kernel as a Gaussian factor, the pair (x, x') has, per
    coordinate, mass Z and covariance (1 - Z^2) / 2.
    """
    z = 1 / np.sqrt(1 + 2 / length**2)
    a, b = 1 / sd**2 - 1, -np.asarray(mean) / sd**2
    return 0.5 * z**d * (d * a**2 * (1 - z**2) / 2 + b @ b)


@pytest.mark.statistical
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_spos_mixes_fisher_and_stein(alpha, antithetic, global_random_seed):
    # 150 batches of 100 draws of N(0, I) in the plane; |z| < 4 of the batches' mean. The
    # step of 1e-5 biases by less than 1e-4.
    mean, sd, length = np.array([0.5, -1.0]), 1.5, 1.2
    energy = gaussian_energy(torch.tensor(mean), sd)
    objective = MinimumVelocity(
        SPOS(1e-5, alpha=alpha, kernel=RBF(length)), antithetic=antithetic
    )
    g = generator(global_random_seed)
    x = points(global_random_seed, 15_000)
    with torch.no_grad():
        batches = torch.stack(
            [objective(energy, rows, generator=g).mean() for rows in x.split(100)]
        )
    fisher = 0.5 * (2 * (1 / sd**2 - 1) ** 2 + mean @ mean / sd**4)
    # What the objective leaves out is the value for a flat model: minus the same of p.
    flat_fisher, far = 0.5 * 2, 1e8
    expected = (1 - alpha) * (fisher - flat_fisher) + alpha * (
        gaussian_half_ksd(mean, sd, length, 2)
        - gaussian_half_ksd(0 * mean, far, length, 2)
    )
    error = float(batches.mean()) - expected
    assert abs(error) < 4 * float(batches.std()) / len(batches) ** 0.5 + 1e-4


# --- birth and death: Fisher and variance ---------------------------------------------


def check_birth_death(energy, log_p, x, expected, g, rate=1.0):
    objective = MinimumVelocity(BirthDeath(1e-6, rate=rate, log_density=log_p))
    with torch.no_grad():
        loss = objective(energy, x, generator=g)
    se = float(loss.std()) / len(loss) ** 0.5
    assert abs(float(loss.mean()) - expected) < 4 * se + 1e-4


@pytest.mark.statistical
@pytest.mark.parametrize("rate", [1.0, 2.5])
def test_birth_death_on_gaussians(rate, global_random_seed):
    # 200 000 draws of N(0, I) in the plane, a model N(m, s^2 I) in closed form; |z| < 4.
    mean, sd = np.array([0.5, -1.0]), 1.5
    energy = gaussian_energy(torch.tensor(mean), sd)
    x = points(global_random_seed, 200_000)
    fisher = 0.5 * (2 * (1 / sd**2 - 1) ** 2 + mean @ mean / sd**4)
    # log p/q = c |x|^2 - m'x / s^2 + const, and Var |x|^2 = 2d.
    variance = 4 * (0.5 * (1 / sd**2 - 1)) ** 2 + mean @ mean / sd**4
    # Left out: half of E|grad log p|^2 = d and of Var log p = d / 2.
    expected = (fisher - 1) + rate * 0.5 * (variance - 1)
    check_birth_death(
        energy,
        lambda x: -0.5 * x.square().sum(-1),
        x,
        expected,
        generator(global_random_seed),
        rate,
    )


@pytest.mark.statistical
def test_birth_death_on_mixtures(global_random_seed):
    # 200 000 draws of a mixture on the line, a model that is another; the expectation by
    # sums on a fine grid; |z| < 4.
    p = Mixture(0.7, [-1.0, 1.5], [0.6, 1.0])
    q = Mixture(0.4, [-0.8, 1.2], [0.7, 0.9])
    grid = torch.linspace(-9, 11, 20_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        log_p, log_q = -p(grid).numpy(), -q(grid).numpy()
    density, h = np.exp(log_p), 1e-3
    score_p, score_q = np.gradient(log_p, h), np.gradient(log_q, h)

    def mean(values):
        return h * (values * density).sum()

    def variance(values):
        return mean(values**2) - mean(values) ** 2

    fisher = 0.5 * mean((score_p - score_q) ** 2 - score_p**2)
    expected = fisher + 0.5 * (variance(log_p - log_q) - variance(log_p))
    check_birth_death(
        q,
        lambda x: -p(x),
        p.sample(200_000, global_random_seed),
        expected,
        generator(global_random_seed),
    )


@pytest.mark.parametrize("antithetic", [False, True])
def test_birth_death_adds_a_covariance_without_noise(antithetic):
    x, energy = points(0, 100), Quartic()
    log_p = lambda x: -0.5 * x.square().sum(-1)
    both = [
        MinimumVelocity(sampler, antithetic=antithetic)(
            energy, x, generator=generator(0)
        )
        for sampler in (BirthDeath(0.1, log_density=log_p), Langevin(0.1))
    ]
    E = energy(x).detach().numpy()
    expected = np.cov(log_p(x).numpy() + 0.5 * E, E)[0, 1]
    added = (both[0] - both[1]).mean()
    assert float(added.detach()) == pytest.approx(expected, rel=1e-10)
    # Its derivative in the parameters is Cov(log p + E, dE): through both factors.
    gradient = torch.autograd.grad(added, energy.k)[0]
    dE = 0.5 * x.square().sum(-1).numpy()
    expected = np.cov(log_p(x).numpy() + E, dE)[0, 1]
    assert float(gradient) == pytest.approx(expected, rel=1e-10)
    # A constant in the energy changes no sample's value.
    shifted = MinimumVelocity(
        BirthDeath(0.1, log_density=log_p), antithetic=antithetic
    )(lambda x: energy(x) + 50, x, generator=generator(0))
    torch.testing.assert_close(shifted, both[0], rtol=1e-8, atol=1e-8)


# --- what the members see -------------------------------------------------------------

# Between 0.9 and its neighbours lie more than four standard errors of a sample's share.
WEIGHTS = [0.5, 0.7, 0.8, 0.9, 0.97, 0.99]


def losses_over_weights(sampler, x, seed):
    """Return the mean objective of mixtures that differ in the weight alone."""
    objective = MinimumVelocity(sampler)
    with torch.no_grad():
        return np.array(
            [
                float(
                    objective(
                        Mixture(w, [-5, 5], [1, 1]), x, generator=generator(seed)
                    ).mean()
                )
                for w in WEIGHTS
            ]
        )


@pytest.mark.statistical
def test_birth_death_sees_the_weights_of_separated_modes(global_random_seed):
    # 1 000 draws of 0.9 N(-5, 1) + 0.1 N(5, 1), models that differ in the weight alone.
    # Expected: flat, against 0.045 (logit w - logit 0.9)^2, which spans 0.26. The
    # kernel estimate sees the sample's share of each mode, standard error 0.0095.
    x = Mixture(0.9, [-5, 5], [1, 1]).sample(1000, global_random_seed)
    langevin = losses_over_weights(Langevin(1e-4), x, global_random_seed)
    stein = losses_over_weights(SVGD(1e-4), x, global_random_seed)
    assert np.ptp(langevin) < 0.01
    assert np.ptp(stein) < 0.01
    truth = Mixture(0.9, [-5, 5], [1, 1])
    for log_density in (lambda x: -truth(x), None):
        seen = losses_over_weights(
            BirthDeath(1e-4, log_density=log_density), x, global_random_seed
        )
        assert WEIGHTS[np.argmin(seen)] == 0.9
        assert np.ptp(seen) > 20 * max(np.ptp(langevin), np.ptp(stein))


@pytest.mark.statistical
def test_the_weight_is_learned_by_descent(global_random_seed):
    # 1 000 draws, started at even weights: birth-death ends within 0.04 of 0.9 (four
    # standard errors of the sample's share), Langevin stays within 0.02 of where it was.
    x = Mixture(0.9, [-5, 5], [1, 1]).sample(1000, global_random_seed)
    found = {}
    for sampler in (BirthDeath(1e-4), Langevin(1e-4)):
        model = Mixture(0.5, [-5, 5], [1, 1])
        objective = MinimumVelocity(sampler)
        optimizer = torch.optim.SGD([model.logit], lr=5.0)
        for k in range(12):
            optimizer.zero_grad()
            objective(model, x, generator=generator(k)).mean().backward()
            optimizer.step()
        found[type(sampler)] = float(torch.sigmoid(model.logit.detach()))
    assert abs(found[BirthDeath] - 0.9) < 0.04
    assert abs(found[Langevin] - 0.5) < 0.02


# --- diffusions of one's own ----------------------------------------------------------


@pytest.mark.statistical
def test_ito_sampler_with_a_place_dependent_diffusion(global_random_seed):
    # D = diag(1 + x^2): b = -D g + div D, and the objective at each point is
    # |grad E|_D^2 / 2 - div D . grad E - tr(D Hess E). 100 000 points; |z| < 4.
    sampler = ItoSampler(
        lambda x, g: -(1 + x**2) * g + 2 * x, lambda x: (2 + 2 * x**2).sqrt(), 1e-6
    )
    x, energy = points(global_random_seed, 100_000), Quartic()
    with torch.no_grad():
        loss = MinimumVelocity(sampler)(energy, x, generator=generator(0))
        D, g, H = 1 + x**2, 0.7 * x + 0.4 * x**3, 0.7 + 1.2 * x**2
        difference = loss - (0.5 * D * g**2 - 2 * x * g - D * H).sum(-1)
    se = float(difference.std()) / len(x) ** 0.5
    assert abs(float(difference.mean())) < 4 * se + 1e-4


def test_an_irreversible_drift_is_not_seen():
    Q = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    x, energy = points(0, 200), Quartic()
    turning = ItoSampler(lambda x, g: -g @ (torch.eye(2) + Q).T, 2**0.5, 1e-7)
    losses = [
        MinimumVelocity(s, antithetic=True)(energy, x, generator=generator(0))
        for s in (turning, Langevin(1e-7))
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)


def test_underdamped_langevin_sees_nothing_of_the_positions():
    # Position and velocity, H = E(x) + |v|^2 / 2 with fresh Gaussian velocities: the
    # gradient in the parameters of E vanishes with the step; that of Langevin does not.
    friction = 1.0

    def drift(z, g):
        gx, gv = g.chunk(2, 1)
        return torch.cat([gv, -gx - friction * gv], 1)

    sigma = torch.tensor([0.0, 0.0, 1.0, 1.0]).double() * (2 * friction) ** 0.5
    z, energy = points(0, 500, d=4), Quartic()

    def hamiltonian(z):
        return energy(z[:, :2]) + 0.5 * z[:, 2:].square().sum(-1)

    sizes = {}
    for sampler in (ItoSampler(drift, sigma, 1e-8), Langevin(1e-8)):
        loss = MinimumVelocity(sampler)(hamiltonian, z, generator=generator(0)).mean()
        gradient = torch.autograd.grad(loss, [energy.k, energy.c])
        sizes[type(sampler)] = float(torch.stack(gradient).norm())
    assert sizes[ItoSampler] < 1e-3
    assert sizes[Langevin] > 0.5


# --- laws of the family ---------------------------------------------------------------

log_normal = lambda x: -0.5 * x.square().sum(-1)
STEPPED = {
    "svgd": lambda step: SVGD(step),
    "spos, 0.3": lambda step: SPOS(step, alpha=0.3),
    "spos, 0.9": lambda step: SPOS(step, alpha=0.9),
    "birth-death": lambda step: BirthDeath(step, log_density=log_normal),
    "birth-death, default": lambda step: BirthDeath(step),
    "ito": lambda step: ItoSampler(
        lambda x, g: -(1 + x**2) * g + 2 * x, lambda x: (2 + 2 * x**2).sqrt(), step
    ),
}


@pytest.mark.statistical
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("name", STEPPED)
def test_variance_is_flat_in_the_step(name, antithetic, global_random_seed):
    # 1 000 draws at each of five steps; the standard deviation over the samples moves by
    # < 30 % from 1e-2 to 1e-5, and by less than a factor of two at 1e-1.
    energy = gaussian_energy(0.3, 1.2)
    x = 0.5 * points(global_random_seed, 1000)
    stds = []
    for step in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]:
        objective = MinimumVelocity(STEPPED[name](step), antithetic=antithetic)
        with torch.no_grad():
            loss = objective(energy, x, generator=generator(global_random_seed))
        stds.append(float(loss.std()))
    assert max(stds[1:]) < 1.3 * min(stds[1:])
    assert stds[0] < 2 * min(stds)


@pytest.mark.statistical
@pytest.mark.parametrize("name", [n for n in STEPPED if n != "svgd"])
def test_variance_grows_without_the_control_variate(name, global_random_seed):
    # 1 000 draws; the slope over three decades is within 0.05 of -1/2.
    energy, steps = Quartic(), [1e-3, 1e-4, 1e-5, 1e-6]
    x = points(global_random_seed, 1000)
    stds = []
    for step in steps:
        objective = MinimumVelocity(STEPPED[name](step), control_variate=False)
        with torch.no_grad():
            loss = objective(energy, x, generator=generator(global_random_seed))
        stds.append(float(loss.std()))
    slope = np.polyfit(np.log(steps), np.log(stds), 1)[0]
    assert abs(slope + 0.5) < 0.05


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_shape_dtype_and_grad_modes(name, antithetic):
    objective = OBJECTIVES[name](1e-3).set_params(antithetic=antithetic)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    for dtype in (torch.float32, torch.float64):
        module, x = network.to(dtype), points(0, 9, d=3).to(dtype)
        before = torch.get_rng_state().clone()
        loss = objective(module, x, generator=generator(0))
        assert loss.shape == (9,)
        assert loss.dtype == dtype
        with torch.no_grad():
            again = objective(module, x, generator=generator(0))
        assert not again.requires_grad
        torch.testing.assert_close(again, loss.detach(), rtol=1e-4, atol=1e-4)
        assert torch.equal(before, torch.get_rng_state())
        loss.mean().backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        assert len(gradients) >= 3
        assert all(torch.isfinite(g).all() for g in gradients)
    assert not x.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_objectives_take_the_step_of_the_estimator(name):
    assert OBJECTIVES[name](0.02).sampler.step_size == 0.02
    with pytest.raises(ValueError, match="step_size of .* must be a finite number > 0"):
        OBJECTIVES[name](0.0)(Quartic(), points(0, 5))
    with pytest.raises(ValueError, match="got a batch of 1"):
        OBJECTIVES[name]()(Quartic(), points(0, 1))


@pytest.mark.parametrize("name", NAMES)
def test_float32_down_to_the_floor(name, monkeypatch):
    # The same noise in both precisions, a step of 1e-6: the means differ by less than 2 %
    # of the size of the score-matching objective.
    x, z, energy = points(0, 500), points(1, 500), gaussian_energy(0.3, 1.2)
    for module in ("spos", "birth_death"):
        monkeypatch.setattr(
            f"sk_wmvl.samplers.{module}.randn_like", lambda x, g: z.to(x)
        )
    objective = OBJECTIVES[name](1e-6)
    with torch.no_grad():
        single, double = (float(objective(energy, y).mean()) for y in (x.float(), x))
    scale = float(ScoreMatching()(energy, x).detach().abs().mean())
    assert abs(single - double) < 0.02 * scale
