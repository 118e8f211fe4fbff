"""Densities on manifolds: what users see, against densities that are known."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.spatial.transform import Rotation as SciPyRotation
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.energies import MLPEnergy
from sk_wmvl.manifolds import (
    AxialSphere,
    Chart,
    Euclidean,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Stiefel,
    Torus,
)
from sk_wmvl.metrics import hyvarinen_score
from sk_wmvl.normalizers import AnnealedNormalizer

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
UNIFORM = {
    **SMALL,
    "base": "uniform",
}  # the quickest base; the choice has its own tests

may_warn = pytest.mark.filterwarnings(
    # two epochs on a handful of rows may well do harm, and the guard says so
    "ignore:The learned correction:sklearn.exceptions.ConvergenceWarning",
    # the checks feed numbers up to 100, which no one would take for radians
    "ignore:.*are they degrees:UserWarning",
    # and tables whose columns depend on one another exactly, which is told
    "ignore:X has columns that are exact",
)

# The checks cast standard normal rows to integers, and some become zero. A zero row has
# no direction; that it stays an error is a promise of Sphere(project=True).
ZERO_ROWS = {"check_estimators_dtypes": "feeds zero rows, which have no direction"}


def directions(n, seed, kappa=4.0, d=3):
    """Draws of a von Mises-Fisher distribution about the last axis."""
    mu = np.eye(d)[-1]
    return stats.vonmises_fisher(mu, kappa).rvs(n, random_state=seed)


def expected_failures(estimator):
    projecting = isinstance(estimator.manifold, Sphere) and estimator.manifold.project
    return ZERO_ROWS if projecting else {}


QUICK = {"max_epochs": 2, "hidden_layer_sizes": (8,), "normalizer": "importance"}


@may_warn
@parametrize_with_checks(
    [
        RiemannianMVLDensity("torus", base="uniform", **QUICK),
        RiemannianMVLDensity(Sphere(project=True), base="uniform", **QUICK),
        RiemannianMVLDensity(base=None, **{**QUICK, "normalizer": None}),
    ],
    expected_failed_checks=expected_failures,
)
def test_checks(estimator, check):
    check(estimator)


@may_warn
@pytest.mark.slow
@parametrize_with_checks(
    [
        RiemannianMVLDensity("torus", base="mixture", **QUICK),
        RiemannianMVLDensity("euclidean", base="mixture", **QUICK),
    ]
)
def test_checks_over_mixtures(estimator, check):
    check(estimator)


@may_warn
@pytest.mark.slow
def test_default_passes_every_check_it_runs():
    results = check_estimator(RiemannianMVLDensity(), on_skip=None)
    assert {r["status"] for r in results} == {"passed"}


# --- known densities ------------------------------------------------------------------


@pytest.mark.statistical
def test_a_von_mises_fisher_distribution_is_learned(global_random_seed):
    # 1000 rows: the fitted density has the truth's log-likelihood to 0.02 nats.
    seed = global_random_seed
    X, X_test = directions(1000, seed), directions(4000, seed + 100)
    density = RiemannianMVLDensity(base="mixture", max_epochs=10, random_state=seed)
    density.fit(X)
    assert density.manifold_.dim == 2
    truth = stats.vonmises_fisher([0, 0, 1.0], 4.0).logpdf(X_test)
    assert abs(np.mean(truth - density.score_samples(X_test))) < 0.02


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("base", ["auto", "mixture", "kernel", "uniform"])
def test_a_bimodal_law_of_two_angles_is_learned(base):
    # 3000 rows of an equal mixture of two product von Mises laws that overlap.
    rng = np.random.default_rng(0)

    def draw(n):
        k = rng.integers(0, 2, n)
        return rng.vonmises(np.array([0.0, 1.5])[k][:, None], 3.0, (n, 2))

    def log_density(X):
        parts = [
            stats.vonmises.logpdf(X, 3.0, loc=mu).sum(1) + math.log(0.5)
            for mu in (0.0, 1.5)
        ]
        return special.logsumexp(parts, axis=0)

    X, X_test = draw(3000), draw(3000)
    density = RiemannianMVLDensity("torus", base=base, random_state=0, max_epochs=40)
    gap = np.mean(log_density(X_test) - density.fit(X).score_samples(X_test))
    assert abs(gap) < 0.03


@pytest.mark.statistical
@pytest.mark.parametrize("d", [2, 3, 5])
def test_densities_integrate_to_one(d):
    # 20 000 uniform points; quadrature for d = 2, 3, importance sampling for d = 5.
    X = directions(400, 0, d=d)
    density = RiemannianMVLDensity("sphere", base="uniform", **SMALL).fit(X)
    uniform = density.manifold_.random_point(
        20_000, generator=torch.Generator().manual_seed(1)
    )
    weight = np.exp(
        density.score_samples(uniform.numpy()) + density.manifold_.log_volume()
    )
    z = (weight.mean() - 1) / np.hypot(
        weight.std() / len(weight) ** 0.5, density.log_normalizer_std_
    )
    assert abs(z) < 4


@pytest.mark.statistical
@pytest.mark.parametrize("base", ["mixture", "uniform"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_draws_follow_the_density(d, base, monkeypatch, global_random_seed):
    # 4000 draws on S^1, T^2, S^2: the moments of the fitted density's features by
    # quadrature, |z| < 4 (at most 8 of them). No chain is run.
    monkeypatch.delattr("sk_wmvl.samplers._draw.adapt_step_size")
    rng = np.random.default_rng(global_random_seed)
    name, X = {
        1: ("circle", rng.vonmises(1, 4, (500, 1))),
        2: ("torus", rng.vonmises(1, 2, (500, 2)).cumsum(1)),
        3: ("sphere", directions(500, global_random_seed)),
    }[d]
    density = RiemannianMVLDensity(name, base=base, random_state=0, max_epochs=10)
    space = density.fit(X).manifold_
    draws = space.features(torch.tensor(density.sample(4000, random_state=1))).numpy()
    nodes, log_weights = space.quadrature(200)
    p = np.exp(density.score_samples(nodes.numpy()) + log_weights.numpy())
    expected = p @ space.features(nodes).numpy()
    error = draws.std(0) / len(draws) ** 0.5
    assert (abs(draws.mean(0) - expected) < 4 * error).all()


def test_annealed_importance_sampling_agrees_with_quadrature():
    X = directions(500, 0)
    params = {"base": "uniform", "random_state": 0, "max_epochs": 5}
    exact = RiemannianMVLDensity(normalizer="quadrature", **params).fit(X)
    annealed = RiemannianMVLDensity(normalizer=AnnealedNormalizer(), **params).fit(X)
    assert exact.correction_scale_ == annealed.correction_scale_
    error = abs(exact.log_normalizer_ - annealed.log_normalizer_)
    assert error < 4 * annealed.log_normalizer_std_


# --- the score, the symmetries and the units ------------------------------------------


@pytest.mark.parametrize(
    ("manifold", "X"),
    [
        (Sphere(), directions(300, 0)),
        (Torus(), np.random.default_rng(0).vonmises(0, 2, (300, 2))),
        (AxialSphere(), directions(300, 0)),
        (Rotation(), directions(300, 0, d=4)),
        (Simplex(), np.random.default_rng(0).dirichlet([2, 3, 1], 300)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_score_is_tangent_and_the_derivative_along_geodesics(manifold, X):
    density = RiemannianMVLDensity(manifold, **UNIFORM).fit(X)
    space = density.manifold_
    x = space.from_user(torch.tensor(X[:20]))
    u = space.random_tangent(x, generator=torch.Generator().manual_seed(0))
    h = 1e-4
    ahead, behind = (
        space.to_user(space.projection(space.exp(x, s * h * u))).numpy()
        for s in (1, -1)
    )
    slope = (density.score_samples(ahead) - density.score_samples(behind)) / (2 * h)
    # <score, du> in users' coordinates, by the chain rule from the ambient ones
    with torch.enable_grad():
        y = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(density.energy_(y).sum(), y)
    expected = -(grad * u).sum(-1).numpy()
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)
    score = space.egrad2rgrad(x, -grad)
    np.testing.assert_allclose(
        density.score_fn(X[:20]), space.push_to_user(x, score).numpy(), atol=1e-12
    )
    np.testing.assert_allclose(space.inner(x, score, u).numpy(), expected, atol=1e-9)


def test_angles_are_periodic_and_signs_do_not_matter():
    rng = np.random.default_rng(0)
    angles = rng.vonmises(0, 2, (60, 2))
    density = RiemannianMVLDensity("torus", **SMALL, base="mixture").fit(angles)
    np.testing.assert_allclose(
        density.score_samples(angles + [2 * np.pi, -4 * np.pi]),
        density.score_samples(angles),
        rtol=1e-10,
    )
    axes = directions(60, 0)
    for name, X in (("axial", axes), ("rotation", directions(60, 0, d=4))):
        density = RiemannianMVLDensity(name, **SMALL, base="mixture").fit(X)
        np.testing.assert_array_equal(
            density.score_samples(-X), density.score_samples(X)
        )


def test_rotations_as_matrices_and_as_quaternions():
    q = directions(80, 0, d=4)
    matrices = SciPyRotation.from_quat(q).as_matrix().reshape(-1, 9)
    params = {**SMALL, "base": "mixture"}
    by_quaternion = RiemannianMVLDensity("rotation", **params).fit(q)
    by_matrix = RiemannianMVLDensity("rotation", **params).fit(matrices)
    np.testing.assert_allclose(
        by_matrix.score_samples(matrices), by_quaternion.score_samples(q), atol=0.05
    )
    draws = by_matrix.sample(5).reshape(-1, 3, 3)
    np.testing.assert_allclose(
        draws @ draws.transpose(0, 2, 1), [np.eye(3)] * 5, atol=1e-9
    )


def test_a_product_is_in_the_units_of_its_columns():
    rng = np.random.default_rng(0)
    X = np.c_[rng.vonmises(1, 2, 100), rng.gamma(3, 2, 100)]
    wind = Product([("direction", Torus(1)), ("speed", Euclidean(1))])
    params = {**SMALL, "base": "mixture", "normalizer": "importance"}
    density = RiemannianMVLDensity(wind, **params).fit(X)
    scaled = RiemannianMVLDensity(wind, **params).fit(X * [1, 10])
    np.testing.assert_allclose(
        scaled.score_samples(X * [1, 10]),
        density.score_samples(X) - math.log(10),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        scaled.score_fn(X * [1, 10]) * [1, 10], density.score_fn(X), atol=1e-5
    )
    assert density.sample(7).shape == (7, 2)


@pytest.mark.parametrize(
    "name", ["hyperbolic", pytest.param("spd", marks=pytest.mark.slow)]
)
def test_manifolds_without_finite_volume(name):
    rng = np.random.default_rng(0)
    if name == "hyperbolic":
        v = rng.normal(size=(60, 2))
        r = np.linalg.norm(v, axis=1, keepdims=True)
        X = np.c_[np.cosh(r), np.sinh(r) * v / r]
    else:
        L = rng.normal(size=(60, 2, 2)) * 0.3 + np.eye(2)
        X = (L @ L.transpose(0, 2, 1) + 0.1 * np.eye(2)).reshape(60, 4)
    density = RiemannianMVLDensity(name, **SMALL, base="mixture").fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert np.isfinite(density.log_normalizer_std_)
    draws = density.sample(20, random_state=0)
    assert np.isfinite(density.score_samples(draws)).all()


# --- as an estimator ------------------------------------------------------------------


def test_auto_takes_unit_vectors_for_directions_and_others_for_points():
    X = directions(50, 0)
    assert RiemannianMVLDensity(**UNIFORM).fit(X).manifold_.dim == 2
    off = X * 1.01
    params = {**SMALL, "base": None, "normalizer": None}
    assert isinstance(RiemannianMVLDensity(**params).fit(off).manifold_, Euclidean)


def test_same_seed_same_bits_clone_pickle_and_resume():
    X = directions(60, 0)
    first = RiemannianMVLDensity(**SMALL, base="mixture").fit(X)
    again = clone(first).fit(X)
    expected = first.score_samples(X)
    np.testing.assert_array_equal(expected, again.score_samples(X))
    loaded = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(expected, loaded.score_samples(X))
    np.testing.assert_array_equal(
        first.partial_fit(X).score_samples(X), loaded.partial_fit(X).score_samples(X)
    )


def test_grid_search_and_the_score_without_a_normalizer():
    X = directions(200, 0)
    grid = {"epsilon": [1e-4, 1e-2], "alpha": [1e-4, 1e-1]}
    search = GridSearchCV(RiemannianMVLDensity(**UNIFORM), grid, cv=2).fit(X)
    assert set(search.best_params_) == set(grid)
    density = RiemannianMVLDensity(normalizer=None, **UNIFORM).fit(X)
    assert density.score(X) == -hyvarinen_score(density, X)


@pytest.mark.parametrize(
    ("manifold", "bad", "message"),
    [
        ("sphere", [[1.0, 1.0, 0.0]] * 5, "row 0 with .* = 0.414"),
        ("sphere", [[0.0, 0.0, 0.0]] * 5, "Row 0 .* no direction"),
        (Sphere(3), [[1.0, 0.0, 0.0]] * 5, "n_features = 3"),
        ("simplex", [[0.5, 0.6, 0.1]] * 5, "sum"),
        ("simplex", [[-0.5, 1.4, 0.1]] * 5, "negative"),
        ("rotation", [[1.0, 0.0, 0.0]] * 5, "n_features = 3"),
        ("rotation", [[1.0, 1.0, 0.0, 0.0]] * 5, "row 0"),
        ("axial", [[2.0, 0.0, 0.0]] * 5, "row 0"),
    ],
)
def test_rows_off_the_manifold_are_named(manifold, bad, message):
    with pytest.raises(ValueError, match=message):
        RiemannianMVLDensity(manifold, **SMALL).fit(bad)
    X = {"simplex": [[0.2, 0.3, 0.5]], "rotation": [[0.0, 0.0, 0.0, 1.0]]}.get(
        manifold, [[1.0, 0.0, 0.0]]
    )
    if isinstance(manifold, str) and np.shape(bad)[1] == np.shape(X)[1]:
        density = RiemannianMVLDensity(manifold, **SMALL).fit(X * 5)
        with pytest.raises(ValueError, match=message):
            density.score_samples(bad)


def test_wrong_names_and_degrees():
    X = directions(20, 0)
    with pytest.raises(ValueError, match="'manifold' parameter"):
        RiemannianMVLDensity("ball", **SMALL).fit(X)
    with pytest.raises(ValueError, match="needs a compact manifold"):
        RiemannianMVLDensity("euclidean", base="uniform", **SMALL).fit(X)
    degrees = np.random.default_rng(0).uniform(0, 360, (50, 1))
    with pytest.warns(UserWarning, match="are they degrees") as caught:
        density = RiemannianMVLDensity("torus", **SMALL).fit(degrees)
    assert sum("degrees" in str(warning.message) for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once is enough
        density.score_samples(degrees)
        density.partial_fit(degrees)


def test_one_hot_rows_draw_a_warning():
    X = np.eye(3)[np.random.default_rng(0).integers(0, 3, 60)]
    with pytest.warns(UserWarning, match="single 1 .* code categories"):
        density = RiemannianMVLDensity(base="uniform", **SMALL).fit(X)
    assert isinstance(density.manifold_, Sphere)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        RiemannianMVLDensity("sphere", base="uniform", **SMALL).fit(X)


def test_manifolds_without_distances_have_the_uniform_base():
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.normal(size=(60, 3, 2)))[0].reshape(60, 6)
    density = RiemannianMVLDensity(Stiefel(3, 2), **SMALL).fit(X)
    assert type(density.base_).__name__ == "UniformBase"
    assert np.isfinite(density.score_samples(X)).all()
    assert density.sample(3, random_state=0).shape == (3, 6)


def graph(y):
    """The paraboloid over the plane."""
    return torch.cat([y, y.square().sum(-1, keepdim=True)], -1)


def test_a_chart_of_the_users():
    box = Chart(graph, dim=2, low=[-2.0, -2.0], high=[2.0, 2.0])
    X = np.random.default_rng(0).normal(size=(300, 2)).clip(-1.9, 1.9)
    density = RiemannianMVLDensity(box, **SMALL).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.score_fn(X).shape == (300, 2)
    assert pickle.loads(pickle.dumps(density)).score(X) == density.score(X)


def test_a_memory_is_not_asked_where_there_is_nothing_to_choose(tmp_path):
    box = Chart(lambda u: graph(u), dim=2, low=[-2.0, -2.0], high=[2.0, 2.0])
    X = np.random.default_rng(0).normal(size=(100, 2)).clip(-1.9, 1.9)
    density = RiemannianMVLDensity(box, memory=str(tmp_path), **SMALL).fit(X)
    assert np.isfinite(density.score(X))
    assert not list(tmp_path.rglob("output.pkl"))


def test_energies_of_users_have_the_symmetries_too():
    X = directions(200, 0)
    density = RiemannianMVLDensity("axial", energy=MLPEnergy, **UNIFORM).fit(X)
    np.testing.assert_array_equal(density.score_samples(-X), density.score_samples(X))


@may_warn
def test_a_resumed_fit_keeps_its_manifold():
    X = directions(50, 0)
    density = RiemannianMVLDensity("sphere", warm_start=True, **UNIFORM).fit(X)
    density.fit(X)
    with pytest.raises(ValueError, match="manifold is now AxialSphere"):
        density.set_params(manifold="axial").fit(X)
