"""Charts against the sphere, the torus of revolution, and the hyperbolic half-plane."""

import math
import pickle

import pytest
import torch
from sklearn.base import clone

from sk_wmvl._autodiff import pushforward
from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import Chart, Sphere


def to_sphere(y):
    """Colatitude and longitude."""
    s = y[:, 0].sin()
    return torch.stack([s * y[:, 1].cos(), s * y[:, 1].sin(), y[:, 0].cos()], -1)


def to_torus(y):
    """The torus of revolution of radii 2 and 1."""
    r = 2 + y[:, 0].cos()
    return torch.stack([r * y[:, 1].cos(), r * y[:, 1].sin(), y[:, 0].sin()], -1)


def half_plane(y):
    eye = torch.eye(2, dtype=y.dtype)
    return eye / y[:, 1].square()[:, None, None]


def indefinite(y):
    return torch.diag_embed(torch.stack([1 + 0 * y[:, 0], y[:, 1]], -1))


SPHERE = Chart(
    to_sphere, dim=2, low=[0, 0], high=[math.pi, 2 * math.pi], periodic=[False, True]
)
TORUS = Chart(
    to_torus, dim=2, low=[0, 0], high=[2 * math.pi] * 2, periodic=[True, True]
)


def somewhere(n=6):
    noise = torch.rand(n, 2, generator=make_generator(0), dtype=torch.float64)
    return 0.5 + 2 * noise


def test_volumes():
    assert math.exp(SPHERE.log_volume()) == pytest.approx(4 * math.pi)
    assert math.exp(TORUS.log_volume()) == pytest.approx(4 * math.pi**2 * 2)
    assert SPHERE.is_compact
    assert not Chart(metric=half_plane, dim=2).is_compact


def test_metric_frame_and_gradient_are_those_of_the_sphere():
    y = somewhere()
    expected = torch.diag_embed(torch.stack([torch.ones(6), y[:, 0].sin() ** 2], -1))
    torch.testing.assert_close(SPHERE.metric_tensor(y), expected)
    torch.testing.assert_close(SPHERE.log_det_metric(y), 2 * y[:, 0].sin().log())
    v = torch.randn(6, 2, generator=make_generator(1), dtype=torch.float64)
    u = SPHERE.frame(y, v)
    torch.testing.assert_close(SPHERE.norm(y, u), v.norm(dim=1))
    torch.testing.assert_close(u, v / torch.stack([y[:, 0] * 0 + 1, y[:, 0].sin()], -1))
    g = SPHERE.egrad2rgrad(y, v)
    torch.testing.assert_close(SPHERE.inner(y, g, u), (v * u).sum(-1))


def test_retraction_agrees_with_the_sphere_to_second_order():
    y, errors = somewhere(), []
    v = torch.randn(6, 2, generator=make_generator(1), dtype=torch.float64)
    u = SPHERE.frame(y, v)
    velocity = pushforward(to_sphere, y, u)
    for t in (0.02, 0.01):
        arrived = to_sphere(SPHERE.retract(y, t * u))
        error = Sphere(2).dist(arrived, Sphere(2).exp(to_sphere(y), t * velocity))
        errors.append(float(error.max()))
    assert errors[0] / errors[1] == pytest.approx(8, abs=1)


