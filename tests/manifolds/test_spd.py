"""Positive definite matrices against scipy's generalized eigenvalues and real data."""

import os
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.base_measures.components import WrappedNormal
from sk_wmvl.manifolds import SPD
from sk_wmvl.manifolds._symmetric import log_of_shifted, log_second, pack

DATA = Path(os.environ.get("SK_WMVL_DATA", "no-data")) / "other" / "connectomes_FNC.csv"


def matrices(n, s, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, s, s))
    return A @ A.transpose(0, 2, 1) + 0.1 * np.eye(s)


def points(X):
    X = torch.from_numpy(X)
    return SPD(X.shape[1], coordinates="matrix").from_user(X.flatten(1))


def as_matrices(x):
    """Return the matrices of points."""
    size = round((8 * x.shape[1] + 1) ** 0.5 - 1) // 2
    return SPD(size, coordinates="matrix").to_user(x).view(-1, size, size).numpy()


def tangent(X, U):
    """Return the vectors at the points of X along which X changes by U."""
    L = np.linalg.cholesky(X)
    V = np.linalg.solve(L, np.linalg.solve(L, U).transpose(0, 2, 1))
    return SPD(X.shape[1]).frame(points(X), pack(torch.from_numpy(V)))


def slow_dist(X, Y):
    return [
        np.linalg.norm(np.log(scipy.linalg.eigvalsh(b, a)))
        for a, b in zip(X, Y, strict=True)
    ]


@pytest.mark.parametrize("s", [1, 2, 5])
def test_distance_is_of_generalized_eigenvalues(s):
    X, Y = matrices(20, s), matrices(20, s, seed=1)
    d = SPD(s).dist(points(X), points(Y))
    np.testing.assert_allclose(d, slow_dist(X, Y), rtol=1e-10)


def test_congruence_is_an_isometry():
    X, Y = matrices(20, 3), matrices(20, 3, seed=1)
    A = np.random.default_rng(2).normal(size=(3, 3))
    d = SPD(3).dist(points(A @ X @ A.T), points(A @ Y @ A.T))
    np.testing.assert_allclose(d, slow_dist(X, Y), rtol=1e-9)


def test_exp_is_of_scipy():
    X, U = matrices(5, 3), matrices(5, 3, seed=1) - matrices(5, 3, seed=2)
    y = SPD(3).exp(points(X), tangent(X, U))
    for x, u, got in zip(X, U, as_matrices(y), strict=True):
        expected = x @ scipy.linalg.expm(np.linalg.solve(x, u))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-4, 0.3])
def test_log_has_two_derivatives_where_eigenvalues_meet(gap):
    """Against differences of scipy's logarithm, to second order."""
    D = torch.diag(torch.tensor([0.5, 0.5 + gap, -0.3], dtype=torch.float64))[None]
    E = torch.from_numpy(matrices(1, 3, seed=3))

    def f(t):
        return scipy.linalg.logm(np.eye(3) + (D + t * E)[0].numpy()).real

    t = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    W = log_of_shifted(D + t[:, None, None] * E)[0]
    h = 1e-3
    first, second = (f(h) - f(-h)) / (2 * h), (f(h) + f(-h) - 2 * f(0)) / h**2
    for a in range(3):
        for b in range(3):
            (g,) = torch.autograd.grad(W[a, b], t, create_graph=True)
            (g2,) = torch.autograd.grad(g, t, retain_graph=True)
            assert float(W[a, b].detach()) == pytest.approx(f(0)[a, b], abs=1e-10)
            assert float(g.detach()) == pytest.approx(first[a, b], abs=1e-3)
            assert float(g2) == pytest.approx(second[a, b], rel=1e-3, abs=1e-2)


def test_second_divided_differences():
    a, b, c = (torch.tensor([v], dtype=torch.float64) for v in (3.0, 1.0, 0.2))

    f, x, y, z = np.log, 3.0, 1.0, 0.2
    slow = ((f(x) - f(y)) / (x - y) - (f(y) - f(z)) / (y - z)) / (x - z)
    assert float(log_second(b, c, a)) == pytest.approx(slow, rel=1e-10)
    near = log_second(a, a * (1 + 0.9e-3), a * (1 - 0.09e-3))
    far = log_second(a, a * (1 + 0.9e-3), a * (1 - 0.11e-3))
    assert float(near) == pytest.approx(float(far), rel=1e-4)


