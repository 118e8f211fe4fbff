"""Bounds from both sides on log p(x), against marginals that are known."""

import math

import numpy as np
import pytest
import torch

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.evaluation import annealed_bounds
from sk_wmvl.manifolds import Euclidean, Sphere
from tests.evaluation._models import (
    Uniform,
    linear,
    linear_log_prob,
    simulate_linear,
    simulate_two_modes,
    two_modes,
)


@pytest.mark.statistical
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_bounds_enclose_the_truth(dtype, global_random_seed):
    g = make_generator(global_random_seed)
    bounds = annealed_bounds(
        linear,
        lambda z: simulate_linear(z, g),
        Euclidean(2),
        GaussianBase(np.zeros(2), np.eye(2)).to(dtype),
        n_rows=200,
        generator=g,
        dtype=dtype,
        n_temperatures=20,  # few, so that there is a gap
        n_chains=4,
    )
    truth = linear_log_prob(bounds.x)
    n = math.sqrt(len(truth))
    for below, above in (
        (bounds.lower, truth),
        (truth, bounds.upper),
        (bounds.lower, bounds.upper),
    ):
        gap = above - below
        assert gap.mean() > -4 * gap.std() / n
    assert (bounds.upper - bounds.lower).mean() > 0


@pytest.mark.statistical
def test_gap_closes_with_temperatures(global_random_seed):
    gaps = []
    for n_temperatures in (5, 50):
        g = make_generator(global_random_seed)
        bounds = annealed_bounds(
            two_modes,
            lambda z, g=g: simulate_two_modes(z, g),
            Sphere(1),
            Uniform(Sphere(1)),
            n_rows=200,
            generator=g,
            n_temperatures=n_temperatures,
            n_chains=4,
        )
        gaps.append((bounds.upper - bounds.lower).mean())
    assert 0 < gaps[1] < gaps[0] / 2
