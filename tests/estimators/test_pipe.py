"""A fit is a pipe: each step is a function, and nothing is set before the last."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sk_wmvl import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    RiemannianMVLDensity,
    WassersteinAutoencoder,
)
from sk_wmvl._random import draw_seed
from sk_wmvl._rows import Rows
from sk_wmvl.coordinates import Coordinates
from sk_wmvl.energies import MLPEnergy
from sk_wmvl.estimators._prepare import Chosen, prepare, split, validate
from sk_wmvl.estimators._train import TrainingOptions, train
from sk_wmvl.manifolds import Euclidean
from sk_wmvl.normalizers import QuadratureNormalizer
from sk_wmvl.objectives import ScoreMatching

SMALL = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
CPU = torch.device("cpu")
rng = np.random.default_rng(0)
PLANE = rng.normal(size=(40, 2))
UNIT = PLANE / np.linalg.norm(PLANE, axis=1, keepdims=True)
DIGITS = load_digits().data[:40] / 16
BASE = "sk_wmvl.estimators._base"
LOOP = "sk_wmvl.training.TrainingNet"
# An estimator, rows, and the steps of its fit, by where they are called.
CASES = {
    "density": (
        lambda **p: MVLDensity(base="gaussian", **SMALL, **p),
        PLANE,
        [f"{BASE}.{step}" for step in ("prepare", "train", "settle", "publish")],
    ),
    "family": (
        lambda **p: MVLDensity(energy="gaussian", random_state=0, **p),
        PLANE,
        [f"{BASE}.{step}" for step in ("prepare", "solve_family", "settle", "publish")],
    ),
    "riemannian": (
        lambda **p: RiemannianMVLDensity("sphere", base="uniform", **SMALL, **p),
        UNIT,
        [f"{BASE}.{step}" for step in ("prepare", "train", "settle", "publish")],
    ),
    "score": (
        lambda **p: ImplicitScoreEstimator("mvl", **SMALL, **p),
        PLANE,
        [
            f"{BASE}.prepare",
            f"{BASE}.train",
            "sk_wmvl.estimators.score_estimator.publish",
        ],
    ),
    "field": (
        lambda **p: ImplicitScoreEstimator("stein", random_state=0, **p),
        PLANE,
        ["sk_wmvl.estimators._field.choose_regularization"],
    ),
    "vae": (
        lambda **p: ImplicitVAE(2, **SMALL, **p),
        DIGITS,
        [
            f"{LOOP}.fit_loop",
            "sk_wmvl.estimators._autoencoder.publish",
        ],
    ),
    "wae": (
        lambda **p: WassersteinAutoencoder(2, **SMALL, **p),
        DIGITS,
        [
            f"{LOOP}.fit_loop",
            "sk_wmvl.estimators._autoencoder.publish",
        ],
    ),
}
STEPS = [(name, step) for name, (_, _, steps) in CASES.items() for step in steps]
OWN = {"n_features_in_", "feature_names_in_"}  # scikit-learn's, set by its validation
# One epoch on a few rows may well do harm, and the fit says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The learned correction:sklearn.exceptions.ConvergenceWarning"
)


def break_at(monkeypatch, step, error):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(step, broken)


@pytest.mark.parametrize("error", [RuntimeError("full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_fit_that_fails_sets_nothing(name, step, error, monkeypatch):
    make, X, _ = CASES[name]
    estimator = make()
    before = dict(vars(estimator))
    break_at(monkeypatch, step, error)
    with pytest.raises(type(error)):
        estimator.fit(X)
    after = {k: v for k, v in vars(estimator).items() if k not in OWN}
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_resumed_fit_that_fails_leaves_the_last_good_state(name, step, monkeypatch):
    make, X, _ = CASES[name]
    estimator = make(warm_start=True).fit(X)
    before, scores = dict(vars(estimator)), estimator.score(X)
    break_at(monkeypatch, step, KeyboardInterrupt())
    if step.endswith("prepare"):
        estimator.fit(X)  # a resumed fit does not come by: it keeps what was prepared
        return
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[k] is before[k] for k in before)
    assert estimator.score(X) == scores


def test_rows_are_validated_once_and_in_the_users_columns():
    weight = np.array([1.0, 0.0, 2.0, 1.0])
    rows = validate(
        MVLDensity(), PLANE[:4], weight, ["b", "a", "b", "c"], reset=True, min_samples=2
    )
    np.testing.assert_array_equal(rows.points, PLANE[[0, 2, 3]])
    np.testing.assert_array_equal(rows.weight, [1, 2, 1])
    np.testing.assert_array_equal(rows.groups, [0, 0, 2])
    with pytest.raises(ValueError, match="at least two rows"):
        validate(MVLDensity(), PLANE[:2], [1, 0], None, reset=True, min_samples=2)


def test_preparing_needs_no_estimator():
    seen = []

    def choose(rows, coordinates, moments):
        seen.append((rows, coordinates, moments))
        return Chosen(None, None, coordinates)

    X = 3 + 2 * PLANE
    setup = prepare(Rows(X, None, None), Euclidean(2), choose, standardize=True, seed=5)
    assert setup.seed == 5
    u = setup.internal(Rows(X, None, None)).points
    np.testing.assert_allclose(u.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(u.T, bias=True), np.eye(2), atol=0.2)
    assert setup.radius == pytest.approx(np.linalg.norm(u, axis=1).max())
    (rows, coordinates, (mean, _)), *others = seen
    assert not others
    assert coordinates is setup.coordinates
    np.testing.assert_array_equal(rows.points, X)
    np.testing.assert_allclose(mean, X.mean(0))


def test_training_needs_no_estimator():
    options = TrainingOptions.of(MVLDensity(max_epochs=2))
    problem = ScoreMatching().problem(Euclidean(2))
    rows = Rows(PLANE, None, None)

    def run(seed, **params):
        network = MLPEnergy(2, (4,), generator=torch.Generator().manual_seed(0))
        return train(rows, problem, network, options, seed=seed, device=CPU, **params)

    first, again = run(0), run(0)
    assert len(first.history) == 2
    assert len(first.judged) == 4  # a tenth of 40
    x = torch.from_numpy(PLANE).float()
    assert torch.equal(first.correction(x), again.correction(x))
    whole = run(0, epochs=1)
    assert len(whole.judged) == 40  # a part holds nothing out
    more = run(0, epochs=1, state=whole.state)
    assert len(more.history) == 2


def test_copies_and_groups_are_on_one_side():
    X = np.repeat(PLANE, 3, axis=0)
    train_, held_out = split(Rows(X, None, None), 0.2, 0)
    assert len(held_out) == 24
    assert not {*map(tuple, X[train_])} & {*map(tuple, X[held_out])}
    groups = np.arange(120) % 10
    train_, held_out = split(Rows(X, None, groups), 0.2, 0)
    assert not {*groups[train_]} & {*groups[held_out]}
    # a change of coordinates changes no division
    moved = split(Rows(-2 * X[:, ::-1], None, None), 0.2, 3)
    np.testing.assert_array_equal(
        moved.held_out, split(Rows(X, None, None), 0.2, 3).held_out
    )
    assert len(split(Rows(PLANE[:5], None, None), 0.2, 0).held_out) == 0


def test_a_fitted_energy_is_all_that_is_asked():
    density = MVLDensity(base="gaussian", normalizer=QuadratureNormalizer(), **SMALL)
    density.fit(PLANE)
    fitted = density._fitted
    x = fitted.points(PLANE)
    np.testing.assert_array_equal(density.energy_samples(PLANE), fitted.energies(x))
    np.testing.assert_array_equal(density.score_samples(PLANE), fitted.log_prob(x))
    np.testing.assert_array_equal(density.score_fn(PLANE), fitted.scores(x))
    np.testing.assert_array_equal(density.sample(3, 1), fitted.sample(3, draw_seed(1)))
    assert density.energy_ is fitted.energy
    assert density.log_normalizer_ == fitted.log_normalizer.value


def test_coordinates_may_be_those_of_the_base():
    other = Coordinates(np.ones(2), 3 * np.eye(2))
    setup = prepare(
        Rows(PLANE, None, None),
        Euclidean(2),
        lambda *_: Chosen(None, None, other),
        standardize=True,
        seed=0,
    )
    assert setup.coordinates is other
    np.testing.assert_allclose(
        setup.internal(Rows(PLANE, None, None)).points, (PLANE - 1) / 3
    )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, 62),  # a 32nd of the rows
        ({"batch_size": 100}, 100),
        ({"batch_size": 100, "net_params": {"batch_size": 7}}, 7),
        ({"net_params": {"batch_size": -1}}, 2000),
    ],
)
def test_net_params_decide_about_the_batch(params, expected):
    assert TrainingOptions.of(MVLDensity(**params)).rows_per_step(2000) == expected


def test_a_resumed_score_follows_what_was_set():
    estimator = ImplicitScoreEstimator("mvl", **SMALL).fit(PLANE)
    first = estimator.model_
    estimator.set_params(warm_start=True, net_params={"optimizer__weight_decay": 0.5})
    estimator.fit(PLANE)
    assert estimator.model_.n_iter_ == 2
    (group,) = estimator.model_._training_state["optimizer"]["param_groups"]
    assert group["weight_decay"] == 0.5
    assert first.n_iter_ == 1  # the copy went on, not the one that was there
    with pytest.raises(ValueError, match="cannot go on from the last fit"):
        estimator.set_params(hidden_layer_sizes=(5,)).fit(PLANE)
