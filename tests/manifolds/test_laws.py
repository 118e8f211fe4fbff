"""Laws of geometry that every manifold obeys, in float64 and float32."""

import math
import zlib

import numpy as np
import pytest
import torch

from sk_wmvl._random import make_generator
from tests.manifolds._cases import CASES, CONDITION, COPIES, FAR, NOT_OFFERED

N = 7
TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-4}

each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["f64", "f32"])
each = pytest.mark.parametrize("name", list(CASES))


def each_with(*methods):
    """Run over the manifolds that offer all of the methods."""
    names = [name for name in CASES if not NOT_OFFERED.get(name, set()) & set(methods)]
    return pytest.mark.parametrize("name", names)


class Setting:
    """Random points and vectors of one manifold, the same at each call."""

    def __init__(self, name, dtype=torch.float64, n=N, seed=0):
        self.name, self.dtype, self.n = name, dtype, n
        self.manifold = CASES[name]
        self.generator = make_generator(seed, zlib.crc32(name.encode()))
        self.tolerance = TOLERANCE[dtype]
        if dtype == torch.float32:
            self.tolerance *= CONDITION.get(name, 1)

    def points(self):
        return self.manifold.random_point(
            self.n, generator=self.generator, dtype=self.dtype
        )

    def noise(self, *shape):
        return torch.randn(shape, generator=self.generator, dtype=self.dtype)

    def ambient(self):
        return self.noise(self.n, self.manifold.ambient_dim)

    def tangent(self, x):
        return self.manifold.random_tangent(x, generator=self.generator)

    def minimal(self, x):
        """Return velocities of shortest geodesics towards random points."""
        if "log" in NOT_OFFERED.get(self.name, set()):
            return 0.3 * self.tangent(x)
        return 0.9 * self.manifold.log(x, self.points())

    def close(self, a, b, factor=1.0):
        scale = max(1.0, float(b.abs().max()))
        atol = factor * self.tolerance * scale
        torch.testing.assert_close(a, b, rtol=0, atol=atol)

    def same_points(self, x, y, factor=1.0):
        assert x.dtype == y.dtype == self.dtype
        if "dist" in NOT_OFFERED.get(self.name, set()):
            self.close(x, y, factor)
            return
        zero = torch.zeros(len(x), dtype=self.dtype)
        self.close(self.manifold.dist(x, y), zero, factor)


def columns(f, v):
    """Return the Jacobian of f at v, of shape (n, outputs, k): row i of f is of row i."""
    v = v.clone().requires_grad_()
    rows = [
        torch.autograd.grad(out.sum(), v, retain_graph=True, materialize_grads=True)[0]
        if out.requires_grad
        else torch.zeros_like(v)
        for out in f(v).unbind(-1)
    ]
    return torch.stack(rows, -2)


def differential(f, x, u):
    """Return the derivative of f at x along u."""
    return (columns(f, x) @ u[..., None]).squeeze(-1)


def second_derivative(f, v, direction):
    """Return the second derivative of f at v along a direction, and the first."""
    v = v.clone().requires_grad_()
    first, second = [], []
    for out in f(v).unbind(-1):
        (g,) = torch.autograd.grad(out.sum(), v, create_graph=True)
        slope = (g * direction).sum(-1)
        first.append(slope.detach())
        if not slope.requires_grad:  # linear
            second.append(torch.zeros_like(slope))
            continue
        (h,) = torch.autograd.grad(
            slope.sum(), v, retain_graph=True, materialize_grads=True
        )
        second.append((h * direction).sum(-1))
    return torch.stack(second, -1), torch.stack(first, -1)


def gram(manifold, x, U):
    """Return inner products of shape (n, k, k) of the columns of U, (n, d, k)."""
    return torch.stack(
        [
            torch.stack([manifold.inner(x, u, v) for v in U.unbind(-1)], -1)
            for u in U.unbind(-1)
        ],
        -2,
    )


