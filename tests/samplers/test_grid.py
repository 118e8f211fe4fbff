"""Independent draws by rejection: distribution functions, cell masses, needles."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import ManifoldMixture, UniformBase
from sk_wmvl.base_measures.components import VonMises
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import (
    AxialSphere,
    Chart,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Torus,
)
from sk_wmvl.samplers import draw_on_grid, thin_base
from sk_wmvl.samplers._envelope import has_cube
from tests.samplers._tools import needles, on_features

N = 20_000
# |z| < 4 in terms of a p-value
LEAST_P = 2 * stats.norm.sf(4)


def draws_of(energy, manifold, seed, n=N, proposal=None):
    draws = draw_on_grid(
        energy,
        proposal or UniformBase(manifold),
        n,
        generator=make_generator(seed, 7),
        manifold=manifold,
    )
    assert draws.x.shape == (n, manifold.ambient_dim)
    return draws


def chi_square(counts, expected):
    """Return the p-value of counts, cells below five expected put together."""
    small = expected < 5
    counts = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    kept = expected > 0
    assert counts[~kept].sum() == 0
    return stats.chisquare(
        counts[kept], expected[kept] * counts.sum() / expected[kept].sum()
    ).pvalue


def cell_masses(energy, manifold, n_cells, n_nodes=40):
    """Return masses of equal cells of the cube, by Gauss-Legendre within each."""
    m = manifold.dim
    t, w = np.polynomial.legendre.leggauss(n_nodes // n_cells + 4)
    edges = torch.arange(n_cells, dtype=torch.float64) / n_cells
    axis = edges[:, None] + torch.from_numpy((t + 1) / 2 / n_cells)
    u = torch.cartesian_prod(*[axis.flatten()] * m).reshape(-1, m)
    x, log_volume = manifold.from_cube(u)
    value = (log_volume - energy(x)).exp().view(*[n_cells, len(t)] * m)
    for axis in range(m, 0, -1):
        value = value.movedim(2 * axis - 1, -1) @ torch.from_numpy(w / 2)
    mass = value.flatten().numpy()
    return mass / mass.sum()


@pytest.mark.statistical
def test_two_von_mises_distributions_on_the_circle(global_random_seed):
    """n = 20 000, Kolmogorov-Smirnov; narrow and wide, weights 0.3 and 0.7."""

    def energy(x):
        narrow = math.log(0.3) + 400 * ((x[:, 0] - 1).cos() - 1)
        wide = math.log(0.7) + 2 * ((x[:, 0] + 2).cos() - 1)
        scale = [math.log(2 * math.pi * special.ive(0, k)) for k in (400.0, 2.0)]
        return -torch.logaddexp(narrow - scale[0], wide - scale[1])

    def cdf(x):
        return 0.3 * between(x, 400.0, 1.0) + 0.7 * between(x, 2.0, -2.0)

    def between(x, kappa, mu):
        distribution = stats.vonmises(kappa, loc=mu)
        return distribution.cdf(x) - distribution.cdf(-math.pi)

    draws = draws_of(energy, Circle(), global_random_seed)
    assert stats.kstest(draws.x[:, 0].numpy(), cdf).pvalue > LEAST_P
    assert draws.acceptance > 0.6


@pytest.mark.statistical
@pytest.mark.parametrize("kappa", [0.5, 30.0, 3e4])
@pytest.mark.parametrize("axis", [0, 2])
def test_von_mises_fisher_distributions(axis, kappa, global_random_seed):
    """n = 20 000; the height is exponential, the longitude uniform."""
    draws = draws_of(lambda x: -kappa * x[:, axis], Sphere(2), global_random_seed)
    x = draws.x.numpy()
    assert abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-12
    depth = np.maximum(1 - x[:, axis], 0)  # exponential, cut at two
    expected = stats.truncexpon(2 * kappa, scale=1 / kappa)
    assert stats.kstest(depth, expected.cdf).pvalue > LEAST_P
    rest = np.delete(x, axis, axis=1)
    turn = np.arctan2(rest[:, 0], rest[:, 1]) / (2 * np.pi) % 1
    assert stats.kstest(turn, "uniform").pvalue > LEAST_P
    assert draws.acceptance > 0.6


@pytest.mark.statistical
def test_dirichlet_distributions_on_the_simplex(global_random_seed):
    """n = 20 000; parts have Beta distributions, dense at the boundary too."""
    for a in ([2.0, 3.0, 0.7], [1.0, 4.0, 2.5]):
        powers = torch.tensor(a).double()
        simplex = Simplex(2)

        def energy(x, powers=powers, simplex=simplex):
            parts = x.square().clamp(min=1e-300)
            lebesgue = ((powers - 1) * parts.log()).sum(-1)
            return -(lebesgue - simplex.log_jacobian(x))

        draws = draws_of(energy, simplex, global_random_seed)
        parts = simplex.to_user(draws.x).numpy()
        for i in range(3):
            expected = stats.beta(a[i], sum(a) - a[i])
            assert stats.kstest(parts[:, i], expected.cdf).pvalue > LEAST_P


@pytest.mark.statistical
def test_angles_of_rotations(global_random_seed):
    """n = 20 000; exp(k trace) has the angle's density (1 - cos t) exp(2 k cos t)."""
    k = 3.0
    rotation = Rotation()
    draws = draws_of(
        lambda q: -k * (4 * q[:, 3].square() - 1), rotation, global_random_seed
    )
    identity = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).double()
    angle = rotation.dist(identity.expand(N, -1), draws.x).numpy()
    grid = np.linspace(0, np.pi, 4001)
    density = (1 - np.cos(grid)) * np.exp(2 * k * (np.cos(grid) - 1))
    cdf = integrate.cumulative_simpson(density, x=grid, initial=0)
    cdf /= cdf[-1]
    assert stats.kstest(angle, lambda t: np.interp(t, grid, cdf)).pvalue > LEAST_P
    # the axes are uniform
    axis = draws.x[:, :3] * torch.where(draws.x[:, 3:] < 0, -1.0, 1.0)
    height = (axis[:, 2] / axis.norm(dim=1)).numpy()
    assert stats.kstest(height, stats.uniform(-1, 2).cdf).pvalue > LEAST_P


