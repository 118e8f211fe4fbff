"""The face of score estimation: checks, units, contexts, manifolds, moving targets."""

import pickle

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sk_wmvl import ImplicitScoreEstimator
from sk_wmvl.kernels import IMQ
from sk_wmvl.manifolds import Rotation
from sk_wmvl.score_methods import GRID, SCORE_METHODS, KernelExponential

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
KERNELS = sorted(SCORE_METHODS)
METHODS = ["mvl", "ssm", "dsm", *KERNELS]
each_method = pytest.mark.parametrize("method", METHODS)


def quick(method, **params):
    params = {"regularization": 0.03, **SMALL, **params}
    return ImplicitScoreEstimator(method, **params)


def gaussian(n=300, seed=0):
    """Return draws of a correlated Gaussian off the origin, and its score."""
    rng = np.random.default_rng(seed)
    root, mean = np.array([[2.0, 0.6], [0.0, 0.7]]), np.array([5.0, -3.0])
    precision = np.linalg.inv(root @ root.T)
    X = mean + rng.normal(size=(n, 2)) @ root.T
    return X, -(X - mean) @ precision


# the tables of the checks have columns with ties and columns that depend on others
@pytest.mark.filterwarnings("ignore:Columns (are constant|take few values)")
@parametrize_with_checks([quick(method) for method in METHODS])
def test_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_default_passes_every_check_it_runs():
    results = check_estimator(ImplicitScoreEstimator(), on_skip=None)
    assert {r["status"] for r in results} == {"passed"}
    assert len(results) >= 41


@each_method
def test_the_score_of_a_gaussian(method):
    X, _ = gaussian(400)
    at, truth = gaussian(200, seed=1)
    params = {} if method in KERNELS else {"max_epochs": 20}
    estimator = ImplicitScoreEstimator(method, random_state=0, **params).fit(X)
    error = np.square(estimator.score_fn(at) - truth).sum(1).mean()
    assert error < 0.15 * np.square(truth).sum(1).mean()
    if method in KERNELS:
        assert estimator.regularization_ in GRID
        assert len(estimator.regularization_scores_) == len(GRID)


@each_method
def test_score_is_the_hyvarinen_score_by_finite_differences(method):
    X, _ = gaussian(60)
    estimator, h = quick(method).fit(X), 1e-4
    divergence = 0.0
    for k in range(2):
        step = h * np.eye(2)[k]
        difference = estimator.score_fn(X + step) - estimator.score_fn(X - step)
        divergence = divergence + difference[:, k] / (2 * h)
    expected = -(0.5 * np.square(estimator.score_fn(X)).sum(1) + divergence).mean()
    assert estimator.score(X) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", ["mvl", "dsm", "kef", "landweber", "nu"])
