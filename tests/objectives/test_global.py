"""Objectives that compare with a proposal: maximum likelihood, noise contrast."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import nn

from sk_wmvl.base_measures import GaussianBase, UniformBase
from sk_wmvl.energies import CorrectedEnergy, MLPEnergy
from sk_wmvl.manifolds import Euclidean, Hyperbolic, Sphere, Torus
from sk_wmvl.objectives import (
    OBJECTIVES,
    BaseProposalObjective,
    LogPartition,
    MaximumLikelihood,
    NoiseContrastive,
    RiemannianObjective,
)

NAMES = [
    n for n, make in OBJECTIVES.items() if isinstance(make(), BaseProposalObjective)
]
each = pytest.mark.parametrize("name", NAMES)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(seed, n, d=2):
    rng = np.random.default_rng([seed, 17])
    return torch.tensor(rng.normal(size=(n, d)))


def gaussian_base(d, mean=0.0, variance=1.0):
    return GaussianBase(np.full(d, mean), variance * np.eye(d))


class Quadratic(nn.Module):
    """E = k |x - m|^2 / 2 + c."""

    def __init__(self, k=1.0, m=0.0, c=0.0):
        super().__init__()
        self.k, self.m, self.c = (
            nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (k, m, c)
        )

    def forward(self, x):
        return 0.5 * self.k * (x - self.m).square().sum(-1) + self.c

    def log_z(self, d):
        return 0.5 * d * math.log(2 * math.pi / self.k.item()) - self.c.item()


class Linear(nn.Module):
    """E = -a'x + c: von Mises-Fisher on a sphere."""

    def __init__(self, a, c=0.0):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x):
        return -x @ self.a + self.c


def minimise(loss, energy, names):
    """Minimise a deterministic loss in some parameters; return them."""
    parameters = [getattr(energy, name) for name in names]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=200,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    return np.concatenate([p.detach().numpy().reshape(-1) for p in parameters])


# --- maximum likelihood ---------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
def test_likelihood_of_a_gaussian_is_maximal_in_closed_form(d):
    x, energy = 1.5 * points(0, 200, d) + 0.4, Quadratic()
    objective, proposal = MaximumLikelihood(n_nodes=64), gaussian_base(d, 0.3, 3.0)
    k, m = minimise(
        lambda: objective(energy, x, proposal=proposal).mean(), energy, ["k", "m"]
    )
    assert m == pytest.approx(float(x.mean()), abs=1e-6)
    assert 1 / k == pytest.approx(float((x - m).square().mean()), rel=1e-6)
    loss = objective(energy, x, proposal=proposal).detach()
    exact = stats.norm(m, k**-0.5).logpdf(x).sum(-1)
    np.testing.assert_allclose(loss, -exact, atol=1e-6)
    z = objective.log_partition(energy, x, proposal=proposal)
    assert z == LogPartition(z.value, 0.0, math.inf)
    assert float(z.value.detach()) == pytest.approx(energy.log_z(d), abs=1e-6)


@pytest.mark.statistical
def test_likelihood_by_draws_has_the_error_it_reports(global_random_seed):
    # 400 estimates of log Z from 500 draws each: their mean and that of the gradients in
    # k and m are |z| < 4 off, but for a bias of 1/500; the spread is as stated to 15 %.
    energy, objective = Quadratic(1.3, 0.5), MaximumLikelihood(500)
    x, g = points(0, 3), generator(global_random_seed)
    proposal, values, errors, slopes = gaussian_base(2, 0.2, 1.5), [], [], []
    for _ in range(400):
        z = objective.log_partition(energy, x, proposal=proposal, generator=g)
        slopes.append(
            torch.stack(torch.autograd.grad(z.value, [energy.k, energy.m])).numpy()
        )
        values.append(float(z.value.detach()))
        errors.append(z.std_error)
        assert 1 < z.effective_sample_size < 500
    off = np.array(values) - energy.log_z(2)
    assert abs(off.mean()) < 4 * off.std() / 20 + 1 / 500
    assert np.mean(errors) == pytest.approx(off.std(), rel=0.15)
    off = np.array(slopes) - [-1 / 1.3, 0.0]  # of log(2 pi / k)
    assert (np.abs(off.mean(0)) < 4 * off.std(0) / 20 + 2 / 500).all()
    # One set of draws for the whole batch.
    loss = objective(energy, x, proposal=proposal, generator=g)
    torch.testing.assert_close(
        loss - energy(x), (loss - energy(x)).mean().expand(3), rtol=1e-10, atol=1e-10
    )


