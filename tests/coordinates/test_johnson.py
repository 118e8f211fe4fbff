"""Columns made nearly normal, and the base measures of what they become."""

import pickle

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.base_measures import GaussianBase, StackedBase, TransformedBase
from sk_wmvl.base_measures.selection.euclidean import (
    ChosenMixture,
    Sample,
    choose_mixture,
)
from sk_wmvl.base_measures.selection.student_mixture import fit_mixture
from sk_wmvl.coordinates import InvertedColumns, JohnsonColumns
from sk_wmvl.coordinates.johnson import JohnsonTransform, _loss, fit_johnson
from sk_wmvl.coordinates.ties import rounding_steps
from sk_wmvl.energies import CorrectedEnergy, MLPEnergy, TransformedEnergy

TRANSFORM = JohnsonTransform(
    np.array([0.3, -1.0]),
    np.array([0.5, 2.0]),
    np.array([1.0, -0.2]),
    np.array([0.7, 1.3]),
)
SHIFT, MATRIX = np.array([0.2, -0.4]), np.array([[1.5, 0.2], [-0.3, 0.8]])


def distributions(transform):
    """Return those of columns whose transformations are standard normal."""
    return [
        stats.johnsonsu(-m / s, 1 / s, location, scale)
        for location, scale, m, s in zip(*transform, strict=True)
    ]


