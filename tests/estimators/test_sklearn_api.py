"""scikit-learn's own checks, and what they leave out."""

import copy
import dataclasses
import pickle
import pkgutil
import threading

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.objectives import MinimumVelocity
from sk_wmvl.samplers import Langevin

sklearn_version = parse_version(sklearn.__version__)
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "base": "gaussian"}
METHODS = ["score_samples", "score", "score_fn", "energy_samples"]


# Some checks fit a handful of rows, where the guard after training may speak up, or columns
# that are functions of others.
may_warn = pytest.mark.filterwarnings(
    "ignore:The learned correction:sklearn.exceptions.ConvergenceWarning",
    "ignore:X has columns that are exact",
)


@may_warn
@parametrize_with_checks(
    [
        # importance sampling: annealing takes seconds where there are ten columns
        MVLDensity(normalizer="importance", **SMALL),
    ]
)
def test_checks(estimator, check):
    check(estimator)


QUICK = {**SMALL, "normalizer": "importance"}


@may_warn
@pytest.mark.slow
@parametrize_with_checks(
    [
        MVLDensity(objective="mvl-graph", energy="mlp", early_stopping=False, **QUICK),
        MVLDensity(objective="dsm", standardize=False, **QUICK),
        MVLDensity(objective="sm", **{**QUICK, "base": "mixture"}),
        MVLDensity(objective="nce", **QUICK),
        MVLDensity(batch_size=4, **{**SMALL, "base": None, "normalizer": None}),
        MVLDensity(spectral_norm=True, optimizer="rmsprop", **QUICK),
        MVLDensity(
            objective="cd1", warm_start=True, **{**QUICK, "base": GaussianMixture()}
        ),
        MVLDensity(
            energy="kernel", alpha=1e-3, base="gaussian", normalizer="importance"
        ),
    ]
)
def test_checks_in_other_settings(estimator, check):
    check(estimator)


@may_warn
@pytest.mark.slow
def test_default_passes_every_check_it_runs():
    results = check_estimator(MVLDensity(), on_skip=None)
    assert {r["status"] for r in results} == {"passed"}
    assert len(results) >= 41


@may_warn
@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_estimators_partial_fit_n_features",
        "check_inplace_ensure_writeable",
        "check_non_transformer_estimators_n_iter",
        "check_param_validation",
    ],
)
def test_checks_outside_the_default_list(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"this scikit-learn has no {name}")
    check("MVLDensity", MVLDensity(**SMALL))


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(120, 2)) * [1.0, 3.0] + 5.0


@pytest.fixture(scope="module")
def fitted(X):
    return MVLDensity(random_state=0, **SMALL).fit(X)


# --- what the checks leave out: bad input to every method -----------------------------


@pytest.mark.parametrize("method", [*METHODS, "sample"])
def test_not_fitted(method, X):
    with pytest.raises(NotFittedError):
        getattr(MVLDensity(), method)(3 if method == "sample" else X)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[np.nan, 0.0]], "contains NaN"),
        ([[np.inf, 0.0]], "contains infinity"),
        ([0.0, 1.0], "Expected 2D array"),
        ([[0.0, 1.0, 2.0]], "3 features"),
        ([["a", "b"]], "which is text and no number"),
    ],
)
def test_bad_input(fitted, method, bad, message):
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(bad)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("method", METHODS)
def test_column_names(X, frame, method):
    if frame is pl.DataFrame and sklearn_version < parse_version("1.9"):
        pytest.skip("this scikit-learn does not read the names of a polars frame")
    density = MVLDensity(random_state=0, **SMALL)
    density.fit(frame({"a": X[:, 0], "b": X[:, 1]}))
    assert list(density.feature_names_in_) == ["a", "b"]
    getattr(density, method)(frame({"a": X[:, 0], "b": X[:, 1]}))
    with pytest.raises(ValueError, match="feature names"):
        getattr(density, method)(frame({"b": X[:, 1], "c": X[:, 0]}))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epsilon": -1}, "'epsilon' parameter of MVLDensity must be"),
        ({"epsilon": 0.0}, "'epsilon' parameter"),
        ({"alpha": -0.1}, "'alpha' parameter"),
        ({"objective": "nope"}, "'objective' parameter"),
        ({"energy": "nope"}, "'energy' parameter"),
        ({"base": "nope"}, "'base' parameter"),
        ({"normalizer": "nope"}, "'normalizer' parameter"),
        ({"activation": "relu"}, "'activation' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"validation_fraction": 1.5}, "'validation_fraction' parameter"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"device": "cuda:99"}, "device"),
        ({"device": "nowhere"}, "device"),
    ],
)
def test_bad_parameters_are_named(X, params, message):
    with pytest.raises(ValueError, match=message):
        MVLDensity(**{**SMALL, **params}).fit(X)


