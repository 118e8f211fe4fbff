"""Frames against spheres, scipy's exponential and orthogonal group, and known volumes."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import Sphere, Stiefel
from sk_wmvl.manifolds._symmetric import inverse_sqrt_second
from tests.manifolds.test_laws import columns, second_derivative

SIZES = [(2, 1), (2, 2), (3, 2), (5, 2), (4, 3), (3, 3)]


def points(n, p, k=20, seed=0, dtype=torch.float64):
    return Stiefel(n, p).random_point(k, generator=make_generator(seed), dtype=dtype)


def tangents(x, n, p, seed=1):
    return Stiefel(n, p).random_tangent(x, generator=make_generator(seed))


@pytest.mark.parametrize("n", [2, 3, 6])
def test_one_vector_is_a_sphere(n):
    M, S = Stiefel(n, 1), Sphere(n - 1)
    x, u = points(n, 1), tangents(points(n, 1), n, 1)
    g = torch.randn(20, n, generator=make_generator(2), dtype=x.dtype)
    for ours, theirs in [
        (M.retract(x, u), S.retract(x, u)),
        (M.geodesic(x, u)[0], S.geodesic(x, u)[0]),
        (M.geodesic(x, u)[1], S.geodesic(x, u)[1]),
        (M.to_tangent(x, g), S.to_tangent(x, g)),
        (M.frame(x, g), S.frame(x, g)),
        (M.egrad2rgrad(x, g), S.egrad2rgrad(x, g)),
        (M.inner(x, u, u), S.inner(x, u, u)),
        (M.projection(g), S.projection(g)),
        (M.from_user(x), S.from_user(x)),
    ]:
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert M.log_volume() == pytest.approx(S.log_volume(), rel=1e-14)
    assert M.dim == S.dim


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_geodesic_is_that_of_edelman_arias_and_smith(n, p):
    """Their equation (2.14), with a matrix that is neither symmetric nor skew."""
    x = points(n, p)
    u = tangents(x, n, p)
    y, v = Stiefel(n, p).geodesic(x, u)
    each = (t.reshape(-1, n, p).numpy() for t in (x, u, y, v))
    for X, U, Y, V in zip(*each, strict=True):
        A, S = X.T @ U, U.T @ U
        M = np.block([[A, -S], [np.eye(p), A]])
        E = np.c_[X, U] @ scipy.linalg.expm(M)
        np.testing.assert_allclose(Y, E[:, :p] @ scipy.linalg.expm(-A), atol=1e-11)
        np.testing.assert_allclose(V, E[:, p:] @ scipy.linalg.expm(-A), atol=1e-11)


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_geodesic_has_no_tangential_acceleration(n, p):
    x = points(n, p)
    u = tangents(x, n, p)
    M, h = Stiefel(n, p), 1e-4
    acceleration = (M.exp(x, h * u) + M.exp(x, -h * u) - 2 * x) / h**2
    assert float(M.to_tangent(x, acceleration).abs().max()) < 1e-6
    assert float(acceleration.abs().max()) > 0.1


@pytest.mark.parametrize(("n", "p"), SIZES)
@pytest.mark.parametrize("step", ["retract", "exp"])
def test_entries_are_eigenfunctions_of_the_laplacian(n, p, step):
    r"""Of eigenvalue n - (p + 1) / 2: minus the trace of the second fundamental form."""
    M, x = Stiefel(n, p), points(n, p, k=3)
    zero, total = torch.zeros_like(x), torch.zeros_like(x)
    for direction in torch.eye(n * p, dtype=x.dtype):

        def move(v):
            return getattr(M, step)(x, M.frame(x, v))

        total += second_derivative(move, zero, direction)[0]
    torch.testing.assert_close(total, -(n - (p + 1) / 2) * x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_long_ways_stay_on_the_manifold(dtype):
    """After a geodesic of length about 300, and after 100 geodesics and retractions."""
    M, x = Stiefel(4, 3), points(4, 3, dtype=dtype)
    eps = torch.finfo(dtype).eps

    def defect(x):
        X = x.reshape(-1, 4, 3)
        return float((X.mT @ X - torch.eye(3, dtype=dtype)).abs().max())

    assert defect(M.exp(x, 100 * tangents(x, 4, 3))) < 20 * eps
    y, v = x, tangents(x, 4, 3)
    for _ in range(100):
        x = M.retract(x, 0.3 * v)
        v = M.to_tangent(x, v)
        y = M.exp(y, M.to_tangent(y, v))
    assert defect(x) < 20 * eps
    assert defect(y) < 20 * eps


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_projection_and_retraction_are_scipys_polar_factor(n, p):
    x = points(n, p)
    u = tangents(x, n, p)
    z = torch.randn(20, n * p, generator=make_generator(4), dtype=x.dtype)
    M = Stiefel(n, p)
    for ambient, ours in [(z, M.projection(z)), (x + u, M.retract(x, u))]:
        for Z, Y in zip(*(t.reshape(-1, n, p) for t in (ambient, ours)), strict=True):
            np.testing.assert_allclose(Y, scipy.linalg.polar(Z)[0], atol=1e-9)
    for scale in (1e-150, 1e150):
        torch.testing.assert_close(M.projection(scale * x), x)


def test_projection_has_the_right_derivative():
    """Against central differences, off the manifold."""
    M = Stiefel(4, 2)
    z, w = torch.randn(2, 5, 8, generator=make_generator(5), dtype=torch.float64)
    h = 1e-5
    numeric = (M.projection(z + h * w) - M.projection(z - h * w)) / (2 * h)
    exact = (columns(M.projection, z) @ w[..., None]).squeeze(-1)
    torch.testing.assert_close(exact, numeric, rtol=1e-6, atol=1e-7)


def test_second_divided_difference_of_one_over_the_root():
    def f(x):
        return 1 / math.sqrt(x)

    x, y, z = 3.0, 1.0, 0.2
    slow = ((f(x) - f(y)) / (x - y) - (f(y) - f(z)) / (y - z)) / (x - z)
    a, b, c = (torch.tensor([v], dtype=torch.float64) for v in (y, z, x))
    assert float(inverse_sqrt_second(a, b, c)) == pytest.approx(slow, rel=1e-12)
    half = float(inverse_sqrt_second(b, b, b))  # f'' / 2
    assert half == pytest.approx(0.375 * z**-2.5, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "p", "volume"),
    [
        (2, 1, 2 * math.pi),
        (3, 1, 4 * math.pi),
        (2, 2, 4 * math.sqrt(2) * math.pi),  # two circles of radius sqrt(2)
        (3, 2, 8 * math.sqrt(2) * math.pi**2),
        (3, 3, 2 * 2**1.5 * 8 * math.pi**2),  # O(3): 8 pi^2 in the angle metric, twice
        (4, 2, math.sqrt(2) * 2 * math.pi**2 * 4 * math.pi),
    ],
)
def test_known_volumes(n, p, volume):
    assert Stiefel(n, p).log_volume() == pytest.approx(math.log(volume), rel=1e-14)


def test_volume_by_integration_over_angles():
    """V(3, 2) by Euler's angles, with the metric from automatic differentiation."""

    def frames(t):
        a, b, c = t.unbind(-1)
        first = torch.stack([a.sin() * b.cos(), a.sin() * b.sin(), a.cos()], -1)
        south = torch.stack([a.cos() * b.cos(), a.cos() * b.sin(), -a.sin()], -1)
        east = torch.stack([-b.sin(), b.cos(), torch.zeros_like(a)], -1)
        second = c.cos()[:, None] * south + c.sin()[:, None] * east
        return torch.stack([first, second], -1).flatten(1)

    nodes, weights = np.polynomial.legendre.leggauss(12)
    a = torch.from_numpy(np.pi / 2 * (nodes + 1))
    t = torch.stack([a, torch.full_like(a, 0.7), torch.full_like(a, 1.9)], -1)
    x = frames(t)
    torch.testing.assert_close(Stiefel(3, 2).from_user(x), x)
    J = columns(frames, t)
    density = torch.linalg.det(J.mT @ J).sqrt()  # of a alone
    total = (2 * np.pi) ** 2 * np.pi / 2 * float(torch.from_numpy(weights) @ density)
    assert Stiefel(3, 2).log_volume() == pytest.approx(math.log(total), rel=1e-10)


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), [(3, 2), (4, 3), (3, 3)])
def test_random_points_are_columns_of_random_orthogonal_matrices(
    n, p, global_random_seed
):
    """Samples of 4000; 12 random linear and as many quadratic functions, |z| < 4.5."""
    k = 4000
    x = points(n, p, k, seed=global_random_seed).numpy()
    rng = np.random.default_rng(global_random_seed)
    Q = scipy.stats.ortho_group.rvs(n, size=k, random_state=rng)
    y = Q[:, :, :p].reshape(k, n * p)
    a, b = rng.normal(size=(2, n * p, 12))

    def functions(x):
        return np.c_[x @ a, (x @ a) * (x @ b), (x @ a) ** 2 * (x @ b)]

    f, g = functions(x), functions(y)
    error = np.sqrt((f.var(0) + g.var(0)) / k)
    assert np.abs((f.mean(0) - g.mean(0)) / error).max() < 4.5
    worst = min(
        scipy.stats.ks_2samp(f[:, j], g[:, j]).pvalue for j in range(f.shape[1])
    )
    assert 1e-6 < worst < 1


