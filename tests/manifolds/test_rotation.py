"""Rotations against SciPy's, and against random special orthogonal matrices."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.spatial.transform import Rotation as ScipyRotation

from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import Rotation


def rotations(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return ScipyRotation.from_rotvec(rng.normal(size=(n, 3)))


def hard_rotations():
    """Half turns, where the trace is least, and the identity."""
    axes = np.vstack([np.eye(3), [[1, 1, 0], [1, 0, -1], [1, 2, 3]]])
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return ScipyRotation.from_rotvec(np.vstack([np.pi * axes, np.zeros((1, 3))]))


def quaternions(r):
    return torch.from_numpy(r.as_quat())


def matrices(r):
    return torch.from_numpy(r.as_matrix().reshape(-1, 9))


@pytest.mark.parametrize("make", [rotations, hard_rotations])
def test_forms_agree_with_scipy(make):
    r = make()
    q = Rotation("quaternion").from_user(quaternions(r))
    from_matrix = Rotation("matrix").from_user(matrices(r))
    scalar_first = quaternions(r)[:, [3, 0, 1, 2]]
    other = Rotation(scalar_first=True).from_user(scalar_first)
    for p in (from_matrix, other):
        np.testing.assert_allclose(Rotation().dist(q, p), 0, atol=1e-13)
    np.testing.assert_allclose(Rotation("matrix").to_user(q), matrices(r), atol=1e-14)
    np.testing.assert_allclose(
        Rotation(scalar_first=True).to_user(other), scalar_first, atol=1e-14
    )


def test_distance_is_the_angle():
    r, s = rotations(seed=1), rotations(seed=2)
    expected = (r.inv() * s).magnitude()
    dist = Rotation().dist(quaternions(r), quaternions(s))
    np.testing.assert_allclose(dist, expected, atol=1e-13)


def test_geodesic_turns_about_an_axis():
    """Halfway from r to s is r followed by half of the rotation that is left."""
    r, s = rotations(seed=1), rotations(seed=2)
    x, y = quaternions(r), quaternions(s)
    half = Rotation().exp(x, Rotation().log(x, y) / 2)
    expected = r * ScipyRotation.from_rotvec((r.inv() * s).as_rotvec() / 2)
    np.testing.assert_allclose(
        Rotation().dist(half, quaternions(expected)), 0, atol=1e-13
    )


def test_quadrature_against_the_distribution_of_the_angle():
    """Under the uniform distribution the angle has density (1 - cos t) / pi on [0, pi]."""
    nodes, log_weights = Rotation().quadrature(40)
    identity = torch.tensor([[0.0, 0, 0, 1]], dtype=torch.float64).expand(len(nodes), 4)
    angle = Rotation().dist(identity, nodes)
    value = log_weights.exp() @ (2 * angle.cos()).exp()

    def density(t):
        return np.exp(2 * np.cos(t)) * (1 - np.cos(t)) / np.pi

    expected, _ = integrate.quad(density, 0, np.pi)
    np.testing.assert_allclose(value, 8 * np.pi**2 * expected, rtol=1e-12)


@pytest.mark.statistical
def test_uniform_as_special_ortho_group(global_random_seed):
    """n = 2000 each: Kolmogorov-Smirnov tests of traces and entries, p > 6e-5."""
    x = Rotation("matrix").random_point(
        2000, generator=make_generator(global_random_seed)
    )
    ours = Rotation("matrix").to_user(x).numpy()
    theirs = (
        stats.special_ortho_group(3, seed=global_random_seed).rvs(2000).reshape(-1, 9)
    )
    for of in (lambda R: R[:, 0], lambda R: R[:, 5], lambda R: R[:, [0, 4, 8]].sum(1)):
        assert stats.ks_2samp(of(ours), of(theirs)).pvalue > 6e-5


def test_projection_takes_the_nearest_rotation():
    rng = np.random.default_rng(0)
    r = rotations()
    noise = rng.normal(size=(40, 3, 3)) * 0.1
    P = np.eye(3) + noise @ noise.transpose(0, 2, 1)  # positive definite
    rows = torch.from_numpy((3.0 * r.as_matrix() @ P).reshape(-1, 9))
    q = Rotation("matrix", project=True).from_user(rows)
    np.testing.assert_allclose(Rotation().dist(q, quaternions(r)), 0, atol=1e-12)
    scaled = Rotation(project=True).from_user(5 * quaternions(r))
    np.testing.assert_allclose(Rotation().dist(scaled, quaternions(r)), 0, atol=1e-13)


@pytest.mark.parametrize(("width", "form"), [(4, "quaternion"), (9, "matrix")])
def test_width_tells_the_form(width, form):
    rotation = Rotation(scalar_first=True).with_columns(width)
    assert (rotation.coordinates, rotation.n_columns, rotation.dim) == (form, width, 3)
    assert rotation.scalar_first
