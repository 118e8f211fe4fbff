"""Translated manifolds against geoopt's own distances and exponentials."""

import math
import runpy
import sys

import pytest
import torch

import sk_wmvl.manifolds.adapters
from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import (
    SPD,
    Euclidean,
    Hyperbolic,
    Product,
    Sphere,
    Stiefel,
    from_geoopt,
)

# geoopt calls it when it is imported
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


@pytest.fixture
def geoopt():
    return pytest.importorskip("geoopt", reason="the extra geometry installs geoopt")


# name, how to make geoopt's, the shape of its points, ours by hand
CASES = {
    "euclidean": (lambda g: g.Euclidean(ndim=1), (3,), Euclidean(3)),
    "sphere": (lambda g: g.Sphere(), (3,), Sphere(2)),
    "sphere-exact": (lambda g: g.SphereExact(), (5,), Sphere(4)),
    "ball": (lambda g: g.PoincareBall().double(), (2,), Hyperbolic(2, model="ball")),
    "ball-exact": (
        lambda g: g.PoincareBallExact().double(),
        (3,),
        Hyperbolic(3, model="ball"),
    ),
    "stereographic": (
        lambda g: g.Stereographic(k=-1.0).double(),
        (3,),
        Hyperbolic(3, model="ball"),
    ),
    "lorentz": (lambda g: g.Lorentz().double(), (3,), Hyperbolic(2)),
    "spd": (
        lambda g: g.SymmetricPositiveDefinite(),
        (3, 3),
        SPD(3, coordinates="matrix"),
    ),
    "stiefel": (lambda g: g.EuclideanStiefel(), (4, 2), Stiefel(4, 2)),
    "stiefel-exact": (lambda g: g.EuclideanStiefelExact(), (3, 3), Stiefel(3, 3)),
    "product": (
        lambda g: g.ProductManifold(
            (g.Sphere(), 3), (g.Euclidean(ndim=1), 2), (g.EuclideanStiefel(), (3, 2))
        ),
        (11,),
        Product(
            [
                ("factor_0", Sphere(2)),
                ("factor_1", Euclidean(2)),
                ("factor_2", Stiefel(3, 2)),
            ]
        ),
    ),
    "product-of-spheres": (
        lambda g: g.ProductManifold((g.Sphere(), 3), (g.Sphere(), 2)),
        (5,),
        Product([("factor_0", Sphere(2)), ("factor_1", Sphere(1))]),
    ),
}
each = pytest.mark.parametrize("name", CASES)


def setting(name, geoopt):
    make, shape, expected = CASES[name]
    theirs = make(geoopt)
    ours = from_geoopt(theirs, shape)
    assert repr(ours) == repr(expected)
    generator = make_generator(0)
    x, y = (ours.random_point(20, generator=generator) for _ in range(2))
    if isinstance(ours, Hyperbolic) and ours.model == "ball":
        x, y = (
            ours.projection(0.5 * p) for p in (x, y)
        )  # geoopt is inaccurate far out
    return theirs, ours, shape, x, y


@each
def test_points_are_points(name, geoopt):
    theirs, ours, shape, x, _ = setting(name, geoopt)
    rows = ours.to_user(x)
    assert rows.shape == (20, math.prod(shape))
    assert theirs.check_point_on_manifold(rows.reshape(-1, *shape), atol=1e-8)
    torch.testing.assert_close(ours.to_user(ours.from_user(rows)), rows)


WITH_DISTANCES = set(CASES) - {"stiefel", "stiefel-exact", "product"}  # not of frames


@pytest.mark.parametrize("name", sorted(WITH_DISTANCES))
def test_distances_agree(name, geoopt):
    theirs, ours, shape, x, y = setting(name, geoopt)
    expected = theirs.dist(*(ours.to_user(p).reshape(-1, *shape) for p in (x, y)))
    torch.testing.assert_close(ours.dist(x, y), expected, rtol=1e-6, atol=1e-6)


@each
def test_exponentials_and_metrics_agree(name, geoopt):
    theirs, ours, shape, x, _ = setting(name, geoopt)
    u = 0.5 * ours.random_tangent(x, generator=make_generator(1))
    X = ours.to_user(x).reshape(-1, *shape)
    U = ours.push_to_user(x, u).reshape(-1, *shape)
    expected = theirs.expmap(X, U).flatten(1)
    got = ours.to_user(ours.exp(x, u))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    square = theirs.inner(X, U, keepdim=True).reshape(-1)
    torch.testing.assert_close(ours.inner(x, u, u), square, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "open_ended"),
    [
        ("euclidean", Euclidean()),
        ("sphere", Sphere()),
        ("ball", Hyperbolic(model="ball")),
        ("lorentz", Hyperbolic()),
        ("spd", SPD(coordinates="matrix")),
    ],
)
def test_without_a_shape_data_tell(name, open_ended, geoopt):
    make, shape, expected = CASES[name]
    ours = from_geoopt(make(geoopt))
    assert repr(ours) == repr(open_ended)
    assert repr(ours.with_columns(math.prod(shape))) == repr(expected)


