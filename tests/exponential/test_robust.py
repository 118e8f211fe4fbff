"""Windham's robust fits: fixed points written out, standard errors, outliers."""

import numpy as np
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.exponential import (
    BinghamFamily,
    FisherBinghamFamily,
    GaussianFamily,
    VonMisesFisherFamily,
)
from sk_wmvl.metrics import hyvarinen_score

NORMAL = "mean", "covariance"


def gaussian(c, **params):
    return MVLDensity(energy=GaussianFamily(c), random_state=0, **params)


def directions(c, family=VonMisesFisherFamily, **params):
    return RiemannianMVLDensity(energy=family(c), random_state=0, **params)


def windham_normal(X, weight, c):
    """Return mean and covariance: weighted ones, the covariance times 1 + c."""
    mean, covariance = np.average(X, 0, weight), np.cov(X.T, aweights=weight, ddof=0)
    covariance = np.atleast_2d(covariance)
    for _ in range(2000):
        w = weight * stats.multivariate_normal(mean, covariance).pdf(X) ** c
        mean = np.average(X, 0, w)
        covariance = (1 + c) * np.atleast_2d(np.cov(X.T, aweights=w, ddof=0))
    return mean, covariance


@pytest.mark.parametrize("d", [1, 3])
def test_normal_against_the_fixed_point(d):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, d)) @ np.diag([2.0, 0.5, 1.0][:d]) + 3
    X[:20] += 30
    weight = rng.integers(1, 4, 300).astype(float)
    density = gaussian(0.3).fit(X, sample_weight=weight)
    mean, covariance = windham_normal(X, weight, 0.3)
    np.testing.assert_allclose(density.parameters_["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(density.parameters_["covariance"], covariance, rtol=1e-6)
    log_prob = stats.multivariate_normal(mean, covariance).logpdf(X)
    gap = density.score_samples(X) - log_prob
    np.testing.assert_allclose(gap, 0, atol=1e-4)
    expected = np.exp(0.3 * (log_prob - log_prob.max()))
    np.testing.assert_allclose(density.robust_weights_, expected, atol=1e-5)
    assert (
        density.robust_weights_[:20].max() < 1e-3 < density.robust_weights_[20:].max()
    )


def test_directions_against_the_estimating_equations():
    # with weights w = exp(c theta'x) the mean of w ((1 + c) (I - xx') theta - 2 x) is zero
    X = stats.vonmises_fisher([0, 0.6, 0.8], 5.0).rvs(
        400, random_state=np.random.default_rng(0)
    )
    density = directions(0.5).fit(X)
    theta = density.natural_parameters_
    w = np.exp(0.5 * X @ theta)
    residual = 1.5 * (theta - (X @ theta)[:, None] * X) - 2 * X
    np.testing.assert_allclose(w @ residual / w.sum(), 0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("c", [0.0, 0.5])
def test_standard_errors_of_a_robust_normal(c, global_random_seed):
    # 200 data sets of 300 rows: the squares of standardised errors of mean and variance
    # have the mean one to four standard errors.
    rng = np.random.default_rng(global_random_seed)
    z = []
    for _ in range(200):
        density = gaussian(c, base=None, normalizer=None).fit(
            rng.normal(1, 2, (300, 1))
        )
        for name, truth in (("mean", 1.0), ("covariance", 4.0)):
            value, error = density.parameters_[name], density.standard_errors_[name]
            z.append(float(np.ravel(value)[0] - truth) / float(np.ravel(error)[0]))
    square = np.square(z)
    assert abs(square.mean() - 1) < 4 * square.std() / np.sqrt(len(z) / 2)


@pytest.mark.statistical
@pytest.mark.parametrize("family", [VonMisesFisherFamily, FisherBinghamFamily])
def test_outliers_hardly_move_a_direction(family, global_random_seed):
    # 2000 rows with concentration 20, and 200 more from the uniform density
    rng = np.random.default_rng(global_random_seed)
    clean = stats.vonmises_fisher([0, 0, 1.0], 20.0).rvs(2000, random_state=rng)
    far = stats.uniform_direction(3).rvs(200, random_state=rng)
    X = np.r_[clean, far]
    new = stats.vonmises_fisher([0, 0, 1.0], 20.0).rvs(5000, random_state=rng)
    best = directions(0.0, family).fit(clean).score(new)
    plain = directions(0.0, family).fit(X).score(new)
    robust = directions(0.5, family).fit(X)
    assert plain < robust.score(new) < best + 1e-3
    if family is VonMisesFisherFamily:  # the eight parameters of the other may adapt
        assert robust.robust_weights_[X[:, 2] < 0].max() < 1e-3
        error = robust.standard_errors_["concentration"]
        assert abs(robust.parameters_["concentration"] - 20) < 4 * error


@pytest.mark.statistical
def test_axes_and_groups(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.normal(size=(1500, 3)) * [1, 1, 3]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    model = directions(0.2, BinghamFamily, manifold="axial")
    alone = model.fit(X, groups=np.arange(1500)).standard_errors_["matrix"]
    pairs = model.fit(np.r_[X, X], groups=np.r_[np.arange(1500), np.arange(1500)])
    # a pair of equal rows in one group is one row
    np.testing.assert_allclose(pairs.standard_errors_["matrix"], alone, rtol=1e-6)


def test_no_robustness_is_the_plain_fit():
    X = np.random.default_rng(0).normal(size=(200, 2))
    plain = MVLDensity(energy="gaussian", random_state=0).fit(X)
    zero = gaussian(0.0).fit(X)
    np.testing.assert_array_equal(plain.natural_parameters_, zero.natural_parameters_)
    assert not hasattr(zero, "robust_weights_")
    tiny = gaussian(1e-9).fit(X)
    np.testing.assert_allclose(
        tiny.natural_parameters_, plain.natural_parameters_, atol=1e-8
    )
    assert tiny.robust_weights_.shape == (200,)
    assert not hasattr(tiny.set_params(energy="gaussian").fit(X), "robust_weights_")


def test_rows_of_weight_zero_are_left_out():
    X = np.random.default_rng(0).normal(size=(50, 2))
    weight = np.ones(50)
    weight[:5] = 0
    density = gaussian(0.2).fit(X, sample_weight=weight)
    fewer = gaussian(0.2).fit(X[5:])
    assert density.robust_weights_.shape == (45,)
    np.testing.assert_allclose(
        density.parameters_["mean"], fewer.parameters_["mean"], atol=1e-8
    )


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "0.1", True, None, np.True_])
def test_a_wrong_robustness_is_named(value):
    with pytest.raises(ValueError, match="robustness of GaussianFamily must be"):
        gaussian(value).fit(np.random.default_rng(0).normal(size=(20, 1)))


def test_a_fit_that_does_not_converge_warns():
    X = np.random.default_rng(0).standard_cauchy((40, 1))
    with (
        pytest.warns(ConvergenceWarning, match="did not converge"),
        pytest.warns(UserWarning, match="leave"),
    ):
        gaussian(50.0, base=None, normalizer=None).fit(X)


def test_grids_over_robustness():
    X = np.random.default_rng(0).normal(size=(100, 1))
    grid = {"energy__robustness": np.arange(2)}
    search = GridSearchCV(gaussian(0.0), grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_few_rows_left_by_the_weights_are_named():
    X = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(ValueError, match=r"leave \d+% of the 40 .* smaller robustness"):
        gaussian(1.0).fit(X)
    assert np.isfinite(gaussian(0.0).fit(X).score(X))


def test_a_fit_of_few_rows_warns():
    # two rows in five are a narrow cluster, and the density is highest there
    X = np.random.default_rng(0).normal(size=(1000, 2))
    X[:400] = 0.1 * X[:400] + 8
    with pytest.warns(UserWarning, match="leave 40% of the 1000 distinct rows"):
        density = gaussian(1.0).fit(X)
    np.testing.assert_allclose(density.parameters_["mean"], 8, atol=0.02)


def test_scores_and_errors_are_those_of_leaving_rows_out():
    # against the objective of the fitted score, and fits of 39 of the 40 rows
    X = np.random.default_rng(0).normal(size=(40, 1))
    n = len(X)
    model = gaussian(0.5, standardize=False, base=None, normalizer=None)
    left_out, parameters = [], []
    for i in range(n):
        model.fit(np.delete(X, i, 0))
        left_out.append(hyvarinen_score(model, X[[i, i]]))
        parameters.append([float(np.ravel(model.parameters_[k])[0]) for k in NORMAL])
    model.fit(X)
    assert model.loss_curve_[0] == pytest.approx(hyvarinen_score(model, X))
    path = model.regularization_path_
    assert path.scores[0] == pytest.approx(np.mean(left_out), rel=0.01)
    assert path.std_errors[0] == pytest.approx(np.std(left_out) / n**0.5, rel=0.1)
    jackknife = np.std(parameters, axis=0) * (n - 1) / n**0.5
    errors = [float(np.ravel(model.standard_errors_[k])[0]) for k in NORMAL]
    np.testing.assert_allclose(errors, jackknife, rtol=0.1)


def test_an_outlier_of_any_size_leaves_the_normalizer_exact():
    X = np.random.default_rng(0).normal(size=(300, 5))
    X[0] = 1e5
    density = gaussian(0.3).fit(X)
    fitted = stats.multivariate_normal(*(density.parameters_[k] for k in NORMAL))
    np.testing.assert_allclose(
        density.score_samples(X[1:]), fitted.logpdf(X[1:]), atol=1e-8
    )
    assert density.log_normalizer_std_ < 1e-8


@pytest.mark.parametrize(("far", "fraction"), [(1e3, 0.2), (1e6, 0.002), (1e15, 0.2)])
def test_how_far_outliers_are_does_not_matter(far, fraction):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ [[2.0, 0.5], [0.0, 0.3]] + [5, -100]
    n = round(fraction * len(X))
    X[:n] = far * (1 + rng.uniform(size=(n, 2)))
    density = gaussian(0.3).fit(X)
    alone = gaussian(0.3).fit(X[n:])
    for name in NORMAL:
        value, expected = density.parameters_[name], alone.parameters_[name]
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert density.robust_weights_[:n].max() == 0
    np.testing.assert_allclose(density.score(X[n:]), alone.score(X[n:]), rtol=1e-6)
