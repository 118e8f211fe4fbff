"""Hyperbolic space against acosh in long doubles, the ball's formulas, and the plane."""

import numpy as np
import pytest
import torch

from sk_wmvl.manifolds import Hyperbolic


def ball_points(n, m, largest, seed=0):
    """Return points of the Poincaré ball, by radius and direction."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, m))
    radius = rng.uniform(0, largest, size=(n, 1))
    return z / np.linalg.norm(z, axis=1, keepdims=True) * radius


def ball_dist(y, z):
    """Return arcosh(1 + 2|y - z|^2 / (1-|y|^2)(1-|z|^2)) in extended precision."""
    y, z = y.astype(np.longdouble), z.astype(np.longdouble)
    gap = ((y - z) ** 2).sum(1)
    room = (1 - (y**2).sum(1)) * (1 - (z**2).sum(1))
    return np.arccosh(1 + 2 * gap / room).astype(float)


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
    np.testing.assert_allclose(a[:, 0] ** 2 - (a[:, 1:] ** 2).sum(1), 1, rtol=1e-12)


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
    before, at, after = (M.exp(x, s * u) for s in (t - h, t, t + h))
    expected = M.inner(x, u, u)[:, None] * at
    torch.testing.assert_close(
        (after - 2 * at + before) / h**2, expected, rtol=1e-4, atol=1e-4
    )


def test_distance_to_the_origin_is_artanh():
    y = torch.from_numpy(ball_points(20, 4, 0.99))
    x = Hyperbolic(4, model="ball").from_user(y)
    origin = torch.zeros_like(x)
    origin[:, 0] = 1
    expected = 2 * torch.atanh(y.norm(dim=1))
    torch.testing.assert_close(Hyperbolic(4).dist(origin, x), expected)
    features = Hyperbolic(4).features(x)
    torch.testing.assert_close(features, expected[:, None] * y / y.norm(dim=1)[:, None])


def test_far_points_stay_finite_and_accurate():
    M = Hyperbolic(2)
    for r in (5.0, 12.0, 17.0):
        u = torch.tensor([[0.0, r, 0.0], [0.0, -0.6 * r, 0.8 * r]], dtype=torch.float64)
        origin = torch.tensor([[1.0, 0.0, 0.0]] * 2, dtype=torch.float64)
        x = M.exp(origin, u)
        torch.testing.assert_close(M.dist(origin, x), u.norm(dim=1))
        torch.testing.assert_close(M.log(origin, x), u)
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
    x = Hyperbolic(2).random_point(1).expand(30, 3)
    v = torch.stack([r, torch.zeros_like(r)], 1)
    J = Hyperbolic(2).log_det_exp(x, Hyperbolic(2).frame(x, v)).exp()
    area = float((2 * torch.pi * r * J * w).sum())
    assert area == pytest.approx(2 * np.pi * (np.cosh(R) - 1), rel=1e-10)


def test_users_rows():
    y, _, x, _ = both(2)
    ball = Hyperbolic(model="ball").with_columns(2)
    assert (ball.dim, ball.ambient_dim, ball.n_columns) == (2, 3, 2)
    np.testing.assert_allclose(ball.to_user(x), y, atol=1e-15)
    sheet = Hyperbolic().with_columns(3)
    assert (sheet.dim, sheet.n_columns) == (2, 3)
    torch.testing.assert_close(sheet.from_user(x), x)
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
