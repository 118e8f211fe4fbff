"""Cells that large sets are compressed to: their means, variances and sizes."""

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures.selection.cells import gather_cells
from sk_wmvl.manifolds import Euclidean, Sphere, Torus


def moments(x, weight, label):
    """Return weights, means and variances of the rows of each cell."""
    total = np.bincount(label, weight)
    mean = np.stack([np.bincount(label, weight * c) for c in x.T], 1) / total[:, None]
    square = (x - mean[label]) ** 2
    variance = np.stack([np.bincount(label, weight * c) for c in square.T], 1)
    return total, mean, variance / total[:, None]


def test_cells_have_the_moments_of_their_rows():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(500, 2)), rng.uniform(0.5, 3, 500)
    variance = torch.ones(2, dtype=torch.float64)
    cells = gather_cells(
        Euclidean(2), torch.tensor(x), torch.tensor(weight), variance, 60
    )
    assert len(cells.centers) == 60
    total, mean, spread = moments(x, weight, cells.label.numpy())
    np.testing.assert_allclose(cells.weight, total)
    np.testing.assert_allclose(cells.centers, mean, atol=1e-12)
    np.testing.assert_allclose(cells.variances, spread, atol=1e-12)


@pytest.mark.parametrize("manifold", [Sphere(2), Torus(2)])
def test_near_rows_share_cells_on_manifolds(manifold):
    # 40 spots of 25 rows, 1e-4 wide: in 40 cells each spot is one, over the border of
    # angles too. The flat mean and variance of a spot are those of the manifold to 1e-8.
    generator = torch.Generator().manual_seed(0)
    spots = manifold.random_point(40, generator=generator)
    spots[0] = manifold.projection(torch.full_like(spots[0], np.pi)[None])[0]
    x = manifold.diffuse(spots.repeat(25, 1), 1e-4, generator=generator)
    n_units = 1 if x.shape[1] == 3 else 2
    variance = torch.ones(n_units, dtype=torch.float64)
    one = torch.ones(1000, dtype=torch.float64)
    cells = gather_cells(manifold, x, one, variance, 40)
    label = cells.label.view(25, 40)
    assert bool((label == label[0]).all())
    assert len(label[0].unique()) == 40
    gaps = manifold.log(spots, cells.centers[label[0]])
    mean = manifold.log(spots.repeat(25, 1), x).view(25, 40, -1).mean(0)
    torch.testing.assert_close(gaps, mean, rtol=0, atol=1e-10)
    assert float(cells.variances.mean()) == pytest.approx(1e-8, rel=0.1)


def test_few_rows_are_cells_of_their_own():
    x = torch.randn(50, 2, dtype=torch.float64)
    one = torch.ones(50, dtype=torch.float64)
    cells = gather_cells(Euclidean(2), x, one, torch.ones(2), 50)
    assert cells.centers is x
    assert bool((cells.variances == 0).all())
    assert torch.equal(cells.label, torch.arange(50))


def test_rows_apart_share_no_cell_with_others():
    rng = np.random.default_rng(0)
    near, apart = rng.normal(size=(990, 2)), 100 * rng.normal(size=(10, 2))
    x = torch.tensor(np.r_[near, apart])
    one = torch.ones(1000, dtype=torch.float64)
    variance = torch.ones(2, dtype=torch.float64)
    cells = gather_cells(Euclidean(2), x, one, variance, 100)
    assert not set(cells.label[:990].tolist()) & set(cells.label[990:].tolist())
    # the others share alike
    assert float(cells.weight.max()) < 4 * 990 / 90


def test_ties_come_to_an_end():
    # On a grid every row has four neighbors at the same distance.
    axis = torch.arange(30, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    one = torch.ones(900, dtype=torch.float64)
    cells = gather_cells(Euclidean(2), x, one, torch.ones(2), 70)
    assert len(cells.centers) == 70
    assert float(cells.weight.sum()) == 900
