"""Columns without information: constant ones, exact functions of others, dates."""

import pickle

import numpy as np
import pytest

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.coordinates import VaryingColumns, find_relations
from sk_wmvl.manifolds import Circle, Euclidean, Product

FAST = {"base": "gaussian", "max_epochs": 1, "random_state": 0}


def rows(n=300, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


# --- constant columns -----------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1e6 / 3])
@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_a_constant_column_does_not_change_the_density_of_the_others(value, base):
    X, T = rows(), rows(50, seed=1)
    params = FAST | {"base": base}
    without = MVLDensity(**params).fit(X)
    with pytest.warns(UserWarning, match=r"left out of the density: column 1 \(value"):
        density = MVLDensity(**params).fit(np.insert(X, 1, value, axis=1))
    Y = np.insert(T, 1, value, axis=1)
    np.testing.assert_array_equal(density.score_samples(Y), without.score_samples(T))
    expected = np.insert(without.score_fn(T), 1, 0.0, axis=1)
    np.testing.assert_array_equal(density.score_fn(Y), expected)
    draws = np.insert(without.sample(20, random_state=0), 1, value, axis=1)
    np.testing.assert_array_equal(density.sample(20, random_state=0), draws)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(Y), density.score_samples(Y))


def test_constant_columns_are_named_and_reported():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(rows(), columns=["a", "b"]).assign(year=2020.0)
    with pytest.warns(UserWarning, match=r"column 'year' \(value 2020\)"):
        density = MVLDensity(**FAST).fit(X)
    assert "constant columns: 'year'" in density.fit_report_["left_out"]
    assert "'year'" in str(density.summary())
    assert density.manifold_.dim == 2


def test_a_value_that_departs_from_the_constant_is_told_of():
    X = np.c_[rows(), np.full(300, 7.0)]
    with pytest.warns(UserWarning, match="column 2"):
        density = MVLDensity(warm_start=True, **FAST).fit(X)
    expected = density.score_samples(X)
    X[5, 2] = 8.0
    with pytest.warns(UserWarning, match="in column 2, which was constant there"):
        np.testing.assert_array_equal(density.score_samples(X), expected)


def test_rows_that_are_all_equal_are_refused():
    with pytest.raises(ValueError, match="All rows of X are equal"):
        MVLDensity(**FAST).fit(np.full((20, 3), 0.1))


def test_a_constant_factor_of_a_product_is_refused():
    X = np.c_[rows(60, 1), np.full(60, 3.0)]
    estimator = RiemannianMVLDensity(
        Product([("direction", Circle()), ("speed", Euclidean(1))]), max_epochs=1
    )
    with pytest.raises(ValueError, match="is 3 in all rows"):
        estimator.fit(X)


@pytest.mark.parametrize("seed", range(3))
def test_columns_are_taken_and_put_back(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 5))
    X[:, rng.permutation(5)[:2]] = rng.normal(size=2)
    columns = VaryingColumns.of(X)
    assert columns.take(X).shape == (20, 3)
    np.testing.assert_array_equal(columns.fill(columns.take(X)), X)
    assert len(columns.departing(X)) == 0


# --- exact functions of others ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_relations_are_found(seed, dtype):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, size=(200, 3)).astype(dtype)
    X = np.c_[x, x.sum(1), 5 - 2 * x[:, 1]].astype(float)
    found = find_relations(X)
    assert [tuple(r) for r in found] == [(3, (0, 1, 2)), (4, (1,))]


@pytest.mark.parametrize("noise", [1e-4, 3e-6])
def test_a_measured_total_is_no_exact_one(noise):
    rng = np.random.default_rng(0)
    x = rng.gamma(2.0, size=(200, 3))
    assert find_relations(np.c_[x, x.sum(1) + noise * rng.normal(size=200)]) == []


def test_few_rows_are_in_no_exact_relation():
    X = rows(5, 10)
    assert find_relations(X) == []
    assert [tuple(r) for r in find_relations(np.c_[X, X[:, 3]])] == [(10, (3,))]


def test_a_relation_that_some_rows_break_is_none():
    X = np.c_[rows(5000), np.zeros(5000)]
    X[:, 2] = X[:, 0] + X[:, 1]
    assert len(find_relations(X)) == 1
    X[7, 2] += 0.1
    assert find_relations(X) == []


def test_functions_of_other_columns_are_named():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(rows(), columns=["a", "b"])
    X["total"], X["copy"] = X["a"] + X["b"], X["b"]
    match = "column 'total' of columns 'a' and 'b'; column 'copy' of column 'b'"
    with pytest.warns(UserWarning, match=match):
        MVLDensity(**FAST).fit(X)


# --- dates ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["date", "duration", "period"])
def test_dates_are_refused_by_name(kind):
    pd = pytest.importorskip("pandas")
    dates = pd.date_range("2020", periods=30)
    t = {"date": dates, "duration": dates - dates[3], "period": dates.to_period("D")}[
        kind
    ]
    for X in (
        pd.DataFrame({"when": t}),
        pd.DataFrame({"x": rows(30, 1)[:, 0], "when": t}),
    ):
        with pytest.raises(ValueError, match=r"X holds dates .* in column 'when'"):
            MVLDensity(**FAST).fit(X)


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "timedelta64[D]"])
def test_arrays_of_dates_are_refused(dtype):
    with pytest.raises(ValueError, match=r"X holds dates .*64"):
        MVLDensity(**FAST).fit(np.arange(30).astype(dtype)[:, None])


def test_a_flag_and_its_opposite_are_not_said_to_be_as_high_as_rounding_allows():
    flag = np.random.default_rng(0).random(300) < 0.4
    X = np.c_[rows(), flag, ~flag].astype(float)
    match = "linear functions of others: column 3 of column 2. .* how narrow the fit is"
    with pytest.warns(UserWarning, match=match):
        density = MVLDensity(**FAST).fit(X)
    # steps of one give both columns a width, whatever rounding allows
    assert np.abs(density.score_samples(X)).max() < 20
