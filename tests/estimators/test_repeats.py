"""Values that repeat: no well is dug at them, and atoms keep their mass."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sk_wmvl import MVLDensity
from sk_wmvl._rows import Rows
from sk_wmvl.coordinates import blur
from sk_wmvl.estimators._inspect import warn_of_wells


def base_scores(density, X):
    """Return log densities of the base measure alone, in the units of X."""
    x = torch.tensor(X)
    return (
        density.base_.log_prob(density.energy_.to_internal(x))
        - density.energy_.log_det(x)
    ).numpy()


def flagged_rows(n, share, seed):
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(size=(n, 2)), rng.random(n) < share]


@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_a_rare_flag_is_no_well(base):
    X, T = flagged_rows(400, 0.01, 2), flagged_rows(4000, 0.01, 3)
    # Of a Lebesgue density of intervals of width one; that of counting measure is the same.
    flagged = T[:, 2] == 1
    truth = -np.log(2 * np.pi) - 0.5 * (T[:, :2] ** 2).sum(1)
    truth += np.where(flagged, np.log(0.01), np.log(0.99))
    # Without a base that shrinks it, the objective alone would fit the flag as it likes.
    density = MVLDensity(base=base, max_epochs=8, random_state=0).fit(X)
    new = density.score_samples(T)
    assert new.mean() > truth.mean() - 0.1
    assert new[flagged].mean() > truth[flagged].mean() - 2
    assert new.mean() > base_scores(density, T).mean() - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rare_flag_is_no_well_after_a_whole_fit(seed):
    X, T = flagged_rows(1000, 0.003, seed), flagged_rows(4000, 0.003, 100 + seed)
    density = MVLDensity(random_state=seed).fit(X)
    new, flagged = density.score_samples(T), T[:, 2] == 1
    assert new.mean() > base_scores(density, T).mean() - 0.02
    assert new[flagged].mean() > base_scores(density, T)[flagged].mean() - 2


@pytest.mark.parametrize(("depth", "is_told"), [(5.0, True), (0.5, False)])
def test_wells_at_tied_values_are_told_of(depth, is_told):
    rng = np.random.default_rng(0)
    tied = Rows(
        np.c_[rng.normal(size=300), rng.random(300) < 0.3].astype(float), None, None
    )
    blurred = tied._replace(points=blur(tied.points, np.array([0.0, 1.0]), rng))

    def correction(x):  # a well as narrow as no row can tell
        return -depth * torch.exp(-0.5 * ((x[:, 1] - x[:, 1].round()) / 0.01) ** 2)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_wells(correction, tied, blurred)
    assert bool(caught) == is_told
    if is_told:
        assert issubclass(caught[0].category, ConvergenceWarning)


def rain(n, seed):
    rng = np.random.default_rng(seed)
    dry = rng.random(n) < 0.4
    return np.where(dry, 0.0, rng.lognormal(1, 0.5, n))[:, None]


@pytest.mark.parametrize("seed", [0, 1])
def test_an_atom_keeps_its_mass(seed):
    X = rain(400, seed)
    density = MVLDensity(max_epochs=8, random_state=seed).fit(X)
    draws = density.sample(4000, random_state=0)
    share = (np.abs(draws) < 0.05).mean()
    # The weight of a component is the share of the rows: binomial errors of both.
    error = np.sqrt(0.4 * 0.6 * (1 / 400 + 1 / 4000))
    assert abs(share - 0.4) < 4 * error


@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_every_row_several_times_is_the_same_fit(base):
    X = np.random.default_rng(0).standard_t(3, size=(150, 2))
    params = {"base": base, "max_epochs": 3, "random_state": 0}
    once = MVLDensity(**params).fit(X)
    thrice = MVLDensity(**params).fit(np.repeat(X, 3, axis=0))
    np.testing.assert_array_equal(thrice.score_samples(X), once.score_samples(X))
    assert thrice.correction_scale_ == once.correction_scale_
    assert thrice.ties_.copies == pytest.approx(2 / 3)
