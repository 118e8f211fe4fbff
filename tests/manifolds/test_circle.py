"""The circle against numpy's complex numbers and SciPy's von Mises distribution."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl.manifolds import Circle, Sphere


def test_vectors_are_complex_numbers():
    z = np.exp(1j * np.linspace(-9, 9, 40))
    rows = torch.from_numpy(np.c_[z.real, z.imag])
    angle = Circle("vector").from_user(rows)
    np.testing.assert_allclose(angle[:, 0], np.angle(z), atol=1e-14)
    np.testing.assert_allclose(Circle("vector").to_user(angle), rows, atol=1e-14)


def test_distance_is_that_of_the_sphere():
    rng = np.random.default_rng(0)
    a, b = torch.from_numpy(rng.uniform(-20, 20, (2, 30, 1)))
    to_user = Circle("vector").to_user
    expected = Sphere(1).dist(to_user(a), to_user(b))
    torch.testing.assert_close(Circle().dist(a, b), expected)


def test_quadrature_normalizes_von_mises():
    nodes, log_weights = Circle().quadrature(40)
    log_density = stats.vonmises(3.0, loc=1.0).logpdf(nodes[:, 0].numpy())
    total = np.exp(log_weights.numpy() + log_density).sum()
    np.testing.assert_allclose(total, 1, atol=1e-13)


@pytest.mark.parametrize(("width", "form"), [(1, "angle"), (2, "vector")])
def test_width_tells_the_form(width, form):
    circle = Circle().with_columns(width)
    assert (circle.coordinates, circle.n_columns, circle.dim) == (form, width, 1)
    assert Circle(project=True).with_columns(width).project


def test_scores_come_in_the_users_units():
    """A velocity of one radian is a unit tangent vector."""
    circle, x = Circle("vector"), torch.tensor([[0.3], [2.0]])
    u = circle.push_to_user(x, torch.ones(2, 1))
    torch.testing.assert_close(u.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(
        (u * circle.to_user(x)).sum(-1), torch.zeros(2), rtol=0, atol=1e-6
    )


def test_projection_scales_vectors():
    rows = torch.tensor([[0.0, 1e-200], [-7.0, 0.0]], dtype=torch.float64)
    angle = Circle("vector", project=True).from_user(rows)
    np.testing.assert_allclose(angle[:, 0].abs(), [np.pi / 2, np.pi])
