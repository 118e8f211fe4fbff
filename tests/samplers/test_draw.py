"""Draws of a model, by whichever way there is."""

import warnings

import numpy as np
import pytest
import torch

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import MixtureBase, UniformBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import (
    Circle,
    Sphere,
    Torus,
)
from sk_wmvl.samplers import draw
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
