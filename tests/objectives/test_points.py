"""Samplers that move points of a manifold, in objectives and in estimators."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.base_measures import KernelBase, ManifoldMixture
from sk_wmvl.base_measures.components import VonMisesFisher
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import SPD, Euclidean, Simplex, Sphere, Stiefel, Torus
from sk_wmvl.objectives import (
    Batch,
    ContrastiveDivergence,
    DetachedMinimumVelocity,
    MinimumVelocity,
    RiemannianObjective,
)
from sk_wmvl.objectives._points import PointEnergy
from sk_wmvl.samplers import (
    GeodesicHMC,
    Langevin,
    LocalRiemannianLangevin,
    RiemannianLangevin,
    evaluate,
)
from tests.objectives._riemannian import CASES, constants, points

STEP = 1e-5
SAMPLERS = [RiemannianLangevin, LocalRiemannianLangevin]
SPACES = {
    **{name: manifold for name, (manifold, _) in CASES.items()},
    "SPD": SPD(2),
    "simplex": Simplex(2),
    "Stiefel": Stiefel(3, 2),
}
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def slopes(x, seed=3):
    """Return ambient derivatives of a base's log density, one vector for all rows."""
    return 2 * constants(1, x.shape[1], seed=seed).expand(len(x), -1)


def over_base(f, x, g):
    """Return |grad E|^2 / 2 - lap f by hand, for E = f - log q0 with d log q0 = g."""
    p = f.grad(x) - g
    return 0.5 * f.inner(x, p, p) - f.laplacian(x)


def mixture(n, seed):
    """Return rows of two von Mises-Fisher distributions, and their log density."""
    rng = np.random.default_rng(seed)
    parts = [
        stats.vonmises_fisher([0, 0, 1.0], 8.0),
        stats.vonmises_fisher([0, 1.0, 0], 4.0),
    ]
    which = rng.random(n) < 0.6
    rows = [part.rvs(n, random_state=rng) for part in parts]
    X = np.where(which[:, None], *rows)

    def log_density(X):
        return np.log(0.6 * parts[0].pdf(X) + 0.4 * parts[1].pdf(X))

    return X, log_density


