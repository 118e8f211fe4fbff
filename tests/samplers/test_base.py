"""Chains of any sampler: systematic resampling by weight."""

import torch

from sk_wmvl.samplers import (
    BaseSampler,
    Transition,
)
from tests.samplers._tools import gaussian, generator

standard = gaussian(1.0)


class Weigher(BaseSampler):
    """Moves nothing and gives fixed weights."""

    def __init__(self, log_weight):
        self.log_weight = log_weight

    def step(self, energy, state, *, beta=1.0, generator=None, antithetic=False):
        return Transition(state.x, log_weight=self.log_weight)


def test_chains_have_as_many_copies_as_their_weight_says():
    # Systematic resampling is never off by one, and right on average: over 500 steps each
    # count has a variance below 1/4; |z| < 4.
    weight = 2 * torch.rand(50, generator=generator(0), dtype=torch.float64)
    weight[7] = 0
    x, g = torch.arange(50.0).double()[:, None], generator(1)
    expected, total = 50 * weight / weight.sum(), torch.zeros(50)
    sampler = Weigher(weight.log())
    for _ in range(500):
        chain = sampler.run(standard, x, n_steps=1, generator=g)
        rows = chain.samples[0, :, 0].long()
        copies = torch.bincount(rows, minlength=50)
        assert (rows[copies > 0] == torch.arange(50)[copies > 0]).all()
        assert len(rows) == 50
        assert ((copies - expected).abs() < 1 + 1e-9).all()
        torch.testing.assert_close(chain.state.energy, standard(chain.state.x))
        total += copies
    assert ((total / 500 - expected).abs() < 4 * 0.5 / 500**0.5).all()
    # Equal weights leave every chain where it is.
    chain = Weigher(torch.zeros(50)).run(standard, x, n_steps=3, generator=g)
    assert torch.equal(chain.samples[-1], x)
