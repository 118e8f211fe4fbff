"""Objectives on manifolds against Riemannian score matching written by hand."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_wmvl._autodiff import energy_grad_laplacian
from sk_wmvl.energies import TangentSpaceEnergy, tangent_basis
from sk_wmvl.manifolds import Euclidean, Sphere, Torus
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    DetachedMinimumVelocity,
    FiniteDifferenceScoreMatching,
    MinimumProbabilityFlow,
    MinimumVelocity,
    ParzenScoreMatching,
    RiemannianObjective,
    ScoreMatching,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import (
    Langevin,
    LocalRiemannianLangevin,
    RiemannianLangevin,
    evaluate,
)
from tests.objectives._riemannian import CASES, points, score_matching

STEP = 1e-5


def generator(seed):
    return torch.Generator().manual_seed(seed)


def make(name, step, manifold):
    """Return an objective in Riemannian form."""
    own = {
        "rld": lambda: MinimumVelocity(RiemannianLangevin(manifold, step)),
        "rld, antithetic": lambda: MinimumVelocity(
            RiemannianLangevin(manifold, step), antithetic=True
        ),
        "rld, plain": lambda: MinimumVelocity(
            RiemannianLangevin(manifold, step), control_variate=False
        ),
        "rld, shortened": lambda: MinimumVelocity(
            RiemannianLangevin(manifold, step, max_drift=1.0)
        ),
        "local": lambda: MinimumVelocity(LocalRiemannianLangevin(manifold, step)),
        "local, plain": lambda: MinimumVelocity(
            LocalRiemannianLangevin(manifold, step), control_variate=False
        ),
    }
    if name in own:
        return own[name]()
    objective = {
        "mvl": lambda: MinimumVelocity(Langevin(step)),
        "detached": lambda: DetachedMinimumVelocity(Langevin(step)),
        "sm": ScoreMatching,
        "ssm": lambda: SlicedScoreMatching(2, variance_reduced=False),
        "ssm-vr": SlicedScoreMatching,
        "fd-ssm": lambda: FiniteDifferenceScoreMatching(step),
        "mpf": lambda: MinimumProbabilityFlow(step),
        "dsm": lambda: DenoisingScoreMatching(step**0.5),
        "dsm, plain": lambda: DenoisingScoreMatching(step**0.5, control_variate=False),
        "cd1": lambda: ContrastiveDivergence(Langevin(step)),
    }[name]()
    return RiemannianObjective(objective, manifold)


LOSSES = [
    "rld",
    "rld, antithetic",
    "rld, shortened",
    "local",
    "mvl",
    "detached",
    "ssm",
    "ssm-vr",
    "fd-ssm",
    "mpf",
    "dsm",
]
FLAT = ["rld", "rld, antithetic", "local", "mvl", "detached", "fd-ssm", "mpf", "dsm"]


def evaluated(objective, energy, x, seed):
    """Return values without a graph.

    The noise has a seed of its own: that of the points would repeat their normals.
    """
    with torch.no_grad():
        return objective(energy, x, generator=generator(seed + 1000))


@pytest.mark.parametrize("name", CASES)
def test_the_lift_has_the_derivatives_of_the_metric(name):
    manifold, function = CASES[name]
    energy, x = function(7), points(CASES[name][0], 50, 0)
    g = energy.grad(x)
    for basis in (None, tangent_basis(manifold, x)):
        lifted = TangentSpaceEnergy(energy, manifold, x, basis=basis)
        value, grad, laplacian = energy_grad_laplacian(
            lifted, lifted.origin(), create_graph=False
        )
        torch.testing.assert_close(value, energy(x).detach())
        length = energy.inner(x, g, g).detach()
        torch.testing.assert_close(grad.square().sum(-1), length)
        torch.testing.assert_close(laplacian, energy.laplacian(x).detach())
    assert lifted.origin().shape[1] == manifold.dim


@pytest.mark.parametrize("name", CASES)
def test_exact_score_matching_and_the_metric_agree_with_the_hand(name):
    manifold, function = CASES[name]
    energy, x = function(7), points(CASES[name][0], 50, 0)
    expected = score_matching(energy, x)
    loss = make("sm", None, manifold)(energy, x)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        hyvarinen_values(energy, x, manifold=manifold), expected.detach()
    )
    parameters = list(energy.parameters())
    mine = torch.autograd.grad(loss.mean(), parameters)
    hand = torch.autograd.grad(expected.mean(), parameters)
    for one, other in zip(mine, hand, strict=True):
        torch.testing.assert_close(one, other)


def test_von_mises_fisher_and_von_mises_in_closed_form():
    kappa = 3.0
    x = Sphere(4).random_point(20, generator=generator(0))
    t = x[:, 1]
    loss = make("sm", None, Sphere(4))(lambda x: -kappa * x[:, 1], x).detach()
    torch.testing.assert_close(loss, 0.5 * kappa**2 * (1 - t**2) - 4 * kappa * t)
    a = Torus(1).random_point(20, generator=generator(0))
    loss = make("sm", None, Torus(1))(lambda x: -kappa * x[:, 0].cos(), a).detach()
    s, c = a[:, 0].sin(), a[:, 0].cos()
    torch.testing.assert_close(loss, 0.5 * kappa**2 * s**2 - kappa * c)


def test_probes_stand_in_above_twenty_dimensions(global_random_seed):
    # vMF on S^30: 500 points, 8 probes each; |z| < 4.
    manifold = Sphere(30)
    x = manifold.random_point(500, generator=generator(global_random_seed))
    values = hyvarinen_values(
        lambda x: -5 * x[:, 0] + x[:, 1] * x[:, 2], x, manifold=manifold
    )
    g = torch.zeros_like(x)
    g[:, 0], g[:, 1], g[:, 2] = -5, x[:, 2], x[:, 1]
    along = (g * x).sum(-1)
    exact = (
        0.5 * (g.square().sum(-1) - along**2)
        - 30 * 5 * x[:, 0]
        + 62 * x[:, 1] * x[:, 2]
    )
    difference = values - exact
    assert abs(difference.mean()) < 4 * difference.std() / 500**0.5


@pytest.mark.statistical
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("space", CASES)
def test_expectation_is_riemannian_score_matching(space, name, global_random_seed):
    # 20 000 differences to the exact value at the same points; |z| < 4, and a bias of
    # O(step) = 1e-5 that these energies multiply by less than 100.
    manifold, function = CASES[space]
    energy = function(7)
    x = points(manifold, 20_000, global_random_seed)
    objective = make(name, STEP, manifold)
    loss = evaluated(objective, energy, x, global_random_seed)
    difference = loss - score_matching(energy, x).detach()
    se = difference.std() / len(x) ** 0.5
    assert abs(difference.mean()) < 4 * se + 100 * STEP


@pytest.mark.statistical
@pytest.mark.parametrize("space", ["S2", "T2", "SO3"])
@pytest.mark.parametrize(
    "name", ["rld", "local", "mvl", "detached", "fd-ssm", "mpf", "dsm", "cd1"]
)
def test_parameter_gradient_is_unbiased(name, space, global_random_seed):
    # 60 batches of 500; |z| < 4.5 for each of at most 14 parameters, bias 1e-3.
    manifold, function = CASES[space]
    energy, objective = function(7), make(name, STEP, CASES[space][0])
    parameters = list(energy.parameters())
    g, errors = generator(global_random_seed + 1000), []
    for batch in range(60):
        x = points(manifold, 500, 100 * global_random_seed + batch)
        loss = objective(energy, x, generator=g) - score_matching(energy, x)
        slope = torch.autograd.grad(loss.mean(), parameters)
        errors.append(torch.cat([s.flatten() for s in slope]))
    errors = torch.stack(errors)
    se = errors.std(0) / 60**0.5
    assert (errors.mean(0).abs() < 4.5 * se + 1e-3).all()


@pytest.mark.statistical
@pytest.mark.parametrize("space", ["S2", "SO3"])
@pytest.mark.parametrize("name", FLAT)
def test_variance_is_flat_with_the_control_variate(name, space, global_random_seed):
    # 10 000 draws at each of five steps; the standard deviation moves by < 30 % from
    # 1e-2 down, and at 1e-1 it is at most half as large again.
    manifold, function = CASES[space]
    energy = function(7)
    x = points(manifold, 10_000, global_random_seed)
    exact, stds = score_matching(energy, x).detach(), []
    for step in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]:
        loss = evaluated(make(name, step, manifold), energy, x, global_random_seed)
        stds.append(float((loss - exact).std()))
    assert max(stds[1:]) < 1.3 * min(stds[1:])
    assert stds[0] < 1.5 * stds[1]


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "order"),
    [("rld, plain", -0.5), ("local, plain", -0.5), ("dsm, plain", -1)],
)
def test_variance_grows_without(name, order, global_random_seed):
    # 50 000 draws on S2; the slope over two decades is within 0.03 of theory.
    manifold, function = CASES["S2"]
    energy, steps = function(7), [1e-3, 1e-4, 1e-5]
    x = points(manifold, 50_000, global_random_seed)
    stds = [
        float(evaluated(make(name, h, manifold), energy, x, global_random_seed).std())
        for h in steps
    ]
    slope = np.polyfit(np.log(steps), np.log(stds), 1)[0]
    assert abs(slope - order) < 0.03


@pytest.mark.statistical
def test_plain_denoising_counts_the_tangent_dimensions(global_random_seed):
    # A flat energy on S2: |z|^2 / 2 sigma^2 less its mean m / 2 sigma^2, whose variance
    # is m / 2 sigma^4: with the normal part it would be half as large again. 40 000
    # draws: mean |z| < 4, variance within 5 %.
    x = points(Sphere(2), 40_000, 0)
    loss = make("dsm, plain", 1e-2, Sphere(2))(
        lambda x: 0 * x.sum(-1), x, generator=generator(global_random_seed + 1000)
    ).detach()
    assert abs(loss.mean()) < 4 * loss.std() / 200
    assert loss.var() == pytest.approx(1e4, rel=0.05)


@pytest.mark.parametrize("name", ["mvl", "cd1"])
def test_the_lifted_step_is_the_step_of_the_manifold(name):
    manifold, function = CASES["SO3"]
    energy, x = function(7), points(CASES["SO3"][0], 30, 0)
    plain = {"mvl": MinimumVelocity, "cd1": ContrastiveDivergence}[name]
    one = make(name, 1e-3, manifold)(energy, x, generator=generator(1))
    other = plain(RiemannianLangevin(manifold, 1e-3))(energy, x, generator=generator(1))
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_speed_of_the_detached_form_needs_the_lift():
    # The ambient gradient has a part normal to the sphere, which would be counted.
    x = points(Sphere(2), 5, 0)
    for sampler in (RiemannianLangevin(Sphere(2)), LocalRiemannianLangevin(Sphere(2))):
        with pytest.raises(ValueError, match="RiemannianObjective"):
            DetachedMinimumVelocity(sampler)(lambda x: x[:, 0], x)


def test_euclidean_space_is_left_alone():
    energy = lambda x: (x**4).sum(-1)
    x = torch.randn(20, 3, dtype=torch.float64, generator=generator(0))
    for inner in (SlicedScoreMatching(), MinimumVelocity(), ScoreMatching()):
        one = RiemannianObjective(inner, Euclidean(3))(
            energy, x, generator=generator(1)
        )
        assert torch.equal(one, inner(energy, x, generator=generator(1)))
    assert torch.equal(
        hyvarinen_values(energy, x, manifold=Euclidean(3)), hyvarinen_values(energy, x)
    )


def test_only_langevin_moves_in_a_tangent_space():
    x = points(Sphere(2), 5, 0)
    objective = RiemannianObjective(MinimumVelocity("svgd"), Sphere(2))
    with pytest.raises(ValueError, match="cannot serve on a manifold"):
        objective(lambda x: x[:, 0], x)
    objective = RiemannianObjective(ParzenScoreMatching(), Sphere(2))
    with pytest.raises(ValueError, match="rows act on one another.*'dsm'"):
        objective(lambda x: x[:, 0], x)


def test_objective_is_a_component():
    objective = make("cd1", 1e-3, Sphere(2))
    params = {"objective__sampler__step_size": 0.5, "manifold__dim": 3}
    copy = clone(objective).set_params(**params)
    assert copy.objective.sampler.step_size == 0.5
    assert copy.manifold.dim == 3
    assert objective.manifold.dim == 2
    x = points(Sphere(2), 5, 0).float()
    loss = objective(lambda x: x[:, 0], x, generator=generator(0))
    assert loss.shape == (5,)
    assert loss.dtype == torch.float32


def test_wrong_shapes_are_named():
    x = points(Sphere(2), 4, 0)
    lifted = TangentSpaceEnergy(lambda x: x[:, 0], Sphere(2), x)
    assert lifted(x.new_zeros(8, 3)).shape == (8,)
    with pytest.raises(ValueError, match="tangent spaces at 4 point.*of 6 rows"):
        lifted(x.new_zeros(6, 3))
    with pytest.raises(ValueError, match="dimension of Sphere.*is not known"):
        hyvarinen_values(lambda x: x[:, 0], x, manifold=Sphere())
    assert evaluate(lifted, lifted.origin()).grad.shape == (4, 3)
