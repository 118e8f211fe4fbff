"""What a fit reports, shows and warns of."""

import json
import pickle
import warnings

import numpy as np
import pytest

from sk_wmvl import MVLDensity, NetworkDroppedWarning, RiemannianMVLDensity


def ring(n, seed=0):
    """Return rows about a circle, which no Gaussian describes."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 3 + 0.3 * rng.standard_normal(n)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)]


@pytest.fixture(scope="module")
def kept():
    """A fit that keeps its network."""
    return MVLDensity(base="gaussian", max_epochs=15, random_state=0).fit(ring(1500))


def test_a_network_that_pays_is_reported(kept):
    report = kept.fit_report_
    network = report["network"]
    assert kept.correction_scale_ == network["scale"] > 0
    assert network["gain"] > max(network["needed_gain"], 3 * network["gain_std_error"])
    assert report["n_rows"] == 1500
    assert report["n_judged"] == 150
    assert network["n_epochs"] == kept.n_iter_
    assert network["objective_weight"] == pytest.approx(100 / 1500)
    assert report["normalizer"]["log_normalizer"] == kept.log_normalizer_
    assert report["left_out"] == []
    assert set(report["seconds"]) == {"base", "training", "normalizer"}
    # what it was worth on new rows is what the report says, by its error
    new = ring(4000, seed=1)
    u = kept.energy_.to_internal(kept._fitted.points(new))
    base = kept.base_.log_prob(u).numpy() - kept.energy_.log_det(u).numpy()
    worth = kept.score_samples(new) - base
    error = np.hypot(worth.std() / 4000**0.5, network["gain_std_error"])
    assert abs(worth.mean() - network["gain"]) < 4 * error


def test_a_report_is_plain_data(kept):
    assert json.loads(json.dumps(kept.fit_report_)) == kept.fit_report_
    again = pickle.loads(pickle.dumps(kept))
    assert str(again.summary()) == str(kept.summary())


def test_a_summary_is_text_and_html(kept):
    text = str(kept.summary())
    assert text.startswith("MVLDensity\n")
    for word in ("rows", "base measure", "network", "normaliser", "seconds", "nats"):
        assert word in text
    page = kept.summary()._repr_html_()
    assert page.startswith("<table>")
    assert "nats per row" in page


def test_what_was_tried_is_reported():
    X = np.random.default_rng(0).normal(size=(300, 2)) + [[0.0, 0.0]]
    X[:150] += 6
    report = MVLDensity(max_epochs=1, random_state=0).fit(X).fit_report_
    base = report["base"]
    assert sum(base["chosen"].values()) == pytest.approx(1)
    assert base["candidates"]["2 normal components"] > (
        base["candidates"]["1 normal component"] + 0.3
    )
    (left_out,) = report["left_out"]
    assert left_out.startswith("the network: its best gain is")
    assert left_out.endswith("could be chance")
    assert "left out" in str(MVLDensity(max_epochs=1, random_state=0).fit(X).summary())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, []),
        ({"epsilon": 1e-3}, ["epsilon=0.001"]),
        ({"alpha": 0.5, "objective": "sm"}, ["objective='sm'", "alpha=0.5"]),
        ({"energy": "mlp", "objective_weight": None}, ["objective_weight=None", "mlp"]),
        ({"hidden_layer_sizes": (8,)}, []),
    ],
)
def test_one_warning_where_settings_do_nothing(settings, named):
    X = np.random.default_rng(0).normal(size=(100, 2))
    density = MVLDensity(base="gaussian", max_epochs=1, random_state=0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        density.fit(X)
    found = [w for w in caught if w.category is NetworkDroppedWarning]
    assert len(found) == bool(named)
    assert issubclass(NetworkDroppedWarning, UserWarning)
    for warning in found:
        assert all(name in str(warning.message) for name in named)
        assert warning.filename == __file__  # the user's line


def test_no_warning_without_a_network_to_drop():
    X = np.random.default_rng(0).normal(size=(100, 3))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NetworkDroppedWarning)
        RiemannianMVLDensity(energy="von_mises_fisher", base=None).fit(X)
        density = MVLDensity(alpha=1.0, normalizer=None, max_epochs=1, random_state=0)
        density.fit(X)
    assert density.fit_report_["normalizer"] == {}
    assert "normaliser" not in str(density.summary())


@pytest.mark.parametrize("objective", ["mle", "nce", "annealed"])
def test_a_weight_needs_an_objective_of_derivatives(objective):
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = MVLDensity(objective, objective_weight=0.5, base="gaussian")
    with pytest.raises(ValueError, match="objective_weight=0.5 weighs an objective"):
        density.fit(X)


def test_the_weight_of_the_objective_matters():
    X = ring(400)
    settings = {"base": "gaussian", "max_epochs": 5, "random_state": 0}
    scores = {
        weight: MVLDensity(objective_weight=weight, **settings).fit(X).score(ring(500))
        for weight in ("auto", 0.25, 0.0, None)
    }
    assert scores["auto"] == scores[0.25]  # 100 of 400
    assert len(set(scores.values())) == 3


def test_a_closed_form_that_is_dropped_is_told():
    X = np.random.default_rng(0).normal(size=(300, 2))
    with pytest.warns(NetworkDroppedWarning, match="exponential family was dropped"):
        density = MVLDensity(energy="kernel", base="gaussian", random_state=0).fit(X)
    assert density.correction_scale_ == 0
    assert density.fit_report_["left_out"][0].startswith("the exponential family")
    assert "all of them train and judge" in str(density.summary())


@pytest.mark.parametrize("n", [2, 5, 12])
def test_too_few_rows_to_judge_leave_the_base(n):
    X = np.random.default_rng(0).normal(size=(n, 2))
    density = MVLDensity(base="gaussian", max_epochs=3, random_state=0).fit(X)
    assert density.correction_scale_ == 0
    assert density.fit_report_["judges"] == "none"
    assert "too few" in str(density.summary())
    base = density.base_.log_prob(
        density.energy_.to_internal(density._fitted.points(X))
    )
    shift = density.energy_.log_det(density._fitted.points(X))
    np.testing.assert_allclose(density.score_samples(X), base - shift)


def test_copies_are_one_judge():
    X = np.random.default_rng(0).normal(size=(60, 2))
    copies = MVLDensity(base="gaussian", max_epochs=5, random_state=0).fit(
        np.repeat(X, 10, axis=0)
    )
    report = copies.fit_report_
    assert (report["n_rows"], report["n_judged"]) == (60, 6)  # copies are no evidence
    assert report["network"]["needed_gain"] == pytest.approx(4 / 6)


def test_rows_of_several_calls_weigh_the_objective():
    X = ring(600)
    density = MVLDensity(base="gaussian", normalizer="importance", random_state=0)
    for part in np.split(X, 6):
        density.partial_fit(part)
    report = density.fit_report_
    assert report["n_rows"] == 600
    assert report["network"]["objective_weight"] == pytest.approx(100 / 600)
    assert report["judges"] == "training"
