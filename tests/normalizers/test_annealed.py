"""Annealed importance sampling against integrals in closed form."""

import math

import numpy as np
import torch

from sk_wmvl.normalizers import (
    AnnealedNormalizer,
)
from sk_wmvl.samplers import HMC
from tests.normalizers._targets import Normal, generator, quartic


def test_annealing_is_unbiased_for_z(global_random_seed):
    # 50 runs of the cheapest kind, two temperatures and one rough transition: the mean
    # of Z / Z_true is one within four standard errors.
    energy, log_z = quartic(2)
    normalizer = AnnealedNormalizer(100, 2, sampler=HMC(n_leapfrog=1))
    ratios = []
    with torch.no_grad():
        for seed in range(50):
            z = normalizer.estimate(
                energy,
                Normal(2),
                generator=generator(1000 * global_random_seed + seed),
            )
            ratios.append(math.exp(z.value - log_z))
    ratios = np.array(ratios)
    assert abs(ratios.mean() - 1) < 4 * ratios.std(ddof=1) / math.sqrt(50)
