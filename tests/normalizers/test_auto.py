"""The choice of a normalizer."""

import math

import pytest
import torch

from sk_wmvl.normalizers import (
    AutoNormalizer,
)
from tests.normalizers._targets import (
    Normal,
    gaussian,
    generator,
    mixture,
    quartic,
    tilted,
)

AUTO = [
    (2, gaussian, "quadrature"),
    (3, mixture, "importance"),
    (10, quartic, "importance"),
    (6, mixture, "annealed"),
]


@pytest.mark.parametrize(("d", "make", "method"), AUTO)
def test_auto_reaches_its_target(global_random_seed, d, make, method):
    energy, log_z = make(d, *([100] if make is gaussian else []))
    proposal = Normal(d, 1.3 if d == 3 else 1.0)
    z = AutoNormalizer().log_normalizer(
        energy, proposal, generator=generator(global_random_seed)
    )
    assert z.method == method
    assert z.std_error <= 0.02
    assert abs(z.value - log_z) < 4 * z.std_error
    assert z.n_evaluations < 1_000_000


def test_auto_turns_to_annealing(global_random_seed):
    # The proposal is ten times too wide on each of eight axes: the chance of a draw
    # near the mode is of the order of 1e-8, and the answer 18.4 nats away.
    energy, log_z = lambda x: 50 * x.square().sum(-1), 4 * math.log(2 * math.pi / 100)
    z = AutoNormalizer(0.1).log_normalizer(
        energy, Normal(8), generator=generator(global_random_seed)
    )
    assert z.method == "annealed"
    assert z.std_error <= 0.1
    assert abs(z.value - log_z) < 4 * z.std_error


@pytest.mark.parametrize(
    ("n_components", "method"), [(10, "quadrature"), (5000, "importance")]
)
def test_auto_spares_expensive_bases_the_grid(n_components, method):
    base, energy = tilted(n_components)
    generator = torch.Generator().manual_seed(0)
    result = AutoNormalizer().estimate(energy, base, generator=generator)
    assert result.method == method
    assert abs(result.value - 0.125) < max(4 * result.std_error, 1e-6)
    assert (base.n_evaluations == 0) == (method == "importance")
