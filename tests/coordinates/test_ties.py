"""What repeats in data: rounded columns, and copies of rows."""

import warnings

import numpy as np
import pytest
from sklearn import datasets

from sk_wmvl import MVLDensity
from sk_wmvl.coordinates.ties import (
    blur,
    discrete_columns,
    few_valued_columns,
    find_atoms,
    rounding_steps,
)

FAST = {"base": "gaussian", "max_epochs": 1, "random_state": 0}


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


# --- atoms and discrete columns ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95, 0.99])
@pytest.mark.parametrize("d", [1, 3])
def test_amounts_with_many_zeros_are_not_rounded(seed, share, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1000, d))
    zero = rng.random(1000) < share
    x[:, -1] = np.where(zero, 0.0, rng.lognormal(1, 0.5, 1000))
    rounding = rounding_steps(x)
    np.testing.assert_array_equal(rounding, np.zeros(d))
    assert [tuple(a) for a in find_atoms(x, rounding)] == [(d - 1, 0.0, zero.mean())]
    assert len(discrete_columns(x, rounding)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_discrete_columns_are_seen(seed):
    rng = np.random.default_rng(seed)
    x = np.c_[
        rng.normal(size=1000),
        rng.random(1000) < 0.01,
        rng.poisson(3.0, 1000),
        rng.normal(size=1000).round(1),
        rng.choice([1.0, 2.0, 5.0, 10.0], 1000),
    ]
    rounding = rounding_steps(x)
    np.testing.assert_allclose(rounding, [0, 1, 1, 0.1, 1], rtol=1e-9)
    np.testing.assert_array_equal(discrete_columns(x, rounding), [1, 2, 4])
    assert find_atoms(x, rounding) == []


def beside(column, d, rng):
    """Return rows of which the last column is given and others are normal."""
    return np.c_[rng.normal(size=(len(column), d - 1)), column]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("d", [1, 3])
def test_atoms_of_rounded_columns_are_seen(seed, d):
    rng = np.random.default_rng(seed)
    u = rng.random(1000)
    columns = [
        (0, np.where(u < 0.58, 0, rng.gamma(0.8, 5, 1000)).round(1)),
        (0, np.where(u < 0.6, 0, rng.lognormal(3, 1, 1000)).round(2)),
        (0, np.where(u < 0.9, 0, rng.lognormal(7, 1, 1000)).round()),
        (-999, np.where(u < 0.2, -999, rng.normal(size=1000).round(1))),
    ]
    for value, column in columns:
        x = beside(column, d, rng)
        atoms = find_atoms(x, rounding_steps(x))
        assert [a[:2] for a in atoms] == [(d - 1, value)]
        assert atoms[0].share == (column == value).mean()
    two = np.where(u < 0.2, -999, np.where(u < 0.6, 0, rng.gamma(2, 5, 1000).round(1)))
    x = beside(two, d, rng)
    assert [a.value for a in find_atoms(x, rounding_steps(x))] == [-999, 0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [150, 5000])
@pytest.mark.parametrize("d", [1, 3])
def test_steps_are_no_atoms(seed, n, d):
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(size=n).round(1),
        rng.normal(36.8, 0.3, n).round(1),
        rng.exponential(size=n).round(1),
        rng.poisson(1, n),
        rng.poisson(5, n),
        rng.poisson(30, n),
        rng.geometric(0.3, n),
    ]
    for column in columns:
        x = beside(column, d, rng)
        assert find_atoms(x, rounding_steps(x)) == []


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_tables_have_no_atoms(name):
    x = getattr(datasets, f"load_{name}")().data
    assert find_atoms(x, rounding_steps(x)) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize(
    "doses", [[0.0, 1.0, 10.0, 100.0], [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]]
)
def test_few_uneven_values_have_their_least_gap(seed, d, doses):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(len(doses), 20.0))
    x = beside(rng.choice(doses, 600, p=share), d, rng)
    steps = rounding_steps(x)
    assert steps[-1] == pytest.approx(np.diff(doses).min())
    np.testing.assert_array_equal(discrete_columns(x, steps), [d - 1])
    np.testing.assert_array_equal(few_valued_columns(x, steps), [d - 1])


def told_of(X, **params):
    """Return what a fit warns of, but for a network that is dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MVLDensity(**FAST | params).fit(X)
    texts = [str(w.message) for w in caught]
    return [text for text in texts if "was dropped" not in text]


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_nothing_is_told_of_ordinary_tables(name):
    assert told_of(getattr(datasets, f"load_{name}")().data) == []


@pytest.mark.parametrize("d", [1, 3])
def test_a_rounded_measurement_is_no_discrete_column(d):
    rng = np.random.default_rng(0)
    told = told_of(rng.normal(36.8, 0.3, (1000, d)).round(1))
    # its step is a third of its deviation, which is said, and no more
    assert len(told) == 1
    assert told[0].startswith("X has columns in wide steps")
    assert "one density for each" not in told[0]
    assert told_of(rng.normal(36.8, 0.6, (1000, d)).round(1)) == []


def test_families_in_closed_form_say_nothing_of_ties():
    X = np.random.default_rng(0).poisson(2.0, (300, 2)).astype(float)
    params = {"energy": "gaussian", "objective": "mvl", "base": "auto"}
    assert told_of(X, **params) == []


def test_noise_has_the_variance_of_rounding_and_leaves_other_columns():
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=20_000), rng.random(20_000) < 0.3]
    blurred = blur(x, np.array([0.0, 1.0]), rng)
    np.testing.assert_array_equal(blurred[:, 0], x[:, 0])
    noise = (blurred - x)[:, 1]
    z = (12 * noise**2 - 1) / np.sqrt(2 / 20_000)  # of a chi square, row by row
    assert abs(z.mean()) < 4
    assert blur(x, np.zeros(2), rng) is x


def test_copies_get_the_same_noise():
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=50), rng.random(50) < 0.3]
    blurred = blur(np.repeat(x, 2, axis=0), np.array([0.0, 1.0]), rng)
    np.testing.assert_array_equal(blurred[::2], blurred[1::2])


def test_discrete_columns_and_atoms_are_named():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=300), "flag": rng.random(300) < 0.1})
    with pytest.warns(UserWarning, match="discrete columns: 'flag'. Each"):
        MVLDensity(**FAST).fit(X)
    X["rain"] = np.where(rng.random(300) < 0.5, 0.0, rng.gamma(2.0, size=300))
    match = f"column 'rain' is 0 in {(X['rain'] == 0).mean():.0%} of the rows"
    with pytest.warns(UserWarning, match=match):
        MVLDensity(**FAST).fit(X[["x", "rain"]])
