"""Large concentrations: patches of metres on the globe keep their digits."""

import math

import mpmath
import numpy as np
import pytest
import torch

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.base_measures.components import VonMises, VonMisesFisher
from sk_wmvl.base_measures.components._concentration import (
    log_bessel,
    mean_deficit,
    sample_deficit,
    solve_concentration,
)
from sk_wmvl.manifolds import AxialSphere, Rotation, Simplex, Sphere, Torus

CONCENTRATIONS = [0.01, 1.0, 50.0, 2e3, 1e6, 1e10, 1e14, 1e18]


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("d", [2, 3, 4, 40, 1000])
def test_bessel_functions_against_mpmath(d, kappa):
    with mpmath.workdps(60):
        order = mpmath.mpf(d) / 2 - 1
        below = mpmath.besseli(order, mpmath.mpf(kappa))
        above = mpmath.besseli(order + 1, mpmath.mpf(kappa))
        log_value = float(mpmath.log(below) - mpmath.mpf(kappa))
        deficit = float(1 - above / below)
    at = np.array([kappa])
    assert log_bessel(d / 2 - 1, at)[0] == pytest.approx(log_value, rel=1e-12)
    assert mean_deficit(at, d)[0] == pytest.approx(deficit, rel=1e-11)
    assert solve_concentration(np.array([deficit]), d)[0] == pytest.approx(
        kappa, rel=1e-8
    )


@pytest.mark.statistical
@pytest.mark.parametrize("d", [2, 3, 10])
@pytest.mark.parametrize("kappa", [1.0, 1e4, 1e10, 1e14])
def test_deficits_have_the_right_mean(d, kappa, global_random_seed):
    # 20 000 draws, |z| < 4.
    k = torch.full((20_000, 1), kappa, dtype=torch.float64)
    draws = sample_deficit(k, d, generator(global_random_seed)).numpy()
    error = draws.std() / len(draws) ** 0.5
    assert abs(draws.mean() - mean_deficit(np.array([kappa]), d)[0]) < 4 * error


SPHERES = {
    "sphere": Sphere(2),
    "axial": AxialSphere(2),
    "rotation": Rotation(),
    "simplex": Simplex(2),
}


def tight_points(manifold, n, sd, seed):
    """Return a center, n points at a distance, and normal coordinates of the points."""
    rng = np.random.default_rng(seed)
    d = manifold.ambient_dim
    center = torch.from_numpy(rng.uniform(0.4, 0.8, (1, d)))
    center = center / torch.linalg.vector_norm(center)
    u = manifold.to_tangent(center, torch.from_numpy(rng.normal(0, sd, (n, d))))
    u = u / manifold.radius
    return center, manifold.exp(center.expand(n, d), u), u


@pytest.mark.parametrize("sd", [1e-4, 1e-7, 1e-9])
@pytest.mark.parametrize("name", list(SPHERES))
def test_tight_directions_are_normal_in_the_tangent_space(name, sd):
    # A von Mises-Fisher density of concentration 1/sd^2 is a normal one, but for a
    # relative error of sd^2. Coordinates are rounded to 1e-16, a part 1e-16 / sd of the
    # deviation.
    manifold = SPHERES[name]
    center, x, u = tight_points(manifold, 50, sd, 0)
    component = VonMisesFisher(manifold, center, sd**2)
    m = manifold.dim
    square = manifold.radius**2 * u.square().sum(1) / sd**2
    expected = -0.5 * square - m / 2 * math.log(2 * math.pi * sd**2)
    value = component.log_prob(x)[:, 0]
    tolerance = 100 * (sd**2 + 1e-15 / sd)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    copies = x * torch.tensor(-1.0) if name in ("axial", "rotation") else x
    torch.testing.assert_close(component.log_prob(copies)[:, 0], value)


