"""Neighbors on manifolds by a tree, against all pairs."""

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures.selection import neighbors
from sk_wmvl.base_measures.selection.neighbors import (
    find_neighbors,
    nearest_rows,
    unit_squares,
)
from sk_wmvl.manifolds import (
    SPD,
    AxialSphere,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Torus,
)

EXACT = {
    "sphere": Sphere(2),
    "sphere-5": Sphere(5),
    "axes": AxialSphere(2),
    "rotation": Rotation("quaternion"),
    "simplex": Simplex(2),
    "torus": Torus(3),
    "euclidean": Euclidean(2),
    "angles and lengths": Product([("a", Torus(2)), ("b", Euclidean(1))]),
}
OTHERS = {
    "product": Product([("s", Sphere(2)), ("t", Torus(1))]),
    "hyperbolic": Hyperbolic(2),
    "spd": SPD(2),
}


def rows_of(manifold, n):
    return manifold.random_point(n, generator=torch.Generator().manual_seed(0))


def all_pairs(manifold, x, variance):
    n = len(x)
    units = unit_squares(manifold, x.repeat_interleave(n, 0), x.repeat(n, 1))
    return (units / variance).view(n, n, -1)


def variance_of(manifold, x):
    n_units = unit_squares(manifold, x[:1], x[1:2]).shape[1]
    return torch.tensor([0.3, 2.0, 0.1], dtype=torch.float64)[:n_units]


@pytest.mark.parametrize("name", [*EXACT, *OTHERS])
def test_neighbors_are_those_of_all_pairs(name):
    manifold = {**EXACT, **OTHERS}[name]
    x = rows_of(manifold, 200)
    x[7] = x[3]  # a copy is no neighbor
    if name in ("axes", "rotation"):
        x[9] = -x[4]  # nor is what stands for the same point
    variance = variance_of(manifold, x)
    units = all_pairs(manifold, x, variance)
    squares = units.mean(-1)
    squares = torch.where(squares <= 1e-20, torch.inf, squares)
    expected, order = squares.sort(1)
    found = find_neighbors(manifold, x, variance, 20)
    torch.testing.assert_close(found.squares, expected[:, :20], rtol=1e-9, atol=0)
    each = units.gather(1, order[:, :20, None].expand(-1, -1, units.shape[-1]))
    torch.testing.assert_close(found.units, each, rtol=1e-9, atol=1e-25)
    own = squares.gather(1, found.which)
    torch.testing.assert_close(own, found.squares, rtol=1e-9, atol=0)


def test_many_copies_leave_no_row_without_neighbors():
    # 30 places of 20 rows each: the neighbors of a row are at other places
    x = rows_of(Sphere(2), 30).repeat(20, 1)
    found = find_neighbors(Sphere(2), x, torch.ones(1, dtype=torch.float64), 40)
    places = x[found.which]
    assert torch.isfinite(found.squares).all()
    assert not (places == x[:, None]).all(-1).any()
    nearest = all_pairs(Sphere(2), x[:30], torch.ones(1))[..., 0].sort(1).values
    torch.testing.assert_close(found.squares[:30, 0], nearest[:, 1])
    torch.testing.assert_close(found.squares[:30, 20], nearest[:, 2])
    # as many as there are; what is missing is infinitely far
    few = find_neighbors(Sphere(2), x[:3], torch.ones(1, dtype=torch.float64), 40)
    assert few.squares.shape == (3, 2)
    tied = find_neighbors(
        Sphere(2), x[:1].repeat(5, 1), torch.ones(1, dtype=torch.float64), 2
    )
    assert torch.isinf(tied.squares).all()


@pytest.mark.parametrize("name", list(OTHERS))
def test_large_sets_of_other_manifolds_have_nearly_those_neighbors(name, monkeypatch):
    monkeypatch.setattr(neighbors, "MOST_ALL", 100)
    manifold = OTHERS[name]
    x = rows_of(manifold, 1000)
    variance = variance_of(manifold, x)
    squares = all_pairs(manifold, x, variance).mean(-1).fill_diagonal_(torch.inf)
    expected = squares.sort(1).values[:, :16]
    found = find_neighbors(manifold, x, variance, 16).squares
    assert bool((found >= expected * (1 - 1e-9)).all())
    assert float((found <= 1.1 * expected).double().mean()) > 0.95


@pytest.mark.parametrize("name", list(EXACT)[:-1])
def test_the_nearest_rows(name):
    manifold = EXACT[name]
    x = rows_of(manifold, 200)
    variance = variance_of(manifold, x)
    squares = all_pairs(manifold, x, variance).mean(-1).fill_diagonal_(torch.inf)
    expected = squares.sort(1).indices
    for k in (1, 16):
        found = nearest_rows(manifold, x, variance, k)
        np.testing.assert_array_equal(found, expected[:, k - 1])
    # a copy is the nearest
    x[5] = x[100]
    assert int(nearest_rows(manifold, x, variance, 1)[5]) == 100
