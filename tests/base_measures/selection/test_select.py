"""The selected base: what each kind is, in its coordinates, and fitted again."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture

from sk_wmvl._rows import Rows
from sk_wmvl.base_measures import (
    GaussianBase,
    KernelBase,
    ManifoldMixture,
    MixtureBase,
    UniformBase,
)
from sk_wmvl.base_measures.selection import choose_base, select_base
from sk_wmvl.coordinates import Coordinates, fit_coordinates
from sk_wmvl.manifolds import Circle, Euclidean, Hyperbolic, Sphere

IDENTITY = Coordinates(np.zeros(3), np.eye(3))
NO_MOMENTS = (np.zeros(3), np.eye(3))


def clusters(seed=0, n=60):
    """Return rows of two clusters, in units of their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) + np.where(rng.random(n) < 0.4, 5, -3)
    return 100 + 10 * x[:, None]


def skewed(seed=0, n=70):
    return np.exp(np.random.default_rng(seed).normal(size=(n, 1)))


def normal(seed=0, n=60):
    return np.random.default_rng(seed).normal(size=(n, 2)) @ [[1.0, 0.5], [0.0, 0.2]]


def directions(seed=0, n=24):
    x = np.random.default_rng(seed).normal(size=(n, 3)) * 0.3 + [0, 0, 1.0]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def selected(kind, X, weight=None, groups=None, **params):
    columns = list(range(X.shape[1]))
    coordinates, *moments = fit_coordinates(
        X, weight, standardize=True, columns=columns
    )
    rows, space = Rows(X, weight, groups), Euclidean(X.shape[1])
    moments = tuple(moments)
    return select_base(kind, rows, space, coordinates, moments, **params), moments


def log_density(found, base, X):
    """Return log densities in the units of X."""
    coordinates = found.coordinates
    value = base.log_prob(torch.tensor(coordinates.to_internal(X))).numpy()
    value = value - np.linalg.slogdet(coordinates.scale)[1]
    transform = coordinates.transform
    return value if transform is None else value + transform.log_det(X)


