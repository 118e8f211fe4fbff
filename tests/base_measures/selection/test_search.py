"""The search: what is more complex has to pay, in whole units, and stacks must pay too."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize, stats

from sk_wmvl.base_measures.selection.search import Candidate, Search

EQUAL = np.full(100, 0.01)


@dataclass(frozen=True, eq=False)
class Constant(Candidate[int, int]):
    """A candidate whose fit is as large as it is told."""

    def fit(self, rows):
        return rows


def candidate(values, name="some"):
    return Constant(name, np.asarray(values, dtype=float))


def noise(seed=0, n=100):
    """Return values of mean zero and standard deviation one."""
    z = np.random.default_rng(seed).normal(size=n)
    return (z - z.mean()) / z.std()


# --- what pays ------------------------------------------------------------------------


def test_the_error_is_that_of_a_weighted_mean():
    rng = np.random.default_rng(0)
    weight = rng.uniform(1, 3, 50)
    weight /= weight.sum()
    gain, zero = rng.normal(0.3, 1, 50), np.zeros(50)
    mean = np.average(gain, weights=weight)
    error = np.sqrt(
        sum(w**2 * (g - mean) ** 2 for w, g in zip(weight, gain, strict=True))
    )
    search = Search(weight)
    assert search.pays(gain, zero, 0.99 * mean / error)
    assert not search.pays(gain, zero, 1.01 * mean / error)


def test_copies_of_rows_in_one_unit_change_nothing():
    # each row three times, in units of three: the same sums; as rows of their own they
    # would seem to be three times as many
    gain, zero = 0.08 + noise(), np.zeros(100)
    once = Search(EQUAL)
    assert not once.pays(gain, zero, 1.0)
    thrice, nothing = np.repeat(gain, 3), np.zeros(300)
    equal = np.full(300, 1 / 300)
    assert not Search(equal, np.repeat(np.arange(100), 3)).pays(thrice, nothing, 1.0)
    assert Search(equal).pays(thrice, nothing, 1.0)


@pytest.mark.parametrize(
    ("gain", "first", "later"), [(0.4, 0, 0), (0.7, 0, 1), (1.2, 1, 1)]
)
def test_half_an_error_is_needed_and_a_whole_one_at_first(gain, first, later):
    # gains in standard errors, which are 0.1
    search = Search(EQUAL)
    assert search.offer(candidate(np.zeros(100)))
    better = 0.1 * gain + noise()
    assert search.offer(candidate(better)) == first
    search = Search(EQUAL)
    search.offer(candidate(np.zeros(100)))
    assert search.offer(candidate(np.ones(100)))
    assert search.offer(candidate(1 + better)) == later


# --- ladders --------------------------------------------------------------------------


def ladder(means, seen):
    for mean in means:
        seen.append(mean)
        yield candidate(np.full(100, float(mean)), f"mean {mean}")


def test_a_ladder_is_left_where_it_no_longer_pays():
    search, seen = Search(EQUAL), []
    tried = search.climb(ladder([0, 1, 1, 2, 2, 1, 5], seen), 2)
    assert seen == [0, 1, 1, 2, 2, 1]  # what is not reached is not made
    assert [c.name for c in tried] == [f"mean {m}" for m in seen]
    assert search.best.values[0] == 2


def test_a_ladder_compares_with_the_best_of_all():
    search, seen = Search(EQUAL), []
    search.offer(candidate(np.full(100, 9.0)))
    search.climb(ladder([0, 1, 2, 3], seen), 2)
    assert seen == [0, 1]
    assert search.best is search.candidates[0]


# --- the result -----------------------------------------------------------------------


def two_halves():
    """Return a search over a constant and two candidates, each good at half of the rows."""
    left = np.where(np.arange(100) < 50, 0.0, -3.0)
    search = Search(EQUAL)
    for name, values in [("flat", np.full(100, -2.0)), ("l", left), ("r", left[::-1])]:
        search.offer(candidate(values, name))
    return search


def test_a_stack_of_what_is_better_in_different_places():
    search = two_halves()
    choice = search.result(search.candidates[1:], most=3, least_weight=0.05, fewest=2)
    assert {part.name for part in choice.parts} == {"l", "r"}
    np.testing.assert_allclose(choice.weights, 0.5, atol=1e-3)
    expected = np.log(0.5 + 0.5 * np.exp(-3))
    assert choice.scores["stack"] == pytest.approx(expected, abs=1e-3)
    scores = {name: choice.scores[name] for name in ("flat", "l", "r")}
    assert scores == pytest.approx({"flat": -2.0, "l": -1.5, "r": -1.5})
    assert [part.fit(7) for part in choice.parts] == [7, 7]


@pytest.mark.parametrize(("most", "least_weight"), [(1, 0.05), (3, 0.6)])
def test_too_few_parts_are_no_stack(most, least_weight):
    search = two_halves()
    stackable = search.candidates[1:]
    choice = search.result(stackable, most=most, least_weight=least_weight, fewest=2)
    assert choice.parts == (search.best,)
    np.testing.assert_array_equal(choice.weights, [1.0])


def test_a_stack_that_does_not_pay_is_not_taken():
    search = Search(EQUAL)
    search.offer(candidate(np.zeros(100), "first"))
    search.offer(candidate(np.ones(100), "best"))
    choice = search.result(search.candidates, most=3, least_weight=0.05, fewest=1)
    assert [part.name for part in choice.parts] == ["best"]
    assert search.result([], most=3, least_weight=0.05, fewest=1).parts == choice.parts


def test_weights_of_a_stack_are_those_of_a_direct_search():
    # three normal densities, at rows from a mixture of two of them and a third part far off
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(-2, 1, 60), rng.normal(2, 1, 40)]
    values = np.stack([stats.norm(m).logpdf(x) for m in (-2, 2, 0)], 1)
    search = Search(EQUAL)
    for name, column in zip("abc", values.T, strict=True):
        search.offer(candidate(column, name))
    choice = search.result(search.candidates, most=3, least_weight=0.0, fewest=2)
    direct = optimize.minimize(
        lambda w: -np.log(np.exp(values) @ w).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    assert choice.scores["stack"] == pytest.approx(-direct.fun, abs=1e-4)
