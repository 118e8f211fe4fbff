"""Products against their factors one by one, and against a sum of squares."""

import pickle

import pytest
import torch
from sklearn.base import clone

from sk_wmvl.manifolds import Euclidean, Product, Sphere, Torus


def make():
    return Product([("a", Sphere(2)), ("b", Torus(1)), ("c", Euclidean(2))])


def points(n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return make().random_point(n, generator=generator)


def test_widths_and_dimensions_add():
    product = make()
    assert (product.dim, product.n_columns, product.ambient_dim) == (5, 6, 6)
    assert product.frame_dim == 6
    assert product.n_features == 3 + 4 + 2
    assert product.flat_columns == [4, 5]
    assert not product.is_compact
    assert Product([("a", Sphere(2)), ("b", Torus(1))]).is_compact


def test_geodesics_are_the_factors():
    product, x, y = make(), points(), points(seed=1)
    u = product.log(x, y)
    torch.testing.assert_close(u[:, :3], Sphere(2).log(x[:, :3], y[:, :3]))
    torch.testing.assert_close(product.exp(x, u)[:, 4:], y[:, 4:])
    squares = (
        Sphere(2).dist(x[:, :3], y[:, :3]).square()
        + Torus(1).dist(x[:, 3:4], y[:, 3:4]).square()
        + (x[:, 4:] - y[:, 4:]).square().sum(1)
    )
    torch.testing.assert_close(product.dist(x, y), squares.sqrt())
    torch.testing.assert_close(product.norm(x, u), squares.sqrt())
    assert (product.dist(x, x) == 0).all()


def test_chart_is_block_diagonal():
    product, x = make(), points()
    chart = product.chart(x)
    torch.testing.assert_close(chart.to_manifold(chart.y), x)
    expected = torch.zeros(len(x), 5, 5, dtype=x.dtype)
    sphere = Sphere(2).chart(x[:, :3])
    expected[:, :2, :2] = sphere.metric(sphere.y)
    expected[:, 2:, 2:] = torch.eye(3)
    torch.testing.assert_close(chart.metric(chart.y), expected)


def test_quadrature_is_the_product_rule():
    product = Product([("a", Sphere(2)), ("b", Torus(1))])
    x, log_w = product.quadrature(12)
    assert x.shape == (6 * 12 * 12, 4)
    volume = log_w.exp().sum().log()
    assert float(volume) == pytest.approx(product.log_volume(), abs=1e-12)
    # E[x_2^2] = 1/3 on the sphere and E[cos^2] = 1/2 on the circle
    mean = ((log_w - volume).exp() * x[:, 2] ** 2 * x[:, 3].cos() ** 2).sum()
    assert float(mean) == pytest.approx(1 / 6, abs=1e-12)


def test_quadrature_needs_three_dimensions_and_rules():
    with pytest.raises(NotImplementedError, match="Product offers no quadrature"):
        make().quadrature(4)
    with pytest.raises(NotImplementedError, match="Euclidean offers no quadrature"):
        Product([("a", Torus(1)), ("b", Euclidean(1))]).quadrature(4)


def test_parameters_reach_the_factors():
    product = make()
    assert product.get_params()["a__dim"] == 2
    product.set_params(a__dim=3, b=Euclidean(4))
    assert product.ambient_dim == 4 + 4 + 2
    product.set_params(factors=[("d", Torus(1))], d__dim=2)
    assert product.n_columns == 2
    with pytest.raises(ValueError, match="Invalid parameter 'e'"):
        product.set_params(e__dim=2)


def test_clone_and_pickle_keep_the_factors_apart():
    product = make()
    copy = clone(product)
    copy.set_params(a__dim=5)
    assert product.n_columns == 6
    assert copy.n_columns == 9
    assert pickle.loads(pickle.dumps(product)).n_columns == 6


def test_the_one_unknown_width_is_what_is_left():
    product = Product([("a", Sphere(2)), ("b", Euclidean()), ("c", Torus(1))])
    assert product.dim is None
    made = product.with_columns(7)
    assert made.dim == 6
    assert product.dim is None
    nested = Product([("p", product), ("q", Torus(2))]).with_columns(9)
    assert nested.get_params()["p__b__dim"] == 3


def test_border_converts_blocks():
    x = points()
    turned = x.clone()
    turned[:, 3] += 6 * torch.pi
    torch.testing.assert_close(make().from_user(turned), x)
    torch.testing.assert_close(make().to_user(x), x)


@pytest.mark.parametrize(
    ("factors", "n_columns", "message"),
    [
        ([], 3, "at least one factor"),
        (None, 3, "at least one factor"),
        ([("a", Sphere()), ("b", Euclidean())], 5, "'a', 'b'.*Give the dimension"),
        ([("a", Sphere(2)), ("b", Torus(1))], 5, r"X has .*5.*take 4 \(a: 3, b: 1\)"),
        ([("a", Sphere(2)), ("b", Torus())], 3, "at least 1 must be left for 'b'"),
        ([("a", Sphere()), ("b", Torus(1))], 2, "Factor 'a' of a Product: X has .*1"),
        ([("a", Sphere(2)), ("a", Torus(1))], 4, "must differ"),
        ([("a__b", Sphere(2))], 3, "without '__'"),
        ([("factors", Sphere(2))], 3, "not 'factors'"),
    ],
)
def test_wrong_factors_are_values(factors, n_columns, message):
    with pytest.raises(ValueError, match=message):
        Product(factors).with_columns(n_columns)


@pytest.mark.parametrize("factors", [[Sphere(2)], [("a", Sphere)], [("a", "sphere")]])
def test_wrong_factors_are_types(factors):
    with pytest.raises(TypeError, match="Product\\(\\["):
        Product(factors).with_columns(3)


def test_bad_rows_name_the_factor():
    x = points()
    x[4, :3] *= 1.31
    with pytest.raises(ValueError, match=r"Factor 'a'.*row 4 with .* = 0.31.*project="):
        make().from_user(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_at_coincident_points_are_finite(dtype):
    product = make()
    x = points().to(dtype).requires_grad_()
    (grad,) = torch.autograd.grad(product.dist(x, x.detach()).sum(), x)
    assert torch.isfinite(grad).all()
