"""Pools, gains and modes: against integrals, algebra and maxima that are known."""

import math

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures import GaussianBase, MixtureBase, UniformBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.likelihood import (
    SCALES,
    Cover,
    affordable,
    audit,
    best_gain,
    find_modes,
    gain_at,
    gains,
)
from sk_wmvl.manifolds import Euclidean, Sphere

MIXTURE = MixtureBase(
    np.array([0.3, 0.7]),
    np.array([[0.0, 1.0], [4.0, -2.0]]),
    np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 0.4]]]),
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- pools ----------------------------------------------------------------------------


@pytest.mark.statistical
def test_weighted_draws_estimate_means_under_the_base(global_random_seed):
    """n = 40 000; means of 1, x, and x xᵀ, |z| < 4."""
    pool = Cover(MIXTURE).draw(40_000, generator=generator(global_random_seed))
    w, x = pool.log_weight.exp(), pool.x
    mean = 0.3 * MIXTURE.means[0] + 0.7 * MIXTURE.means[1]
    second = sum(
        p * (c @ c.T + m[:, None] * m)
        for p, c, m in zip([0.3, 0.7], MIXTURE.chol, MIXTURE.means, strict=True)
    )
    functions = [torch.ones(len(x)), *x.T, x[:, 0] * x[:, 1], x[:, 1] ** 2]
    expected = [1.0, *mean, second[0, 1], second[1, 1]]
    for f, e in zip(functions, expected, strict=True):
        terms = w * f
        error = float(terms.std()) / 200
        assert abs(float(terms.mean()) - float(e)) < 4 * error


def test_a_pool_reaches_beyond_the_base():
    pool = Cover(GaussianBase(np.zeros(2), np.eye(2))).draw(4000, generator=generator())
    assert float(torch.linalg.vector_norm(pool.x, dim=1).max()) > 7
    assert float(pool.log_weight.max()) <= math.log(2) + 1e-9  # half is of the base


def test_places_are_drawn_from():
    place = GaussianBase(np.array([30.0, 0.0]), 0.01 * np.eye(2))
    cover = Cover(MIXTURE).with_places(place)
    pool = cover.draw(5000, generator=generator())
    near = (pool.x[:, 0] - 30).abs() < 1
    assert float(near.double().mean()) == pytest.approx(0.2, abs=1e-3)
    assert float(pool.log_weight[near].max()) < -100
    moved = cover.with_base(GaussianBase(np.zeros(2), np.eye(2)).float())
    assert moved.draw(10, generator=generator()).x.dtype == torch.float32
    assert len(moved.places) == 1


def test_the_order_of_draws_tells_nothing():
    pool = Cover(GaussianBase(np.zeros(1), np.eye(1))).draw(3000, generator=generator())
    size = pool.x.abs()[:, 0]
    first, last = size[:1500], size[1500:]
    error = math.hypot(float(first.std()), float(last.std())) / 1500**0.5
    assert abs(float(first.mean() - last.mean())) < 4 * error


def test_expensive_bases_have_fewer_draws():
    assert affordable(65_536, MIXTURE) == 65_536

    class Expensive(GaussianBase):
        n_components = 5000

    assert affordable(65_536, Expensive(np.zeros(1), np.eye(1))) == 8000


# --- gains ----------------------------------------------------------------------------


def test_gains_of_a_quadratic_correction():
    # q0 standard normal, E = x²/2, rows of variance v: J(s) = -s v/2 + log(1 + s)/2
    pool = Cover(GaussianBase(np.zeros(1), np.eye(1))).draw(
        200_000, generator=generator()
    )
    rows = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 1.0])
    v = float((weight * rows.square()).sum() / weight.sum())
    at_draws = 0.5 * pool.x[:, 0].square()
    found = gains(0.5 * rows.square(), weight, at_draws, pool.log_weight)
    assert [gain.scale for gain in found] == list(SCALES)
    for gain in found:
        exact = -0.5 * gain.scale * v + 0.5 * math.log1p(gain.scale)
        assert gain.value == pytest.approx(exact, abs=0.01)
    best = best_gain(0.5 * rows.square(), weight, at_draws, pool.log_weight)
    assert best == max(found, key=lambda gain: gain.value)
    assert gain_at(0.5, 0.5 * rows.square(), weight, at_draws, pool.log_weight) == next(
        gain for gain in found if gain.scale == 0.5
    )