def frame_columns(manifold, x):
    v = x.new_zeros(len(x), manifold.frame_dim)
    return columns(lambda v: manifold.frame(x, v), v)


def orthonormal(manifold, x):
    """Return an orthonormal basis (n, d, m) of each tangent space."""
    A = frame_columns(manifold, x)
    values, vectors = torch.linalg.eigh(gram(manifold, x, A))
    m = manifold.dim
    expected = torch.zeros_like(values)
    expected[:, -m:] = 1  # A^T G A is a projection of rank m
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-8)
    return A @ vectors[:, :, -m:]


def test_tables_name_cases():
    assert set(NOT_OFFERED) | set(COPIES) | set(FAR) | set(CONDITION) <= set(CASES)
    for name, manifold in CASES.items():
        if manifold.is_compact and "log" not in NOT_OFFERED.get(name, set()):
            assert name in FAR, f"{name} is compact: add it to FAR"


CALLS = {
    "chart": lambda M, x, u: M.chart(x),
    "exp": lambda M, x, u: M.exp(x, u),
    "geodesic": lambda M, x, u: M.geodesic(x, u),
    "log": lambda M, x, u: M.log(x, x),
    "dist": lambda M, x, u: M.dist(x, x),
    "log_det_exp": lambda M, x, u: M.log_det_exp(x, u),
    "log_volume": lambda M, x, u: M.log_volume(),
    "quadrature": lambda M, x, u: M.quadrature(8),
    "from_cube": lambda M, x, u: M.from_cube(torch.rand(2, M.dim)),
    "to_cube": lambda M, x, u: M.to_cube(x),
}


@each
def test_what_is_not_offered_says_so(name):
    s = Setting(name)
    x = s.points()
    u = s.tangent(x)
    for method, call in CALLS.items():
        if method in NOT_OFFERED.get(name, set()):
            with pytest.raises(NotImplementedError, match=r"\w+ offers no .*\."):
                call(s.manifold, x, u)
        else:
            call(s.manifold, x, u)


