"""Splits are honest, units are the data's, tables say what the numbers are."""

import copy
import csv
import warnings

import numpy as np
import pytest
from tqdm.auto import tqdm

from sk_wmvl import MVLDensity
from sk_wmvl._comparison import (
    BadFileError,
    Comparison,
    DataSet,
    Result,
    Stages,
    compare,
    format_table,
    leave_out_constant,
    save_figure,
    save_scores,
)
from sk_wmvl._comparison import fits as fits_of_comparison
from sk_wmvl._comparison.fits import base_log_density

SMALL = {"base": "gaussian", "hidden_layer_sizes": (4,), "max_epochs": 1}
SCALES = np.array([1000.0, 0.01])


@pytest.fixture(scope="module", autouse=True)
def few_candidates():
    """No more of the peers' settings than a quick test needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits_of_comparison, "MAX_COMPONENTS", 2)
        patch.setattr(fits_of_comparison, "BANDWIDTHS", np.array([0.3, 1.0]))
        yield


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(60, 2)) * SCALES
    return np.r_[X, X[:40], X[:20]]  # most rows have copies


@pytest.fixture(scope="module")
def fitted(rows):
    with tqdm(total=6, disable=True) as bar:
        data = DataSet("copies", rows, ["a", "b"])
        params = SMALL | {"max_epochs": 2}
        comparison = compare(
            data, n_splits=2, seed=0, params=params, stages=Stages(bar)
        )
    return data, comparison


def test_copies_are_on_one_side(rows, fitted):
    is_held_out = fitted[1].last.is_held_out
    inside = {tuple(row) for row in rows[~is_held_out]}
    outside = {tuple(row) for row in rows[is_held_out]}
    assert len(outside) == 12  # a fifth of 60 different rows
    assert not inside & outside


def test_results(fitted):
    _, comparison = fitted
    names = [result.name for result in comparison.results]
    assert names[:2] == ["MVLDensity", "its base alone"]
    assert len(names) == 4
    assert len(comparison.reports) == 2
    for result in comparison.results:
        assert np.isfinite(result.scores).all()
        assert result.scores.shape == result.seconds.shape == (2,)


def test_scores_of_rows_are_in_the_units_of_the_file(tmp_path, fitted):
    data, comparison = fitted
    last = comparison.last
    save_scores(data, last, tmp_path / "scores.csv")
    with open(tmp_path / "scores.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(line["row"]) for line in table] == list(range(len(data.X)))
    held_out = np.array([int(line["held_out"]) for line in table], dtype=bool)
    assert np.array_equal(held_out, last.is_held_out)
    # an oracle: a density of the standardised rows, by the ratio of volumes
    spread = data.X[~held_out].std(0)
    Z = (data.X - data.X[~held_out].mean(0)) / spread
    expected = last.density.score_samples(Z) - np.log(spread.prod())
    found = np.array([float(line["log_density"]) for line in table])
    assert np.abs(found - expected).max() < 1e-5


def test_base_alone_is_the_model_whose_network_was_dropped():
    X = np.random.default_rng(1).normal(size=(60, 2))
    density = MVLDensity(**SMALL, random_state=0).fit(X)
    assert density.correction_scale_ == 0
    base = base_log_density(density, X)
    assert np.abs(base - density.score_samples(X)).max() < 1e-9
    # an oracle: the Gaussian, up to the shrinkage of its covariance
    from scipy.stats import multivariate_normal

    gaussian = multivariate_normal(X.mean(0), np.cov(X.T, bias=True))
    assert abs(base.mean() - gaussian.logpdf(X).mean()) < 0.02


def test_base_alone_is_of_the_columns_that_vary():
    X = np.random.default_rng(1).normal(size=(60, 2))
    wide = np.c_[X[:, 0], np.full(60, 7.0), X[:, 1]]
    params = SMALL | {"random_state": 0}
    expected = base_log_density(MVLDensity(**params).fit(X), X)
    with pytest.warns(UserWarning, match="Constant columns"):
        density = MVLDensity(**params).fit(wide)
    assert np.abs(base_log_density(density, wide) - expected).max() < 1e-9


def flagged(row, n=60):
    """Return rows with a column that is 1 in one of them."""
    X = np.random.default_rng(0).normal(size=(n, 3))
    X[:, 2] = np.arange(n) == row
    return DataSet("mine", X, ["a", "b", "flag"], left_out=("day: dates",))


def test_columns_that_are_constant_in_training_rows_are_left_out():
    found = [leave_out_constant(flagged(r), n_splits=1, seed=3) for r in range(60)]
    left = [data for data in found if len(data.left_out) == 2]
    assert len(left) == 12  # a fifth of the rows is held out, each of them once
    for data in left:
        assert data.columns == ["a", "b"]
        assert np.array_equal(data.X, flagged(0).X[:, :2])
        reason = "flag: constant, 0 in the training rows of split 1"
        assert data.left_out == ("day: dates", reason)
        assert leave_out_constant(data, n_splits=1, seed=3) is data
    for row, data in enumerate(found):
        if len(data.left_out) == 1:
            assert np.array_equal(data.X, flagged(row).X)
    # any split counts: three hold out at least as many rows, and name the first that does
    told = [leave_out_constant(flagged(r), n_splits=3, seed=3) for r in range(60)]
    splits = [data.left_out[1][-1] for data in told if len(data.left_out) == 2]
    assert splits.count("1") == 12
    assert set(splits) == {"1", "2", "3"}


@pytest.mark.parametrize("seed", range(3))
def test_no_column_that_varies_in_training_rows(seed):
    # Copies stay together, so that one of two values is held out.
    data = DataSet("mine", np.eye(40)[:, :1], ["flag"])
    with pytest.raises(
        BadFileError, match="mine: no column can be compared .flag: const"
    ):
        leave_out_constant(data, n_splits=1, seed=seed)


class Recorder:
    """A bar that keeps what it is told."""

    def __init__(self):
        self.texts = []

    def set_description_str(self, text, refresh=True):
        self.texts.append(text)

    def update(self, n=1):
        pass


def test_every_stage_is_shown():
    bar = Recorder()
    stages = Stages(bar)
    assert copy.deepcopy(stages) is stages
    X = np.random.default_rng(0).normal(size=(60, 2))
    stages.begin("it", "base")
    MVLDensity(**SMALL | {"max_epochs": 2}, callbacks=[stages]).fit(X)
    stages.begin("another")
    assert bar.texts == [
        "it, base",
        "it, network",
        "it, network, epoch 1/2",
        "it, network, epoch 2/2",
        "it, normaliser",
        "another",
    ]


def make(scores, base, scales, gain=1.0):
    """Return a comparison of known numbers."""
    n = len(scores)
    results = [
        Result("MVLDensity", np.array(scores), np.full(n, 0.01), np.full(n, 2.0)),
        Result("its base alone", np.array(base), np.zeros(n), np.full(n, 1.0)),
    ]
    reports = [{"network": {"scale": s, "gain": gain if s else 0.0}} for s in scales]
    last = type("Last", (), {"is_held_out": np.arange(50) < 10})
    return Comparison(results, reports, last)


def test_table_of_known_numbers():
    text = format_table(make([-1.0, -2.0, -3.0], [-1.5, -2.7, -3.3], [1.0, 0.5, 1.0]))
    assert "10 rows held out in 3 splits" in text
    ours, base, network = text.splitlines()[2:]
    assert "-2.000 ± 0.577" in ours  # 1 / sqrt(3)
    assert "0.0100" in ours
    assert "-2.500 ± 0.529" in base  # sd 0.9165, over sqrt(3)
    assert "-0.500 ± 0.115" in base  # paired: sd 0.2, over sqrt(3)
    assert "exact" in base
    assert (
        "kept in 3 of 3 splits, and added 0.500 ± 0.115 nats per row (1.000" in network
    )


def test_network_that_was_dropped():
    some = format_table(make([-1.0, -2.0, -3.0], [-1.5, -2.0, -3.3], [1.0, 0.0, 0.5]))
    assert "kept in 2 of 3 splits, and added 0.400 ± 0.100 nats per row there" in some
    none = format_table(make([-1.0, -2.0], [-1.0, -2.0], [0.0, 0.0]))
    assert "kept in 0 of 2 splits: " in none
    one = format_table(make([-1.0], [-1.5], [1.0]))
    assert "±" not in one.replace("± standard", "")
    assert "nan" not in one
    assert "added 0.500 nats per row (" in one


def test_warnings_of_ours_are_below_the_table_once():
    X = np.random.default_rng(0).normal(size=(60, 2))
    X[:, 1] = np.arange(60) % 3  # which the fit of each split tells
    data = DataSet("mine", X, ["a", "kind"])
    with tqdm(total=6, disable=True) as bar:
        comparison = compare(data, n_splits=2, seed=0, params=SMALL, stages=Stages(bar))
    discrete = [text for text in comparison.warned if "discrete columns: 1." in text]
    assert len(discrete) == 1
    _, below = format_table(comparison).split("MVLDensity warned (")
    for text in comparison.warned:
        assert " ".join(below.split()).count(text) == 1
    assert max(map(len, below.splitlines())) <= 92


def test_first_lines_of_ours_and_nothing_of_peers(monkeypatch):
    def noisy(text, method):
        def call(*args, **kwargs):
            warnings.warn(text, UserWarning, stacklevel=2)
            return method(*args, **kwargs)

        return call

    for name in ("best_mixture", "best_kernel"):
        own = getattr(fits_of_comparison, name)
        monkeypatch.setattr(fits_of_comparison, name, noisy("a peer's", own))
    ours = noisy("one of ours,\nwith more to say", MVLDensity.fit)
    monkeypatch.setattr(MVLDensity, "fit", ours)
    X = np.random.default_rng(0).normal(size=(60, 2))
    with tqdm(total=3, disable=True) as bar:
        comparison = compare(
            DataSet("mine", X, ["a", "b"]),
            n_splits=1,
            seed=0,
            params=SMALL,
            stages=Stages(bar),
        )
    assert "one of ours," in comparison.warned
    assert not any("peer" in text or "to say" in text for text in comparison.warned)
    assert "warned" not in format_table(comparison._replace(warned=()))


@pytest.mark.parametrize("d", [1, 2, 4])
def test_figure(tmp_path, d):
    pytest.importorskip("matplotlib")
    X = np.random.default_rng(0).normal(size=(60, d))
    data = DataSet("mine", X, [f"x{k}" for k in range(d)])
    with tqdm(total=3, disable=True) as bar:
        comparison = compare(data, n_splits=1, seed=0, params=SMALL, stages=Stages(bar))
    save_figure(data, comparison, tmp_path / "mine.png")
    assert (tmp_path / "mine.png").stat().st_size > 10_000
