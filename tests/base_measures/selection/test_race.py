"""The race among mixtures: heats on one fold, a final on all."""

import numpy as np
import pytest

from sk_wmvl._rows import Fold, make_folds
from sk_wmvl.base_measures.selection import race as module
from sk_wmvl.base_measures.selection.race import (
    SIMPLEST,
    Sample,
    Track,
    Trial,
    name_of,
    race,
)


def spots(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) * 0.2 + rng.integers(0, 3, (n, 2)) * 2.0
    return x / x.std(0)


def run(x, folds):
    units = np.arange(len(x))
    return race(Sample(x, np.ones(len(x))), folds, units, seed=0)


def test_what_is_fitted_once_is_not_fitted_again(monkeypatch):
    x = spots(200)
    track = Track(Sample(x, np.ones(200)), make_folds(np.arange(200), 5, 0), seed=0)
    trial = Trial(4, np.inf, False)
    first = track.run(trial, [0]).values
    monkeypatch.setattr(module, "fit_mixture", None)  # raises if it is called
    np.testing.assert_array_equal(track.run(trial, [0]).values, first)
    with pytest.raises(TypeError):
        track.run(trial)


def test_all_folds_judge_those_that_come_near_the_best_on_one():
    x = spots(500)
    choice = run(x, make_folds(np.arange(500), 5, 0))
    assert name_of(SIMPLEST) in choice.scores
    assert max(choice.scores, key=choice.scores.get) != name_of(SIMPLEST)
    # nine spots: mixtures of one or two components fall out, but for the simplest
    assert name_of(Trial(2, np.inf, False)) not in choice.scores
    assert all(len(part.values) == 500 for part in choice.parts)


def test_a_heat_of_many_rows_takes_a_part_of_them(monkeypatch):
    monkeypatch.setattr(module, "ROWS_OF_A_HEAT", 100)
    seen = []
    fit = module.fit_mixture

    def watched(x, *args, **params):
        seen.append(len(x))
        return fit(x, *args, **params)

    monkeypatch.setattr(module, "fit_mixture", watched)
    held_out = np.arange(450, 500)
    run(spots(500), [Fold(np.arange(450), held_out)])
    assert set(seen) == {100, 450}
    assert seen.count(450) < seen.count(100)