def test_nothing_is_gained_by_what_is_wrong_or_nan():
    zero = torch.zeros(5)
    assert best_gain(torch.ones(3), torch.ones(3), zero, zero).scale == 0
    nan = torch.full((5,), math.nan)
    assert best_gain(-torch.ones(3), torch.ones(3), nan, zero) == (0.0, 0.0, 0.0)


# --- modes ----------------------------------------------------------------------------


def test_modes_of_a_mixture_and_their_masses():
    base = MIXTURE
    starts = base.sample(200, generator=generator())
    modes = find_modes(lambda x: -base.log_prob(x), starts, Euclidean(2))
    assert len(modes.x) == 2
    order = torch.argsort(modes.x[:, 0])
    torch.testing.assert_close(modes.x[order], base.means, atol=0.02, rtol=0)
    # the mass of a normal density is one
    torch.testing.assert_close(
        modes.log_mass[order].exp(), base.weights, atol=0.02, rtol=0
    )
    covariance = base.chol @ base.chol.mT
    torch.testing.assert_close(
        modes.covariance[order], covariance, atol=0.02, rtol=0.05
    )


def test_modes_on_a_sphere():
    kappa, mu = 20.0, torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    starts = Sphere(2).random_point(64, generator=generator(), dtype=torch.float64)
    modes = find_modes(lambda x: -kappa * x @ mu, starts, Sphere(2))
    assert len(modes.x) == 1
    torch.testing.assert_close(modes.x[0], mu, atol=0.02, rtol=0)
    # the von Mises-Fisher constant, 4 pi sinh(kappa) / kappa
    exact = math.log(2 * math.pi / kappa) + kappa
    assert float(modes.log_mass[0]) == pytest.approx(exact, abs=0.1)
    places = modes.places(Sphere(2))
    assert float((places.sample(500, generator=generator()) @ mu).mean()) > 0.85


def test_an_audit_finds_what_draws_miss():
    # in ten dimensions, 4 standard deviations away, a well of mass e^5
    base = GaussianBase(np.zeros(10), np.eye(10)).float()
    at = torch.full((10,), 4 / 10**0.5)

    def correction(x):
        return -40 * torch.exp(-0.5 * (x - at).square().sum(1))

    energy = CorrectedEnergy(Function(correction), base)
    cover = Cover(base)
    pool = cover.draw(8192, generator=generator(1))
    found = audit(energy, cover, pool, Euclidean(10), generator=generator(2))
    assert found.missed > 0.5
    again = audit(
        energy, found.cover, found.pool, Euclidean(10), generator=generator(3)
    )
    assert again.missed == 0
    assert again.log_z == pytest.approx(found.log_z, abs=0.5)


def test_an_audit_without_cause_finds_nothing():
    for seed in range(5):
        base = GaussianBase(np.zeros(3), np.eye(3)).float()
        energy = CorrectedEnergy(Function(lambda x: 0.3 * x.square().sum(1)), base)
        cover = Cover(base)
        pool = cover.draw(8192, generator=generator(seed))
        found = audit(energy, cover, pool, Euclidean(3), generator=generator(seed + 9))
        assert found.missed == 0
        assert found.n_modes == 1
        assert found.log_z == pytest.approx(-1.5 * math.log(1.6), abs=0.03)


def test_a_space_without_components_is_covered_all_the_same():
    base = UniformBase(Sphere(2)).float()
    energy = CorrectedEnergy(Function(lambda x: -3 * x[:, 2]), base)
    pool = Cover(base).draw(8192, generator=generator())
    found = audit(energy, Cover(base), pool, Sphere(2), generator=generator(1))
    assert found.log_z == pytest.approx(math.log(math.sinh(3) / 3), abs=0.05)


class Function(torch.nn.Module):
    """A correction given by a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