# --- the objective --------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_displacements_undo_the_retraction_to_third_order(name):
    # The miss falls with the cube of the length: by 8 from one half to the next.
    manifold = SPACES[name]
    x = points(manifold, 30, 0)
    energy = PointEnergy(lambda y: y[:, 0], manifold, x, slopes(x))
    u = manifold.random_tangent(x, generator=generator(1))
    misses = []
    for h in (2e-2, 1e-2):
        y = torch.cat([manifold.retract(x, s * h * u) for s in (1, -1)])
        missed = energy.displacement(y) - torch.cat([h * u, -h * u])
        misses.append(float(missed.norm()))
    assert misses[1] < max(misses[0] / 6, 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_the_derivative_at_the_rows_is_that_of_the_whole_energy(name):
    manifold, function = CASES[name]
    f, x = function(7), points(manifold, 30, 0)
    g = slopes(x)
    state = evaluate(PointEnergy(f, manifold, x, g), x)
    torch.testing.assert_close(state.energy, f(x).detach())
    expected = manifold.egrad2rgrad(x, f.grad(x) - g).detach()
    torch.testing.assert_close(manifold.egrad2rgrad(x, state.grad), expected)


@pytest.mark.statistical
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("sampler", [*SAMPLERS, None])
@pytest.mark.parametrize("space", CASES)
def test_expectation_over_a_base_is_score_matching(
    space, sampler, antithetic, global_random_seed
):
    # At points, and (None) in tangent spaces: 20 000 differences to the value by hand;
    # |z| < 4, and a bias of O(step) = 1e-5 that these energies multiply by < 200.
    manifold, function = CASES[space]
    f, x = function(7), points(manifold, 20_000, global_random_seed)
    g = slopes(x)
    moves = Langevin(STEP) if sampler is None else sampler(step_size=STEP)
    objective = RiemannianObjective(
        MinimumVelocity(moves, antithetic=antithetic), manifold
    )
    noise = generator(global_random_seed + 1000)
    with torch.no_grad():
        loss = objective(f, x, base_grad=g, generator=noise)
        difference = loss - over_base(f, x, g)
    se = difference.std() / len(x) ** 0.5
    assert abs(difference.mean()) < 4 * se + 200 * STEP


@pytest.mark.statistical
@pytest.mark.parametrize("objective", [MinimumVelocity, ContrastiveDivergence])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", ["S2", "T2", "H2", "SO3"])
def test_parameter_gradient_over_a_base_is_unbiased(
    space, sampler, objective, global_random_seed
):
    # 60 batches of 500; |z| < 4.5 for each of at most 20 parameters, bias 1e-3.
    manifold, function = CASES[space]
    f = function(7)
    riemannian = RiemannianObjective(objective(sampler(step_size=STEP)), manifold)
    parameters = list(f.parameters())
    noise, errors = generator(global_random_seed + 1000), []
    for batch in range(60):
        x = points(manifold, 500, 100 * global_random_seed + batch)
        g = slopes(x)
        loss = riemannian(f, x, base_grad=g, generator=noise) - over_base(f, x, g)
        slope = torch.autograd.grad(loss.mean(), parameters)
        errors.append(torch.cat([s.flatten() for s in slope]))
    errors = torch.stack(errors)
    se = errors.std(0) / 60**0.5
    assert (errors.mean(0).abs() < 4.5 * se + 1e-3).all()


@pytest.mark.statistical
def test_variance_over_a_base_is_that_of_tangent_spaces(global_random_seed):
    # 20 000 draws on the sphere, a base with |d log q0| = 200: standard deviations agree
    # to 5 %, so that the base adds no noise of its own. (A step that is straight in a chart
    # is bent on the sphere, and the base adds noise, free of the parameters.)
    manifold, function = CASES["S2"]
    f, x = function(7), points(manifold, 20_000, global_random_seed)
    g = 200 * torch.nn.functional.normalize(slopes(x))
    spreads = []
    for moves in (RiemannianLangevin(step_size=STEP), Langevin(STEP)):
        objective = RiemannianObjective(MinimumVelocity(moves), manifold)
        noise = generator(global_random_seed + 1000)
        with torch.no_grad():
            loss = objective(f, x, base_grad=g, generator=noise) - over_base(f, x, g)
        spreads.append(float(loss.std()))
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)


def test_riemannian_langevin_takes_the_step_of_tangent_spaces():
    manifold, function = CASES["S2"]
    f, x = function(7), points(manifold, 30, 0)
    at_points, in_tangent_spaces = (
        RiemannianObjective(MinimumVelocity(sampler), manifold)(
            f, x, base_grad=slopes(x), generator=generator(1)
        )
        for sampler in (RiemannianLangevin(step_size=1e-5), Langevin(1e-5))
    )
    # what differs is of the third order of a step of length (2e-5)^(1/2)
    torch.testing.assert_close(at_points, in_tangent_spaces, rtol=0, atol=0.1)


