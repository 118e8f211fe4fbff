"""Densities on manifolds against quadrature, series, scipy and moments."""

import numpy as np
import pytest
from scipy import special, stats

from sk_wmvl.datasets import (
    MANIFOLD_DISTRIBUTIONS,
    VonMisesFisherMixture,
    VonMisesMixture,
)
from sk_wmvl.datasets.directional import log_bessel


def sphere_grid():
    """Return nodes and weights: Gauss-Legendre in z times equal steps in longitude."""
    z, w = np.polynomial.legendre.leggauss(120)
    longitude = np.arange(240) * np.pi / 120
    r = np.sqrt(1 - z**2)[:, None]
    nodes = np.stack(
        [
            r * np.cos(longitude),
            r * np.sin(longitude),
            np.repeat(z[:, None], len(longitude), 1),
        ],
        -1,
    )
    return nodes.reshape(-1, 3), np.repeat(w, 240) * np.pi / 120


def circle_grid(n=2000):
    angle = np.arange(n) * 2 * np.pi / n
    return np.c_[np.cos(angle), np.sin(angle)], np.full(n, 2 * np.pi / n)


@pytest.mark.parametrize(
    ("name", "grid"), [("circle", circle_grid), ("sphere", sphere_grid)]
)
def test_density_integrates_to_one(name, grid):
    nodes, weights = grid()
    mass = weights @ np.exp(MANIFOLD_DISTRIBUTIONS[name]().log_density(nodes))
    assert abs(mass - 1) < 1e-10


def test_torus_density_integrates_to_one():
    angle = np.arange(200) * 2 * np.pi / 200
    nodes = np.stack(np.meshgrid(angle, angle), -1).reshape(-1, 2)
    mixture = VonMisesMixture([[0.3, -2], [3, 1]], [[2.0, 30], [0, 5]], [1, 3])
    mass = np.exp(mixture.log_density(nodes)).mean() * (2 * np.pi) ** 2
    assert abs(mass - 1) < 1e-10