def lognormal_rows(rng, n):
    """Return two correlated lognormal columns, and a function of their log density."""
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    normal = stats.multivariate_normal([0, 0], covariance)

    def log_density(x):
        return normal.logpdf(np.log(x)) - np.log(x).sum(1)

    return np.exp(rng.multivariate_normal([0, 0], covariance, n)), log_density


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Return where bases are kept: tests that fit to the same rows choose once."""
    return str(tmp_path_factory.mktemp("bases"))


# --- the transformation ---------------------------------------------------------------


def test_slopes_are_derivatives():
    x = np.random.default_rng(0).normal(0, 3, (50, 2))
    h = 1e-6
    rise = TRANSFORM.forward(x + h) - TRANSFORM.forward(x - h)
    np.testing.assert_allclose(TRANSFORM.slopes(x), rise / (2 * h), rtol=1e-6)
    expected = np.log(TRANSFORM.slopes(x)).sum(1)
    np.testing.assert_allclose(TRANSFORM.log_det(x), expected)


@pytest.mark.parametrize(
    "distribution", [stats.gamma(2), stats.t(3), stats.norm(), stats.gumbel_l()]
)
def test_one_column_is_fitted_by_maximum_likelihood(distribution):
    x = distribution.rvs(400, random_state=np.random.default_rng(0))[:, None]
    x = (x - x.mean()) / x.std()
    own = distributions(fit_johnson(x, np.ones(400)))[0].logpdf(x).mean()
    # scipy's fit is of the same family, without bounds
    direct = stats.johnsonsu(*stats.johnsonsu.fit(x)).logpdf(x).mean()
    assert own > direct - 2e-3


def test_columns_are_transformed_together(global_random_seed):
    # one column is nearly the exponential of the other: the joint likelihood is higher
    # than with what each alone prefers
    rng = np.random.default_rng(global_random_seed)
    z = rng.normal(size=500)
    x = np.c_[z, np.exp(z)] + 0.02 * rng.normal(size=(500, 2))
    x = (x - x.mean(0)) / x.std(0)
    one = np.ones(500)

    def likelihood(transform):
        y = transform.forward(x)
        normal = stats.multivariate_normal(y.mean(0), np.cov(y.T))
        return (normal.logpdf(y) + transform.log_det(x)).mean()

    alone = [fit_johnson(x[:, j : j + 1], one) for j in range(2)]
    apart = JohnsonTransform(
        *(np.concatenate(part) for part in zip(*alone, strict=True))
    )
    assert likelihood(fit_johnson(x, one)) > likelihood(apart)


def test_weights_are_copies():
    rng = np.random.default_rng(0)
    x, weight = np.exp(rng.normal(size=(80, 3))), rng.integers(1, 4, 80)
    # copies have other quantiles, where the search starts
    a = fit_johnson(x, weight.astype(float))
    b = fit_johnson(np.repeat(x, weight, 0), np.ones(weight.sum()))
    np.testing.assert_allclose(a.forward(x), b.forward(x), atol=0.02)


def test_the_sign_of_columns_is_immaterial():
    x = np.exp(np.random.default_rng(0).normal(size=(200, 3)))
    one = np.ones(200)
    np.testing.assert_allclose(
        fit_johnson(-x, one).forward(-x), -fit_johnson(x, one).forward(x), atol=1e-3
    )


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(100, 3)) @ rng.normal(size=(3, 3)))
    x = np.c_[x / x.std(0), np.zeros(100)]  # and a column without a spread
    weight = rng.random(100)
    weight /= weight.sum()
    point = rng.normal(size=8)

    def value(p):
        return _loss(x, weight, p.reshape(2, 4))[0]

    gradient = _loss(x, weight, point.reshape(2, 4))[1].ravel()
    expected = optimize.approx_fprime(point, value, 1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_a_column_of_one_value_stays_finite():
    x = np.c_[np.zeros(60), np.exp(np.random.default_rng(0).normal(size=60))]
    transform = fit_johnson(x, np.ones(60))
    np.testing.assert_allclose(transform.forward(x)[:, 0], 0)
    assert np.isfinite(transform.log_det(x)).all()


def test_no_scale_is_below_its_bound():
    x = np.exp(2 * np.random.default_rng(0).normal(size=(300, 2)))
    x /= x.std(0)
    scale = fit_johnson(x, np.ones(300), least_scale=np.array([0.1, 0.0])).scale
    assert scale[0] >= 0.1
    assert 0.02 <= scale[1] < 0.1


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


def test_inverted_columns_invert():
    columns = JohnsonColumns(TRANSFORM)
    inverted = InvertedColumns(columns)
    x = torch.tensor(np.random.default_rng(0).normal(0, 5, (30, 2)))
    y = columns(x)
    np.testing.assert_allclose(y.numpy(), TRANSFORM.forward(x.numpy()), atol=1e-12)
    np.testing.assert_allclose(
        columns.log_det(x).numpy(), TRANSFORM.log_det(x.numpy()), atol=1e-12
    )
    torch.testing.assert_close(inverted(y), x)
    torch.testing.assert_close(inverted.inverse(x), y)
    torch.testing.assert_close(inverted.log_det(y), -columns.log_det(x))


def test_units_of_a_transformation():
    center, std = np.array([1e3, -2.0]), np.array([50.0, 0.1])
    x = np.random.default_rng(0).normal(0, 3, (20, 2))
    moved = TRANSFORM.in_units(center, std)
    np.testing.assert_allclose(moved.forward(center + std * x), TRANSFORM.forward(x))


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


@pytest.mark.statistical
def test_stacked_density_and_draws(global_random_seed):
    means, weights = (-2.0, 1.0, 5.0), np.array([0.2, 0.7, 0.1])
    bases = [GaussianBase(np.full(1, m), np.eye(1)) for m in means]
    base = StackedBase(bases, weights)
    x = np.linspace(-5, 8, 30)
    expected = weights @ [stats.norm(m).pdf(x) for m in means]
    value = base.log_prob(torch.tensor(x)[:, None]).exp()
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-10)
    generator = torch.Generator().manual_seed(global_random_seed)
    draws = base.sample(4000, generator=generator).numpy()[:, 0]

    def cdf(x):
        return weights @ [stats.norm(m).cdf(x) for m in means]

    assert stats.kstest(draws, cdf).pvalue > 1e-4
    # in random order: neighbours are independent
    r = np.corrcoef(draws[1:], draws[:-1])[0, 1]
    assert abs(r) * np.sqrt(len(draws)) < 4
    assert base.sample(1, generator=generator).shape == (1, 1)  # none of two parts


# --- the choice -----------------------------------------------------------------------


@pytest.mark.statistical
def test_lognormal_columns(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    x, log_density = lognormal_rows(rng, 500)
    new, _ = lognormal_rows(rng, 4000)
    mixture = choose_mixture(x, np.ones(500), held_out=np.arange(0))
    assert mixture.transformed_weight > 0.5
    # 9 parameters fitted to 500 rows cost 0.009; without transformations 0.09 and more
    assert (log_density(new) - mixture.log_prob(new)).mean() < 0.03


def test_few_rows_are_not_transformed():
    # 49 of 62 are left where five folds hold out 12 or 13
    x, _ = lognormal_rows(np.random.default_rng(0), 62)
    assert choose_mixture(x, np.ones(62), held_out=np.arange(0)).transform is None


def test_no_component_is_narrower_than_rounding():
    rng = np.random.default_rng(0)
    x = np.where(
        rng.random((300, 2)) < 0.7, 0, np.exp(rng.normal(2, 1, (300, 2))).round()
    )
    x = x / x.std(0)
    steps = rounding_steps(x)
    transform, _, _, floor = Sample(x, np.ones(300)).transformed
    grid = np.linspace(-3, 10, 20_001)[:, None] * np.ones(2)
    narrowest = np.sqrt(floor) / transform.slopes(grid).max(0)
    assert (narrowest >= steps / np.sqrt(12)).all()
    mixture = choose_mixture(x, np.ones(300), held_out=np.arange(0))
    assert mixture.transformed_weight > 0.5
    highest = -0.5 * np.log(2 * np.pi * steps**2 / 12).sum()
    assert mixture.log_prob(np.unique(x, axis=0)).max() < highest


# --- in the estimator -----------------------------------------------------------------


@pytest.mark.parametrize("transformed", [False, True])
def test_a_stack_is_the_same_density_in_internal_units(transformed):
    rng = np.random.default_rng(0)
    plain = fit_mixture(
        rng.normal(size=(50, 2)), np.ones(50), 2, 10.0, floor=np.zeros(2), seed=0
    )
    chosen = ChosenMixture(plain, plain, TRANSFORM, 0.4)
    base = chosen.base(SHIFT, MATRIX, transformed=transformed)
    assert isinstance(base, StackedBase)
    u = rng.normal(0, 1, (40, 2))
    z, volume = SHIFT + u @ MATRIX.T, np.log(np.linalg.det(MATRIX))
    if transformed:
        z = TRANSFORM.location + TRANSFORM.scale * np.sinh(
            TRANSFORM.mean + TRANSFORM.std * z
        )
        volume = volume - TRANSFORM.log_det(z)
    expected = chosen.log_prob(z) + volume
    np.testing.assert_allclose(
        base.log_prob(torch.tensor(u)).numpy(), expected, rtol=1e-9
    )


@pytest.mark.parametrize(
    "parameters", [{}, {"standardize": False}, {"energy": "kernel"}]
)
def test_the_density_integrates_to_one(parameters):
    X = 1e3 + 50 * np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    density = MVLDensity(max_epochs=3, random_state=0, **parameters).fit(X)
    transformed = isinstance(density.base_, TransformedBase)
    # either the base, or the coordinates
    assert (density.energy_.columns is None) == transformed == bool(parameters)
    # dense where the density is steep
    t = np.linspace(-16, 30, 20_001)
    value = density.score_samples((1e3 + 1e-3 * np.sinh(t))[:, None])
    mass = np.exp(value) * 1e-3 * np.cosh(t)
    assert integrate.trapezoid(mass, t) == pytest.approx(1, abs=1e-3)


@pytest.mark.statistical
def test_units_and_signs_do_not_matter(global_random_seed):
    X, _ = lognormal_rows(np.random.default_rng(global_random_seed), 150)
    density = MVLDensity(max_epochs=1, random_state=0).fit(X)
    moved = [1e3, -5.0] + np.array([-20.0, 1e-3]) * X
    other = MVLDensity(max_epochs=1, random_state=0).fit(moved)
    # folds and starts depend on the order of the values, hence on their sign
    assert abs(other.score(moved) - density.score(X) + np.log(0.02)) < 0.1


@pytest.mark.parametrize(
    "objective", ["mvl", "mvl-graph", "sm", "ssm-vr", "dsm", "annealed", "mle", "mpf"]
)
def test_every_kind_of_objective_takes_the_base(objective, memory):
    X, log_density = lognormal_rows(np.random.default_rng(0), 150)
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
    X = [1e3, -5.0] + [50.0, 1e-3] * lognormal_rows(rng, 300)[0]
    density = MVLDensity(max_epochs=3, random_state=0).fit(X)
    draws = density.sample(2000, random_state=global_random_seed)
    for x, y in zip(X.T, draws.T, strict=True):
        assert stats.ks_2samp(x, y).pvalue > 1e-4


def test_scores_are_slopes_in_the_units_of_the_data():
    X = [1e3, -5.0] + [50.0, 0.1] * lognormal_rows(np.random.default_rng(0), 150)[0]
    density = MVLDensity(max_epochs=3, random_state=0).fit(X)
    x, scores = X[:20], density.score_fn(X[:20])
    for j, h in enumerate([1e-4, 1e-6]):
        step = h * np.eye(2)[j]
        rise = density.score_samples(x + step) - density.score_samples(x - step)
        np.testing.assert_allclose(scores[:, j], rise / (2 * h), rtol=1e-4)


def test_a_fit_goes_on_in_the_coordinates_it_had(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 150)
    params = {"max_epochs": 2, "random_state": 0, "memory": memory}
    density = MVLDensity(warm_start=True, **params).fit(X)
    before = density.energy_
    density.fit(X + 1)
    for name in ("location", "scale", "mean", "std"):
        old, new = (getattr(e.columns, name) for e in (before, density.energy_))
        assert torch.equal(old, new)
    copied = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(copied.score_samples(X), density.score_samples(X))


@pytest.mark.parametrize("spread", [0.0, 1e-15, 1e-13])
def test_columns_without_a_spread_change_nothing(spread, memory):
    rng = np.random.default_rng(0)
    X, _ = lognormal_rows(rng, 150)
    third = 1 + spread * rng.normal(size=(150, 1))
    params = {"max_epochs": 3, "random_state": 0, "memory": memory}
    density = MVLDensity(**params).fit(np.hstack([X, third]))
    assert density.energy_.columns is not None
    # what is left is the constant density of the third column
    rest = density.score_samples(np.hstack([X, third])) - MVLDensity(**params).fit(
        X
    ).score_samples(X)
    assert rest.std() < 0.3


def test_a_family_does_not_go_on_in_transformed_columns(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 150)
    params = {"max_epochs": 2, "random_state": 0, "memory": memory}
    density = MVLDensity(warm_start=True, **params).fit(X)
    with pytest.raises(ValueError, match="cannot go on.*warm_start=False"):
        density.set_params(energy="gaussian").fit(X)


def test_without_a_base_columns_are_as_they_are(memory):
    X, _ = lognormal_rows(np.random.default_rng(0), 150)
    params = {"base": None, "normalizer": None, "max_epochs": 2, "random_state": 0}
    params["memory"] = memory
    assert RiemannianMVLDensity("euclidean", **params).fit(X).energy_.columns is None
    assert MVLDensity(**params).fit(X).energy_.columns is None