def test_products_know_their_shapes(geoopt):
    make, _, expected = CASES["product"]
    assert repr(from_geoopt(make(geoopt))) == repr(expected)


def derivatives(f):
    """Return the first and second derivative of f(t) at zero."""
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(f(t).sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(first, t)
    return float(first.detach()), float(second)


def test_why_objects_are_translated(geoopt):
    """The day this fails, the docstring of from_geoopt needs other words."""
    x = torch.tensor([0.6, 0.8], dtype=torch.float64)
    u = torch.tensor([-0.8, 0.6], dtype=torch.float64)
    first, _ = derivatives(lambda t: geoopt.Sphere().expmap(x, t * u))
    assert math.isnan(first)
    ball = geoopt.PoincareBall().double()
    first, second = derivatives(lambda t: ball.expmap(x / 2, t * u))
    assert math.isfinite(first)
    assert math.isnan(second)
    error = [
        float((ball.retr(x / 2, h * u) - ball.expmap(x / 2, h * u)).norm())
        for h in (0.02, 0.01)
    ]
    assert 1.9 < math.log2(error[0] / error[1]) < 2.1  # of first order
    ours = from_geoopt(ball, (2,))
    rows = torch.stack([x / 2, torch.zeros_like(x)])
    p = ours.from_user(rows)
    v = ours.random_tangent(p, generator=make_generator(0))
    assert all(map(math.isfinite, derivatives(lambda t: ours.retract(p, t * v))))


REFUSED = {
    "subspace": (lambda g: g.Sphere(torch.eye(3)[:, :2]), (3,), "sphere of a subspace"),
    "curvature": (lambda g: g.PoincareBall(c=2.0), (2,), "its curvature is -2"),
    "flat": (lambda g: g.Stereographic(k=0.0), (2,), "its curvature is 0"),
    "lorentz": (lambda g: g.Lorentz(k=4.0), (3,), "its curvature is -0.25"),
    "learnable": (lambda g: g.PoincareBall(learnable=True), (2,), "learnable"),
    "canonical": (lambda g: g.CanonicalStiefel(), (3, 2), "no counterpart here"),
    "scaled": (lambda g: g.Scaled(g.Sphere(), 2.0), (3,), "no counterpart here"),
    "birkhoff": (lambda g: g.BirkhoffPolytope(), (3, 3), "no counterpart here"),
    "inside": (
        lambda g: g.ProductManifold((g.Sphere(), 3), (g.PoincareBall(c=2.0), 2)),
        None,
        "its curvature is -2",
    ),
    "no-shape": (lambda g: g.EuclideanStiefel(), None, r"give shape=\(n, p\)"),
    "order": (lambda g: g.EuclideanStiefel(), (6,), r"2 axes, but shape=\(6,\)"),
    "width": (
        lambda g: g.ProductManifold((g.Sphere(), 3)),
        (4,),
        r"shape \(3,\), not \(4,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why_and_what_is_possible(name, geoopt):
    make, shape, why = REFUSED[name]
    message = f"{why}.*translates Euclidean, Sphere .*EuclideanStiefel.*a Chart"
    with pytest.raises(ValueError, match=message):
        from_geoopt(make(geoopt), shape)


# geoopt warns that these metrics are unfinished when they are constructed
@pytest.mark.filterwarnings("ignore:SPDMetric")
@pytest.mark.parametrize("metric", ["SM", "LEM"])
def test_other_metrics_are_refused(metric, geoopt):
    with pytest.raises(ValueError, match=f"its metric is {metric!r}.*'AIM'"):
        from_geoopt(geoopt.SymmetricPositiveDefinite(metric))


def test_a_class_is_not_an_object(geoopt):
    with pytest.raises(TypeError, match=r"got <class.*Sphere'> \(call it\)"):
        from_geoopt(geoopt.Sphere)


@pytest.mark.parametrize("value", ["sphere", Sphere(2), None])
def test_other_objects(value):
    with pytest.raises(TypeError, match=r"takes a manifold object of geoopt.*; got"):
        from_geoopt(value)


def test_geoopt_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "geoopt", None)  # importing it would raise
    assert "from_geoopt" in runpy.run_path(sk_wmvl.manifolds.adapters.__file__)
