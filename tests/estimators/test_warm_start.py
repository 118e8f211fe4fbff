"""A fit that goes on keeps its base measure, and warns where this does not suit."""

import warnings

import numpy as np
import pytest
from scipy import stats

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl._rows import Rows
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.coordinates import ClippedMoments
from sk_wmvl.estimators._inspect import warn_if_elsewhere

FAST = {"max_epochs": 1, "warm_start": True, "random_state": 0}


def normal(n=200, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("base", ["gaussian", "auto"])
@pytest.mark.parametrize("move", ["far", "apart", "narrow"])
def test_rows_from_elsewhere_are_told_of(base, move):
    density = MVLDensity(base=base, **FAST).fit(normal())
    rng = np.random.default_rng(1)
    rows = {
        "far": normal(seed=1) + 6,
        "apart": 0.05 * normal(seed=1) + rng.choice([-20.0, 20.0], size=(200, 1)),
        "narrow": 0.1 * normal(seed=1),
    }[move]
    with pytest.warns(UserWarning, match="elsewhere .* warm_start=False"):
        density.fit(rows)


@pytest.mark.parametrize("seed", range(1, 6))
def test_rows_from_the_same_place_are_not(seed):
    density = MVLDensity(base="gaussian", **FAST).fit(normal(100))
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        density._resumed(Rows(normal(100, seed=seed), None, None))
        density._resumed(Rows(rng.standard_t(5, size=(100, 2)), None, None))
        density._resumed(Rows(normal(3, seed=seed), None, None))


HEAVY = {
    "t(2)": lambda rng: rng.standard_t(2, size=(150, 2)),
    "lognormal": lambda rng: rng.lognormal(0, 1.5, size=(150, 2)),
    "contaminated": lambda rng: (
        rng.normal(size=(150, 2)) * np.where(rng.random((150, 1)) < 0.05, 10, 1)
    ),
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("law", HEAVY)
def test_heavy_tails_are_not_elsewhere(law, seed):
    # as by two calls of partial_fit, without the training
    rng = np.random.default_rng(seed)
    first, second = HEAVY[law](rng), HEAVY[law](rng)
    mean, std = first.mean(0), first.std(0)
    base = GaussianBase(np.zeros(2), np.cov((first - mean).T / std[:, None]))
    moments = ClippedMoments.of((first - mean) / std, None)

    def is_told(X):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = Rows((X - mean) / std, None, None)
            warn_if_elsewhere(rows, base, first=moments, seed=seed)
        return bool(caught)

    assert not is_told(second)
    assert is_told(second + 5 * std)
    assert is_told(0.1 * second)


@pytest.mark.parametrize("d", [1, 5, 40])
def test_moments_of_the_same_rows_are_the_same(d):
    rng = np.random.default_rng(d)
    first, second = rng.normal(size=(2, 10 * d, d))
    base = GaussianBase(np.zeros(d), np.eye(d))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_elsewhere(
            Rows(second, None, None),
            base,
            first=ClippedMoments.of(first, None),
            seed=0,
        )


def test_columns_that_are_all_tied_have_no_moments():
    flags = (np.random.default_rng(0).random((100, 2)) < 0.4).astype(float)
    assert len(ClippedMoments.of(flags, None).mean) == 0
    density = MVLDensity(base="gaussian", **FAST).fit(flags)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        density._resumed(Rows(flags[:50], None, None))


def test_divergence_is_that_of_normal_densities():
    # oracle: its integral, for rows so many that moments are those of the densities
    grid = np.linspace(-12, 12, 4001)
    p, q = stats.norm(1, 0.5).logpdf(grid), stats.norm(0, 1).logpdf(grid)
    own, first = (
        ClippedMoments(np.arange(1), np.array([m]), np.array([[v]]), 100)
        for m, v in ((1.0, 0.25), (0.0, 1.0))
    )
    expected = np.trapezoid(np.exp(p) * (p - q), grid)
    assert own.divergence(first) == pytest.approx(expected, rel=1e-2)


def test_parts_from_elsewhere_are_told_of():
    density = MVLDensity(base="gaussian", max_epochs=1, random_state=0)
    density.partial_fit(normal())
    with pytest.warns(UserWarning, match="elsewhere"):
        density.partial_fit(normal() - 10)


def test_directions_from_elsewhere_are_told_of():
    rng = np.random.default_rng(0)
    density = RiemannianMVLDensity("circle", **FAST).fit(
        0.1 * rng.normal(size=(200, 1))
    )
    with pytest.warns(UserWarning, match="elsewhere"):
        density.fit(2 + 0.1 * rng.normal(size=(200, 1)))


# --- columns that were constant at first ------------------------------------------------


@pytest.mark.parametrize("way", ["parts", "warm"])
def test_a_column_that_varies_later_is_told_of_once_a_call(way):
    pd = pytest.importorskip("pandas")
    first = pd.DataFrame({"x": normal()[:, 0], "y": normal()[:, 1], "new": 1.5})
    later = first.assign(new=normal(seed=1)[:, 0])
    density = MVLDensity(base="gaussian", **FAST)
    go_on = density.partial_fit if way == "parts" else density.fit
    with pytest.warns(UserWarning, match="left out of the density: column 'new'"):
        go_on(first)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go_on(later)
    told = [str(w.message) for w in caught if "column 'new'" in str(w.message)]
    assert len(told) == 1
    assert "warm_start=False" in told[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go_on(first)
    assert not [w for w in caught if "column 'new'" in str(w.message)]