def concentration(x):
    """The maximum-likelihood concentration on the sphere: coth k - 1/k = |mean|."""
    length = float(np.linalg.norm(np.mean(np.asarray(x), 0)))
    return optimize.brentq(lambda k: 1 / np.tanh(k) - 1 / k - length, 1e-3, 200)


def directions(seed, n, mean, kappa):
    rng = np.random.default_rng([seed, 23])
    law = stats.vonmises_fisher(np.asarray(mean) / np.linalg.norm(mean), kappa)
    return torch.tensor(law.rvs(n, random_state=rng))


@pytest.mark.parametrize(("n_nodes", "tolerance"), [(48, 1e-6), (None, 0.05)])
def test_likelihood_of_von_mises_and_fisher_is_maximal_in_closed_form(
    n_nodes, tolerance
):
    x, energy = directions(0, 300, [0.0, 0.6, 0.8], 4.0), Linear([0.1, 0.1, 0.1])
    objective = MaximumLikelihood(50_000, n_nodes=n_nodes)

    def loss():
        return objective(
            energy,
            x,
            proposal=UniformBase(Sphere(2)),
            manifold=Sphere(2),
            generator=generator(0),
        ).mean()

    a, mean = minimise(loss, energy, ["a"]), x.mean(0).numpy()
    expected = concentration(x) * mean / np.linalg.norm(mean)
    np.testing.assert_allclose(a, expected, rtol=tolerance, atol=tolerance)


def test_likelihood_on_a_torus_by_the_rule():
    energy, x = lambda x: -2 * x[:, 0].cos(), Torus(2).random_point(5)
    loss = MaximumLikelihood(n_nodes=24)(
        energy, x, proposal=UniformBase(Torus(2)), manifold=Torus(2)
    )
    exact = stats.vonmises(2.0).logpdf(x[:, 0]) - np.log(2 * np.pi)
    np.testing.assert_allclose(loss, -exact, atol=1e-6)


# --- noise contrast -------------------------------------------------------------------


@pytest.mark.statistical
def test_noise_contrast_finds_a_gaussian_and_its_constant(global_random_seed):
    # 60 data sets of 500 rows and 5 draws each: the mean of k, m and c is within 4
    # standard errors of the truth, and a bias of order 1 / n (the likelihood's of k is
    # 2 k / n).
    k, m, objective = 2.0, -0.5, NoiseContrastive(5)
    proposal, found = gaussian_base(1, 0.0, 1.0), []
    for data in range(60):
        seed = 1000 * global_random_seed + data
        x, energy = m + k**-0.5 * points(seed, 500, 1), Quadratic()

        def loss(x=x, energy=energy, seed=seed):
            g = generator(seed)
            return objective(energy, x, proposal=proposal, generator=g).mean()

        found.append(minimise(loss, energy, ["k", "m", "c"]))
    off = np.array(found) - [k, m, 0.5 * math.log(2 * math.pi / k)]
    se = off.std(0, ddof=1) / 60**0.5
    assert (np.abs(off.mean(0)) < 4 * se + [5 * k / 500, 0.004, 0.004]).all()
    # and the spread is that of a good estimator: the likelihood's is k sqrt(2 / n)
    assert off[:, 0].std() < 1.5 * k * (2 / 500) ** 0.5


@pytest.mark.statistical
def test_noise_contrast_finds_von_mises_and_fisher_and_their_constant(
    global_random_seed,
):
    # 30 data sets of 500 directions against uniform noise: |z| < 4, and a bias of 1 %.
    mean, kappa, objective = np.array([0.6, 0.0, 0.8]), 3.0, NoiseContrastive(10)
    noise, found = UniformBase(Sphere(2)), []
    for data in range(30):
        seed = 1000 * global_random_seed + data
        x, energy = directions(seed, 500, mean, kappa), Linear([0.1, 0.1, 0.1])

        def loss(x=x, energy=energy, seed=seed):
            return objective(
                energy,
                x,
                proposal=noise,
                manifold=Sphere(2),
                generator=generator(seed),
            ).mean()

        found.append(minimise(loss, energy, ["a", "c"]))
    log_z = math.log(4 * math.pi * math.sinh(kappa) / kappa)
    off = np.array(found) - [*(kappa * mean), log_z]
    se = off.std(0, ddof=1) / 30**0.5
    assert (np.abs(off.mean(0)) < 4 * se + 0.01 * kappa).all()