def test_christoffel_symbols_of_the_half_plane():
    y = somewhere()
    expected = torch.zeros(6, 2, 2, 2, dtype=torch.float64)
    expected[:, 0, 0, 1] = expected[:, 0, 1, 0] = -1 / y[:, 1]
    expected[:, 1, 0, 0], expected[:, 1, 1, 1] = 1 / y[:, 1], -1 / y[:, 1]
    torch.testing.assert_close(Chart(metric=half_plane, dim=2).christoffel(y), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_reach_points_and_velocities(dtype):
    y = somewhere().to(dtype).requires_grad_()
    v = torch.zeros(6, 2, dtype=dtype, requires_grad=True)
    end = TORUS.retract(y, TORUS.frame(y, v))
    assert end.dtype == dtype
    (g,) = torch.autograd.grad(end.sum(), v, create_graph=True)
    (slope,) = torch.autograd.grad(g.square().sum() / 2, y, retain_graph=True)
    (second,) = torch.autograd.grad(g.sum(), v, materialize_grads=True)
    assert torch.isfinite(second).all()
    # g = (1, 1/r)
    r = 2 + y[:, 0].detach().cos()
    expected = y[:, 0].detach().sin() / r**3
    torch.testing.assert_close(slope[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.statistical
def test_random_points_are_uniform(global_random_seed):
    """n = 4000; the height on the sphere has mean 0 and variance 1/3, |z| < 4."""
    n = 4000
    z = SPHERE.random_point(n, generator=make_generator(global_random_seed))[:, 0].cos()
    assert abs(float(z.mean())) * math.sqrt(3 * n) < 4
    # z^2 has mean 1/3 and variance 4/45
    assert abs(float(z.square().mean()) - 1 / 3) * math.sqrt(n * 45 / 4) < 4


@pytest.mark.parametrize("chart", [SPHERE, TORUS], ids=["sphere", "torus"])
def test_the_cube_covers_the_box(chart):
    y = somewhere()
    back, log_volume = chart.from_cube(chart.to_cube(y))
    torch.testing.assert_close(back, y)
    centers = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    _, log_volume = chart.from_cube(torch.cartesian_prod(centers, centers))
    total = log_volume.exp().mean().log()
    assert float(total) == pytest.approx(chart.log_volume(), abs=1e-4)
    with pytest.raises(NotImplementedError, match="Chart offers no cube"):
        Chart(metric=half_plane, dim=2).from_cube(y)
    with pytest.raises(NotImplementedError, match="Chart offers no cube"):
        Chart(metric=half_plane, dim=2).to_cube(y)


def test_periods_features_and_border():
    y = somewhere()
    turned = y + torch.tensor([0, 4 * math.pi], dtype=torch.float64)
    torch.testing.assert_close(SPHERE.from_user(turned), y)
    torch.testing.assert_close(SPHERE.features(turned), SPHERE.features(y))
    assert SPHERE.features(y).shape[1] == SPHERE.n_features == 3
    assert TORUS.n_features == 4


def test_clone_and_pickle():
    y = somewhere()
    for copy in (clone(SPHERE), pickle.loads(pickle.dumps(SPHERE))):
        torch.testing.assert_close(copy.metric_tensor(y), SPHERE.metric_tensor(y))
    assert Chart(to_sphere).with_columns(2).dim == 2


def test_no_geodesics():
    y = somewhere()
    for call in (SPHERE.exp, SPHERE.log, SPHERE.dist):
        with pytest.raises(NotImplementedError, match=r"Chart offers no"):
            call(y, y)


@pytest.mark.parametrize(
    ("chart", "row", "message"),
    [
        (Chart(metric=indefinite, dim=2), [0.0, -2.0], "row 1, y = .*eigenvalue is -2"),
        (SPHERE, [0.0, 1.0], "not positive definite at row 1"),
        (SPHERE, [4.0, 1.0], r"row 1 with distance from the box = 0.858.*widen"),
        (SPHERE, [float("nan"), 1.0], "Row 1 .*NaN"),
    ],
)
def test_bad_rows(chart, row, message):
    rows = torch.tensor([[1.0, 1.0], row], dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        chart.from_user(rows)


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        (Chart(), "one of immersion and metric"),
        (Chart(to_sphere, metric=half_plane), "and not both"),
        (Chart(to_sphere, dim=3), "X has .*2"),
        (Chart(to_sphere, low=[0]), "need 2 entries each"),
        (Chart(to_sphere, low=[0, 1], high=[1, 1]), "low < high"),
        (Chart(to_sphere, periodic=[True, False]), "need low and high"),
    ],
)
def test_bad_charts(chart, message):
    with pytest.raises(ValueError, match=message):
        chart.with_columns(2)