def test_scales_are_a_line():
    """t -> e^t I is a geodesic of speed sqrt(s)."""
    eye = np.eye(3)[None]
    y, v = SPD(3).geodesic(points(eye), tangent(eye, 2 * eye))
    np.testing.assert_allclose(as_matrices(y), np.exp(2) * eye, atol=1e-14)
    torch.testing.assert_close(v, tangent(np.exp(2) * eye, 2 * np.exp(2) * eye))
    assert float(SPD(3).dist(points(eye), y)) == pytest.approx(2 * np.sqrt(3))


def test_log_det_exp_two_by_two():
    eye = np.eye(2)[None]
    u = tangent(eye, np.array([[[1.0, 0.0], [0.0, -2.0]]]))
    expected = np.log(np.sinh(1.5) / 1.5)
    assert float(SPD(2).log_det_exp(points(eye), u)) == pytest.approx(expected)


@pytest.mark.parametrize("coordinates", ["triangle", "matrix"])
def test_users_rows(coordinates):
    X = matrices(4, 3)
    i, j = np.triu_indices(3)
    rows = X.reshape(4, -1) if coordinates == "matrix" else X[:, i, j]
    M = SPD().with_columns(rows.shape[1])
    assert (M.size, M.coordinates, M.dim) == (3, coordinates, 6)
    x = M.from_user(torch.from_numpy(rows))
    np.testing.assert_allclose(M.to_user(x), rows, rtol=1e-12)


def test_width_may_be_ambiguous():
    with pytest.raises(ValueError, match="triangles of 8 rows or matrices of 6"):
        SPD().with_columns(36)
    assert SPD(coordinates="matrix").with_columns(36).size == 6
    assert SPD(8).with_columns(36).coordinates == "triangle"
    with pytest.raises(ValueError, match="5.*its upper triangle"):
        SPD().with_columns(5)
    with pytest.raises(ValueError, match="coordinates='full'.*'triangle', 'matrix'"):
        SPD(coordinates="full").with_columns(4)
    with pytest.raises(ValueError, match="size .* is not known"):
        SPD().random_point(1)


@pytest.mark.parametrize(
    ("manifold", "row", "message"),
    [
        (SPD(2), [1.0, 2.0, 1.0], "row 1 with smallest eigenvalue -1, .*shrink"),
        (SPD(2), [1.0, 1.0, 1.0], "row 1 .*condition numbers up to 2e\\+15"),
        (SPD(2), [0.0, 0.0, 0.0], "row 1 with smallest eigenvalue 0"),
        (SPD(2), [1.0, float("inf"), 1.0], "Row 1 .*infinity"),
        (
            SPD(2, coordinates="matrix"),
            [1.0, 0.2, 0.3, 1.0],
            r"row 1 with max \|X - X'\| / max \|X\| = 0.1,.*transpose",
        ),
    ],
)
def test_bad_rows(manifold, row, message):
    good = [1.0, 0.0, 1.0] if len(row) == 3 else [1.0, 0.0, 0.0, 1.0]
    with pytest.raises(ValueError, match=message):
        manifold.from_user(torch.tensor([good, row], dtype=torch.float64))


@pytest.mark.skipif(not DATA.exists(), reason="needs SK_WMVL_DATA")
def test_connectomes():
    """86 correlation matrices of 28 brain networks."""
    table = np.genfromtxt(DATA, delimiter=",", skip_header=1)[:, -378:]
    X = np.tile(np.eye(28), (len(table), 1, 1))
    i, j = np.triu_indices(28, 1)
    X[:, i, j] = X[:, j, i] = table
    triangle = torch.from_numpy(X[:, *np.triu_indices(28)])
    M = SPD().with_columns(triangle.shape[1])
    assert (M.size, M.coordinates) == (28, "triangle")
    x = M.from_user(triangle)
    y = x.roll(1, 0)
    np.testing.assert_allclose(M.dist(x, y), slow_dist(X, np.roll(X, 1, 0)), rtol=1e-8)
    u = M.log(x, y)
    torch.testing.assert_close(M.exp(x, u), y, rtol=1e-8, atol=1e-8)
    assert float(M.dist(M.retract(x, 0.01 * u), M.exp(x, 0.01 * u)).max()) < 1e-3


