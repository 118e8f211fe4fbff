"""Every objective by its name, in both density estimators."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl._rows import Rows
from sk_wmvl.estimators._prepare import split
from sk_wmvl.manifolds.units import from_lat_lon
from sk_wmvl.objectives import OBJECTIVES, MaximumLikelihood, NoiseContrastive

FLOODS = Path(os.environ.get("SK_WMVL_DATA", "no-data")) / "flood.csv"
SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
COUPLED = sorted(n for n in OBJECTIVES if OBJECTIVES[n]().couples_rows())
# Their rows act on one another in one space, not each in a tangent space of its own.
FLAT_ONLY = ["mvl-birth-death", "mvl-spos", "mvl-svgd", "parzen"]
GLOBAL = ["nce", "mle"]
# Two epochs on a few rows may well do harm, and the guard after training says so.
slow = pytest.mark.slow
may_warn = pytest.mark.filterwarnings(
    "ignore:The learned correction:sklearn.exceptions.ConvergenceWarning"
)


@pytest.fixture(scope="module")
def directions():
    law = stats.vonmises_fisher([0.0, 0.6, 0.8], 5.0)
    return law.rvs(150, random_state=np.random.default_rng(0))


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Return a folder of chosen base measures: the tests search once for each data set."""
    return str(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def modes():
    rng = np.random.default_rng(0)
    left = rng.random(600) < 0.7
    return rng.normal(size=(600, 1)) * 0.5 + np.where(left, -2.0, 2.0)[:, None]


@may_warn
@pytest.mark.parametrize("base", ["gaussian", None])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_name_fits_in_euclidean_space(name, base, modes):
    normalizer = None if base is None else "auto"
    density = MVLDensity(name, base=base, normalizer=normalizer, **SMALL).fit(modes)
    assert np.isfinite(density.score_samples(modes)).all()
    assert len(density.validation_loss_curve_) == 2


@may_warn
@pytest.mark.parametrize("base", ["uniform", None])
@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - set(FLAT_ONLY)))
def test_every_name_that_can_fits_on_a_sphere(name, base, directions):
    density = RiemannianMVLDensity("sphere", name, base=base, **SMALL).fit(directions)
    assert np.isfinite(density.score_samples(directions)).all()


@may_warn
@pytest.mark.parametrize("name", FLAT_ONLY)
def test_names_that_cannot_are_refused_on_a_manifold(name, directions):
    with pytest.raises(ValueError, match=r"cannot serve on a manifold: .*"):
        RiemannianMVLDensity("sphere", name, base="uniform", **SMALL).fit(directions)
    # in Euclidean space they are at home
    RiemannianMVLDensity(
        "euclidean", name, base="mixture", normalizer=None, **SMALL
    ).fit(directions[:40])


@pytest.mark.parametrize("name", COUPLED)
def test_rows_that_act_on_one_another_take_no_weights(name, modes):
    with pytest.raises(ValueError, match="sample_weight cannot be used with"):
        MVLDensity(name, **SMALL).fit(modes, sample_weight=np.ones(len(modes)))


@may_warn
@pytest.mark.parametrize("manifold", ["torus", "rotation", "simplex"])
@pytest.mark.parametrize("name", GLOBAL)
def test_proposals_serve_on_other_manifolds(name, manifold, memory):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4 if manifold == "rotation" else 3))
    if manifold == "rotation":
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    elif manifold == "simplex":
        X = rng.dirichlet([2.0, 3.0, 4.0], size=40)
    density = RiemannianMVLDensity(
        manifold, name, base="mixture", memory=memory, **SMALL
    ).fit(X)
    assert np.isfinite(density.score(X))


# --- what is monitored ----------------------------------------------------------------


def test_likelihood_is_monitored_as_it_is(modes):
    # The curve is minus the mean log density of rows held out, up to the change of units
    # and the draws' error: with 20 000 draws, 0.03 nats.
    objective = MaximumLikelihood(20_000)
    density = MVLDensity(
        objective,
        base="gaussian",
        max_epochs=20,
        hidden_layer_sizes=(16,),
        alpha=0,
        random_state=0,
    ).fit(modes)
    assert density.correction_scale_ == 1
    rows = Rows(modes, None, None)
    train, valid = split(rows, density.validation_fraction, density._fitted.seed)
    assert density.energy_.columns is None
    log_det = float(density.energy_.log_det(torch.tensor(modes[:1])))
    held_out = -density.score_samples(modes[valid]).mean() - log_det
    assert min(density.validation_loss_curve_) == pytest.approx(held_out, abs=0.03)
    best = np.argmin(density.validation_loss_curve_)
    at_train = -density.score_samples(modes[train]).mean() - log_det
    assert density.loss_curve_[best] == pytest.approx(at_train, abs=0.1)


