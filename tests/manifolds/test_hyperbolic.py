"""Hyperbolic space against mpmath, the ball's formulas, and the plane."""

import math

import mpmath
import numpy as np
import pytest
import torch

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.base_measures.components import WrappedNormal
from sk_wmvl.manifolds import Hyperbolic


def ball_points(n, m, largest, seed=0):
    """Return points of the Poincaré ball, by radius and direction."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, m))
    radius = rng.uniform(0, largest, size=(n, 1))
    return z / np.linalg.norm(z, axis=1, keepdims=True) * radius


def ball_dist(y, z):
    """Return arcosh(1 + 2|y - z|^2 / (1-|y|^2)(1-|z|^2)) in 60 digits."""
    with mpmath.workdps(60):
        found = []
        for a, b in zip(y.tolist(), z.tolist(), strict=True):
            a, b = mpmath.matrix(a), mpmath.matrix(b)
            gap = a - b
            room = (1 - (a.T * a)[0]) * (1 - (b.T * b)[0])
            found.append(float(mpmath.acosh(1 + 2 * (gap.T * gap)[0] / room)))
    return np.array(found)


def both(m, largest=0.95):
    y, z = ball_points(50, m, largest), ball_points(50, m, largest, seed=1)
    ball = Hyperbolic(m, model="ball")
    return (
        y,
        z,
        ball.from_user(torch.from_numpy(y)),
        ball.from_user(torch.from_numpy(z)),
    )


@pytest.mark.parametrize("m", [1, 2, 5])
def test_distance_is_that_of_the_ball(m):
    y, z, a, b = both(m)
    np.testing.assert_allclose(
        Hyperbolic(m).dist(a, b), ball_dist(y, z), rtol=1e-12, atol=1e-13
    )
    rows = Hyperbolic(m).to_user(a)
    np.testing.assert_allclose(
        rows[:, 0] ** 2 - (rows[:, 1:] ** 2).sum(1), 1, rtol=1e-11
    )


def test_distance_keeps_its_accuracy_for_near_points():
    y = ball_points(50, 3, 0.9)
    for gap in (1e-3, 1e-7, 1e-11):
        z = y + gap * ball_points(50, 3, 1, seed=2)
        gaps = np.linalg.norm(z - y, axis=1)  # the metric is 2 / (1 - |y|^2) there
        middle = (y + z) / 2
        expected = 2 * gaps / (1 - (middle**2).sum(1))
        a, b = (
            Hyperbolic(3, model="ball").from_user(torch.from_numpy(p)) for p in (y, z)
        )
        lost = 1e-16 / gaps.min() * 1e2  # of the coordinates' own rounding
        np.testing.assert_allclose(
            Hyperbolic(3).dist(a, b), expected, rtol=max(1e-4 * (gap > 1e-4), lost)
        )


def test_geodesics_solve_the_differential_equation():
    """x'' = |u|^2 x on the hyperboloid, by finite differences in time."""
    _, _, x, y = both(3)
    M, u = Hyperbolic(3), Hyperbolic(3).log(x, y)
    h, t = 1e-3, 0.4
    before, at, after = (M.to_user(M.exp(x, s * u)) for s in (t - h, t, t + h))
    expected = M.inner(x, u, u)[:, None] * at
    torch.testing.assert_close(
        (after - 2 * at + before) / h**2, expected, rtol=1e-4, atol=1e-4
    )


def test_distance_to_the_origin_is_artanh():
    y = torch.from_numpy(ball_points(20, 4, 0.99))
    x = Hyperbolic(4, model="ball").from_user(y)
    origin = torch.zeros_like(x)
    expected = 2 * torch.atanh(y.norm(dim=1))
    torch.testing.assert_close(Hyperbolic(4).dist(origin, x), expected)
    features = Hyperbolic(4).features(x)
    torch.testing.assert_close(features, expected[:, None] * y / y.norm(dim=1)[:, None])


def test_far_points_stay_finite_and_accurate():
    M = Hyperbolic(2)
    for r in (5.0, 17.0, 50.0, 300.0):
        u = torch.tensor([[r, 0.0], [-0.6 * r, 0.8 * r]], dtype=torch.float64)
        origin = torch.zeros(2, 2, dtype=torch.float64)
        x = M.exp(origin, u)
        torch.testing.assert_close(M.dist(origin, x), u.norm(dim=1))
        torch.testing.assert_close(M.log(origin, x), u)
        if r > 20:  # the ray's direction has too few digits
            continue
        # a step of length one along the same ray
        further = M.exp(origin, u * (1 + 1 / r))
        torch.testing.assert_close(
            M.dist(x, further), torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=0
        )
    assert torch.isfinite(M.log_det_exp(origin, 1e3 * u)).all()


def test_log_det_exp_is_the_area_of_geodesic_discs():
    # the area of a disc is 2 pi (cosh R - 1): integrate the Jacobian over it
    r, w = np.polynomial.legendre.leggauss(30)
    R = 2.0
    r, w = torch.from_numpy(R * (r + 1) / 2), torch.from_numpy(R * w / 2)
    x = Hyperbolic(2).random_point(1).expand(30, 2)
    v = torch.stack([r, torch.zeros_like(r)], 1)
    J = Hyperbolic(2).log_det_exp(x, Hyperbolic(2).frame(x, v)).exp()
    area = float((2 * torch.pi * r * J * w).sum())
    assert area == pytest.approx(2 * np.pi * (np.cosh(R) - 1), rel=1e-10)


def test_users_rows():
    y, _, x, _ = both(2)
    ball = Hyperbolic(model="ball").with_columns(2)
    assert (ball.dim, ball.ambient_dim, ball.n_columns) == (2, 2, 2)
    np.testing.assert_allclose(ball.to_user(x), y, atol=1e-15)
    sheet = Hyperbolic().with_columns(3)
    assert (sheet.dim, sheet.n_columns) == (2, 3)
    torch.testing.assert_close(sheet.from_user(sheet.to_user(x)), x)
    assert not sheet.is_compact
    assert sheet.flat_columns == []


@pytest.mark.parametrize(
    ("manifold", "row", "message"),
    [
        (Hyperbolic(2), [1.0, 0.3, 0.4], r"row 1 with .* = 0.106.*comes first.*'ball'"),
        (Hyperbolic(2), [-(1.25**0.5), 0.3, 0.4], r"row 1 with .* = 2, tolerance"),
        (Hyperbolic(2), [0.3, float("nan"), 0.4], "Row 1 .*NaN"),
        (
            Hyperbolic(3, model="ball"),
            [1.2, 0, 0.5],
            r"row 1 with \|y\| = 1.3.*\|y\| < 1",
        ),
        (Hyperbolic(3, model="ball"), [0.6, 0.8, 0.0], r"row 1 with \|y\| = 1"),
    ],
)
def test_bad_rows(manifold, row, message):
    good = [0.0] * 3 if manifold.model == "ball" else [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match=message):
        manifold.from_user(torch.tensor([good, row], dtype=torch.float64))


def test_bad_parameters():
    with pytest.raises(ValueError, match=r"\['hyperboloid', 'ball'\]; got 'disc'"):
        Hyperbolic(model="disc").with_columns(2)
    with pytest.raises(ValueError, match="1.*m \\+ 1 columns"):
        Hyperbolic().with_columns(1)
    with pytest.raises(ValueError, match="X has .*3"):
        Hyperbolic(3).with_columns(3)


def rim_points(n, m, eps, seed=0):
    """Return points of the ball at 1 - eps from its center, in all directions."""
    z = np.random.default_rng(seed).normal(size=(n, m))
    return z / np.linalg.norm(z, axis=1, keepdims=True) * (1 - eps)


@pytest.mark.parametrize("eps", [1e-6, 1e-9, 1e-12, 1e-15])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_points_near_the_rim(m, eps):
    # Of the distances of the rows as they are, to what the last digit of a row is worth:
    # a length of 1e-16 / eps. A velocity's last digit grows to sinh r at the end.
    y, z = rim_points(40, m, eps), rim_points(40, m, eps, seed=1)
    z[:20] = y[:20] * (1 - eps)  # along the same ray
    ball, sheet = Hyperbolic(m, model="ball"), Hyperbolic(m)
    a, b = (ball.from_user(torch.from_numpy(p)) for p in (y, z))
    expected, lost = ball_dist(y, z), 5e-16 / eps
    np.testing.assert_allclose(ball.dist(a, b), expected, rtol=1e-12, atol=lost)
    # the way there and back
    u = ball.log(a, b)
    np.testing.assert_allclose(ball.norm(a, u), expected, rtol=1e-12, atol=lost)
    end, velocity = ball.geodesic(a, u)
    back = ball.exp(end, -velocity)
    growth = torch.from_numpy(lost + 1e-14 * np.sinh(expected))
    assert bool((ball.dist(end, b) < growth).all())
    assert bool((ball.dist(back, a) < growth).all())
    # users' rows come back, in both models
    np.testing.assert_allclose(ball.to_user(a), y, rtol=0, atol=4e-16)
    again = sheet.from_user(sheet.to_user(a))
    assert float(ball.dist(a, again).max()) < 1e-9 + lost


def test_float32_keeps_tangent_vectors_near_the_rim():
    x = Hyperbolic(3, model="ball").from_user(
        torch.from_numpy(rim_points(50, 3, 1e-12))
    )
    M, v = Hyperbolic(3), torch.randn(50, 3, generator=torch.Generator())
    x = x.float()
    u = M.frame(x, v)
    torch.testing.assert_close(M.norm(x, u), v.norm(dim=1))
    assert bool(torch.isfinite(M.features(M.retract(x, u))).all())
    length = M.features(x).norm(dim=1)
    expected = torch.full_like(length, math.log(2e12))  # but for the rows' last digits
    torch.testing.assert_close(length, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("model", ["ball", "hyperboloid"])
def test_push_to_user_near_the_rim(model):
    # the radial velocity of unit length in the ball: half of 1 - |y|^2
    eps = 1e-12
    y = rim_points(20, 3, eps)
    M = Hyperbolic(3, model=model)
    x = Hyperbolic(3, model="ball").from_user(torch.from_numpy(y))
    u = -M.log(x, torch.zeros_like(x))
    u = u / M.norm(x, u)[:, None]
    pushed = M.push_to_user(x, u).numpy()
    radius = 2 * np.arctanh(1 - eps)
    if model == "ball":
        expected = y * eps  # (1 - |y|^2) / 2, to first order in eps
        np.testing.assert_allclose(pushed, expected, atol=1e-3 * eps)
    else:
        n = y / np.linalg.norm(y, axis=1, keepdims=True)
        expected = np.c_[np.full(20, np.sinh(radius)), np.cosh(radius) * n]
        np.testing.assert_allclose(pushed, expected, rtol=1e-3, atol=1e-3)


def test_points_beyond_the_numbers_of_the_ball():
    far = torch.tensor([[0.0, 45.0], [3.0, -45.0], [0.5, 0.1]], dtype=torch.float64)
    ball = Hyperbolic(2, model="ball")
    with pytest.warns(UserWarning, match="2 of 3 points are farther.*hyperboloid"):
        rows = ball.to_user(far)
    assert (np.linalg.norm(rows, axis=1) < 1).all()
    x = ball.from_user(rows)
    np.testing.assert_allclose(
        ball.dist(x[:2], torch.zeros_like(x[:2])), 35.5, atol=0.8
    )


@pytest.mark.parametrize(("m", "eps"), [(2, 1e-2), (2, 1e-12), (4, 1e-6)])
def test_a_component_finds_the_center_of_a_sphere(m, eps):
    # Rows and their opposites on a sphere about the origin, of radius 2 artanh(1 - eps):
    # by symmetry the center is the origin. Whole steps to it diverge.
    y = rim_points(30, m, eps)
    y = np.r_[y, -y]
    x = Hyperbolic(m, model="ball").from_user(torch.from_numpy(y))
    component = WrappedNormal(Hyperbolic(m), x[:1], 1.0)
    one = torch.ones(60, 1, dtype=torch.float64)
    for _ in range(300):
        component.update(x, one, torch.ones(1, dtype=torch.float64))
    assert float(component.mu.abs().max()) < 1e-6
    radius = 2 * math.atanh(1 - eps)
    expected = (60 * radius**2 / m + 1) / 61
    assert float(component.variance) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("model", ["ball", "hyperboloid"])
def test_fits_rows_near_the_rim(model, global_random_seed):
    # leaves of an embedded tree: all at a distance of 28 from the center
    y = rim_points(16, 2, 1e-12, seed=global_random_seed)
    M = Hyperbolic(2, model=model)
    X = y
    if model == "hyperboloid":
        x = Hyperbolic(2, model="ball").from_user(torch.from_numpy(y))
        X = M.to_user(x).numpy()
    density = RiemannianMVLDensity(
        M, base="mixture", normalizer=None, max_epochs=1, random_state=0
    ).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert np.isfinite(density.score_fn(X)).all()
    draws = density.base_.sample(300, generator=torch.Generator().manual_seed(0))
    inside = M.dist(draws, torch.zeros_like(draws)) < 34
    rows = M.to_user(draws[inside]).numpy()
    assert int(inside.sum()) > 30
    assert np.isfinite(density.score_samples(rows)).all()