def nearly_singular(n, s, smallest, seed=0):
    """Return covariances of signals less their mean, plus a small multiple of I."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, s, 100))
    A = A - A.mean(1, keepdims=True)
    return A @ A.transpose(0, 2, 1) / 100 + smallest * np.eye(s)


def exact_dist(X, Y):
    """Return distances from generalized eigenvalues in 60 digits."""
    with mpmath.workdps(60):
        found = []
        for a, b in zip(X, Y, strict=True):
            L = mpmath.cholesky(mpmath.matrix(a.tolist()))
            inverse = L**-1
            values, _ = mpmath.eigsy(inverse * mpmath.matrix(b.tolist()) * inverse.T)
            found.append(float(mpmath.sqrt(sum(mpmath.log(v) ** 2 for v in values))))
    return found


@pytest.mark.parametrize("smallest", [1e-8, 1e-12])
@pytest.mark.parametrize("order", [1, -1])
def test_distance_of_nearly_singular_matrices(smallest, order):
    # Entries are rounded to 1e-16, a part 1e-16 / smallest of the smallest eigenvalue; the
    # oracle sees the same entries, and its own rounding is 1e-60.
    X, Y = (
        nearly_singular(5, 3, smallest, seed)[:, ::order, ::order] for seed in (0, 1)
    )
    X, Y = X.copy(), Y.copy()
    d = SPD(3).dist(points(X), points(Y))
    np.testing.assert_allclose(d, exact_dist(X, Y), rtol=1e-14 / smallest)


def test_units_do_not_make_a_matrix_singular():
    X, Y = matrices(10, 3), matrices(10, 3, seed=1)
    units = np.diag([1e-9, 1.0, 1e9])
    scaled = [points(units @ Z @ units) for Z in (X, Y)]
    np.testing.assert_allclose(SPD(3).dist(*scaled), slow_dist(X, Y), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moves_of_nearly_singular_matrices(dtype):
    # The length of a step is that of its coordinates, in float32 too. Coordinates of order
    # one change by the root of the condition number: so much is lost of their digits.
    x = points(nearly_singular(20, 3, 1e-8)).to(dtype)
    M, v = SPD(3), torch.randn(20, 6, generator=torch.Generator()).to(dtype)
    tol = 100 * torch.finfo(dtype).eps / 1e-4
    u = M.frame(x, v)
    torch.testing.assert_close(M.norm(x, u), v.norm(dim=1), rtol=tol, atol=tol)
    y = M.exp(x.double(), u.double())
    d = M.dist(x.double(), y)
    torch.testing.assert_close(d, v.double().norm(dim=1), rtol=tol, atol=tol)
    assert bool(M.retract(x, u).isfinite().all())


@pytest.mark.parametrize("smallest", [1e-8, 1e-11])
def test_a_congruence_leaves_a_component_as_it_is(smallest):
    # A congruence is an isometry: a component fitted to AXA' has the densities of one
    # fitted to X. Entries are rounded to 1e-16, a part 1e-16 / smallest of the curvature.
    X, A = matrices(60, 3), np.eye(3)
    A[2] = [1.0, -1.0, np.sqrt(smallest)]
    values, one = [], torch.ones(60, 1, dtype=torch.float64)
    for B in (np.eye(3), A):
        x = points(B @ X @ B.T)
        component = WrappedNormal(SPD(3), x[:1], 1.0)
        for _ in range(20):
            component.update(x, one, torch.ones(1, dtype=torch.float64))
        values.append(component.log_prob(x))
    torch.testing.assert_close(*values, rtol=1e-13 / smallest, atol=1e-13 / smallest)


@pytest.mark.parametrize("order", [1, -1])
def test_fits_covariances_of_an_average_reference(order):
    # condition number 1e8; the last channel, or the first, is minus the sum of the others
    X = nearly_singular(40, 3, 1e-8)[:, ::order, ::order].reshape(40, 9)
    manifold = SPD(3, coordinates="matrix")
    density = RiemannianMVLDensity(
        manifold, base="mixture", normalizer=None, max_epochs=1, random_state=0
    ).fit(X)
    assert np.isfinite(density.score_fn(X)).all()
    generator = torch.Generator().manual_seed(0)
    draws = manifold.to_user(density.base_.sample(200, generator=generator)).numpy()
    values = np.linalg.eigvalsh(draws.reshape(-1, 3, 3))
    assert (values[:, 0] > 1e-12).all()
    assert (values[:, 0] < 1e-5).all()
    assert np.isfinite(density.score_samples(np.r_[X, draws])).all()