@pytest.mark.parametrize("name", GLOBAL)
def test_modes_that_scores_cannot_weigh(name):
    # 0.85 N(-6, 1) + 0.15 N(6, 1) over one Gaussian: the share of the larger mode in the
    # model is that of the rows to 0.04.
    rng = np.random.default_rng(0)
    left = rng.random(1000) < 0.85
    X = rng.normal(size=(1000, 1)) + np.where(left, -6.0, 6.0)[:, None]
    params = {"max_epochs": 30, "hidden_layer_sizes": (32, 32), "random_state": 0}
    density = MVLDensity(name, base="gaussian", **params).fit(X)
    grid = np.linspace(-12, 12, 4001)[:, None]
    p = np.exp(density.score_samples(grid))
    assert p[grid[:, 0] < 0].sum() / p.sum() == pytest.approx(left.mean(), abs=0.04)


def test_the_learned_constant_is_the_log_normaliser(modes, directions):
    # To 0.15 nats after 40 epochs; and Z is computed anew all the same. Without a base
    # measure it starts at log 4 pi, that of no energy at all.
    params = {"max_epochs": 40, "hidden_layer_sizes": (16,), "random_state": 0}
    for density, X in (
        (MVLDensity("nce", base="gaussian", **params), modes),
        (RiemannianMVLDensity("sphere", "nce", base=None, **params), directions),
    ):
        density.fit(X)
        assert density.correction_scale_ == 1
        learned = float(density._training_state["average"]["offset"])
        assert learned == pytest.approx(density.log_normalizer_, abs=0.15)
        assert "offset" not in dict(density.energy_.energy.named_parameters())


@may_warn
@pytest.mark.parametrize("name", GLOBAL)
def test_pickles_resume_and_seeds_repeat(name, modes):
    weight = np.random.default_rng(1).uniform(0.5, 2, len(modes))
    one = MVLDensity(name, base="gaussian", **SMALL).fit(modes, sample_weight=weight)
    other = pickle.loads(pickle.dumps(one))
    a, b = (d.partial_fit(modes).score_samples(modes) for d in (one, other))
    assert np.array_equal(a, b)
    again = clone(one).fit(modes, sample_weight=weight)
    assert np.array_equal(again.partial_fit(modes).score_samples(modes), a)


def test_parameters_reach_the_objective(modes):
    density = MVLDensity(NoiseContrastive(3), base="gaussian", **SMALL)
    density.set_params(objective__n_noise=0)
    with pytest.raises(ValueError, match="n_noise of NoiseContrastive"):
        density.fit(modes)


# --- real data ------------------------------------------------------------------------


@may_warn
@pytest.mark.parametrize(
    "name",
    ["mpf", *(pytest.param(n, marks=slow) for n in ("nce", "mle", "parzen", "deen"))],
)
def test_wine(name, memory):
    # 13 columns, 178 rows: not worse than the fitted Gaussian by more than 0.5 nats.
    X = StandardScaler().fit_transform(load_wine().data)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = X[order[:142]], X[order[142:]]
    epsilon = 1e-2 if name == "deen" else 1e-4
    params = {"memory": memory, "random_state": 0}
    density = MVLDensity(name, epsilon=epsilon, max_epochs=20, **params).fit(train)
    base = MVLDensity(name, max_epochs=1, lr=1e-9, **params).fit(train)
    assert base.correction_scale_ == 0
    assert density.score(test) > base.score(test) - 0.5


@may_warn
@pytest.mark.skipif(not FLOODS.exists(), reason="needs SK_WMVL_DATA")
@pytest.mark.parametrize("name", ["nce", pytest.param("mle", marks=slow)])
def test_floods(name):
    # 300 of the floods over a mixture: better than the uniform density by a nat.
    rows = np.loadtxt(FLOODS, delimiter=",", skiprows=2)
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:500]]
    X = from_lat_lon(*rows.T)
    density = RiemannianMVLDensity(
        "sphere",
        name,
        base="mixture",
        max_epochs=5,
        random_state=0,
    ).fit(X[:300])
    assert density.score(X[300:]) > -np.log(4 * np.pi) + 1
