"""Diffusions of your own."""

import pytest
import torch

from sk_wmvl.samplers import (
    ItoSampler,
    Langevin,
    evaluate,
)
from tests.samplers._tools import double_well, gaussian, generator, normals

standard = gaussian(1.0)


def test_ito_sampler_is_langevin_with_its_coefficients():
    state = evaluate(double_well, normals(10, 2, 0))
    langevin = Langevin(0.1).step(
        double_well, state, beta=0.5, generator=generator(0), antithetic=True
    )
    root, eye = 2**0.5, 2**0.5 * torch.eye(2).expand(10, 2, 2)
    for sigma in (root, torch.tensor(root).expand(2), lambda x: root, lambda x: eye):
        ito = ItoSampler(lambda x, g: -g, sigma, 0.1).step(
            double_well, state, beta=0.5, generator=generator(0), antithetic=True
        )
        for one, other in zip(
            (ito.x, ito.noise, ito.mirror),
            (langevin.x, langevin.noise, langevin.mirror),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.statistical
def test_ito_noise_has_the_covariance_asked_for(global_random_seed):
    # 100 000 draws of a coefficient of shape (n, 2, 3); |z| < 4 for each entry.
    n = 100_000
    sigma = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    sampler = ItoSampler(lambda x, g: -g, lambda x: sigma.expand(n, 2, 3), 0.04)
    state = evaluate(standard, torch.zeros(n, 2, dtype=torch.float64))
    noise = sampler.step(standard, state, generator=generator(global_random_seed)).noise
    products = noise[:, :, None] * noise[:, None]
    error = products.mean(0) - 0.04 * sigma @ sigma.T
    assert (error.abs() < 4 * products.std(0) / n**0.5).all()