@pytest.mark.parametrize("sd", [1e-4, 1e-7, 1e-9])
def test_tight_angles_are_normal_across_the_seam(sd):
    t = torch.from_numpy(np.random.default_rng(0).normal(0, sd, (50, 1)))
    center = torch.full((1, 1), math.pi, dtype=torch.float64)
    x = Torus(1).projection(center + t)
    assert bool((x < 0).any() and (x > 0).any())
    value = VonMises(Torus(1), center, sd**2).log_prob(x)
    expected = -0.5 * t.square() / sd**2 - 0.5 * math.log(2 * math.pi * sd**2)
    tolerance = 100 * (sd**2 + 1e-15 / sd)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sd", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize("name", list(SPHERES))
def test_one_step_finds_a_large_concentration(name, sd):
    # the maximum of the likelihood is the mean square in the tangent space
    manifold = SPHERES[name]
    center, x, _ = tight_points(manifold, 200, sd, 1)
    component = VonMisesFisher(manifold, center, sd**2)
    prior = torch.tensor([sd**2], dtype=torch.float64)
    for _ in range(3):
        component.update(x, torch.ones(200, 1, dtype=torch.float64), prior)
    at = component.mu.expand(200, -1)
    total = manifold.dist(at, x).square().sum() / manifold.dim + sd**2
    assert float(component.variances) == pytest.approx(float(total) / 201, rel=5 * sd)


def test_tight_and_broad_components_side_by_side():
    # the same numbers as alone, and a gradient that is that of a normal density
    sd = 1e-7
    center, x, u = tight_points(Sphere(2), 20, sd, 2)
    both = VonMisesFisher(
        Sphere(2), center.repeat(2, 1), torch.tensor([[sd**2], [1.0]]).double()
    )
    x.requires_grad_()
    value = both.log_prob(x)
    for k, variance in enumerate((sd**2, 1.0)):
        alone = VonMisesFisher(Sphere(2), center, variance)
        torch.testing.assert_close(value[:, k], alone.log_prob(x)[:, 0])
    (grad,) = torch.autograd.grad(value[:, 0].sum(), x)
    score = Sphere(2).to_tangent(x, grad)
    torch.testing.assert_close(score, -u / sd**2, rtol=1e-6, atol=1e-6 / sd)


@pytest.mark.parametrize(("sd", "two"), [(50.0, False), (0.5, True)])
def test_patches_of_metres_on_the_globe(sd, two, global_random_seed):
    # 300 rows, one or two places with a spread of 50 m and of half a metre. The standard
    # error of the mean log density of 1000 new rows is 0.03 nats, and two fitted
    # parameters per place cost 0.01; two places are a kernel estimate.
    rng, radius = np.random.default_rng(global_random_seed), 6_371_000.0
    frames = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(1 + two)]

    def rows(n):
        which = rng.integers(len(frames), size=n)
        local = rng.normal(0, sd / radius, (n, 2))
        x = np.stack([frames[k] @ [1.0, *v] for k, v in zip(which, local, strict=True)])
        return x / np.linalg.norm(x, axis=1, keepdims=True), which

    X, _ = rows(300)
    new, _ = rows(1000)
    density = RiemannianMVLDensity("sphere", max_epochs=2, random_state=0).fit(X)
    truth = -math.log(2 * math.pi * (sd / radius) ** 2) - 1 - math.log(len(frames))
    assert abs(density.score(new) - truth) < (0.25 if two else 0.15)
    draws = density.sample(2000)
    place = np.array([frame[:, 0] for frame in frames])
    gap = radius * np.linalg.norm(draws[:, None] - place, axis=-1).min(1)
    # the median of a two-dimensional normal's length
    assert np.median(gap) == pytest.approx(sd * math.sqrt(2 * math.log(2)), rel=0.2)


def test_angles_of_arc_seconds(global_random_seed):
    # 300 rows, spread 1e-7: the mean log density of 1000 new rows, |error| < 0.15 nats
    rng, sd = np.random.default_rng(global_random_seed), 1e-7
    X, new = rng.normal(1.0, sd, (300, 2)), rng.normal(1.0, sd, (1000, 2))
    density = RiemannianMVLDensity(Torus(), max_epochs=2, random_state=0).fit(X)
    truth = 2 * (-0.5 * math.log(2 * math.pi * sd**2) - 0.5)
    assert abs(density.score(new) - truth) < 0.15
