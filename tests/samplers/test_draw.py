"""Draws of a model, by whichever way there is."""

import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import MixtureBase, UniformBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import (
    Circle,
    Sphere,
    Torus,
)
from sk_wmvl.samplers import draw
from sk_wmvl.samplers._draw import _take
from tests.samplers._tools import needles, on_features


def test_draws_without_a_correction_are_the_base_measures():
    base = needles(k=5)
    energy = CorrectedEnergy(lambda x: x[:, 0], base, scale=0.0)
    x = draw(energy, base, 50, generator=make_generator(4), manifold=base.manifold)
    expected = base.sample(50, generator=make_generator(4))
    torch.testing.assert_close(x, expected, rtol=0, atol=0)


@pytest.mark.parametrize("manifold", [Circle(), Sphere(2), Torus(2)], ids=repr)
def test_the_same_generator_draws_the_same(manifold):
    energy = on_features(manifold)
    first, again = (
        draw(
            energy,
            UniformBase(manifold),
            100,
            generator=make_generator(1),
            manifold=manifold,
        )
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert len(first.unique(dim=0)) == 100


@pytest.mark.statistical
def test_more_proposals_replace_chains_that_do_not_mix(global_random_seed):
    # Two modes 20 deviations apart, between which no chain moves, and a wider proposal that
    # gives them equal weights: one proposal in seven is effective, too few for the first
    # pool.
    means, eye = np.array([[-10.0] * 4, [10.0] * 4]), np.eye(4)
    target = MixtureBase(np.array([0.9, 0.1]), means, np.stack([eye, eye]))
    proposal = MixtureBase(np.array([0.5, 0.5]), means, 3.5 * np.stack([eye, eye]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = draw(
            lambda x: -target.log_prob(x),
            proposal,
            2000,
            generator=make_generator(global_random_seed),
        )
    left = (x[:, 0] < 0).double().mean().item()
    # draws that started at one proposal are of one mode: at least 5 effective ones a draw
    assert abs(left - 0.9) < 4 * (0.09 / 2000 * 1.2) ** 0.5
    right = x[x[:, 0] > 0].numpy() - 10
    assert abs((right**2).mean() - 1) < 4 * (2 / right.size) ** 0.5


@pytest.mark.statistical
def test_proposals_are_taken_in_proportion_to_their_weights(global_random_seed):
    """2000 selections of 40 of 400 proposals: mean times taken, |z| < 4.5 for each of 400.

    The largest of 400 independent |z| exceeds 4.5 with probability 0.003.
    """
    generator = make_generator(global_random_seed)
    weights = torch.rand(400, generator=generator).double() ** 3
    weights[0] = 30.0  # taken several times
    times = torch.zeros(2000, 400)
    for k in range(2000):
        rows, n_copies = _take(weights, 40, generator)
        assert len(rows) == 40
        assert len(rows) - len(rows.unique()) == n_copies
        times[k] = torch.bincount(rows, minlength=400)
    expected = 40 * weights / weights.sum()
    error = times.std(0) / 2000**0.5
    z = (times.mean(0) - expected) / error.clamp(min=1e-3)
    assert z.abs().max() < 4.5


@pytest.mark.statistical
def test_resampled_draws_follow_the_law_of_independent_ones(global_random_seed):
    """3000 draws of a corrected mixture in four columns against as many by rejection.

    Kolmogorov-Smirnov in each column and in the radius: p > 1e-4.
    """
    base = needles_in_the_plane()
    energy = CorrectedEnergy(lambda x: x[:, 0].sin() + 0.3 * x[:, 1].cos(), base)
    x = draw(energy, base, 3000, generator=make_generator(global_random_seed))
    assert len(x.unique(dim=0)) == 3000
    many = base.sample(40_000, generator=make_generator(global_random_seed + 1))
    keep = torch.rand(40_000, generator=make_generator(global_random_seed + 2))
    exact = many[keep < (-energy.learned(many) - 1.3).exp()][:3000]
    for one, other in zip(
        [*x.T, x.norm(dim=1)], [*exact.T, exact.norm(dim=1)], strict=True
    ):
        assert stats.ks_2samp(one.numpy(), other.numpy()).pvalue > 1e-4


def needles_in_the_plane():
    means = np.array([[0.0, 0, 0, 0], [3.0, 1, 0, -1], [-2.0, 2, 1, 0]])
    return MixtureBase(np.array([0.5, 0.3, 0.2]), means, np.stack([np.eye(4)] * 3))
