"""Bandwidths of kernel estimates: neighbors, strata of the local scale, their weights."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl.base_measures.selection import bandwidths, choose_base, fit_kernel_base
from sk_wmvl.base_measures.selection.bandwidths import (
    Bandwidths,
    Neighborhood,
    choose_stack,
)
from sk_wmvl.base_measures.selection.stacking import stratified_weights
from sk_wmvl.manifolds import Sphere, Torus

HALF = torch.full((2,), 0.5, dtype=torch.float64)
NOTHING = torch.zeros(1, 2, dtype=torch.float64)


def ones(n):
    return torch.ones(n, dtype=torch.float64)


# --- neighbors and strata -------------------------------------------------------------


@pytest.mark.parametrize("manifold", [Sphere(2), Torus(2)])
def test_neighborhoods_within_parts(manifold):
    x = manifold.random_point(150, generator=torch.Generator().manual_seed(0))
    x[10] = x[20]  # a copy
    variance = torch.tensor([0.2, 0.5], dtype=torch.float64)[: 1 + (x.shape[1] == 2)]
    everything = torch.arange(150)
    kept = [everything, everything[everything % 3 > 0]]
    for some in kept:
        near = bandwidths._neighborhood(manifold, x[some], variance)
        inside = x[some].numpy()
        if len(variance) == 1:
            cosine = np.clip(inside @ inside.T, -1, 1)
            units = (np.arccos(cosine) ** 2 / 2)[..., None]
        else:
            units = np.angle(np.exp(1j * (inside[:, None] - inside))) ** 2
        units = units / variance.numpy()
        square = units.mean(-1)
        square[square < 1e-14] = np.inf
        order = np.argsort(square, 1)
        nearest = np.take_along_axis(square, order, 1)[:, :64]
        np.testing.assert_allclose(near.squares, nearest, rtol=1e-6)
        if len(variance) == 1:
            assert near.local is None
            continue
        for j, k in enumerate((16, 32, 64, 128)):
            there = order[:, : min(k, len(inside) - 1)]
            each = np.take_along_axis(units, there[..., None], 1)
            is_copy = np.isinf(np.take_along_axis(square, there, 1))
            each[is_copy] = np.nan
            np.testing.assert_allclose(near.local[:, j], np.nanmean(each, 1), rtol=1e-9)


def test_strata_divide_rows():
    squares = torch.arange(1.0, 102.0, dtype=torch.float64).exp()[:, None]
    strata = Bandwidths(HALF, Neighborhood(squares, None), NOTHING).strata(5).numpy()
    np.testing.assert_allclose(strata.sum(1), 1)
    assert strata[0, 0] == strata[25, 1] == strata[50, 2] == strata[100, 4] == 1
    # halfway in the logarithm, not in the scale
    np.testing.assert_allclose(strata[60, 2:4], [0.6, 0.4])
    tied = torch.ones(101, 1, dtype=torch.float64)
    tied[90:] = 2
    strata = Bandwidths(HALF, Neighborhood(tied, None), NOTHING).strata(3).numpy()
    np.testing.assert_allclose(strata.sum(1), 1)
    # strata of the same scale have the same rows, and none is empty
    np.testing.assert_array_equal(strata[:90], np.tile([0.5, 0.5, 0], (90, 1)))
    np.testing.assert_array_equal(strata[90:], np.tile([0, 0, 1], (11, 1)))
    strata = Bandwidths(HALF, Neighborhood(tied[:90], None), NOTHING).strata(3).numpy()
    np.testing.assert_allclose(strata, 1 / 3)


@pytest.mark.parametrize(
    ("most_cells", "factors"),
    [(10_000, bandwidths.FACTORS), (200, bandwidths.FACTORS_AT_CELLS)],
)
def test_rows_held_out_are_scored_as_new_rows(most_cells, factors, monkeypatch):
    # What the weights are chosen by, fold for fold, against kernels put at the rows
    # inside alone, with any weights: nothing of a row, its group or its neighbors'
    # distances to it is known there. 620 rows, in two strata, and in 200 cells.
    monkeypatch.setattr(bandwidths, "MOST_CELLS", most_cells)
    rng = np.random.default_rng(0)
    x = Torus(2).random_point(620, generator=torch.Generator().manual_seed(1))
    weight, groups = torch.tensor(rng.uniform(0.2, 3, 620)), rng.integers(50, size=620)
    seen = {}

    def spy(values, row_weight, **params):
        seen.setdefault("values", values)
        seen.setdefault("row_weight", row_weight)
        return stratified_weights(values, row_weight, **params)

    monkeypatch.setattr(bandwidths, "stratified_weights", spy)
    choose_stack(Torus(2), x, weight, HALF, seed=0, groups=groups)
    values = seen["values"]
    some = np.sort(rng.choice(values.shape[1], 4, replace=False))
    weights = rng.uniform(0.1, 1, (4, 2))
    stack = bandwidths.Stack(some, weights / weights.sum(0), 0.0, factors)
    table = values[:, some] + np.log(stack.weights)
    expected, weight_outside = [], []
    x, weight, groups = bandwidths._distinct(x, weight, groups)
    for fold in bandwidths._folds(Torus(2), x, 0, groups):
        assert not set(groups[fold.held_out]) & set(groups[fold.train])
        train, out = (torch.from_numpy(part) for part in fold)
        base = bandwidths.put_kernels(Torus(2), x[train], weight[train], HALF, stack)
        expected.append(base.log_prob(x[out]))
        weight_outside.append(weight[out])
    np.testing.assert_allclose(
        np.logaddexp.reduce(table, axis=(1, 2)),
        torch.cat(expected),
        rtol=1e-9,
        atol=1e-9,
    )
    outside = torch.cat(weight_outside)
    np.testing.assert_allclose(seen["row_weight"], outside / outside.sum())


@pytest.mark.parametrize("manifold", [Sphere(2), Torus(2)])
def test_mass_is_one_and_rows_have_their_weights(manifold):
    # 1100 rows, in three strata, of which few candidates are kept in each
    x = manifold.random_point(1100, generator=torch.Generator().manual_seed(0))
    weight = 1 + torch.arange(1100, dtype=torch.float64) % 4
    variance = HALF[: 1 + (x.shape[1] == 2)]
    stack = choose_stack(manifold, x, weight, variance, seed=0)
    assert stack.weights.shape[1] == 3
    np.testing.assert_array_equal((stack.weights > 0).sum(0) <= 8, True)
    base = bandwidths.put_kernels(manifold, x, weight, variance, stack)
    mass = base.mixture.log_weights.exp()
    assert float(mass.sum()) + base.mixture.background == pytest.approx(1, abs=1e-12)
    for i in (0, 1, 2, 3):
        own = (base.centers == x[i]).all(1)
        part = float(weight[i] / weight.sum()) * (1 - base.mixture.background)
        assert float(mass[own].sum()) == pytest.approx(part, rel=1e-9)


def test_rows_without_weight_are_not_there():
    x = Torus(2).random_point(120, generator=torch.Generator().manual_seed(0))
    weight = (torch.arange(120) % 3 > 0).double()
    kept = weight > 0
    a = fit_kernel_base(Torus(2), x, weight, HALF, seed=0)
    b = fit_kernel_base(Torus(2), x[kept], weight[kept], HALF, seed=0)
    torch.testing.assert_close(a.log_prob(x), b.log_prob(x))


@pytest.mark.parametrize("n_others", [1, 2])
@pytest.mark.parametrize("manifold", [Sphere(2), Torus(2)])
def test_a_group_of_nearly_all_rows(manifold, n_others):
    x = manifold.random_point(20, generator=torch.Generator().manual_seed(0))
    groups = (np.arange(20) < n_others).astype(int)
    variance = HALF[: 1 + (x.shape[1] == 2)]
    kernel = fit_kernel_base(manifold, x, ones(20), variance, seed=0, groups=groups)
    chosen = choose_base(manifold, x, ones(20), x[:0], ones(0), groups=groups)
    for base in (kernel, chosen):
        assert torch.isfinite(base.log_prob(x)).all()


# --- what they are for ----------------------------------------------------------------


@pytest.mark.statistical
def test_a_rounded_angle_has_no_spikes(global_random_seed):
    # 1000 rows, the second angle rounded to 15 degrees: a row's neighbors share its value,
    # and their distance in it is zero. Kernels narrower than 0.001 there, a 260th of the
    # step, hold 0.002 to 0.004 of the mass; a third where ties count.
    rng = np.random.default_rng(global_random_seed)
    t, step = rng.uniform(0, 2 * np.pi, 1000), np.pi / 12
    second = 1.5 * np.sin(t) + 0.4 * rng.normal(size=1000)
    x = torch.tensor(np.c_[t, np.round(second / step) * step] % (2 * np.pi))
    base = fit_kernel_base(Torus(2), x, ones(1000), HALF, seed=0)
    kappa, weight = base.mixture.components.kappa, base.mixture.log_weights.exp()
    assert float(weight[kappa[:, 1] > 1e6].sum()) < 0.05


@pytest.mark.slow
@pytest.mark.statistical
def test_weights_vary_with_the_local_scale(global_random_seed, monkeypatch):
    # 2500 rows: half in five spots of normal angles, 0.003 radians wide, half along a
    # smooth curve. Spots want wide kernels for their size, the curve narrow ones: 4000 new
    # rows are likelier than with the same weights everywhere.
    rng = np.random.default_rng(global_random_seed)
    spots = rng.uniform(0, 2 * np.pi, (5, 2))

    def draw(n):
        t = rng.uniform(0, 2 * np.pi, n)
        curve = np.c_[t, 2 * np.sin(t) + 0.1 * rng.normal(size=n)]
        near = spots[rng.integers(5, size=n)] + 0.003 * rng.normal(size=(n, 2))
        return torch.tensor(
            np.where(rng.random((n, 1)) < 0.5, near, curve) % (2 * np.pi)
        )

    x, new = draw(2500), draw(4000)
    varying = fit_kernel_base(Torus(2), x, ones(2500), HALF, seed=0).log_prob(new)
    assert choose_stack(Torus(2), x, ones(2500), HALF, seed=0).weights.shape[1] == 5
    monkeypatch.setattr(bandwidths, "N_STRATA", 1)
    same = fit_kernel_base(Torus(2), x, ones(2500), HALF, seed=0).log_prob(new)
    assert varying.mean() > same.mean() + 0.01


@pytest.mark.statistical
def test_bandwidths_follow_the_units_of_neighbors(global_random_seed, monkeypatch):
    # 600 rows of two spots, one narrow in the first angle, the other in the second: the
    # kernels at either have its shape. The gap to the truth on 4000 new rows is less than
    # two thirds of that of kernels that are as wide in both.
    rng = np.random.default_rng(global_random_seed)
    kappa = np.array([[1e4, 4.0], [4.0, 1e4]])

    def draw(n):
        return torch.tensor(rng.vonmises(1.0, kappa[rng.integers(2, size=n)]))

    def truth(x):
        each = [stats.vonmises.logpdf(x.numpy(), k, loc=1.0).sum(1) for k in kappa]
        return torch.tensor(np.logaddexp(*each) - np.log(2))

    x, new = draw(600), draw(4000)
    gaps = []
    for factors in (bandwidths.LOCAL_FACTORS, ()):
        monkeypatch.setattr(bandwidths, "LOCAL_FACTORS", factors)
        base = fit_kernel_base(Torus(2), x, ones(600), HALF, seed=0)
        gaps.append(float((truth(new) - base.log_prob(new)).mean()))
    assert 0 < gaps[0] < gaps[1] * 2 / 3
