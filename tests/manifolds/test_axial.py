"""Axes against closed forms: the area of caps, and the constant of Watson densities."""

import numpy as np
import pytest
import torch
from scipy import special

from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import AxialSphere, Sphere


@pytest.mark.parametrize("m", [1, 2, 3])
def test_quadrature_normalizes_watson(m):
    """The mean of exp(kappa t^2) on S^m is Kummer's M(1/2, (m+1)/2, kappa)."""
    nodes, log_weights = AxialSphere(m).quadrature(50)
    kappa = 5.0
    value = torch.logsumexp(log_weights + kappa * nodes[:, 0].square(), 0)
    area = 2 * np.pi ** ((m + 1) / 2) / special.gamma((m + 1) / 2)
    mean = special.hyp1f1(0.5, (m + 1) / 2, kappa)
    np.testing.assert_allclose(value, np.log(area / 2 * mean), atol=1e-12)


def test_log_volume():
    for m, expected in [(1, np.pi), (2, 2 * np.pi), (3, np.pi**2)]:
        np.testing.assert_allclose(AxialSphere(m).log_volume(), np.log(expected))


@pytest.mark.parametrize("m", [1, 2, 6])
def test_log_and_dist_take_the_nearer_sign(m):
    generator = make_generator(0)
    x, y = (Sphere(m).random_point(50, generator=generator) for _ in range(2))
    sphere, axial = Sphere(m), AxialSphere(m)
    both = torch.stack([sphere.dist(x, y), sphere.dist(x, -y)])
    torch.testing.assert_close(axial.dist(x, y), both.amin(0))
    assert (axial.dist(x, y) <= np.pi / 2).all()
    assert torch.equal(axial.dist(x, -x), torch.zeros(50, dtype=torch.float64))
    nearer = torch.where((both[0] < both[1])[:, None], y, -y)
    torch.testing.assert_close(axial.log(x, y), sphere.log(x, nearer))


def test_distance_against_the_angle_of_projectors():
    """|x x^T - y y^T| is the root of two times the sine of the angle."""
    x, y = (
        AxialSphere(3).random_point(20, generator=make_generator(k)) for k in (1, 2)
    )
    gap = x[:, :, None] * x[:, None, :] - y[:, :, None] * y[:, None, :]
    sine = torch.linalg.matrix_norm(gap) / np.sqrt(2)
    torch.testing.assert_close(AxialSphere(3).dist(x, y).sin(), sine)
    features = AxialSphere(3).features
    torch.testing.assert_close((features(x) - features(y)).norm(dim=-1) / 2**0.5, sine)


@pytest.mark.statistical
def test_random_axes_in_a_cap(global_random_seed):
    """n = 20000, |z| < 4: the angle to an axis is below a with probability 1 - cos a."""
    n, angle = 20_000, 0.5
    generator = make_generator(global_random_seed)
    x = AxialSphere(2).random_point(n, generator=generator)
    pole = torch.tensor([[0.0, 0.6, 0.8]], dtype=torch.float64).expand(n, 3)
    inside = float((AxialSphere(2).dist(x, pole) < angle).double().mean())
    p = 1 - np.cos(angle)
    assert abs(inside - p) < 4 * np.sqrt(p * (1 - p) / n)
