"""The training problem of every objective: its loss, its monitor, what it asks of rows."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sk_wmvl.base_measures import (
    GaussianBase,
    KernelBase,
    ManifoldMixture,
    UniformBase,
    base_gradient,
)
from sk_wmvl.base_measures.components import VonMisesFisher
from sk_wmvl.energies import MLPEnergy
from sk_wmvl.manifolds import Euclidean, Sphere
from sk_wmvl.objectives import OBJECTIVES, Batch, RiemannianObjective

PLANE, SPHERE = Euclidean(2), Sphere(2)
EPSILON = 1e-2
PROPOSAL_BASED = ["mle", "nce"]
# Their rows act on one another in one space.
FLAT_ONLY = ["mvl-birth-death", "mvl-spos", "mvl-svgd", "parzen"]
CURVED = sorted(set(OBJECTIVES) - set(FLAT_ONLY))
LOCAL = sorted(set(OBJECTIVES) - set(PROPOSAL_BASED) - {"annealed"})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal():
    return GaussianBase(np.array([0.5, -1.0]), np.array([[2.0, 0.3], [0.3, 1.0]]))


def two_caps(background=0.2):
    """Return a mixture of two von Mises-Fisher densities and the uniform one."""
    centers = torch.tensor([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64) * (1 - background)
    components = VonMisesFisher(SPHERE, centers, 0.3)
    return ManifoldMixture(SPHERE, components, weights, background)


def make_rows(space, n=12):
    if space is PLANE:
        return torch.tensor(np.random.default_rng(5).normal(size=(n, 2)))
    return SPHERE.random_point(n, generator=generator(5))


def make_energy(problem):
    """Return an energy over a copy of the base, with a network that is not zero."""

    def make_network(n_inputs, radius):
        network = MLPEnergy(n_inputs, (6,), generator=generator(1))
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator(2))
        return network

    correction = problem.make_correction(
        make_network, radius=None, generator=generator(3)
    )
    return problem.make_energy(correction.double())


def make_batch(problem, x):
    facts = problem.facts(x.numpy())
    facts = (None if fact is None else fact.double() for fact in facts)
    return Batch(x, torch.ones(len(x)), *facts)


def differences(log_density, x):
    """Return derivatives by central differences, of shape (n, d)."""
    steps = 1e-5 * torch.eye(x.shape[1], dtype=x.dtype)
    ends = [(log_density(x + h) - log_density(x - h)) / 2e-5 for h in steps]
    return torch.stack(ends, 1)


# --- the loss -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_loss_in_euclidean_space_is_the_objective_of_the_whole_energy(name):
    base, x = normal(), make_rows(PLANE)
    objective = OBJECTIVES[name](EPSILON)
    problem = objective.problem(PLANE, base)
    energy = make_energy(problem)
    loss = problem.loss(energy, make_batch(problem, x), generator=generator(7))
    extra = {"proposal": base} if name in PROPOSAL_BASED else {}

    g = base_gradient(normal(), x.double()).to(x)

    def by_hand(y, t=None):
        if t is None and objective.needs_gradient_alone():
            # the base by its tangent at the rows
            repeats = len(y) // len(x)
            moves = y - x.repeat(repeats, 1)
            return energy.correction(y) - (g.repeat(repeats, 1) * moves).sum(1)
        if t is None:
            return energy.correction(y) - base.log_prob(y)
        # the base at noise sigma is that of x / s, s^2 = 1 + sigma^2
        s = (1 + objective.sigma(t) ** 2).sqrt()
        log_base = base.log_prob(y / s[:, None]) - 2 * s.log()
        return energy.correction(y, t) - log_base

    expected = objective(by_hand, x, generator=generator(7), **extra)
    assert loss.shape == (12,)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    parameters = list(energy.parameters())
    slopes = torch.autograd.grad(loss.mean(), parameters, allow_unused=True)
    assert max(float(s.abs().max()) for s in slopes if s is not None) > 1e-3
    assert not any(p.requires_grad for p in base.buffers())


def test_the_gradient_of_a_base_is_all_that_score_matching_needs():
    # Its curvature is a constant, and its gradient does not move.
    base, x = normal(), make_rows(PLANE)
    objective = OBJECTIVES["sm"](EPSILON)
    problem = objective.problem(PLANE, base)
    assert not problem.evaluates_base
    energy = make_energy(problem)
    whole = objective(energy, x)
    part = problem.loss(energy, make_batch(problem, x), generator=generator(7))
    shift = (whole - part).detach()
    # minus the Laplacian of log q0, the same for a normal base everywhere
    torch.testing.assert_close(shift, shift[:1].expand(12), rtol=1e-4, atol=1e-4)
    slopes = [
        torch.autograd.grad(
            v.mean(), list(energy.correction.parameters()), allow_unused=True
        )
        for v in (whole, part)
    ]
    for a, b in zip(*slopes, strict=True):
        if a is None:  # a constant of the energy
            assert b is None
            continue
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", CURVED)
def test_loss_on_a_sphere_is_the_objective_in_tangent_spaces(name):
    base, x = two_caps(), make_rows(SPHERE)
    objective = OBJECTIVES[name](EPSILON)
    problem = objective.problem(SPHERE, base)
    energy = make_energy(problem)
    loss = problem.loss(energy, make_batch(problem, x), generator=generator(7))
    g = generator(7)
    if name in PROPOSAL_BASED:
        expected = objective(
            lambda x: energy.correction(x) - base.log_prob(x),
            x,
            generator=g,
            proposal=base,
            manifold=SPHERE,
        )
    elif name == "annealed":
        expected = objective.set_params(manifold=SPHERE)(
            lambda x, t: energy.correction(x, t) - base.log_prob(x), x, generator=g
        )
    else:
        slope = differences(base.log_prob, x)
        expected = RiemannianObjective(objective, SPHERE)(
            energy.correction, x, generator=g, base_grad=slope
        )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLAT_ONLY)
def test_objectives_of_one_space_pose_no_problem_on_a_sphere(name):
    with pytest.raises(ValueError, match="cannot serve on a manifold"):
        OBJECTIVES[name](EPSILON).problem(SPHERE, two_caps())


def test_annealed_problem_sets_the_manifold_of_a_copy():
    objective = OBJECTIVES["annealed"](EPSILON)
    problem = objective.problem(SPHERE, UniformBase(SPHERE))
    assert problem.objective.manifold is not None
    assert objective.manifold is None


def test_untrained_energies_are_the_base():
    for name, space, base in (
        ("sm", PLANE, normal()),
        ("mle", SPHERE, two_caps()),
        ("annealed", SPHERE, two_caps()),
    ):
        problem, x = OBJECTIVES[name](EPSILON).problem(space, base), make_rows(space)
        correction = problem.make_correction(
            lambda n, radius: MLPEnergy(n, (6,), generator=generator()),
            radius=3.0,
            generator=generator(),
        )
        energy = problem.make_energy(correction.double())
        torch.testing.assert_close(energy(x), -base.log_prob(x))
        assert energy.base is not base  # a copy, which may change its type and device


# --- the monitor ----------------------------------------------------------------------


@pytest.mark.parametrize("space", [PLANE, SPHERE], ids=["plane", "sphere"])
@pytest.mark.parametrize("name", CURVED)
def test_monitor_has_a_value_for_each_row_and_repeats_with_its_seed(name, space):
    base, x = normal() if space is PLANE else two_caps(), make_rows(space)
    problem = OBJECTIVES[name](EPSILON).problem(space, base)
    energy, rows = make_energy(problem), make_batch(problem, x)
    values = problem.monitor(energy, rows, seed=3)
    assert values.shape == (12,)
    assert not values.requires_grad
    assert torch.isfinite(values).all()
    assert torch.equal(problem.monitor(energy, rows, seed=3), values)
    # Objectives with draws take others for another seed; the Hyvärinen score takes none.
    other = problem.monitor(energy, rows, seed=4)
    assert torch.equal(other, values) == (name in LOCAL)


def test_local_objectives_are_monitored_by_the_hyvarinen_score():
    base, x = normal(), make_rows(PLANE)
    problem = OBJECTIVES["dsm"](EPSILON).problem(PLANE, base)
    energy = make_energy(problem)
    values = problem.monitor(energy, make_batch(problem, x), seed=0)

    def score(x):
        return differences(lambda y: energy(y).detach(), x)

    h = 1e-4 * torch.eye(2, dtype=torch.float64)
    curvature = sum((score(x + h[k]) - score(x - h[k]))[:, k] / 2e-4 for k in range(2))
    expected = 0.5 * score(x).square().sum(1) - curvature
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


# --- what is asked of the base at the rows --------------------------------------------


@pytest.mark.parametrize("name", LOCAL)
def test_local_objectives_ask_for_slopes_if_these_are_enough(name):
    objective = OBJECTIVES[name](EPSILON)
    x = make_rows(PLANE)
    facts = objective.problem(PLANE, normal()).facts(x.double().numpy())
    if objective.needs_gradient_alone():
        expected = base_gradient(normal(), x.double()).float()
        torch.testing.assert_close(facts.base_grad, expected)
    else:
        assert facts == (None, None)
    if name in FLAT_ONLY:
        return
    x, base = make_rows(SPHERE), two_caps()
    facts = objective.problem(SPHERE, base).facts(x.numpy())
    assert facts.log_proposal is None
    assert facts.base_grad.dtype == torch.float32
    # along the sphere, at points of geodesics
    u = SPHERE.random_tangent(x, generator=generator(1))
    ends = [base.log_prob(SPHERE.exp(x, s * 1e-5 * u)) for s in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-5
    torch.testing.assert_close(
        (facts.base_grad.double() * u).sum(1), slope, rtol=1e-5, atol=1e-5
    )
    assert objective.problem(SPHERE).facts(x.numpy()) == (None, None)


@pytest.mark.parametrize("name", PROPOSAL_BASED)
def test_proposal_based_objectives_ask_for_log_densities(name):
    objective, x = OBJECTIVES[name](EPSILON), make_rows(PLANE)
    mean, cov = np.array([0.5, -1.0]), np.array([[2.0, 0.3], [0.3, 1.0]])
    off = x.numpy() - mean
    square = (off @ np.linalg.inv(cov) * off).sum(1)
    exact = -0.5 * square - math.log(2 * math.pi) - 0.5 * math.log(np.linalg.det(cov))
    wide = GaussianBase(np.zeros(2), 9 * np.eye(2))
    # the base where there is one, else the proposal
    for problem in (
        objective.problem(PLANE, normal()),
        objective.problem(PLANE, normal(), wide),
        objective.problem(PLANE, None, normal()),
    ):
        facts = problem.facts(x.numpy())
        assert facts.base_grad is None
        assert facts.log_proposal.dtype == torch.float32
        np.testing.assert_allclose(facts.log_proposal, exact, rtol=1e-5)
    assert objective.problem(PLANE).facts(x.numpy()) == (None, None)


def test_rows_do_not_see_their_own_kernel():
    # von Mises-Fisher kernels at 12 rows: kappa / (4 pi sinh kappa) e^(kappa cos).
    x = make_rows(SPHERE)
    components = VonMisesFisher(SPHERE, x, 0.2)
    weights = torch.full((12,), 0.9 / 12, dtype=torch.float64)
    base = KernelBase(ManifoldMixture(SPHERE, components, weights, 0.1), x)

    def left_out(y):
        kappa = 5.0
        kernel = kappa / (4 * math.pi * math.sinh(kappa)) * torch.exp(kappa * y @ x.T)
        kernel = kernel.masked_fill(torch.eye(12, dtype=torch.bool), 0)
        mass = 0.9 / 12 * kernel.sum(1) + 0.1 / (4 * math.pi)
        return (mass / (1 - 0.9 / 12)).log()

    facts = OBJECTIVES["mle"](EPSILON).problem(SPHERE, base).facts(x.numpy())
    torch.testing.assert_close(facts.log_proposal, left_out(x).float())
    facts = OBJECTIVES["mvl"](EPSILON).problem(SPHERE, base).facts(x.numpy())
    slope = SPHERE.to_tangent(x, differences(left_out, x)).float()
    mine = SPHERE.to_tangent(x, facts.base_grad.double()).float()
    torch.testing.assert_close(mine, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mvl", *PROPOSAL_BASED])
def test_penalized_energies_are_those_at_the_rows(name):
    # Local objectives look at the rows and about them; other points of the rest are draws.
    problem = OBJECTIVES[name](EPSILON).problem(PLANE, normal())
    parts = [torch.arange(5.0), torch.arange(5.0, 10.0)]
    n = 3 if name in PROPOSAL_BASED else 10
    assert problem.at_rows(parts, 3).tolist() == list(range(n))


# --- the start ------------------------------------------------------------------------


def test_noise_contrast_starts_at_the_constant_of_its_energy():
    # No energy at all on the sphere has Z = 4 pi, and the proposal's draws say so: their
    # weights, one over the density, are equal under the uniform one.
    problem = OBJECTIVES["nce"](EPSILON).problem(SPHERE, None, UniformBase(SPHERE))
    correction = problem.make_correction(
        lambda n, radius: MLPEnergy(n, (6,), generator=generator()),
        radius=None,
        generator=generator(),
    )
    energy, x = problem.make_energy(correction), make_rows(SPHERE).float()
    problem.start(energy, x, generator())
    assert energy.offset.item() == pytest.approx(math.log(4 * math.pi), abs=1e-5)
    for name in set(CURVED) - {"nce"}:
        problem = OBJECTIVES[name](EPSILON).problem(SPHERE, UniformBase(SPHERE))
        energy = make_energy(problem)
        before = {k: v.clone() for k, v in energy.state_dict().items()}
        problem.start(energy, x.double(), generator())
        after = energy.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)