@each_dtype
@each
def test_shapes(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    u = s.tangent(x)
    assert x.shape == u.shape == (N, M.ambient_dim)
    assert x.dtype == u.dtype == dtype
    assert M.features(x).shape == (N, M.n_features)
    assert M.features(x).dtype == dtype
    assert M.to_user(x).shape == (N, M.n_columns)
    assert M.inner(x, u, u).shape == M.norm(x, u).shape == (N,)
    if "dist" not in NOT_OFFERED.get(name, set()):
        assert M.dist(x, x).shape == (N,)
    assert M.dim <= M.frame_dim
    assert M.is_compact == math.isfinite(M.log_volume())
    assert set(M.flat_columns) <= set(range(M.ambient_dim))


@each_dtype
@each
def test_projections_are_idempotent(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    s.close(M.projection(x), x)
    y = M.projection(x + 0.1 * s.ambient())
    s.close(M.projection(y), y)
    u = M.to_tangent(x, s.ambient())
    s.close(M.to_tangent(x, u), u)
    v = s.tangent(x)
    s.close(M.to_tangent(x, v), v)


@each_dtype
@each_with("log", "exp")
def test_exp_and_log_are_inverse(name, dtype):
    s = Setting(name, dtype)
    M, x, y = s.manifold, s.points(), s.points()
    u = M.log(x, y)
    s.close(M.to_tangent(x, u), u)
    s.same_points(M.exp(x, u), y)
    s.close(M.norm(x, u), M.dist(x, y))
    u = 0.9 * u
    s.close(M.log(x, M.exp(x, u)), u, factor=10)
    s.close(M.dist(x, M.exp(x, u)), M.norm(x, u))


@each_dtype
@each_with("dist")
def test_distance_is_a_metric(name, dtype):
    s = Setting(name, dtype)
    M, x, y, z = s.manifold, s.points(), s.points(), s.points()
    assert torch.equal(M.dist(x, x), torch.zeros(N, dtype=dtype))
    s.close(M.dist(x, y), M.dist(y, x))
    assert (M.dist(x, z) <= M.dist(x, y) + M.dist(y, z) + s.tolerance).all()
    assert (M.dist(x, y) > 0).all()


@each_dtype
@each_with("geodesic")
def test_geodesics_keep_their_speed_and_reverse(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    u = 1.5 * s.tangent(x)
    y, v = M.geodesic(x, u)
    s.close(M.to_tangent(y, v), v, factor=10)
    s.close(M.norm(y, v), M.norm(x, u), factor=10)
    back, w = M.geodesic(y, -v)
    s.close(-w, u, factor=30)
    s.same_points(back, x, factor=30)
    half, v_half = M.geodesic(x, u / 2)
    s.same_points(M.exp(half, v_half), y)


@each_with("exp")
def test_retraction_is_of_second_order(name):
    s = Setting(name)
    M, x = s.manifold, s.points()
    u = s.tangent(x)
    u = u / M.norm(x, u)[:, None]
    t = np.array([0.08, 0.04, 0.02])

    def gap(y, z):
        if "dist" in NOT_OFFERED.get(name, set()):
            return (y - z).norm(dim=-1)
        return M.dist(y, z)  # points may be one in other coordinates

    error = [float(gap(M.retract(x, h * u), M.exp(x, h * u)).max()) for h in t]
    if max(error) > 1e-12:
        slope = np.polyfit(np.log(t), np.log(error), 1)[0]
        assert slope > 2.8


@each_dtype
@each
def test_gradient_represents_the_differential(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    g, u = s.ambient(), s.tangent(x)
    r = M.egrad2rgrad(x, g)
    s.close(M.to_tangent(x, r), r)
    s.close(M.inner(x, r, u), (g * u).sum(-1), factor=10)


@each_dtype
@each
def test_frame_squares_to_the_inverse_metric(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    A, g = frame_columns(M, x), s.ambient()
    # the inverse metric takes ambient derivatives to Riemannian gradients
    AATg = (A @ (A.mT @ g[..., None])).squeeze(-1)
    s.close(AATg, M.egrad2rgrad(x, g), factor=10)
    v, w = s.noise(N, M.frame_dim), s.noise(N, M.frame_dim)
    s.close(M.frame(x, 2 * v - w), 2 * M.frame(x, v) - M.frame(x, w), factor=10)


@each_dtype
@each
def test_random_tangent_is_the_frame_of_white_noise(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    u = M.random_tangent(x, generator=make_generator(5))
    noise = torch.randn(N, M.frame_dim, generator=make_generator(5), dtype=dtype)
    assert torch.equal(u, M.frame(x, noise))


@each_with("log_det_exp", "exp")
def test_jacobian_of_exp(name):
    s = Setting(name)
    M, x = s.manifold, s.points()
    E = orthonormal(M, x)
    for u in (s.minimal(x), torch.zeros_like(x)):

        def along(t, u=u):
            return M.exp(x, u + (E @ t[..., None]).squeeze(-1))

        J = columns(along, x.new_zeros(N, M.dim))
        expected = 0.5 * torch.logdet(gram(M, M.exp(x, u), J))
        s.close(M.log_det_exp(x, u), expected, factor=100)


@each_with("chart")
def test_chart_is_an_isometry(name):
    s = Setting(name)
    M, x = s.manifold, s.points()
    chart = M.chart(x)
    assert chart.y.shape == (N, M.dim)
    s.same_points(chart.to_manifold(chart.y), x)
    y = chart.y + 0.1 * s.noise(N, M.dim)
    J = columns(chart.to_manifold, y)
    s.close(chart.metric(y), gram(M, chart.to_manifold(y), J), factor=10)


@each_with("quadrature")
def test_quadrature_sums_to_the_volume(name):
    s = Setting(name)
    M = s.manifold
    for n_nodes in (9, 16):
        nodes, log_weights = M.quadrature(n_nodes)
        assert nodes.dtype == log_weights.dtype == torch.float64
        total = torch.logsumexp(log_weights, 0)
        s.close(total, torch.tensor(M.log_volume(), dtype=torch.float64))
        s.close(M.projection(nodes), nodes)


@each_with("quadrature")
def test_quadrature_converges_on_smooth_functions(name):
    s = Setting(name)
    M = s.manifold
    a = 0.5 * s.noise(M.n_features)

    def integral(n_nodes):
        nodes, log_weights = M.quadrature(n_nodes)
        return torch.logsumexp(log_weights + M.features(nodes) @ a, 0)

    s.close(integral(64), integral(80), factor=1e4)


@each_dtype
@each_with("from_cube")
def test_the_cube_covers_the_manifold_once(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    u = M.to_cube(x)
    assert ((u >= 0) & (u <= 1)).all()
    y, log_volume = M.from_cube(u)
    assert y.shape == x.shape
    assert y.dtype == log_volume.dtype == dtype
    s.same_points(y, x, factor=10)
    inside = torch.rand(N, M.dim, generator=s.generator, dtype=dtype)
    s.close(M.to_cube(M.from_cube(inside)[0]), inside, factor=10)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=dtype)] * M.dim)
    points, _ = M.from_cube(corners.reshape(-1, M.dim))
    s.same_points(M.projection(points), points)


@each_with("from_cube")
def test_volume_element_of_the_cube(name):
    s = Setting(name)
    M = s.manifold
    u = 0.05 + 0.9 * torch.rand(N, M.dim, generator=s.generator, dtype=torch.float64)
    J = columns(lambda u: M.from_cube(u)[0], u)
    x, log_volume = M.from_cube(u)
    s.close(log_volume, 0.5 * torch.logdet(gram(M, x, J)), factor=100)
    centers = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    grid = torch.cartesian_prod(*[centers] * M.dim).reshape(-1, M.dim)
    total = M.from_cube(grid)[1].exp().mean()
    s.close(total.log(), torch.tensor(M.log_volume(), dtype=torch.float64))


@pytest.mark.statistical
@each_with("quadrature")
def test_random_points_are_uniform(name, global_random_seed):
    """n = 4000; moments of the features against quadrature, |z| < 4.5 (up to 90)."""
    s = Setting(name, n=4000, seed=global_random_seed)
    M = s.manifold

    def moments(x):
        f = M.features(x)
        return torch.cat([f, f[:, :1] * f, f[:, -1:] * f.square()], -1)

    nodes, log_weights = M.quadrature(48)
    expected = log_weights.softmax(0) @ moments(nodes)
    sample = moments(s.points())
    error = sample.std(0) / math.sqrt(s.n)
    z = (sample.mean(0) - expected) / error.clamp(min=1e-9)
    assert float(z.abs().max()) < 4.5


@each_dtype
@each_with("geodesic")
@pytest.mark.parametrize("step", ["retract", "exp", "velocity"])
def test_derivatives_at_zero_velocity(name, dtype, step):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    v, zero = s.noise(N, M.frame_dim), x.new_zeros(N, M.frame_dim)

    def move(v):
        u = M.frame(x, v)
        return {
            "retract": lambda: M.retract(x, u),
            "exp": lambda: M.exp(x, u),
            "velocity": lambda: M.geodesic(x, u)[1],
        }[step]()

    D2, D = second_derivative(move, zero, v)
    assert torch.isfinite(D2).all()
    s.close(D, M.frame(x, v))
    if dtype == torch.float64:
        h = 1e-3
        numeric = (move(h * v) + move(-h * v) - 2 * move(zero)) / h**2
        s.close(D2, numeric, factor=1e5)


@each_dtype
@each_with("log", "dist")
def test_gradients_of_distance_and_log_are_finite(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    ends = [x.clone(), s.points()]
    if name in FAR:
        ends.append(FAR[name](x))
    for end in ends:
        a, b = x.clone().requires_grad_(), end.clone().requires_grad_()
        for value in (M.dist(a, b), M.log(a, b), M.dist(a, b).square()):
            assert torch.isfinite(value).all()
            for gradient in torch.autograd.grad(value.sum(), (a, b)):
                assert torch.isfinite(gradient).all()


@each_dtype
@pytest.mark.parametrize("name", list(FAR))
def test_far_points_are_reached(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    y = FAR[name](x)
    u = M.log(x, y)
    s.same_points(M.exp(x, u), y)
    s.close(M.norm(x, u), M.dist(x, y))


@each_with("log")
def test_derivative_of_log_is_the_identity(name):
    s = Setting(name)
    M, x = s.manifold, s.points()
    u = s.tangent(x)
    D = differential(lambda y: M.log(x, y), x, u)
    s.close(D, u)


@each
def test_batch_is_a_loop(name):
    s = Setting(name)
    M, x, y = s.manifold, s.points(), s.points()
    u, v = s.minimal(x), s.noise(N, M.frame_dim)
    calls = {
        "projection": (M.projection, x),
        "to_tangent": (M.to_tangent, x, s.ambient()),
        "frame": (M.frame, x, v),
        "egrad2rgrad": (M.egrad2rgrad, x, s.ambient()),
        "retract": (M.retract, x, u),
        "exp": (M.exp, x, u),
        "geodesic": (lambda x, u: M.geodesic(x, u)[1], x, u),
        "log": (M.log, x, y),
        "dist": (M.dist, x, y),
        "log_det_exp": (M.log_det_exp, x, u),
        "features": (M.features, x),
        "to_user": (M.to_user, x),
        "push_to_user": (M.push_to_user, x, u),
        "chart": (lambda x: M.chart(x).y, x),
        "metric": (lambda x: M.chart(x).metric(M.chart(x).y), x),
    }
    missing = NOT_OFFERED.get(name, set())
    missing = missing | ({"metric"} if "chart" in missing else set())
    for method in set(calls) - missing:
        f, *tensors = calls[method]
        rows = [f(*[t[i : i + 1] for t in tensors]) for i in range(N)]
        s.close(f(*tensors), torch.cat(rows))


@each_dtype
@each
def test_users_rows_come_back(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    rows = M.to_user(x)
    again = M.from_user(rows)
    assert again.dtype == dtype
    s.same_points(again, x)
    s.close(M.to_user(again), rows)
    s.close(M.features(again), M.features(x), factor=10)
    resized = M.with_columns(M.n_columns)
    assert (resized.dim, resized.n_columns) == (M.dim, M.n_columns)


@each_dtype
@each
def test_push_to_user_is_the_differential(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    u = s.tangent(x)
    expected = differential(M.to_user, x, u)
    s.close(M.push_to_user(x, u), expected)


@each_dtype
@pytest.mark.parametrize("name", list(COPIES))
def test_features_have_the_symmetries(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    copy = COPIES[name](x, s.generator)
    assert (copy != x).any()
    s.close(M.features(copy), M.features(x))
    s.same_points(copy, x)
    y = s.points()
    s.close(M.dist(copy, y), M.dist(x, y))
    s.close(M.log(x, COPIES[name](y, s.generator)), M.log(x, y))


@each
def test_features_separate_points(name):
    s = Setting(name)
    M, x, y = s.manifold, s.points(), s.points()
    assert ((M.features(x) - M.features(y)).norm(dim=-1) > 1e-3).all()
    # and tangent vectors: their differential is injective
    E = orthonormal(M, x)
    J = columns(M.features, x) @ E
    assert torch.linalg.svdvals(J).min() > 1e-3


@each_dtype
@each_with("exp")
def test_diffusion(name, dtype):
    s = Setting(name, dtype)
    M, x = s.manifold, s.points()
    s.same_points(M.diffuse(x, 0.0), x)
    sigma = torch.linspace(0.1, 0.5, N, dtype=dtype)
    y = M.diffuse(x, sigma, generator=make_generator(3))
    u = M.random_tangent(x, generator=make_generator(3))
    s.same_points(y, M.exp(x, sigma[:, None] * u))