KINDS = {
    "auto": ("auto", clusters),
    "one normal": ("auto", normal),
    "transformed": ("auto", skewed),
    "gaussian": ("gaussian", normal),
    "lowest BIC": ("mixture", clusters),
    "unfitted": (GaussianMixture(2, random_state=0), clusters),
    "fitted": (
        FrozenEstimator(GaussianMixture(2, random_state=0).fit(clusters(9))),
        clusters,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    """Return a kind, its rows, and what was selected for them."""
    kind, draw = KINDS[request.param]
    X = draw()
    found, moments = selected(kind, X, may_transform=True)
    return request.param, draw, X, found, moments


# --- what it is -----------------------------------------------------------------------


def test_the_density_is_that_of_the_kind(case):
    name, _, X, found, moments = case
    value = log_density(found, found.base, X)
    assert (found.coordinates.transform is not None) == (name == "transformed")
    if name in ("gaussian", "one normal"):
        assert isinstance(found.base, GaussianBase)
        expected = stats.multivariate_normal(*moments).logpdf(X)
    elif name == "fitted":
        expected = KINDS[name][0].estimator.score_samples(X)
    elif name == "unfitted":
        expected = clone(KINDS[name][0]).fit(X).score_samples(X)
    elif name == "lowest BIC":
        assert isinstance(found.base, MixtureBase)
        assert len(found.base.weights) == 2
        expected = GaussianMixture(2, random_state=0).fit(X).score_samples(X)
        np.testing.assert_allclose(value.mean(), expected.mean(), atol=0.02)
        return
    else:
        # one column: the integral, and the true density to 0.15 nats a row
        t = np.linspace(-8, 8, 20_001)
        x = np.sinh(t) if name == "transformed" else 100 + 50 * t
        mass = np.exp(log_density(found, found.base, x[:, None]))
        assert integrate.trapezoid(mass, x) == pytest.approx(1, abs=1e-3)
        new = KINDS[name][1](seed=5, n=2000)
        if name == "transformed":
            truth = stats.lognorm(1).logpdf(new[:, 0])
        else:
            parts = [stats.norm(50 + 100, 10), stats.norm(-30 + 100, 10)]
            parts = [p.pdf(new[:, 0]) for p in parts]
            truth = np.log(0.4 * parts[0] + 0.6 * parts[1])
        assert (truth - log_density(found, found.base, new)).mean() < 0.15
        return
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_what_was_compared_is_told(case):
    name, _, _, found, _ = case
    if name not in ("auto", "transformed", "one normal"):
        assert found.candidates == found.chosen == {}
        return
    scores = found.candidates
    assert set(found.chosen) <= set(scores)
    assert sum(found.chosen.values()) == pytest.approx(1)
    assert np.isfinite(list(scores.values())).all()
    assert scores["1 normal component"] <= max(scores.values())
    if name == "one normal":
        assert found.chosen == {"1 normal component": 1.0}
    if name == "auto":
        assert scores["2 normal components"] > scores["1 normal component"] + 0.3
    if name == "transformed":
        best = scores["1 normal component, of transformed columns"]
        assert best > scores["1 normal component"] + 0.3


# --- fitted again ---------------------------------------------------------------------


def test_a_refit_to_the_same_rows_is_the_same(case):
    _, _, X, found, moments = case
    again = found.refit(Rows(X, None, None), moments)
    x = torch.tensor(found.coordinates.to_internal(X))
    torch.testing.assert_close(again.log_prob(x), found.base.log_prob(x))


def test_a_refit_follows_other_rows_in_the_same_coordinates(case):
    # Rows from elsewhere: a refit makes them likelier, if only a little in some kinds.
    name, draw, X, found, _ = case
    new = draw(seed=1)
    new = new + 0.5 * X.std(0) if name != "transformed" else 2 * new
    columns = list(range(X.shape[1]))
    _, *moments = fit_coordinates(new, None, standardize=True, columns=columns)
    base = found.refit(Rows(new, None, None), tuple(moments))
    gain = (log_density(found, base, new) - log_density(found, found.base, new)).mean()
    assert gain == 0 if name == "fitted" else gain > 0.01


def test_rows_can_be_kept_from_the_base_until_it_is_refitted():
    # one cluster is not among the rows that the base is fitted to
    X = clusters(n=100)
    right = X[:, 0] > 110
    found, _ = selected("auto", X[~right])
    before = log_density(found, found.base, X[right]).mean()
    columns = [0]
    _, *moments = fit_coordinates(X, None, standardize=True, columns=columns)
    base = found.refit(Rows(X, None, None), tuple(moments))
    assert log_density(found, base, X[right]).mean() > before + 1


# --- on manifolds ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("mixture", ManifoldMixture), ("kernel", KernelBase), ("uniform", UniformBase)],
)
def test_kinds_on_the_sphere(kind, expected):
    X = directions()
    rows, some = Rows(X, None, None), np.arange(20, 24)
    space = Sphere(2), IDENTITY, NO_MOMENTS
    found = select_base(kind, rows, *space, held_out=some, seed=3)
    assert isinstance(found.base, expected)
    x = torch.tensor(X)
    value = found.base.log_prob(x)
    again = found.refit(rows, NO_MOMENTS).log_prob(x)
    if kind == "mixture":  # goes on for a few steps, after a fit that was stopped early
        assert -0.01 < float((again - value).mean()) < 0.5
    else:
        torch.testing.assert_close(again, value)
    if kind == "uniform":
        assert found.candidates == {}
        return
    assert found.candidates["uniform"] == pytest.approx(-np.log(4 * np.pi))
    if kind == "kernel":
        one = torch.ones(24, dtype=torch.float64)
        parts = x[:20], one[:20], x[20:], one[20:]
        direct = choose_base(Sphere(2), *parts, kinds=(kind,), seed=3)
        torch.testing.assert_close(direct.log_prob(x), value)
    # of rows about another pole
    moved = found.refit(Rows(X[:, [2, 0, 1]].copy(), None, None), NO_MOMENTS)
    near = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert moved.log_prob(near) > found.base.log_prob(near) + 2


def test_no_base_is_a_cheap_proposal():
    X = directions()
    space = Sphere(2), IDENTITY, NO_MOMENTS
    assert isinstance(select_base(None, Rows(X, None, None), *space).base, UniformBase)
    plane = Coordinates(np.zeros(2), np.eye(2))
    open_space = Hyperbolic(2), plane, (np.zeros(2), np.eye(2))
    points = Hyperbolic(2).random_point(8, generator=torch.Generator().manual_seed(0))
    base = select_base(None, Rows(points.numpy(), None, None), *open_space).base
    assert isinstance(base, ManifoldMixture | KernelBase)


@pytest.mark.parametrize("space", [Euclidean(3), Hyperbolic(2)])
def test_an_open_space_has_no_uniform_density(space):
    with pytest.raises(ValueError, match="needs a compact manifold"):
        select_base(
            "uniform", Rows(directions(), None, None), space, IDENTITY, NO_MOMENTS
        )


def test_a_memory_keeps_choices_and_their_fits(tmp_path, monkeypatch):
    X = np.random.default_rng(0).vonmises(0, 3, (40, 1))
    line = Coordinates(np.zeros(1), np.eye(1))
    arguments = Rows(X, None, None), Circle("angle"), line, (np.zeros(1), np.eye(1))
    found = select_base("kernel", *arguments, memory=str(tmp_path))
    monkeypatch.delattr("sk_wmvl.base_measures.selection.manifold.choose_spread")
    again = select_base("kernel", *arguments, memory=str(tmp_path))
    x = torch.tensor(X)
    torch.testing.assert_close(again.base.log_prob(x), found.base.log_prob(x))
    assert again.candidates == found.candidates
    with pytest.raises(NameError):
        select_base("mixture", *arguments, memory=str(tmp_path))


@pytest.mark.statistical
def test_a_refit_forgets_rows_that_are_not_there(global_random_seed):
    # 150 rows of five columns, a mixture that has learned much of them by heart. Without 50
    # of them the mean log density of these is that of 2000 new rows, |z| < 4.
    rng = np.random.default_rng(global_random_seed)
    centers = rng.normal(size=(4, 5))

    def draw(n):
        return centers[rng.integers(0, 4, n)] + 0.6 * rng.standard_normal((n, 5))

    X, new = draw(150), draw(2000)
    for kind in ("auto", "mixture"):
        found, _ = selected(kind, X, seed=global_random_seed)
        kept = np.arange(50, 150)
        columns = list(range(5))
        _, *moments = fit_coordinates(X[kept], None, standardize=True, columns=columns)
        base = found.refit(Rows(X[kept], None, None), tuple(moments))
        gap = log_density(found, base, X[:50]), log_density(found, base, new)
        difference = gap[0].mean() - gap[1].mean()
        error = np.hypot(gap[0].std() / 50**0.5, gap[1].std() / 2000**0.5)
        assert abs(difference) < 4 * error