def test_the_log_density_has_the_score_as_gradient(method):
    X, _ = gaussian(60)
    estimator, h = quick(method).fit(X), 1e-4
    for k in range(2):
        step = h * np.eye(2)[k]
        up, down = estimator.score_samples(X + step), estimator.score_samples(X - step)
        np.testing.assert_allclose(
            (up - down) / (2 * h), estimator.score_fn(X)[:, k], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("method", ["ssge", "stein"])
def test_a_field_that_is_no_gradient_says_so(method):
    X, _ = gaussian(30)
    estimator = quick(method).fit(X)
    assert not hasattr(estimator, "score_samples")
    with pytest.raises(AttributeError) as caught:
        estimator.score_samples(X)
    assert "not the gradient of a function" in str(caught.value.__cause__)
    assert hasattr(quick(method, structure="curl-free").fit(X), "score_samples")


@each_method
def test_same_seed_same_bits_in_every_copy(method):
    X, _ = gaussian(50)
    estimator = quick(method, regularization=None if method == "kef" else 0.03).fit(X)
    expected = estimator.score_fn(X)
    for copy in (
        clone(estimator).fit(X),
        pickle.loads(pickle.dumps(estimator)),
        joblib.Parallel(n_jobs=2, prefer="threads")(
            [joblib.delayed(clone(estimator).fit)(X)]
        )[0],
    ):
        np.testing.assert_array_equal(copy.score_fn(X), expected)


@each_method
# kernel methods tell of the constant column at the end
@pytest.mark.filterwarnings("ignore:Columns are constant")
def test_bad_input_is_refused(method):
    X, _ = gaussian(30)
    estimator = quick(method)
    names = ["score_fn", "score"] + ["score_samples"] * hasattr(
        estimator, "score_samples"
    )
    for name in names:
        with pytest.raises(NotFittedError):
            getattr(estimator, name)(X)
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(bad)
    estimator.fit(X)
    for name in names:
        with pytest.raises(ValueError, match="NaN"):
            getattr(estimator, name)(bad)
        with pytest.raises(ValueError, match="features"):
            getattr(estimator, name)(X[:, :1])
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        estimator.fit(X[:1])
    constant = np.hstack([X, np.ones((len(X), 1))])
    assert np.isfinite(quick(method).fit(constant).score_fn(constant)).all()


def test_contexts_are_checked():
    X, _ = gaussian(30)
    C = X[:, :1]
    with pytest.raises(ValueError, match="takes no context"):
        quick("kef").fit(X, context=C)
    with pytest.raises(ValueError, match=r"context has 29 row\(s\) and X has 30"):
        quick("mvl").fit(X, context=C[1:])
    with pytest.raises(ValueError, match="context contains NaN"):
        quick("mvl").fit(X, context=np.full((30, 1), np.nan))
    estimator = quick("mvl").fit(X, context=C)
    with pytest.raises(ValueError, match=r"context has 0 column\(s\)"):
        estimator.score_fn(X)
    with pytest.raises(ValueError, match=r"context has 2 column\(s\)"):
        estimator.score_fn(X, context=X)
    with pytest.raises(ValueError, match="Euclidean space"):
        quick("kef", manifold="sphere").fit(X / np.linalg.norm(X, axis=1)[:, None])


def test_conditional_score():
    # z given x is N(x, 1/4) in each of two coordinates, the sign of the second turned
    rng = np.random.default_rng(0)
    C = rng.normal(10, 3, size=(2000, 1))
    means = np.hstack([C, -C])
    Z = means + 0.5 * rng.normal(size=(2000, 2))
    estimator = ImplicitScoreEstimator(max_epochs=30, random_state=0).fit(Z, context=C)
    truth = -(Z - means) / 0.25
    error = np.square(estimator.score_fn(Z, context=C) - truth).sum(1).mean()
    assert error < 0.1 * np.square(truth).sum(1).mean()
    again = estimator.score_fn(Z[:5], context=C[:5])
    np.testing.assert_allclose(again, estimator.score_fn(Z, context=C)[:5], rtol=1e-7)
    h = 1e-4
    slope = [
        (
            estimator.score_samples(Z[:5] + h * e, context=C[:5])
            - estimator.score_samples(Z[:5] - h * e, context=C[:5])
        )
        / (2 * h)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(np.transpose(slope), again, rtol=1e-4, atol=1e-4)


def test_metadata_routing():
    X, _ = gaussian(60)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = quick("mvl").set_fit_request(context=True)
        estimator = estimator.set_score_request(context=True)
        search = GridSearchCV(estimator, {"alpha": [1e-4, 1e-2]}, cv=2)
        search.fit(X, context=X[:, :1])
    assert np.isfinite(search.best_score_)


def test_grid_search_over_methods():
    X, _ = gaussian(80)
    grid = {"method": ["mvl", "kef", "stein"], "epsilon": [1e-4, 1e-3]}
    search = GridSearchCV(quick("mvl"), grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def directions(n=600, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3)) + [0, 0, 1.5]
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_on_a_sphere_scores_are_tangent_and_follow_the_density():
    # von Mises-Fisher draws by the inverse of the distribution function of t
    rng, kappa = np.random.default_rng(0), 4.0
    u, angle = rng.uniform(size=2000), rng.uniform(0, 2 * np.pi, size=2000)
    t = 1 + np.log(u + (1 - u) * np.exp(-2 * kappa)) / kappa
    side = np.sqrt(1 - t**2)
    X = np.stack([side * np.cos(angle), side * np.sin(angle), t], 1)
    estimator = ImplicitScoreEstimator(
        manifold="sphere", max_epochs=20, random_state=0
    ).fit(X)
    score = estimator.score_fn(X)
    np.testing.assert_allclose((score * X).sum(1), 0, atol=1e-10)
    truth = kappa * (np.array([0, 0, 1.0]) - t[:, None] * X)
    error = np.square(score - truth).sum(1).mean()
    assert error < 0.1 * np.square(truth).sum(1).mean()
    # the mean of kappa^2 (1 - t^2) / 2 - 2 kappa t, with its sign changed
    hyvarinen = (0.5 * kappa**2 * (1 - t**2) - 2 * kappa * t).mean()
    assert estimator.score(X) == pytest.approx(-hyvarinen, rel=0.1)


def test_on_a_sphere_with_a_context():
    X = directions()
    C = np.random.default_rng(1).normal(size=(len(X), 2))
    estimator = quick("mvl", manifold="sphere").fit(X, context=C)
    score = estimator.score_fn(X, context=C)
    np.testing.assert_allclose((score * X).sum(1), 0, atol=1e-10)
    assert np.isfinite(estimator.score(X, context=C))


@pytest.mark.parametrize(
    ("manifold", "n_columns"),
    [("torus", 2), ("hyperbolic", 3), ("simplex", 3), (Rotation("matrix"), 9)],
    ids=str,
)
def test_every_manifold_serves(manifold, n_columns):
    rng = np.random.default_rng(0)
    if n_columns == 9:
        X = np.stack([np.linalg.qr(a)[0] for a in rng.normal(size=(40, 3, 3))])
        X = (X * np.linalg.det(X)[:, None, None]).reshape(40, 9)
    elif manifold == "simplex":
        X = rng.dirichlet([2, 3, 4], size=40)
    elif manifold == "hyperbolic":
        v = rng.normal(size=(40, 2))
        X = np.hstack([np.sqrt(1 + (v**2).sum(1, keepdims=True)), v])
    else:
        X = rng.normal(size=(40, 2))
    estimator = quick("mvl", manifold=manifold).fit(X)
    assert estimator.score_fn(X).shape == X.shape
    assert np.isfinite(estimator.score(X))


def test_partial_fit_follows_a_moving_gaussian():
    rng = np.random.default_rng(0)
    estimator = ImplicitScoreEstimator(random_state=0, lr=2e-3, batch_size=100)
    first = rng.normal(size=(500, 2))
    estimator.partial_fit(first)
    units = estimator._units
    for step in range(60):
        mean = np.array([3.0, -2.0]) * min(1, step / 30)
        estimator.partial_fit(mean + rng.normal(size=(500, 2)))
    at = mean + rng.normal(size=(500, 2))
    error = np.square(estimator.score_fn(at) + (at - mean)).sum(1).mean()
    assert error < 0.3  # the score has a mean square of two; not following costs 13
    assert estimator._units is units
    assert not hasattr(quick("kef"), "partial_fit")
    with pytest.raises(AttributeError) as caught:
        quick("kef").partial_fit(at)
    assert "cannot be updated" in str(caught.value.__cause__)


@pytest.mark.parametrize("method", ["mvl", "kef", "stein"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_entropy_surrogate(method, dtype):
    X, _ = gaussian(60)
    estimator = quick(method).fit(X)
    z = torch.tensor(X, dtype=dtype, requires_grad=True)
    value = estimator.entropy_surrogate(z)
    value.backward()
    assert value == 0
    assert value.dtype == dtype
    expected = -estimator.score_fn(X) / len(X)
    np.testing.assert_allclose(z.grad, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(TypeError, match="torch tensor"):
        estimator.entropy_surrogate(X)


def test_entropy_surrogate_given_a_context():
    X, _ = gaussian(60)
    C = torch.tensor(X[:, :1], requires_grad=True)
    estimator = quick("mvl").fit(X, context=C)
    z = torch.tensor(X, requires_grad=True)
    estimator.entropy_surrogate(z, context=C).backward()
    expected = -estimator.score_fn(X, context=C) / len(X)
    np.testing.assert_allclose(z.grad, expected, rtol=1e-6)
    assert C.grad is None


def test_objects_keep_their_parameters():
    X, _ = gaussian(40)
    method = KernelExponential("nystrom", n_inducing=10)
    estimator = quick(method, kernel=IMQ(2.5)).fit(X)
    assert estimator.bandwidth_ == 2.5
    assert np.isfinite(estimator.score_fn(X)).all()
    assert quick("kef", kernel=IMQ(2.5), bandwidth=1.5).fit(X).bandwidth_ == 1.5
    assert (estimator.field_.c != 0).any(1).sum() == 10
    weight = np.repeat([0.0, 1.0], 20)
    weighted = quick("stein", bandwidth=1.0, standardize=False).fit(X, None, weight)
    kept = quick("stein", bandwidth=1.0, standardize=False).fit(X[20:])
    np.testing.assert_allclose(weighted.score_fn(X), kept.score_fn(X))