# --- estimators -----------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("base", ["uniform", None])
def test_a_mixture_on_the_sphere_is_learned(base, sampler, global_random_seed):
    # 2000 rows of two von Mises-Fisher distributions, 15 epochs: the gap to the truth on
    # 4000 new rows is below 0.05 nats (over seeds 0-5 it lay between 0.003 and 0.02), where
    # that of the uniform density is above 0.8. No rows are held out: the Hyvärinen score of
    # 200 rows chooses between epochs by chance.
    X, log_density = mixture(2000, global_random_seed)
    X_test = mixture(4000, global_random_seed + 100)[0]
    density = RiemannianMVLDensity(
        "sphere",
        MinimumVelocity(sampler(step_size=1e-3), antithetic=True),
        objective_weight=None,
        base=base,
        hidden_layer_sizes=(32, 32),
        max_epochs=15,
        early_stopping=False,
        random_state=global_random_seed,
    ).fit(X)
    truth = log_density(X_test).mean()
    assert truth + np.log(4 * np.pi) > 0.8
    assert abs(truth - density.score(X_test)) < 0.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_kernel_base_enters_by_its_gradient_and_leaves_the_row_out(sampler):
    # Densities at rows by central differences without the row's own component; the base
    # itself is then taken away.
    manifold, x = Sphere(2), points(Sphere(2), 12, 0)
    components = VonMisesFisher(manifold, x, 0.3)
    weights = torch.full((12,), 0.9 / 12, dtype=torch.float64)
    base = KernelBase(ManifoldMixture(manifold, components, weights, 0.1), x)

    def left_out(i, y):
        rest = torch.arange(12) != i
        others = VonMisesFisher(manifold, x[rest], 0.3)
        kept = weights[rest] / (1 - weights[i])
        background = 1 - float(kept.sum())
        return ManifoldMixture(manifold, others, kept, background).log_prob(y)

    steps = torch.cat([1e-5 * torch.eye(3), -1e-5 * torch.eye(3)]).double()
    ends = [left_out(i, x[i] + steps) for i in range(12)]
    g = torch.stack([(end[:3] - end[3:]) / 2e-5 for end in ends])

    objective = MinimumVelocity(sampler(step_size=1e-3))
    problem = objective.problem(manifold, base)
    f = CASES["S2"][1](7)
    energy = CorrectedEnergy(f, None)
    batch = Batch(x, torch.ones(12), problem.facts(x.numpy()).base_grad.double())
    loss = problem.loss(energy, batch, generator=generator(1))
    expected = RiemannianObjective(objective, manifold)(
        f, x, base_grad=g, generator=generator(1)
    )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_manifold_of_a_sampler_is_that_of_the_fit(sampler):
    X = mixture(60, 0)[0]
    objective = MinimumVelocity(sampler(step_size=1e-3))
    density = RiemannianMVLDensity("auto", objective, base=None, **SMALL).fit(X)
    assert repr(density.objective_.sampler.manifold) == "Sphere(dim=2)"
    assert objective.sampler.manifold is None
    given = clone(density).set_params(objective__sampler__manifold=Sphere(2)).fit(X)
    assert np.array_equal(given.score_samples(X), density.score_samples(X))
    again = pickle.loads(pickle.dumps(density))
    assert np.array_equal(again.score_samples(X), density.score_samples(X))
    larger = clone(density).set_params(objective__sampler__step_size=0.1).fit(X)
    assert larger.objective_.sampler.step_size == 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_in_euclidean_space_the_step_is_that_of_langevin(sampler):
    X = np.random.default_rng(0).normal(size=(60, 2))
    densities = [
        MVLDensity(MinimumVelocity(moves), base=None, normalizer=None, **SMALL).fit(X)
        for moves in (sampler(step_size=1e-3), Langevin(1e-3))
    ]
    one, other = (density.energy_samples(X) for density in densities)
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_what_cannot_be_is_refused_before_a_base_is_searched_for(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("a base was searched for")

    monkeypatch.setattr("sk_wmvl.estimators._density.select_base", fail)
    X = mixture(60, 0)[0]
    for objective, message in (
        (MinimumVelocity(RiemannianLangevin(Sphere(3))), r"for Sphere\(dim=3\), and"),
        (MinimumVelocity(LocalRiemannianLangevin(Torus(2))), r"for Torus\(dim=2\)"),
        (DetachedMinimumVelocity(RiemannianLangevin()), "use MinimumVelocity"),
        (MinimumVelocity("svgd"), r"serve on a manifold.*RiemannianLangevin\(\)"),
        (MinimumVelocity(GeodesicHMC(Sphere(2))), "cannot serve on a manifold"),
    ):
        with pytest.raises(ValueError, match=message):
            RiemannianMVLDensity("sphere", objective, **SMALL).fit(X)


def test_elsewhere_a_sampler_needs_its_manifold():
    f, x = CASES["S2"][1](7), points(Sphere(2), 5, 0)
    for sampler in SAMPLERS:
        with pytest.raises(ValueError, match=r"has no manifold.*\(Sphere\(2\)\)"):
            MinimumVelocity(sampler())(f, x)
    flat = RiemannianObjective(MinimumVelocity(RiemannianLangevin()), Euclidean(3))
    same = MinimumVelocity(Langevin(1e-3))(f, x, generator=generator(0))
    torch.testing.assert_close(flat(f, x, generator=generator(0)), same)