def paraboloid(y):
    return torch.cat([y, y.square().sum(-1, keepdim=True)], -1)


COMPACT = {
    "circle": Circle(),
    "sphere-1": Sphere(1),
    "sphere-2": Sphere(2),
    "sphere-3": Sphere(3),
    "torus-2": Torus(2),
    "torus-3": Torus(3),
    "axial-1": AxialSphere(1),
    "axial-2": AxialSphere(2),
    "axial-3": AxialSphere(3),
    "rotation": Rotation(),
    "simplex-1": Simplex(1),
    "simplex-2": Simplex(2),
    "simplex-3": Simplex(3),
    "product": Product([("place", Sphere(2)), ("time", Circle())]),
    "chart": Chart(paraboloid, dim=2, low=[-1.0, -1.5], high=[1.0, 1.5]),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", COMPACT)
def test_masses_of_cells(name, global_random_seed):
    """n = 20 000; chi-square over 64, 8 x 8 or 4 x 4 x 4 cells."""
    manifold = COMPACT[name]
    energy = on_features(manifold)
    draws = draws_of(energy, manifold, global_random_seed)
    n_cells = {1: 64, 2: 8, 3: 4}[manifold.dim]
    u = manifold.to_cube(draws.x)
    index = (u * n_cells).long().clamp(max=n_cells - 1)
    index = (index * n_cells ** torch.arange(manifold.dim - 1, -1, -1)).sum(1)
    counts = np.bincount(index.numpy(), minlength=n_cells**manifold.dim)
    expected = N * cell_masses(energy, manifold, n_cells)
    assert chi_square(counts, expected) > LEAST_P
    assert draws.acceptance > 0.55


@pytest.mark.statistical
def test_cells_shrink_around_needles_that_the_proposal_knows(global_random_seed):
    """n = 20 000; the fraction of rows within 5 sd of a needle's center, |z| < 4."""
    base = needles()
    draws = draws_of(
        lambda x: -base.log_prob(x), base.manifold, global_random_seed, proposal=base
    )
    assert draws.acceptance > 0.3
    centers = base.components.mu
    near = ((draws.x @ centers.T).amax(1) > math.cos(5e-3)).double().mean()
    # a needle less exp(-12.5), and the background in the caps
    p = 0.7 * (1 - math.exp(-12.5)) + 0.3 * 12 * (1 - math.cos(5e-3)) / 2
    assert abs(float(near) - p) / math.sqrt(p * (1 - p) / N) < 4


@pytest.mark.statistical
def test_a_needle_that_nothing_knows_raises_the_envelope(global_random_seed):
    """n = 20 000; 0.3 of the mass in a cap of 0.01 radians, unknown to the proposal."""
    center = torch.nn.functional.normalize(
        torch.tensor([0.3, -0.5, 0.7]).double(), dim=0
    )
    kappa = 4e3
    log_z = math.log(2 * math.pi / kappa)

    def energy(x):
        needle = math.log(0.3) - log_z + kappa * (x @ center - 1)
        flat = torch.full_like(needle, math.log(0.7 / (4 * math.pi)))
        return -torch.logaddexp(needle, flat)

    draws = draws_of(energy, Sphere(2), global_random_seed)
    near = float((draws.x @ center > 1 - 8 / kappa).double().mean())
    p = 0.3 * (1 - math.exp(-8)) + 0.7 * 4 / kappa
    assert abs(near - p) / math.sqrt(p * (1 - p) / N) < 4


def test_a_bound_found_too_low_restarts():
    """A step between the corners and the center of every first cell."""

    def energy(x):
        u = (x[:, 0] + math.pi) / (2 * math.pi) * 256  # in cells of the first grid
        return -3.0 * ((u % 1 > 0.6) & (u % 1 < 0.9)).double()

    draws = draws_of(energy, Circle(), 0, proposal=_Zero())
    assert draws.n_restarts > 0
    high = float((energy(draws.x) < 0).double().mean())
    p = 0.3 * math.exp(3) / (0.3 * math.exp(3) + 0.7)
    assert abs(high - p) / math.sqrt(p * (1 - p) / N) < 4


class _Zero(UniformBase):
    """A proposal that always draws the same point, where no step is."""

    def __init__(self):
        super().__init__(Circle())

    def sample(self, n_samples, *, generator=None):
        return torch.zeros(n_samples, 1, dtype=torch.float64)


def test_what_cannot_be_done_is_none():
    sphere = Sphere(2)
    draws = draw_on_grid(
        lambda x: x[:, 0] * math.nan,
        UniformBase(sphere),
        10,
        generator=make_generator(0),
        manifold=sphere,
    )
    assert draws is None
    for manifold in (Euclidean(2), Hyperbolic(2), Sphere(4), Torus(4), Torus()):
        assert not has_cube(manifold)


@pytest.mark.statistical
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_thinned_draws_of_a_kernel_estimate(strength, global_random_seed):
    """n = 20 000; 50 kernels on T^2 and a wave; 8 x 8 cells by quadrature."""
    torus = Torus(2)
    centers = torus.random_point(50, generator=make_generator(1))
    components = VonMises(torus, centers, 0.02)
    weights = torch.full((50,), 0.9 / 50, dtype=torch.float64)
    base = ManifoldMixture(torus, components, weights, 0.1)
    energy = CorrectedEnergy(
        lambda x: (2 * x[:, 0]).sin() + x[:, 1].cos(), base, scale=strength
    )
    draws = thin_base(
        energy, N, generator=make_generator(global_random_seed), manifold=torus
    )
    assert draws.x.shape == (N, 2)
    assert draws.acceptance > 0.1
    index = (torus.to_cube(draws.x) * 8).long().clamp(max=7)
    counts = np.bincount((8 * index[:, 0] + index[:, 1]).numpy(), minlength=64)
    expected = N * cell_masses(energy, torus, 8, n_nodes=160)
    assert chi_square(counts, expected) > LEAST_P


def test_a_strong_correction_is_not_thinned():
    torus = Torus(2)
    energy = CorrectedEnergy(lambda x: 50 * x[:, 0].cos(), UniformBase(torus))
    assert thin_base(energy, 5, generator=make_generator(0), manifold=torus) is None