def test_bad_weights(X):
    with pytest.raises(ValueError, match="zero"):
        MVLDensity(**SMALL).fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="[Nn]egative"):
        MVLDensity(**SMALL).fit(X, sample_weight=-np.ones(len(X)))
    with pytest.raises(ValueError, match="at least two"):
        MVLDensity(**SMALL).fit(X, sample_weight=np.eye(len(X))[0])


def test_bad_energies(X):
    with pytest.raises(ValueError, match=r"must return one number per point"):
        MVLDensity(energy=torch.nn.Linear(2, 1), **SMALL).fit(X)
    with pytest.raises(TypeError, match="must return a torch.nn.Module"):
        MVLDensity(energy=lambda d: "a net", **SMALL).fit(X)
    with pytest.raises(ValueError, match="fitted on 1 features"):
        MVLDensity(**{**SMALL, "base": GaussianMixture().fit(X[:, :1])}).fit(X)


def test_bad_callbacks(X):
    with pytest.raises(TypeError, match="callbacks must hold skorch callbacks.*got 3"):
        MVLDensity(callbacks=[3], **SMALL).fit(X)


def test_typing_errors_in_net_params_are_reported(X):
    with pytest.raises(ValueError, match="did you mean optimizer__betas"):
        MVLDensity(net_params={"optimizer_betas": (0.5, 0.9)}, **SMALL).fit(X)


# --- same seed, same bits -------------------------------------------------------------


def scores(seed, X):
    # On these Gaussian rows the guard and early stopping would drop any correction, and
    # all seeds would give the base measure.
    density = MVLDensity(
        random_state=seed, normalizer=None, early_stopping=False, **SMALL
    )
    return density.fit(X).score_samples(X)


def test_same_seed_same_bits(X):
    one = scores(3, X)
    params = {"normalizer": None, "early_stopping": False, **SMALL}
    density = MVLDensity(random_state=3, **params).fit(X)
    assert np.array_equal(one, density.score_samples(X))
    assert np.array_equal(one, clone(density).fit(X).score_samples(X))
    assert np.array_equal(one, density.fit(X).score_samples(X))  # refit
    assert not np.array_equal(one, scores(4, X))
    for backend in ("loky", "threading"):
        jobs = joblib.Parallel(2, backend=backend)(
            joblib.delayed(scores)(s, X) for s in [3, 4, 3]
        )
        assert np.array_equal(jobs[0], one)
        assert np.array_equal(jobs[2], one)


def test_random_state_instance_advances_and_none_is_fresh(X):
    rng = np.random.RandomState(0)
    assert not np.array_equal(scores(rng, X), scores(rng, X))
    assert not np.array_equal(scores(None, X), scores(None, X))


def test_global_state_is_left_alone(X):
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    params = {**SMALL, "base": "mixture"}
    density = MVLDensity(normalizer="annealed", **params).fit(X)
    density.partial_fit(X).sample(5)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert (threads, dtype) == (torch.get_num_threads(), torch.get_default_dtype())


def test_fits_in_threads_do_not_disturb_each_other(X):
    expected = [scores(s, X) for s in range(4)]
    results = [None] * 4

    def work(s):
        results[s] = scores(s, X)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(a, b) for a, b in zip(expected, results, strict=True))


# --- persistence ----------------------------------------------------------------------


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_pickle_round_trip_resumes_exactly(X, spectral_norm, way, tmp_path):
    density = MVLDensity(random_state=0, spectral_norm=spectral_norm, **SMALL).fit(X)
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(density))
    else:
        joblib.dump(density, tmp_path / "density.joblib")
        loaded = joblib.load(tmp_path / "density.joblib")
    for method in METHODS:
        assert np.array_equal(getattr(density, method)(X), getattr(loaded, method)(X))
    assert np.array_equal(density.sample(9), loaded.sample(9))
    one, two = density.partial_fit(X), loaded.partial_fit(X)
    assert np.array_equal(one.score_samples(X), two.score_samples(X))
    assert one.n_iter_ == two.n_iter_ == 3


