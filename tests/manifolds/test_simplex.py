"""Compositions against the Dirichlet distribution and its moments."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._random import make_generator
from sk_wmvl.manifolds import Simplex, Sphere


def interior(p, n=6, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.dirichlet(np.full(p, 2.0), n)).sqrt()


@pytest.mark.parametrize("p", [2, 3, 5])
def test_log_jacobian_is_that_of_the_map(p):
    """The volume of the sphere over the first p - 1 parts, by differences."""
    x = interior(p)

    def point(parts):
        last = 1 - parts.sum(-1, keepdim=True)
        return torch.cat([parts, last], -1).sqrt()

    parts, h = x.square()[:, :-1], 1e-6
    J = torch.stack(
        [
            (point(parts + h * e) - point(parts - h * e)) / (2 * h)
            for e in torch.eye(p - 1, dtype=torch.float64)
        ],
        -1,
    )
    expected = 0.5 * torch.logdet(J.mT @ J)
    torch.testing.assert_close(
        Simplex(p - 1).log_jacobian(x), expected, atol=1e-7, rtol=0
    )


def test_log_jacobian_is_infinite_on_the_boundary():
    x = torch.tensor([[0.6, 0.8, 0.0]])
    assert float(Simplex(2).log_jacobian(x)) == math.inf


@pytest.mark.parametrize("p", [2, 3, 4])
def test_quadrature_normalizes_dirichlet(p):
    """A density w.r.t. the surface measure is one w.r.t. Lebesgue over the Jacobian."""
    simplex = Simplex(p - 1)
    nodes, log_weights = simplex.quadrature(40)
    # with odd halves the density is a polynomial in the roots, and the rule is exact
    alpha = np.array([2.5, 0.5, 1.5, 3.5])[:p]
    Y = nodes.square().numpy()
    lebesgue = stats.dirichlet(alpha).logpdf((Y / Y.sum(1, keepdims=True)).T)
    log_density = torch.from_numpy(lebesgue) - simplex.log_jacobian(nodes)
    total = torch.logsumexp(log_weights + log_density, 0)
    np.testing.assert_allclose(total, 0, atol=1e-10)


@pytest.mark.parametrize("p", [2, 3, 6])
def test_volume(p):
    """The uniform distribution is Dirichlet(1/2, ..., 1/2)."""
    x = interior(p)
    lebesgue = stats.dirichlet(np.full(p, 0.5)).logpdf(x.square().numpy().T)
    surface = lebesgue - Simplex(p - 1).log_jacobian(x).numpy()
    np.testing.assert_allclose(surface, -Simplex(p - 1).log_volume())


@pytest.mark.statistical
def test_random_points_are_dirichlet(global_random_seed):
    """n = 5000: Kolmogorov-Smirnov against the Beta distribution of a part, p > 6e-5."""
    x = Simplex(3).random_point(5000, generator=make_generator(global_random_seed))
    assert (x >= 0).all()
    for part in x.square().T.numpy():
        assert stats.kstest(part, stats.beta(0.5, 1.5).cdf).pvalue > 6e-5


def test_distance_is_bhattacharyya():
    x, y = interior(4, seed=1), interior(4, seed=2)
    affinity = (x * y).sum(-1)  # of the square roots of the parts
    torch.testing.assert_close(Simplex(3).dist(x, y).cos(), affinity)


def test_the_boundary_reflects():
    """A geodesic that leaves comes back where its mirror image would be."""
    simplex = Simplex(2)
    x = torch.tensor([[0.1, 0.7, 0.5**0.5]], dtype=torch.float64)
    x = simplex.projection(x)
    u = simplex.to_tangent(x, torch.tensor([[-0.5, 0.1, 0.0]], dtype=torch.float64))
    outside = simplex.exp(x, u)
    assert float(outside[0, 0]) < 0
    inside = simplex.projection(outside)
    assert (inside >= 0).all()
    assert torch.equal(simplex.to_user(outside), simplex.to_user(inside))
    assert torch.equal(simplex.features(outside), simplex.features(inside))
    # the distance of folded points is that of the sphere between representatives
    torch.testing.assert_close(simplex.dist(x, outside), Sphere(2).dist(x, inside))


def test_energies_have_no_slope_across_the_boundary():
    x = torch.tensor([[0.6, 0.8, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    simplex = Simplex(2)
    a = torch.randn(6, generator=make_generator(0), dtype=torch.float64)
    _, g = energy_and_grad(lambda x: (simplex.features(x) @ a).sin(), x)
    slope = simplex.egrad2rgrad(x, g)
    assert torch.equal(slope[x == 0], torch.zeros(3, dtype=torch.float64))
    assert torch.isfinite(simplex.push_to_user(x, slope)).all()


def test_closing_divides_by_the_sum():
    rows = torch.tensor([[77.5, 19.5, 3.0], [1e200, 1e200, 0.0]], dtype=torch.float64)
    parts = Simplex(2, close=True).from_user(rows).square()
    np.testing.assert_allclose(parts, [[0.775, 0.195, 0.03], [0.5, 0.5, 0]], atol=1e-15)
