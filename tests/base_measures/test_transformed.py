"""Densities of transformed columns, and models that correct them."""

import pickle

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.base_measures import GaussianBase, StackedBase, TransformedBase
from sk_wmvl.coordinates import InvertedColumns, JohnsonColumns
from sk_wmvl.energies import CorrectedEnergy, MLPEnergy, TransformedEnergy
from tests.coordinates._cases import (
    MATRIX,
    SHIFT,
    TRANSFORM,
    distributions,
    lognormal_rows,
)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Return where bases are kept: tests that fit to the same rows choose once."""
    return str(tmp_path_factory.mktemp("bases"))


# --- densities ------------------------------------------------------------------------


def test_density_of_transformed_columns():
    base = TransformedBase(
        GaussianBase(np.zeros(2), np.eye(2)), JohnsonColumns(TRANSFORM), SHIFT, MATRIX
    )
    u = np.random.default_rng(0).normal(0, 2, (40, 2))
    z = SHIFT + u @ MATRIX.T
    each = enumerate(distributions(TRANSFORM))
    expected = sum(column.logpdf(z[:, j]) for j, column in each)
    expected = expected + np.log(np.linalg.det(MATRIX))
    np.testing.assert_allclose(
        base.log_prob(torch.tensor(u)).numpy(), expected, rtol=1e-10
    )
    far = torch.full((1, 2), 1e6, requires_grad=True)
    (slope,) = torch.autograd.grad(base.float().log_prob(far).sum(), far)
    assert torch.isfinite(slope).all()


@pytest.mark.statistical
def test_draws_of_transformed_columns(global_random_seed):
    base = TransformedBase(
        GaussianBase(np.zeros(2), np.eye(2)), JohnsonColumns(TRANSFORM), SHIFT, MATRIX
    )
    generator = torch.Generator().manual_seed(global_random_seed)
    z = SHIFT + base.sample(4000, generator=generator).numpy() @ MATRIX.T
    for j, column in enumerate(distributions(TRANSFORM)):
        assert stats.kstest(z[:, j], column.cdf).pvalue > 1e-4


def test_density_of_normal_columns_seen_from_transformed_ones():
    # of normal x, y is such that T^-1(y) is normal
    columns = InvertedColumns(JohnsonColumns(TRANSFORM))
    base = TransformedBase(GaussianBase(np.zeros(2), np.eye(2)), columns, SHIFT, MATRIX)
    u = np.random.default_rng(0).normal(0, 1, (40, 2))
    y = SHIFT + u @ MATRIX.T
    x = TRANSFORM.location + TRANSFORM.scale * np.sinh(
        TRANSFORM.mean + TRANSFORM.std * y
    )
    expected = stats.norm.logpdf(x).sum(1) - TRANSFORM.log_det(x)
    expected = expected + np.log(np.linalg.det(MATRIX))
    np.testing.assert_allclose(
        base.log_prob(torch.tensor(u)).numpy(), expected, rtol=1e-10
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_points_have_finite_slopes(dtype):
    columns = InvertedColumns(JohnsonColumns(TRANSFORM))
    normal = GaussianBase(np.zeros(2), np.eye(2))
    seen = TransformedBase(normal, columns, SHIFT, MATRIX)
    base = StackedBase([normal, seen], np.array([0.5, 0.5])).to(dtype)
    far = torch.tensor([[1e3, -1e3]], dtype=dtype, requires_grad=True)
    value = base.log_prob(far)
    (slope,) = torch.autograd.grad(value.sum(), far)
    assert torch.isfinite(value).all()
    # where only the one that falls more slowly is left
    torch.testing.assert_close(slope, -far.detach())


def test_an_energy_of_transformed_columns():
    normal = GaussianBase(np.zeros(2), np.eye(2))
    inner = CorrectedEnergy(MLPEnergy(2).double(), normal, scale=0.0)
    energy = TransformedEnergy(inner, SHIFT, MATRIX, TRANSFORM)
    x = np.random.default_rng(0).normal(0, 3, (40, 2))
    transformed = stats.multivariate_normal(SHIFT, MATRIX @ MATRIX.T)
    expected = transformed.logpdf(TRANSFORM.forward(x)) + TRANSFORM.log_det(x)
    points = torch.tensor(x)
    with torch.no_grad():
        np.testing.assert_allclose(-energy(points).numpy(), expected, rtol=1e-9)
    torch.testing.assert_close(energy.to_user(energy.to_internal(points)), points)


# --- in the estimator -----------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [{}, {"standardize": False}, {"energy": "kernel"}]
)
def test_the_density_integrates_to_one(parameters, memory):
    X = 1e3 + 50 * np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    rest = {"memory": memory, "max_epochs": 3, "random_state": 0}
    density = MVLDensity(**rest, **parameters).fit(X)
    # transformed are either the coordinates, or the base
    assert (density.energy_.columns is None) == bool(parameters)
    if parameters:
        assert isinstance(density.base_, TransformedBase | StackedBase)
    # dense where the density is steep
    t = np.linspace(-16, 30, 20_001)
    value = density.score_samples((1e3 + 1e-3 * np.sinh(t))[:, None])
    mass = np.exp(value) * 1e-3 * np.cosh(t)
    assert integrate.trapezoid(mass, t) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.statistical
def test_units_and_signs_do_not_matter(global_random_seed):
    X, _ = lognormal_rows(np.random.default_rng(global_random_seed), 300)
    density = MVLDensity(max_epochs=1, random_state=0).fit(X)
    moved = [1e3, -5.0] + np.array([-20.0, 1e-3]) * X
    other = MVLDensity(max_epochs=1, random_state=0).fit(moved)
    # folds and starts depend on the order of the values, hence on their sign
    assert abs(other.score(moved) - density.score(X) + np.log(0.02)) < 0.1


@pytest.mark.parametrize(
    "objective", ["mvl", "mvl-graph", "sm", "ssm-vr", "dsm", "annealed", "mle", "mpf"]
)
def test_every_kind_of_objective_takes_the_base(objective, memory):
    X, log_density = lognormal_rows(np.random.default_rng(0), 100)
    params = {"max_epochs": 2, "random_state": 0, "memory": memory}
    density = MVLDensity(objective, **params).fit(X)
    assert density.energy_.columns is not None
    assert density.score(X) > log_density(X).mean() - 0.1


def bent_rows(rng, n):
    """Return exponentials of three crescents: six columns."""
    first, noise = rng.normal(size=(2, n, 3))
    return np.exp(np.hstack([first, 0.7 * (first**2 - 1) + 0.5 * noise]))


@pytest.mark.slow
@pytest.mark.statistical
def test_the_network_learns_in_transformed_columns(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = bent_rows(rng, 1000)
    new = bent_rows(rng, 4000)
    density = MVLDensity(random_state=global_random_seed).fit(X)
    assert density.energy_.columns is not None
    x = torch.tensor(new)
    with torch.no_grad():
        base = density.base_.log_prob(density.energy_.to_internal(x))
        base = base - density.energy_.log_det(x)
    gain = density.score_samples(new) - base.numpy()
    # 0.07 to 0.13 nats a row
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


@pytest.mark.statistical
def test_draws_are_in_the_units_of_the_data(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = [1e3, -5.0] + [50.0, 1e-3] * lognormal_rows(rng, 100)[0]
    density = MVLDensity(max_epochs=3, random_state=0).fit(X)
    draws = density.sample(2000, random_state=global_random_seed)
    for x, y in zip(X.T, draws.T, strict=True):
        assert stats.ks_2samp(x, y).pvalue > 1e-4


def test_scores_are_slopes_in_the_units_of_the_data():
    X = [1e3, -5.0] + [50.0, 0.1] * lognormal_rows(np.random.default_rng(0), 80)[0]
    density = MVLDensity(max_epochs=3, random_state=0).fit(X)
    x, scores = X[:20], density.score_fn(X[:20])
    for j, h in enumerate([1e-4, 1e-6]):
        step = h * np.eye(2)[j]
        rise = density.score_samples(x + step) - density.score_samples(x - step)
        np.testing.assert_allclose(scores[:, j], rise / (2 * h), rtol=1e-4)


def test_a_fit_goes_on_in_the_coordinates_it_had(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 100)
    params = {"max_epochs": 2, "random_state": 0, "memory": memory}
    density = MVLDensity(warm_start=True, **params).fit(X)
    before = density.energy_
    density.fit(X + 1)
    for name in ("location", "scale", "mean", "std"):
        old, new = (getattr(e.columns, name) for e in (before, density.energy_))
        assert torch.equal(old, new)
    copied = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(copied.score_samples(X), density.score_samples(X))


@pytest.mark.parametrize(
    "spread",
    [0.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1e-15, 1e-13))],
)
# without any spread it is a constant column, of which the fit tells
@pytest.mark.filterwarnings("ignore:Constant columns of X are left out")
def test_columns_without_a_spread_change_nothing(spread, memory):
    rng = np.random.default_rng(0)
    X, _ = lognormal_rows(rng, 80)
    third = 1 + spread * rng.normal(size=(80, 1))
    params = {"max_epochs": 3, "random_state": 0, "memory": memory}
    density = MVLDensity(**params).fit(np.hstack([X, third]))
    assert density.energy_.columns is not None
    # what is left is the constant density of the third column
    rest = density.score_samples(np.hstack([X, third])) - MVLDensity(**params).fit(
        X
    ).score_samples(X)
    assert rest.std() < 0.3


def test_a_family_does_not_go_on_in_transformed_columns(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 100)
    params = {"max_epochs": 2, "random_state": 0, "memory": memory}
    density = MVLDensity(warm_start=True, **params).fit(X)
    with pytest.raises(ValueError, match="cannot go on.*warm_start=False"):
        density.set_params(energy="gaussian").fit(X)


def test_without_a_base_columns_are_as_they_are(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 100)
    params = {"base": None, "normalizer": None, "max_epochs": 2, "random_state": 0}
    params["memory"] = memory
    assert RiemannianMVLDensity("euclidean", **params).fit(X).energy_.columns is None
    assert MVLDensity(**params).fit(X).energy_.columns is None