def test_noise_contrast_is_logistic_regression():
    # The mean loss is the log loss of a classifier with known log odds, per datum.
    x, nu, energy = points(0, 40, 1), 3, Quadratic(0.7, 0.2, 0.9)
    proposal = gaussian_base(1, 0.3, 2.0)
    loss = NoiseContrastive(nu)(energy, x, proposal=proposal, generator=generator(4))
    noise = proposal.sample(nu * 40, generator=generator(4))
    both = torch.cat([x, noise])
    model, other = torch.exp(-energy(both)), nu * proposal.log_prob(both).exp()
    p = (model / (model + other)).detach().numpy()
    label = np.repeat([1, 0], [40, nu * 40])
    expected = -np.sum(label * np.log(p) + (1 - label) * np.log(1 - p)) / 40
    assert loss.mean().item() == pytest.approx(expected)


# --- both -----------------------------------------------------------------------------


def corrected(d=2, offset=0.3):
    """A base measure with a correction, and the same energy as a plain function."""
    network = MLPEnergy(d, (8,), generator=generator(1)).double()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator(2)).double())
    base = gaussian_base(d, 0.1, 1.4)
    energy = CorrectedEnergy(network, base, offset=offset).double()
    return energy, lambda x: energy(x)


@each
def test_the_base_measure_cancels(name):
    x, (energy, plain) = points(0, 20), corrected()
    objective = OBJECTIVES[name]()
    one = objective(energy, x, generator=generator(0))
    other = objective(plain, x, proposal=energy.base, generator=generator(0))
    torch.testing.assert_close(one, other)
    known = energy.base.log_prob(x)
    for e, proposal in ((energy, None), (plain, energy.base)):
        again = objective(
            e, x, proposal=proposal, log_proposal=known, generator=generator(0)
        )
        torch.testing.assert_close(again, one)


@each
def test_base_measure_is_only_drawn_from(name, monkeypatch):
    # Where its log densities at the data are known: a large one costs nothing. Likelihood
    # in Euclidean space, whose draws are wider, is the exception.
    x = Sphere(2).random_point(20, generator=generator(0))
    base = UniformBase(Sphere(2))
    energy = CorrectedEnergy(Linear([0.1, 0.2, 0.3]), base)
    known = base.log_prob(x)
    monkeypatch.setattr(UniformBase, "log_prob", None)
    loss = OBJECTIVES[name]()(
        energy, x, log_proposal=known, manifold=Sphere(2), generator=generator(0)
    )
    assert torch.isfinite(loss).all()


def test_likelihood_sees_wells_in_the_tails():
    # exp(-E) is N(0, 1) and as much again at 6: beyond 4000 draws of N(0, 1), not beyond
    # draws twice as wide. The error it states covers what is left.
    def energy(x):
        both = torch.stack([x[:, 0].square(), (x[:, 0] - 6).square()])
        return -torch.logsumexp(-0.5 * both, 0)

    x, g = points(0, 3, 1), generator(0)
    z = MaximumLikelihood(4000).log_partition(
        energy, x, proposal=gaussian_base(1), generator=g
    )
    exact = math.log(2 * math.sqrt(2 * math.pi))
    assert abs(float(z.value) - exact) < 4 * z.std_error < 0.6


@pytest.mark.statistical
@each
def test_a_weight_is_a_number_of_copies(name, global_random_seed):
    # 2 000 batches; |z| < 4 for the difference of the weighted mean and that of copies.
    x, weight = points(0, 4), torch.tensor([1.0, 3.0, 2.0, 2.0])
    copies, g = x.repeat_interleave(weight.long(), 0), generator(global_random_seed)
    energy, _ = corrected()
    objective, off = OBJECTIVES[name](), []
    if name == "mle":
        objective.set_params(n_draws=50)
    with torch.no_grad():
        for _ in range(2000):
            one = (weight * objective(energy, x, generator=g)).sum() / weight.sum()
            off.append(float(one - objective(energy, copies, generator=g).mean()))
    assert abs(np.mean(off)) < 4 * np.std(off) / 2000**0.5
    assert not objective.couples_rows()


