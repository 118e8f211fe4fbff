"""Base measures in Euclidean space: Student mixtures, their choice, stacking."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from sk_wmvl import MVLDensity
from sk_wmvl.base_measures import GaussianBase, MixtureBase
from sk_wmvl.base_measures.selection.euclidean import choose_mixture
from sk_wmvl.base_measures.selection.separating_axes import separating_axes
from sk_wmvl.base_measures.selection.stacking import stacking_weights
from sk_wmvl.base_measures.selection.student_mixture import fit_mixture
from sk_wmvl.coordinates.ties import rounding_steps
from sk_wmvl.coordinates.whitening import central_rows, central_units

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 4.0]])
SCALES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[2.0, 0.0], [0.0, 1.0]], np.eye(2) / 4])
DEGREES_OF_FREEDOM = np.array([3.0, np.inf, 11.0])
FAST = {"base": "gaussian", "max_epochs": 1, "random_state": 0}


def none_held_out(x):
    return {"weight": np.ones(len(x)), "held_out": np.arange(0)}


# --- densities ------------------------------------------------------------------------


def test_density_of_student_components():
    base = MixtureBase(WEIGHTS, MEANS, SCALES, DEGREES_OF_FREEDOM)
    x = np.random.default_rng(0).normal(0, 5, (40, 2))
    parts = [
        stats.multivariate_t(MEANS[0], SCALES[0], 3.0),
        stats.multivariate_normal(MEANS[1], SCALES[1]),
        stats.multivariate_t(MEANS[2], SCALES[2], 11.0),
    ]
    expected = sum(w * part.pdf(x) for w, part in zip(WEIGHTS, parts, strict=True))
    value = base.log_prob(torch.tensor(x))
    np.testing.assert_allclose(value.exp().numpy(), expected, rtol=1e-10)
    far = torch.full((1, 2), 1e4, requires_grad=True)
    (slope,) = torch.autograd.grad(base.float().log_prob(far).sum(), far)
    assert torch.isfinite(slope).all()


@pytest.mark.statistical
def test_draws_of_student_components(global_random_seed):
    base = MixtureBase(np.ones(1), MEANS[:1], SCALES[:1], np.array([3.0]))
    generator = torch.Generator().manual_seed(global_random_seed)
    draws = base.sample(4000, generator=generator).numpy()
    z = np.linalg.solve(np.linalg.cholesky(SCALES[0]), draws.T)
    # the squared distance over d has an F distribution
    assert stats.kstest(np.square(z).sum(0) / 2, stats.f(2, 3).cdf).pvalue > 1e-4


# --- the fit --------------------------------------------------------------------------


@pytest.mark.parametrize("degrees_of_freedom", [np.inf, 5.0])
def test_weights_are_copies(degrees_of_freedom):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(50, 3)), rng.integers(1, 4, 50)
    copies = np.repeat(x, weight, 0)
    rest = {"floor": np.zeros(3), "seed": 0}
    a = fit_mixture(x, weight.astype(float), 1, degrees_of_freedom, **rest)
    b = fit_mixture(copies, np.ones(len(copies)), 1, degrees_of_freedom, **rest)
    np.testing.assert_allclose(a.means, b.means, atol=1e-8)
    np.testing.assert_allclose(a.covariances, b.covariances, atol=1e-8)


def modes_among_noise(d, seed):
    """Return 8 modes on a circle, six deviations apart, and d - 2 columns of noise."""
    rng = np.random.default_rng(seed)
    angle = np.arange(8) * np.pi / 4
    centers = np.zeros((8, d))
    centers[:, :2] = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    which = rng.integers(0, 8, 6000)
    x = centers[which] + 0.5 * rng.standard_normal((6000, d))
    return (x - x.mean(0)) / x.std(0), which


@pytest.mark.parametrize("d", [2, 5, 20])
def test_every_one_of_eight_modes_is_found(d, global_random_seed):
    x, which = modes_among_noise(d, global_random_seed)
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 8, np.inf, floor=np.zeros(d), seed=global_random_seed)
    found = fitted.joint(x)[0].argmax(0)
    table = np.zeros((8, 8))
    np.add.at(table, (which, found), 1)
    assert (table.max(1) > 0.99 * table.sum(1)).all()
    assert len(set(table.argmax(1))) == 8


@pytest.mark.parametrize("d", [5, 20])
def test_modes_are_apart_along_separating_axes(d, global_random_seed):
    x, which = modes_among_noise(d, global_random_seed)

    def ratio(y):
        """Return the mean squared distance to the own mode's mean, over that to all's."""
        means = np.stack([y[which == k].mean(0) for k in range(8)])
        own = np.square(y - means[which]).sum(1).mean()
        return own / y.var(0).sum()

    # x: (2 * 0.03 + d - 2) / d; in the plane of the modes alone 0.03
    assert ratio(x) > 0.6
    assert ratio(x @ separating_axes(x, global_random_seed)) < 0.2


def test_copies_do_not_change_what_is_near():
    x = np.random.default_rng(0).normal(size=(200, 3))
    copies = np.repeat(x, 3, 0)
    np.testing.assert_array_equal(separating_axes(copies, 0), separating_axes(x, 0))


def test_columns_of_two_values_are_no_axes_of_clusters(global_random_seed):
    # Near rows agree in binary columns, whose scatter is that of rounding at least; eight
    # modes are found beside four of them.
    rng = np.random.default_rng(global_random_seed)
    x, which = modes_among_noise(6, global_random_seed)
    x[:, 2:] = rng.choice([-1.0, 1.0], (len(x), 4))
    floor = rounding_steps(x) ** 2 / 12
    axes = separating_axes(x, 0, floor=floor)
    lengths = np.linalg.norm(axes, axis=1)
    assert lengths[:2].min() > lengths[2:].max()
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 8, np.inf, floor=floor, seed=0)
    found = fitted.joint(x)[0].argmax(0)
    table = np.zeros((8, 8))
    np.add.at(table, (which, found), 1)
    assert (table.max(1) > 0.99 * table.sum(1)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_or_equal_rows_have_a_finite_axes(n):
    x = np.random.default_rng(0).normal(size=(n, 4))
    assert np.isfinite(separating_axes(x, 0)).all()
    assert np.isfinite(separating_axes(np.repeat(x[:1], 9, 0), 0)).all()


def test_a_student_density_is_fitted_by_maximum_likelihood():
    x = stats.multivariate_t([1.0, -1.0], np.eye(2), 4.0).rvs(
        3000, random_state=np.random.default_rng(0)
    )
    one = np.ones(len(x))
    fitted = fit_mixture(x, one, 1, 4.0, floor=np.zeros(2), seed=0)

    def loss(p):
        L = np.array([[np.exp(p[2]), 0.0], [p[3], np.exp(p[4])]])
        return -stats.multivariate_t(p[:2], L @ L.T, 4.0).logpdf(x).mean()

    best = optimize.minimize(loss, np.zeros(5), method="BFGS")
    assert -fitted.log_prob(x).mean() - best.fun < 1e-4


def test_stacking_maximises_the_likelihood():
    values = np.random.default_rng(0).normal(size=(200, 3))
    weights = stacking_weights(values, np.full(200, 1 / 200))
    direct = optimize.minimize(
        lambda w: -np.log(np.exp(values) @ w).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    assert -np.log(np.exp(values) @ weights).mean() <= direct.fun + 1e-4


# --- the choice -----------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "d"), [(100, 2), (500, 8)])
def test_normal_rows_get_one_normal_density(n, d, global_random_seed):
    x = np.random.default_rng(global_random_seed).normal(size=(n, d))
    assert choose_mixture(x, **none_held_out(x)).is_one_normal


@pytest.mark.statistical
def test_heavy_tails_get_a_student_density(global_random_seed):
    student = stats.multivariate_t(np.zeros(2), np.eye(2), 3.0)
    rng = np.random.default_rng(global_random_seed)
    x, new = student.rvs(1000, random_state=rng), student.rvs(4000, random_state=rng)
    base = choose_mixture(x, **none_held_out(x))
    loss = student.logpdf(new) - base.log_prob(new)
    # 5 parameters fitted to 1000 rows cost 0.0025; the Gaussian 0.4
    assert loss.mean() < 0.03
    far = np.array([[200.0, 0.0]])
    assert abs(student.logpdf(far) - base.log_prob(far))[0] < 3


@pytest.mark.slow
@pytest.mark.statistical
def test_averaged_mixtures_beat_single_ones(global_random_seed, monkeypatch):
    # 400 rows about a closed curve in six columns, which no few components fit: 5000 new
    # rows are likelier than under the same choice from one start, by four standard errors.
    # In three columns, where one start suffices, there is hardly a difference.
    rng = np.random.default_rng(global_random_seed)

    def draw(n):
        t = rng.uniform(0, 2 * np.pi, (n, 1)) * [1, 1, 2, 2, 2, 4]
        curve = np.cos(t - np.pi / 2 * np.array([0, 1, 0, 0, 1, 0]))
        return curve + 0.15 * rng.normal(size=(n, 6))

    x, new = draw(400), draw(5000)
    averaged = choose_mixture(x, **none_held_out(x), seed=global_random_seed)
    monkeypatch.setattr("sk_wmvl.base_measures.selection.euclidean.N_AVERAGED", 1)
    single = choose_mixture(x, **none_held_out(x), seed=global_random_seed)
    gain = averaged.log_prob(new) - single.log_prob(new)
    assert gain.mean() > 4 * gain.std() / 5000**0.5


@pytest.mark.statistical
@pytest.mark.parametrize("d", [2, 5, 20])
def test_weights_of_separated_modes(d, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    right = rng.random(300) < 0.9
    x = rng.normal(size=(300, d))
    x[:, 0] += np.where(right, 4.0, -4.0)
    base = choose_mixture(x / x.std(0), **none_held_out(x)).plain
    z = base.means[:, 0] / np.sqrt(base.covariances[:, 0, 0])
    mass = base.weights @ stats.t(np.minimum(base.degrees_of_freedom, 1e6)).cdf(z)
    assert abs(mass - right.mean()) < 0.01


def test_groups_are_held_out_whole():
    # 20 subjects of 10 rows each in 2 dimensions, tight around their own places.
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(40, 2))
    x = np.repeat(centers, 10, 0) + 0.05 * rng.normal(size=(400, 2))
    groups = np.repeat(np.arange(40), 10)
    seen = groups < 20
    x_seen, x_new = x[seen], x[~seen]
    by_row = choose_mixture(x_seen, **none_held_out(x_seen))
    by_group = choose_mixture(x_seen, **none_held_out(x_seen), groups=groups[seen])
    assert by_group.log_prob(x_new).mean() > by_row.log_prob(x_new).mean() + 1


def test_rounding_is_seen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    x[:, 1] = x[:, 1].round(1)
    np.testing.assert_allclose(rounding_steps(x), [0, 0.1], rtol=1e-9)
    np.testing.assert_array_equal(rounding_steps(np.repeat(x[:40], 20, 0)), [0, 0])


@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_ties_are_reported(factor):
    rng = np.random.default_rng(0)
    x = factor * rng.normal(size=(400, 2))
    x[:, 1] = x[:, 1].round(1)
    x[:10] = x[10:20]
    ties = MVLDensity(**FAST).fit(x).ties_
    assert ties.copies == pytest.approx(0.025)
    # at the larger scale hardly a value is taken twice
    expected = 0.1 if factor == 1 else 0.0
    np.testing.assert_allclose(ties.rounding, [0, expected], rtol=1e-9)


def test_copies_are_not_rounding():
    x = np.random.default_rng(0).normal(size=(200, 1))
    copied = MVLDensity(**FAST).fit(np.r_[x, x]).ties_
    assert copied.copies == 0.5
    assert copied.rounding == 0
    rounded = MVLDensity(**FAST).fit(x.round(1)).ties_
    assert rounded.copies > 0.5
    assert rounded.rounding == pytest.approx(0.1)
    assert rounding_steps(x.round(1)) == pytest.approx(0.1)


def test_rows_without_weight_are_no_copies():
    x = np.random.default_rng(0).normal(size=(200, 2))
    weight = np.repeat([1.0, 0.0], 200)
    density = MVLDensity(warm_start=True, **FAST)
    assert density.fit(np.r_[x, x], sample_weight=weight).ties_.copies == 0
    assert density.fit(np.r_[x, x]).ties_.copies == 0.5  # a second fit looks again


def test_no_component_shrinks_onto_a_tied_value():
    rng = np.random.default_rng(0)
    x = np.c_[np.where(rng.random(300) < 0.5, 0.0, rng.normal(size=300).round(1))]
    base = choose_mixture(x, **none_held_out(x))
    assert base.log_prob(x).max() < np.log(1 / np.sqrt(2 * np.pi * 0.01 / 12))


# --- in the estimator -----------------------------------------------------------------


def test_default_base_integrates_to_one_in_the_units_of_X():
    rng = np.random.default_rng(0)
    X = 1e3 + 50 * np.r_[rng.normal(-3, 0.3, 60), rng.normal(2, 1, 60)][:, None]
    density = MVLDensity(random_state=0, max_epochs=3).fit(X)
    assert isinstance(density.base_, MixtureBase)
    grid = np.linspace(0, 2000, 20_001)[:, None]
    assert np.exp(density.score_samples(grid)).sum() * 0.1 == pytest.approx(1, abs=1e-3)
    plain = MVLDensity(random_state=0, max_epochs=3).fit(rng.normal(size=(60, 2)))
    assert isinstance(plain.base_, GaussianBase)


# --- units ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("far", [1e4, 1e8])
def test_one_far_value_does_not_blur_the_others(far):
    # The value alone in its fold may decide for the heaviest tails, of three degrees of
    # freedom, for all: on normal rows these cost 0.09 nats.
    X = np.random.default_rng(0).normal(size=(400, 2))
    alone = MVLDensity(max_epochs=1, random_state=0).fit(X).score(X)
    density = MVLDensity(max_epochs=1, random_state=0).fit(np.r_[X, [[far, -far]]])
    assert density.score(X) > alone - 0.15
    assert np.isfinite(density.score_samples([[far, -far]]))


def test_central_values():
    X = np.random.default_rng(0).normal(size=(1001, 3)) * [1, 10, 100]
    X[:10, 0] = 1e9
    X[5:30, 1] = -1e9
    X[:, 2] = np.arange(1001) > 800  # most values are equal: all are central
    expected = np.arange(1001) >= 30
    np.testing.assert_array_equal(central_rows(X, [0, 1, 2]), expected)
    np.testing.assert_array_equal(central_rows(X, [0]), np.arange(1001) >= 10)
    mean, std = central_units(X)
    np.testing.assert_allclose(mean[0], X[10:, 0].mean())
    np.testing.assert_allclose(std[1], np.delete(X[:, 1], np.arange(5, 30)).std())
    np.testing.assert_allclose(std[2], X[:, 2].std())
    # outliers in most rows are none
    X = np.random.default_rng(0).normal(size=(40, 30))
    X[np.arange(40), np.arange(40) % 30] = 1e9
    assert central_rows(X, list(range(30))).all()
    np.testing.assert_array_equal(central_units(np.full((5, 1), 7.0))[1], 1)
