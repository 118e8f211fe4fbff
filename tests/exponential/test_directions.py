"""The form of directions against the general one, patches of metres, many dimensions."""

import math

import numpy as np
import pytest
import torch

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl._rows import Rows
from sk_wmvl.exponential import Candidate, DirectionEnergy, VonMisesFisherFamily
from sk_wmvl.exponential._directions import DirectionObjective
from sk_wmvl.exponential._quadratic import QuadraticObjective, merge_rows
from sk_wmvl.manifolds import Circle, Sphere

CPU = torch.device("cpu")
SPACES = [Circle("angle"), Sphere(2), Sphere(5)]


def some_rows(manifold, *, weighted, grouped):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(25, manifold.ambient_dim)) + 0.5
    if isinstance(manifold, Sphere):
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    X[20:] = X[:5]  # copies
    weight = rng.uniform(0.5, 2, 25) if weighted else None
    groups = rng.integers(6, size=25) if grouped else None
    return Rows(X, weight, groups)


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("manifold", SPACES, ids=repr)
def test_directions_are_the_general_form(manifold, weighted, grouped):
    # the other class takes all derivatives by automatic differentiation
    rows = some_rows(manifold, weighted=weighted, grouped=grouped)
    data = merge_rows(rows, manifold, None, CPU)
    candidate = Candidate(DirectionEnergy(manifold), None)
    own = DirectionObjective(candidate, manifold, data)
    general = QuadraticObjective(candidate, manifold, data)
    none = np.zeros(1)
    for mine, other in zip(own.leave_out(none), general.leave_out(none), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9)
    for mine, other in zip(own.solution(0.0), general.solution(0.0), strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(other))
    theta = torch.randn(len(data.x), len(own.force), generator=torch.Generator())
    theta = theta.double()
    torch.testing.assert_close(own.linear(), general.linear())
    torch.testing.assert_close(own.bend(theta), general.bend(theta))
    torch.testing.assert_close(own.bend(theta[0]), general.bend(theta[0]))
    torch.testing.assert_close(
        own.curvature(data.weight), general.curvature(data.weight)
    )


def test_the_energy_is_linear_in_the_statistics():
    energy = DirectionEnergy(Sphere(3))
    x = Sphere(3).random_point(10, generator=torch.Generator().manual_seed(0))
    assert bool((energy(x) == 0).all())
    energy.coefficients = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    kappa = torch.linalg.vector_norm(energy.coefficients)
    torch.testing.assert_close(
        energy(x), kappa - energy.statistics(x) @ energy.coefficients
    )


@pytest.mark.parametrize("robustness", [0.0, 0.1])
@pytest.mark.parametrize(("d", "sd"), [(3, 1e-5), (3, 1e-7), (10, 1e-7)])
def test_close_directions(d, sd, robustness, global_random_seed):
    # 300 rows, normal in the tangent space. Two standard errors each way come from the
    # theory of the normal: sqrt(2 / (n (d - 1))) of the variance, 1 / sqrt(n) of the mean.
    rng = np.random.default_rng(global_random_seed)
    frame = np.linalg.qr(rng.normal(size=(d, d)))[0]

    def rows(n):
        x = np.c_[np.ones(n), rng.normal(0, sd, (n, d - 1))] @ frame.T
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    X, new = rows(300), rows(2000)
    family = VonMisesFisherFamily(robustness)
    density = RiemannianMVLDensity("sphere", energy=family, random_state=0).fit(X)
    # the normal fit to the same rows, by its formulas
    center = X.mean(0) / np.linalg.norm(X.mean(0))
    variance = np.square(X - center).sum(1).mean() / (d - 1)
    error = math.sqrt(2 / (300 * (d - 1)))
    concentration = density.parameters_["concentration"]
    rtol = 1e-6 if robustness == 0 else 0.5 * error
    assert concentration == pytest.approx(1 / variance, rel=rtol)
    assert density.standard_errors_["concentration"] / concentration == pytest.approx(
        error, rel=0.35
    )
    along = np.abs(density.parameters_["mean_direction"] - center)
    assert along.max() < (0.01 if robustness == 0 else 1) * sd / math.sqrt(300)
    square = np.square(new - center).sum(1).mean()
    expected = -(d - 1) / 2 * math.log(2 * math.pi * variance) - square / variance / 2
    assert density.score(new) == pytest.approx(
        expected, abs=1e-5 if robustness == 0 else 0.05
    )
    # draws, |z| < 4 for their mean square
    squares = np.square(density.sample(3000) - center).sum(1) * concentration
    z = (squares.mean() - (d - 1)) / (squares.std() / math.sqrt(3000))
    assert abs(z) < 4


@pytest.mark.parametrize("d", [50, 768])
def test_many_dimensions(d, global_random_seed):
    # score matching solves mean(I - x x') theta = (d - 1) mean(x)
    X = np.random.default_rng(global_random_seed).normal(size=(400, d)) + 0.1
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    density = RiemannianMVLDensity(energy="von_mises_fisher", random_state=0).fit(X)
    theta = np.linalg.solve(np.eye(d) - X.T @ X / 400, (d - 1) * X.mean(0))
    np.testing.assert_allclose(density.natural_parameters_, theta, rtol=1e-8)
    assert density.log_normalizer_std_ < 1e-9
    # draws are independent ones of the distribution itself, |z| < 4
    mu = density.parameters_["mean_direction"]
    cosines = density.sample(2000) @ mu
    kappa = density.parameters_["concentration"]
    # of the mean cosine A: Amos' bounds for the ratio of Bessel functions are this close
    v = d / 2 - 1
    low = kappa / (v + 0.5 + math.hypot(v + 1.5, kappa))
    high = kappa / (v + 0.5 + math.hypot(v + 0.5, kappa))
    error = 4 * cosines.std() / math.sqrt(2000)
    assert low - error < cosines.mean() < high + error
