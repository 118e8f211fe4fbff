"""Grouped measurements: values are spread over the intervals that they stand for."""

import numpy as np
import pytest
from scipy import stats

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.coordinates import find_sectors, spread_angles, spread_line

SEEDS = range(3)


def sectors(n_sectors, n, seed, kappa=4.0):
    t = stats.vonmises.rvs(kappa, loc=0.7, size=n, random_state=seed)
    width = 2 * np.pi / n_sectors
    t = np.round(t / width) * width
    return (t + np.pi) % (2 * np.pi) - np.pi


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("n_sectors", "decimals"), [(4, 2), (8, 2), (8, 15), (16, 15), (36, 15)]
)
def test_sectors_are_found(seed, n_sectors, decimals):
    angles = sectors(n_sectors, 600, seed)
    assert find_sectors(angles.round(decimals)) == n_sectors


@pytest.mark.parametrize("seed", SEEDS)
def test_other_angles_are_in_none(seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-np.pi, np.pi, 200)
    assert find_sectors(angles) == 0
    assert find_sectors(np.repeat(angles[:10], 20)) == 0  # copies
    assert find_sectors(angles[rng.integers(200, size=200)]) == 0
    x = angles[:, None]
    assert spread_angles(x, rng) is x


@pytest.mark.parametrize("seed", SEEDS)
def test_angles_stay_in_their_sectors(seed):
    x = np.c_[sectors(8, 400, seed), np.random.default_rng(seed).uniform(-3, 3, 400)]
    spread = spread_angles(x, np.random.default_rng(seed))
    np.testing.assert_array_equal(spread[:, 1], x[:, 1])
    apart = (spread - x)[:, 0] / (np.pi / 4)
    assert stats.kstest(apart, stats.uniform(-0.5, 1).cdf).pvalue > 1e-4


@pytest.mark.parametrize("seed", SEEDS)
def test_values_stay_in_their_intervals(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=500).round(1)
    spread = spread_line(x, rng)
    np.testing.assert_allclose(spread.round(1), x, atol=1e-9)
    uneven = rng.choice([1.0, 2.0, 5.0, 10.0], size=500, p=[0.1, 0.5, 0.3, 0.1])
    edges = np.array([0.5, 1.5, 3.5, 7.5, 12.5])
    which = np.searchsorted(edges, spread_line(uneven, rng)) - 1
    np.testing.assert_array_equal(np.array([1.0, 2.0, 5.0, 10.0])[which], uneven)
    smooth = rng.normal(size=500)
    assert spread_line(smooth, rng) is smooth
    copies = np.repeat(smooth, 5)
    assert spread_line(copies, rng) is copies


# --- fits -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_sectors", [8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_compass_has_the_density_of_the_directions(n_sectors, seed):
    X = sectors(n_sectors, 200, seed)[:, None]
    with pytest.warns(UserWarning, match=f"angles in sectors, {n_sectors} to a turn"):
        density = RiemannianMVLDensity("circle", max_epochs=2, random_state=0).fit(X)
    grid = np.linspace(-np.pi, np.pi, 1001)
    p = stats.vonmises.logpdf(grid, 4, loc=0.7)
    q = density.score_samples(grid[:, None])
    assert np.trapezoid(np.exp(p) * (p - q), grid) < 0.1


@pytest.mark.parametrize("step", [0.25, 1.0])
def test_a_histogram_has_the_density_of_the_values(step):
    rng = np.random.default_rng(0)
    X = (np.round(rng.normal(size=(400, 1)) / step) * step).astype(float)
    with pytest.warns(UserWarning, match="(discrete columns|columns in wide steps): 0"):
        density = MVLDensity(max_epochs=2, random_state=0).fit(X)
    grid = np.linspace(-6, 6, 2001)
    p = stats.norm.logpdf(grid)
    q = density.score_samples(grid[:, None])
    assert np.trapezoid(np.exp(p) * (p - q), grid) < 0.05