@pytest.mark.parametrize("order", [0, 0.5, 2, 9.5, 49.5])
def test_log_bessel_is_smooth_where_the_series_ends(order):
    switch = 2 * (order + 1) ** 0.5
    kappa = switch * (1 + np.array([-1e-9, 1e-9]))
    below, above = log_bessel(order, kappa)
    assert abs(below - above) < 1e-7
    at = np.array([1e-3, 0.9 * switch, 3 * switch])
    plain = np.log(special.iv(order, at)) - order * np.log(at)
    np.testing.assert_allclose(log_bessel(order, at), plain, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("d", [2, 3, 5, 21])
@pytest.mark.parametrize("kappa", [0.01, 3.0, 700.0, 1e5])
def test_one_component_is_scipys(d, kappa):
    mean = np.ones(d) / d**0.5
    X = stats.vonmises_fisher.rvs(mean, kappa, 20, random_state=0)
    ours = VonMisesFisherMixture([mean], [kappa]).log_density(X)
    theirs = stats.vonmises_fisher.logpdf(X, mean, kappa)
    # scipy's normaliser vanishes for small kappa in high dimensions
    if np.isfinite(theirs).all():
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    area = np.log(2) + d / 2 * np.log(np.pi) - special.gammaln(d / 2)
    if kappa == 0.01:
        np.testing.assert_allclose(ours, -area, atol=0.02)


def test_circle_and_torus_agree():
    angle = np.linspace(0, 7, 30)
    vector = np.c_[np.cos(angle), np.sin(angle)]
    on_circle = VonMisesFisherMixture([[0, 1], [1, 0]], [2, 40], [0.2, 0.8])
    on_torus = VonMisesMixture([[np.pi / 2], [0]], [[2], [40]], [0.2, 0.8])
    np.testing.assert_allclose(
        on_circle.log_density(vector), on_torus.log_density(angle[:, None])
    )
    along = np.c_[-np.sin(angle), np.cos(angle)]
    np.testing.assert_allclose(
        (on_circle.score(vector) * along).sum(1),
        on_torus.score(angle[:, None])[:, 0],
        atol=1e-12,
    )


@pytest.mark.parametrize("name", ["circle", "sphere", "sphere-20"])
def test_score_is_the_derivative_along_great_circles(name):
    distribution = MANIFOLD_DISTRIBUTIONS[name]()
    rng = np.random.default_rng(0)
    x = distribution.sample(20, random_state=0)
    u = rng.normal(size=x.shape)
    u -= (u * x).sum(1, keepdims=True) * x
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    h = 1e-5
    up = distribution.log_density(np.cos(h) * x + np.sin(h) * u)
    down = distribution.log_density(np.cos(h) * x - np.sin(h) * u)
    score = distribution.score(x)
    np.testing.assert_allclose(
        (score * u).sum(1), (up - down) / (2 * h), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose((score * x).sum(1), 0, atol=1e-12)


def test_torus_score_is_the_gradient():
    distribution = MANIFOLD_DISTRIBUTIONS["torus-7"]()
    X = distribution.sample(20, random_state=0)
    h, numeric = 1e-5, np.zeros_like(X)
    for j, e in enumerate(h * np.eye(7)):
        up, down = distribution.log_density(X + e), distribution.log_density(X - e)
        numeric[:, j] = (up - down) / (2 * h)
    np.testing.assert_allclose(distribution.score(X), numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("name", sorted(MANIFOLD_DISTRIBUTIONS))
def test_draws_follow_the_density(name, global_random_seed):
    # Mean directions by Bessel ratios. By the divergence theorem the mean score is zero on
    # the torus, and m E[x] on the m-sphere, where tangent parts of constants diverge.
    # 50 000 draws; |z| < 4.5 for up to 42 means.
    distribution = MANIFOLD_DISTRIBUTIONS[name]()
    X = distribution.sample(50_000, random_state=global_random_seed)
    if name == "torus-7":
        ratio = special.i1e(distribution.kappas) / special.i0e(distribution.kappas)
        known = distribution.weights @ (ratio * np.exp(1j * distribution.means))
        values = np.c_[np.cos(X), np.sin(X)] - np.r_[known.real, known.imag]
        assert X.min() >= -np.pi
        assert X.max() < np.pi
    else:
        order, kappa = X.shape[1] / 2, distribution.kappas
        ratio = special.ive(order, kappa) / special.ive(order - 1, kappa)
        values = X - (distribution.weights * ratio) @ distribution.means
        np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, atol=1e-12)
    score = distribution.score(X)
    if name != "torus-7":
        score -= (X.shape[1] - 1) * X
    values = np.c_[values, score]
    z = values.mean(0) / (values.std(0) / len(X) ** 0.5)
    assert np.abs(z).max() < 4.5


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "grid"), [("circle", circle_grid), ("sphere", sphere_grid)]
)
def test_entropy_by_draws_and_by_quadrature(name, grid, global_random_seed):
    # 50 000 draws; |z| < 4.
    distribution = MANIFOLD_DISTRIBUTIONS[name]()
    nodes, weights = grid()
    log_p = distribution.log_density(nodes)
    values = distribution.log_density(distribution.sample(50_000, global_random_seed))
    error = values.mean() - weights @ (np.exp(log_p) * log_p)
    assert abs(error) < 4 * values.std() / len(values) ** 0.5


def test_draws_are_repeated_by_the_seed():
    for make in MANIFOLD_DISTRIBUTIONS.values():
        np.testing.assert_array_equal(make().sample(9, 1), make().sample(9, 1))
    mixed = VonMisesFisherMixture([[1, 0, 0], [0, 1, 0]], [0, 9], [1e-9, 1])
    assert mixed.sample(1, 0).shape == (1, 3)
    assert VonMisesFisherMixture([[1, 0]], [0]).sample(5, 0).shape == (5, 2)


@pytest.mark.parametrize(
    ("cls", "args", "message"),
    [
        (VonMisesFisherMixture, ([[1, 1]], [1]), "unit vectors"),
        (VonMisesFisherMixture, ([1, 0], [1]), "unit vectors"),
        (VonMisesFisherMixture, ([[1, 0]], [-1]), "non-negative"),
        (VonMisesFisherMixture, ([[1, 0]], [1, 2]), "one row per row of means"),
        (VonMisesFisherMixture, ([[1, 0]], [1], [1, 2]), "1 positive numbers"),
        (VonMisesMixture, ([[1, 0]], [1]), "one concentration per"),
        (VonMisesMixture, ([[1, 0]], [[1, 2]], [0]), "positive numbers"),
    ],
)
def test_bad_parameters(cls, args, message):
    with pytest.raises(ValueError, match=message):
        cls(*args)