@pytest.mark.statistical
@each
def test_weights_of_modes_are_seen(name, global_random_seed):
    # 0.9 N(-5, 1) + 0.1 N(5, 1), 1000 rows: of models that differ in the weight alone the
    # best has about the share of the rows.
    rng = np.random.default_rng([global_random_seed, 3])
    x = rng.normal(size=1000) + np.where(rng.random(1000) < 0.9, -5, 5)
    share, x = np.mean(x < 0), torch.tensor(x)[:, None]
    means = torch.tensor([-5.0, 5.0], dtype=torch.float64)

    def model(weight):
        log_weights = torch.tensor([weight, 1 - weight], dtype=torch.float64).log()
        return lambda x: (
            0.5 * math.log(2 * math.pi)
            - torch.logsumexp(log_weights - 0.5 * (x - means) ** 2, -1)
        )

    grid = np.linspace(0.7, 0.98, 29)
    losses = [
        float(
            OBJECTIVES[name]()(
                model(w),
                x,
                proposal=gaussian_base(1, 0.0, 30.0),
                generator=generator(global_random_seed),
            ).mean()
        )
        for w in grid
    ]
    assert abs(grid[np.argmin(losses)] - share) < 0.06


@each
def test_shape_dtype_grad_modes_and_randomness(name):
    objective = OBJECTIVES[name]()
    before = torch.get_rng_state().clone()
    for dtype in (torch.float32, torch.float64):
        energy, _ = corrected()
        energy, x = energy.to(dtype), points(0, 5).to(dtype)
        loss = objective(energy, x, generator=generator(0))
        assert loss.shape == (5,)
        assert loss.dtype == dtype
        assert loss.requires_grad
        with torch.no_grad():
            again = objective(energy, x, generator=generator(0))
        assert not again.requires_grad
        torch.testing.assert_close(again, loss.detach())
        mixed = objective(  # a proposal in float64
            Quadratic().to(dtype),
            x,
            proposal=gaussian_base(2),
            generator=generator(0),
        )
        assert mixed.dtype == dtype
    assert torch.equal(before, torch.get_rng_state())


def test_offset_shifts_the_energy_and_nothing_else():
    (one, _), (other, _) = corrected(offset=0.3), corrected(offset=None)
    x = points(0, 6)
    torch.testing.assert_close(one(x), other(x) + 0.3)
    assert len(list(one.parameters())) == len(list(other.parameters())) + 1
    # Likelihoods do not depend on it, noise contrast does.
    values = {}
    for name in NAMES:
        values[name] = [
            OBJECTIVES[name]()(e, x, generator=generator(0)) for e in (one, other)
        ]
    torch.testing.assert_close(*values["mle"])
    assert (values["nce"][0] - values["nce"][1]).abs().min() > 1e-3


# --- guards ---------------------------------------------------------------------------


@each
def test_a_proposal_is_needed(name):
    with pytest.raises(ValueError, match=r"got none.*Pass proposal=.*GaussianBase"):
        OBJECTIVES[name]()(lambda x: x.square().sum(-1), points(0, 4))


@each
def test_there_is_no_other_riemannian_form(name):
    objective = RiemannianObjective(OBJECTIVES[name](), Sphere(2))
    with pytest.raises(ValueError, match="Call it as it is"):
        objective(lambda x: x[:, 0], points(0, 4, 3))


@pytest.mark.parametrize("value", [0, -1, 2.5, "many", None])
def test_counts_are_checked_by_name(value):
    for objective in (NoiseContrastive(value), MaximumLikelihood(value)):
        name = next(n for n in objective.get_params() if n != "n_nodes")
        with pytest.raises(ValueError, match=f"{name} of {type(objective).__name__}"):
            objective(Quadratic(), points(0, 4), proposal=gaussian_base(2))
    if value is not None:
        with pytest.raises(ValueError, match="n_nodes of MaximumLikelihood"):
            MaximumLikelihood(n_nodes=value)(
                Quadratic(), points(0, 4), proposal=gaussian_base(2)
            )


def test_grids_have_their_place():
    objective = MaximumLikelihood(n_nodes=8)
    with pytest.raises(ValueError, match="grid in 4 dimensions"):
        objective(Quadratic(), points(0, 3, 4), proposal=gaussian_base(4))
    x = Hyperbolic(2).random_point(4)
    with pytest.raises(ValueError, match="no rule for Hyperbolic"):
        objective(Quadratic(), x, proposal=gaussian_base(3), manifold=Hyperbolic(2))
    loss = objective(
        Quadratic(), points(0, 3), proposal=gaussian_base(2), manifold=Euclidean(2)
    )
    assert loss.shape == (3,)