def test_pickles_hold_one_energy_on_the_cpu(fitted):
    elsewhere = copy.copy(fitted)
    elsewhere.device_ = torch.device("meta")  # as if it had been trained on a device
    elsewhere._fitted = dataclasses.replace(elsewhere._fitted, device=elsewhere.device_)
    loaded = pickle.loads(pickle.dumps(elsewhere))
    assert loaded.energy_ is loaded._fitted.energy
    assert loaded.device_ == loaded._fitted.device == torch.device("cpu")
    assert elsewhere._fitted.device == torch.device(
        "meta"
    )  # the original is left alone


def test_pickle_of_another_version_warns(fitted):
    state = {**fitted.__getstate__(), "_sk_wmvl_version": "0.0.1"}
    with pytest.warns(UserWarning, match=r"saved by sk_wmvl 0\.0\.1"):
        MVLDensity().__setstate__(state)


# --- meta-estimators ------------------------------------------------------------------


def test_pipeline_and_grid_search(X):
    pipe = make_pipeline(StandardScaler(), MVLDensity(random_state=0, **SMALL))
    grid = {
        "mvldensity__epsilon": [1e-3, 1e-2],
        "mvldensity__alpha": [0.0, 1e-2],
        "mvldensity__net__optimizer__betas": [(0.9, 0.99)],
    }
    search = GridSearchCV(pipe, grid, n_jobs=2, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.score_samples(X).shape == (len(X),)


def test_nested_parameters_of_components(X):
    objective = MinimumVelocity(Langevin(1e-3))
    density = MVLDensity(objective, random_state=0, normalizer=None, **SMALL)
    search = GridSearchCV(
        density, {"objective__sampler__step_size": [1e-4, 1e-2]}, cv=2
    ).fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert density.objective.sampler.step_size == 1e-3


@pytest.mark.parametrize(
    ("density", "chooser"),
    [
        (MVLDensity(), "race.fit_mixture"),
        (MVLDensity(base="mixture"), "gaussian_mixture.GaussianMixture"),
        (RiemannianMVLDensity("euclidean"), "race.fit_mixture"),
        (RiemannianMVLDensity("sphere", base="kernel"), "manifold.choose_spread"),
    ],
)
def test_a_memory_keeps_the_base_of_the_same_rows(
    density, chooser, X, tmp_path, monkeypatch
):
    # `chooser` is called by what chooses a base.
    path = f"sk_wmvl.base_measures.selection.{chooser}"
    original, calls = pkgutil.resolve_name(path), []

    def counted(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(path, counted)
    X = X[:60]
    if density.get_params().get("manifold") == "sphere":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)

    def chooses(X, weight=None, groups=None, **params):
        """Fit, and return the densities and whether a base was chosen."""
        calls.clear()
        fitted = clone(density).set_params(
            random_state=0, max_epochs=2, hidden_layer_sizes=(8,), **params
        )
        fitted.fit(X, sample_weight=weight, groups=groups)
        return fitted.score_samples(X), bool(calls)

    expected, chosen = chooses(X, epsilon=1e-2)
    assert chosen
    kept = {"memory": str(tmp_path)}
    assert chooses(X, epsilon=1e-3, alpha=1e-2, **kept)[1]
    again, chosen = chooses(X, epsilon=1e-2, **kept)
    assert not chosen
    np.testing.assert_array_equal(again, expected)
    assert chooses(X[1:], **kept)[1]
    assert chooses(X, weight=np.linspace(1, 2, 60), **kept)[1]
    if density.base != "mixture":  # which looks at no groups
        assert chooses(X, groups=np.arange(60) // 2, **kept)[1]
    with pytest.raises(ValueError, match="memory"):
        chooses(X, memory=3)


def test_metadata_routing(X):
    weight = np.ones(len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        density = MVLDensity(random_state=0, **SMALL).set_fit_request(
            sample_weight=True
        )
        result = cross_validate(
            density, X, cv=2, params={"sample_weight": weight}, error_score="raise"
        )
    assert np.isfinite(result["test_score"]).all()


def test_html_repr_and_params(fitted):
    assert "MVLDensity" in fitted._repr_html_()
    density = MVLDensity(net_params={"optimizer__weight_decay": 0.1})
    assert density.get_params()["net__optimizer__weight_decay"] == 0.1
    density.set_params(net__optimizer__weight_decay=0.2, epsilon=0.5)
    assert density.net_params == {"optimizer__weight_decay": 0.2}
    assert clone(density).get_params() == density.get_params()


def test_arrays_that_other_libraries_make(X, fitted):
    expected = fitted.score_samples(X)
    for same in (X.tolist(), torch.tensor(X), torch.tensor(X).requires_grad_()):
        assert np.allclose(fitted.score_samples(same), expected)
