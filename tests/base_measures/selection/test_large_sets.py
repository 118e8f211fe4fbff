"""Sets on manifolds beyond the number of rows that have kernels of their own."""

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures import KernelBase
from sk_wmvl.base_measures.selection import bandwidths, choose_base, fit_kernel_base
from sk_wmvl.manifolds import Sphere, Torus

SPREAD = torch.full((1,), 0.5, dtype=torch.float64)


def spots(n_spots, seed):
    """Return a function that draws rows of spots on the sphere, of many widths."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_spots, 3))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    widths = 10 ** rng.uniform(-3, -0.7, n_spots)
    weights = rng.dirichlet(np.full(n_spots, 0.5))

    def draw(n):
        which = rng.choice(n_spots, n, p=weights)
        x = centers[which] + widths[which, None] * rng.normal(size=(n, 3))
        return torch.tensor(x / np.linalg.norm(x, axis=1, keepdims=True))

    return draw


def ones(n):
    return torch.ones(n, dtype=torch.float64)


def z_of_mean(values):
    """Return the mean over its standard error."""
    return float(values.mean() / (values.std() / len(values) ** 0.5))


@pytest.mark.statistical
def test_cells_are_better_than_the_kernels_of_fewer_rows(
    global_random_seed, monkeypatch
):
    # The limit is at 1000 rows here. 4000 new rows are likelier under cells of 2000 and of
    # 8000 rows than under kernels at the first 1000, by more than four standard errors,
    # and under those of 8000 rows than under those of 2000.
    monkeypatch.setattr(bandwidths, "MOST_CELLS", 1000)
    draw = spots(60, global_random_seed)
    x, new = draw(8000), draw(4000)
    values = [
        fit_kernel_base(Sphere(2), x[:n], ones(n), SPREAD, seed=0).log_prob(new)
        for n in (1000, 2000, 8000)
    ]
    assert z_of_mean(values[1] - values[0]) > 4
    assert z_of_mean(values[2] - values[1]) > 4


@pytest.mark.statistical
def test_rows_in_cells_do_not_see_themselves(global_random_seed, monkeypatch):
    # 6000 rows in 1000 cells. Left out, they are as likely as 6000 new ones (|z| below 4);
    # with their own weight in their cells they are likelier.
    monkeypatch.setattr(bandwidths, "MOST_CELLS", 1000)
    draw = spots(60, global_random_seed)
    x, new = draw(6000), draw(6000)
    base = fit_kernel_base(Sphere(2), x, ones(6000), SPREAD, seed=0)
    left_out, there = base.log_prob_left_out(x), base.log_prob(x)
    fresh = base.log_prob(new)
    error = ((left_out.var() + fresh.var()) / 6000).sqrt()
    assert abs(float((left_out.mean() - fresh.mean()) / error)) < 4
    assert there.mean() > left_out.mean()


def test_cells_keep_the_mass_and_the_rows(monkeypatch):
    monkeypatch.setattr(bandwidths, "MOST_CELLS", 300)
    x = Torus(2).random_point(900, generator=torch.Generator().manual_seed(0))
    weight = 1 + torch.arange(900, dtype=torch.float64) % 4
    variance = torch.full((2,), 0.5, dtype=torch.float64)
    base = fit_kernel_base(Torus(2), x, weight, variance, seed=0)
    nodes, log_weights = Torus(2).quadrature(200)
    assert float((base.log_prob(nodes) + log_weights).exp().sum()) == pytest.approx(1)
    # each row has its part of the mass, whatever cell it is in
    own = base.mixture.log_weights.exp()
    mass = ones(300) * 0
    mass = mass.index_add(0, base.cell_of_component, own)
    order = np.lexsort(x.numpy().T)
    found = np.lexsort(base.rows.numpy().T)
    part = (mass[base.cell] * base.share)[found]
    expected = weight[order] / weight.sum() * (1 - base.mixture.background)
    torch.testing.assert_close(part, expected)


@pytest.mark.slow
@pytest.mark.statistical
def test_doubling_the_rows_across_the_limit_does_not_lose(global_random_seed):
    # 300 spots; searches given 9900 rows, 10 900 (kernels at 9900 and at cells of all
    # rows), and 19 800, a tenth of them held out. 5000 new rows are likelier under the
    # second than under the first by no less than -4 standard errors, and under the third
    # by more than 4.
    draw = spots(300, global_random_seed)
    x, new = draw(19_800), draw(5000)
    values = []
    for n in (9900, 10_900, 19_800):
        cut = n - n // 10
        parts = x[:cut], ones(cut), x[cut:n], ones(n - cut)
        base = choose_base(Sphere(2), *parts)
        assert isinstance(base, KernelBase)
        values.append(base.log_prob(new))
    assert z_of_mean(values[1] - values[0]) > -4
    assert z_of_mean(values[2] - values[0]) > 4