def test_project_takes_the_nearest_frame():
    z = torch.randn(20, 6, generator=make_generator(6), dtype=torch.float64)
    for rows in (z, 1e200 * z, 1e-200 * z):
        x = Stiefel(3, 2, project=True).from_user(rows)
        for Z, X in zip(*(t.reshape(-1, 3, 2) for t in (z, x)), strict=True):
            np.testing.assert_allclose(X, scipy.linalg.polar(Z)[0], atol=1e-9)


GOOD = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("manifold", "row", "message"),
    [
        (
            Stiefel(3, 2),
            [1.1, 0, 0, 1, 0, 0],
            r"1 of 3, the worst is row 1 with max \|X'X - I\| = 0.21, tolerance 1e-06\. "
            r"Rows are 3 x 2 matrices row by row.*project=True.*polar factor",
        ),
        (Stiefel(3, 2), [1, 0, 0, 0, 1, 0], "worst is row 1 .* = 1,"),  # transposed
        (Stiefel(3, 2), [0] * 6, "worst is row 1"),
        (Stiefel(3, 2), [1, 0, 0, float("nan"), 0, 0], "Row 1 .*NaN or infinity"),
        (
            Stiefel(3, 2, project=True),
            [1, 2, 0, 0, 1, 2],
            "row 1 .*singular value.*dependent columns: remove",
        ),
        (Stiefel(3, 2, project=True), [0] * 6, "row 1 .*dependent columns: remove"),
    ],
)
def test_bad_rows(manifold, row, message):
    X = torch.tensor([GOOD, row, GOOD], dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        manifold.from_user(X)
    torch.testing.assert_close(manifold.from_user(X[[0, 2]]), X[[0, 2]])


@pytest.mark.parametrize(
    ("n", "p"), [(1, 1), (3, 0), (2, 3), (3.0, 2), (3, None), ("3", 2)]
)
def test_bad_sizes(n, p):
    with pytest.raises(ValueError, match="n must be an integer, .*; got n="):
        Stiefel(n, p).random_point(1)


def test_bad_width():
    with pytest.raises(ValueError, match="n_features = 5, .*n p columns.*row by row"):
        Stiefel(3, 2).with_columns(5)
