"""Divisions of rows: units are whole, everything is held out once, sizes are even."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from sk_wmvl._rows import (
    Rows,
    divide_values,
    hold_out,
    label_units,
    make_folds,
    merge_copies,
    split_rows,
    weigh_copies,
)

SEEDS = range(5)


def units_of(kind, seed):
    """Return units of 60 rows: distinct rows, copies of some, or groups of all sizes."""
    rng = np.random.default_rng(seed)
    if kind == "rows":
        return label_units(rng.normal(size=(60, 2)))
    if kind == "copies":
        x = rng.normal(size=(25, 2))
        return label_units(x[rng.integers(25, size=60)])
    return label_units(rng.normal(size=(60, 2)), rng.integers(0, 12, 60) ** 2)


each_kind = pytest.mark.parametrize("kind", ["rows", "copies", "groups"])


# --- units ----------------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [False, True])
def test_copies_and_only_copies_are_one_unit(in_order):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (40, 2)).astype(float)
    units = label_units(x, in_order=in_order)
    same = (x[:, None] == x).all(-1)
    np.testing.assert_array_equal(units[:, None] == units, same)
    assert set(units) == set(range(len(np.unique(x, axis=0))))


def test_units_in_order_are_numbered_by_their_first_rows():
    x = np.array([[3.0], [1.0], [3.0], [2.0], [1.0]])
    np.testing.assert_array_equal(label_units(x, in_order=True), [0, 1, 0, 2, 1])
    np.testing.assert_array_equal(label_units(x), [2, 0, 2, 1, 0])
    distinct = np.random.default_rng(0).normal(size=(30, 2))
    np.testing.assert_array_equal(label_units(distinct, in_order=True), np.arange(30))


def test_groups_are_units_whatever_their_rows():
    x = np.zeros((5, 2))
    units = label_units(x, np.array([7, 3, 7, 3, 9]))
    np.testing.assert_array_equal(units, [1, 0, 1, 0, 2])


def test_merged_copies_are_the_rows():
    rng = np.random.default_rng(0)
    x, groups = rng.integers(0, 2, (30, 2)).astype(float), rng.integers(0, 3, 30)
    first, label = merge_copies(x)
    assert len(first) == 4
    np.testing.assert_array_equal(x[first][label], x)
    first, label = merge_copies(x, groups)
    np.testing.assert_array_equal(x[first][label], x)
    np.testing.assert_array_equal(groups[first][label], groups)
    for i, j in enumerate(first):
        assert j == np.flatnonzero(label == i)[0]


@pytest.mark.parametrize("times", [1, 3])
def test_copies_become_weights(times):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 2)), rng.random(20) + 1
    again = np.repeat(x, times, axis=0)
    same = weigh_copies(Rows(again, None, None))
    np.testing.assert_array_equal(same.points, x)
    assert same.weight is None
    weighted = weigh_copies(Rows(again, np.repeat(w, times), None))
    np.testing.assert_allclose(weighted.weight, times * w)
    more = weigh_copies(Rows(np.r_[again, x[:5]], None, None))
    np.testing.assert_array_equal(more.points, x)
    np.testing.assert_array_equal(more.weight, times + (np.arange(20) < 5))
    groups = np.arange(20 * times) % 2
    apart = weigh_copies(Rows(again, None, groups))
    assert len(apart.points) == 20 * min(times, 2)


# --- equal rows that are no copies ------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("times", [1, 2, 5, 20])
def test_copies_are_not_divided(seed, times):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 2))
    assert divide_values(np.repeat(x, times, axis=0)) is None
    assert divide_values(x[rng.integers(200, size=200)]) is None  # a bootstrap sample
    few = np.repeat(x[:10], times, axis=0)
    assert divide_values(few) is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_copies_drawn_at_random_are_not_divided(seed, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(150, d))
    assert divide_values(x[rng.integers(0, 150, 1500)]) is None
    assert divide_values(np.repeat(x, 1 + rng.poisson(4, 150), axis=0)) is None
    flagged = np.c_[x, rng.random(150) < 0.3]
    assert divide_values(flagged[rng.integers(0, 150, 1500)]) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_columns_in_few_steps_are_divided(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2.0, (1000, 2)).astype(float)
    np.testing.assert_array_equal(divide_values(counts), np.arange(1000))
    ages = np.c_[rng.integers(18, 80, 1000), rng.random(1000) < 0.3].astype(float)
    np.testing.assert_array_equal(divide_values(ages), np.arange(1000))
    doses = rng.choice([0.0, 1.0, 10.0, 100.0], (1000, 2), p=[0.4, 0.3, 0.2, 0.1])
    np.testing.assert_array_equal(divide_values(doses), np.arange(1000))
    np.testing.assert_array_equal(divide_values(doses[:, :1]), np.arange(1000))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [0, 1])
def test_rows_in_few_steps_are_divided(seed, decimals):
    x = np.random.default_rng(seed).normal(size=(600, 1)).round(decimals)
    np.testing.assert_array_equal(divide_values(x), np.arange(600))


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_an_atom_are_divided_and_copies_are_not(seed):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(300) < 0.4, 0.0, rng.lognormal(size=300))
    x = np.r_[x, x[x > 0][:5]][:, None]
    units = divide_values(x)
    zero = x[:, 0] == 0
    assert len(np.unique(units[zero])) == zero.sum()
    np.testing.assert_array_equal(units[300:], units[np.flatnonzero(~zero[:300])[:5]])
    assert units.max() + 1 == 300


# --- folds ----------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("dealt", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_unit_is_held_out_exactly_once(kind, dealt, seed):
    units = units_of(kind, seed)
    folds = make_folds(units, 5, seed, dealt=dealt)
    assert len(folds) == 5
    times = np.zeros(len(units), int)
    for train, held_out in folds:
        assert not set(units[train]) & set(units[held_out])
        np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), range(60))
        assert (np.diff(train) > 0).all()
        assert (np.diff(held_out) > 0).all()
        times[held_out] += 1
    assert (times == 1).all()
    sizes = [len(set(units[fold.held_out])) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    # scikit-learn's folds of the same units hold as many of them out, though not the same
    theirs = GroupKFold(5, shuffle=True, random_state=seed).split(units, groups=units)
    assert sorted(len(set(units[out])) for _, out in theirs) == sorted(sizes)


@each_kind
def test_folds_are_random_and_repeat(kind):
    units = units_of(kind, 0)

    def held_out(seed):
        return [fold.held_out.tolist() for fold in make_folds(units, 3, seed)]

    assert held_out(0) == held_out(0)
    assert held_out(0) != held_out(1)
    # a generator goes on from where it is
    rng = np.random.default_rng(0)
    first = [fold.held_out.tolist() for fold in make_folds(units, 3, rng)]
    again = [fold.held_out.tolist() for fold in make_folds(units, 3, rng)]
    assert first == held_out(0) != again


@pytest.mark.statistical
@pytest.mark.parametrize("dealt", [False, True])
def test_each_pair_of_units_is_as_often_held_out_together(dealt, global_random_seed):
    # 2000 divisions of 6 units in 3 folds: any two are together in a fifth, |z| < 4.5,
    # which all 15 exceed together once in 10 000.
    rng = np.random.default_rng(global_random_seed)
    together = np.zeros((6, 6))
    for _ in range(2000):
        for fold in make_folds(np.arange(6), 3, rng, dealt=dealt):
            together[np.ix_(fold.held_out, fold.held_out)] += 1
    pairs = together[np.triu_indices(6, 1)] / 2000
    assert (np.abs(pairs - 0.2) < 4.5 * (0.2 * 0.8 / 2000) ** 0.5).all()


def test_few_units():
    assert make_folds(np.zeros(7, int), 5, 0) == []
    assert make_folds(np.zeros(0, int), 5, 0) == []
    folds = make_folds(np.array([0, 1, 0, 2]), 5, 0)
    assert sorted(fold.held_out.tolist() for fold in folds) == [[0, 2], [1], [3]]


# --- one part held out ----------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("seed", SEEDS)
def test_so_many_units_are_held_out(kind, seed):
    units = units_of(kind, seed)
    train, out = hold_out(units, 4, seed)
    assert len(set(units[out])) == 4
    assert not set(units[train]) & set(units[out])
    np.testing.assert_array_equal(np.sort(np.r_[train, out]), range(60))


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("sizes", [[5, 5], [1, 2, 3, 40], [3] * 20, [100] + [1] * 9])
def test_a_split_keeps_groups_whole(sizes, fraction):
    groups = np.random.default_rng(0).permutation(np.repeat(range(len(sizes)), sizes))
    train, out = split_rows(len(groups), fraction, [0], groups)
    np.testing.assert_array_equal(np.sort(np.r_[train, out]), range(len(groups)))
    assert not set(groups[train]) & set(groups[out])
    assert len(train) > 0
    assert (len(out) > 0) == (fraction > 0)
    if fraction and len(sizes) > 3:
        assert len(set(groups[out])) >= 2


def test_a_split_of_groups_is_as_near_to_the_fraction_as_their_order_allows():
    # against all cuts of the groups in the order in which they were drawn
    sizes = np.array([4, 9, 2, 7, 5, 3])
    groups = np.repeat(np.arange(6), sizes)
    for seed in range(20):
        order = np.random.default_rng([seed, 1]).permutation(6)
        cuts = [sizes[order[:k]].sum() for k in range(2, 6)]
        out = split_rows(30, 0.4, [seed, 1], groups).held_out
        assert abs(len(out) - 12) == min(abs(cut - 12) for cut in cuts)


@pytest.mark.parametrize(("n", "fraction", "held_out"), [(60, 0.1, 6), (4, 0.1, 0)])
def test_a_split_of_rows_is_rounded(n, fraction, held_out):
    train, out = split_rows(n, fraction, [0])
    assert len(out) == held_out
    np.testing.assert_array_equal(np.sort(np.r_[train, out]), range(n))


def test_a_split_of_copies_by_their_units():
    x = np.repeat(np.random.default_rng(0).normal(size=(30, 2)), 2, 0)
    train, out = split_rows(60, 0.2, [0], label_units(x, in_order=True))
    assert len(out) == 12
    assert not set(map(tuple, x[train])) & set(map(tuple, x[out]))
