"""The surrogate's gradient is that of the entropy, wherever that has a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from sk_wmvl.energies import ConditionalEnergy
from sk_wmvl.entropy import entropy_surrogate, score_surrogate
from sk_wmvl.manifolds import Circle, Sphere, Torus

N_BATCHES, N_ROWS = 200, 500  # enough batches for their spread to be known


def assert_gradient(encoder, energy, parameter, expected, seed):
    """Compare the mean of the gradient over batches with its limit, |z| < 4."""
    generator = torch.Generator().manual_seed(seed)
    grads = []
    for _ in range(N_BATCHES):
        parameter.grad = None
        entropy_surrogate(energy, encoder(generator)).backward()
        grads.append(parameter.grad.numpy().copy())
    error = np.std(grads, axis=0, ddof=1) / math.sqrt(N_BATCHES)
    z = (np.mean(grads, axis=0) - expected) / np.maximum(error, 1e-12)
    assert np.abs(z).max() < 4
    scale = max(1.0, float(np.abs(expected).max()))
    assert error.max() < 0.05 * scale, "the test sees nothing"


def parameter(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def normal(shape, generator):
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.statistical
def test_gaussian(global_random_seed):
    # H = log|det L| + const, so its gradient in L is the inverse transpose
    root = parameter([[1.5, 0.3, 0.0], [-0.4, 0.8, 0.2], [0.1, 0.0, 0.6]])
    precision = torch.linalg.inv(root @ root.T).detach()

    def energy(z):
        return 0.5 * ((z - 3) @ precision * (z - 3)).sum(-1)

    def encoder(generator):
        return 3 + normal((N_ROWS, 3), generator) @ root.T

    expected = np.linalg.inv(root.detach().numpy()).T
    assert_gradient(encoder, energy, root, expected, global_random_seed)


@pytest.mark.statistical
@pytest.mark.parametrize("kappa", [0.5, 3.0, 40.0])
def test_von_mises_fisher(kappa, global_random_seed):
    # H' = -kappa A'(kappa) with A = coth(kappa) - 1/kappa the mean of t
    k = parameter(kappa)

    def encoder(generator):
        u = torch.rand(N_ROWS, dtype=torch.float64, generator=generator)
        angle = 2 * math.pi * torch.rand(N_ROWS, generator=generator).double()
        t = 1 + torch.log(u + (1 - u) * torch.exp(-2 * k)) / k  # inverse of the cdf
        rest = (1 - t.square()).clamp(min=1e-12).sqrt()
        return torch.stack([rest * angle.cos(), rest * angle.sin(), t], 1)

    expected = -kappa * (1 / kappa**2 - 1 / math.sinh(kappa) ** 2)
    assert_gradient(
        encoder, lambda z: -kappa * z[:, 2], k, expected, global_random_seed
    )


@pytest.mark.statistical
def test_entropy_does_not_change_when_the_mean_direction_turns(global_random_seed):
    kappa, angle = 5.0, parameter(0.7)

    def encoder(generator):
        x = normal((N_ROWS, 3), generator)
        u = torch.rand(N_ROWS, dtype=torch.float64, generator=generator)
        t = 1 + torch.log(u + (1 - u) * math.exp(-2 * kappa)) / kappa
        side = nn.functional.normalize(x[:, :2], dim=1)
        side = side * (1 - t.square()).clamp(min=0).sqrt()[:, None]
        c, s = angle.cos(), angle.sin()
        first = c * side[:, 0] + s * t
        return torch.stack([first, side[:, 1], c * t - s * side[:, 0]], 1)

    mean = torch.tensor([math.sin(0.7), 0.0, math.cos(0.7)], dtype=torch.float64)
    assert_gradient(
        encoder, lambda z: -kappa * (z @ mean), angle, 0.0, global_random_seed
    )


def wrapped_density(angle, sigma):
    turns = 2 * math.pi * np.arange(-8, 9)
    return stats.norm.pdf(np.subtract.outer(angle, turns), scale=sigma).sum(-1)


def circle_entropy(sigma):
    def integrand(angle):
        p = wrapped_density(angle, sigma)
        return -p * np.log(p)

    return integrate.quad(integrand, -math.pi, math.pi, epsabs=1e-12)[0]


def wrapped_energy(angle, sigma):
    turns = 2 * math.pi * torch.arange(-8, 9, dtype=torch.float64)
    offset = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    exponent = -((offset.unsqueeze(-1) - turns) ** 2) / (2 * sigma**2)
    return -torch.logsumexp(exponent, -1) + math.log(sigma)


@pytest.mark.statistical
def test_wrapped_normal_on_a_torus(global_random_seed):
    sigmas = parameter([0.4, 1.3])
    frozen = sigmas.detach().numpy()
    torus = Torus(2)

    def energy(z):
        return sum(wrapped_energy(z[:, i], frozen[i]) for i in range(2))

    def encoder(generator):
        base = torch.zeros(N_ROWS, 2, dtype=torch.float64)
        return torus.exp(base, sigmas * normal((N_ROWS, 2), generator))

    h = 1e-4
    expected = [
        (circle_entropy(s + h) - circle_entropy(s - h)) / (2 * h) for s in frozen
    ]
    assert_gradient(encoder, energy, sigmas, expected, global_random_seed)


@pytest.mark.statistical
def test_wrapped_normal_on_a_circle_of_unit_vectors(global_random_seed):
    sigma = parameter(0.9)
    circle = Circle()

    def energy(z):
        return wrapped_energy(torch.atan2(z[:, 1], z[:, 0]), 0.9)

    def encoder(generator):
        angle = sigma * normal((N_ROWS,), generator)
        return torch.stack([angle.cos(), angle.sin()], 1)

    assert circle.dim == 1
    h = 1e-4
    expected = (circle_entropy(0.9 + h) - circle_entropy(0.9 - h)) / (2 * h)
    assert_gradient(encoder, energy, sigma, expected, global_random_seed)


@pytest.mark.statistical
def test_wrapped_normal_on_a_sphere(global_random_seed):
    # v ~ N(0, sigma^2 I) in the tangent plane at the pole, z = exp(v), r = |v|:
    # log q = log N(v) + log(r / sin r), so H = log(2 pi e sigma^2) + E log(sin r / r)
    sigma, sphere = parameter(0.4), Sphere(2)

    def entropy(s):
        def integrand(r):
            return stats.rayleigh.pdf(r, scale=s) * np.log(np.sinc(r / np.pi))

        return (
            math.log(2 * math.pi * math.e * s**2)
            + integrate.quad(integrand, 0, 3.1, epsabs=1e-12)[0]
        )

    def energy(z):
        r = torch.atan2(z[:, :2].norm(dim=1), z[:, 2])
        return r.square() / (2 * 0.4**2) - torch.log(r / r.sin())

    pole = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(N_ROWS, 3)

    def encoder(generator):
        v = normal((N_ROWS, 2), generator)
        return sphere.exp(pole, sigma * nn.functional.pad(v, (0, 1)))

    expected = (entropy(0.4 + 1e-4) - entropy(0.4 - 1e-4)) / 2e-4
    assert_gradient(encoder, energy, sigma, expected, global_random_seed)


@pytest.mark.statistical
def test_conditional_gaussian(global_random_seed):
    # z given x is N(x, (s + |x|)^2): the mean entropy's derivative is E 1/(s + |x|)
    s = parameter(0.5)

    def energy(z, x):
        return ((z - x) / (0.5 + x.abs())).square().sum(-1) / 2

    grads, expected = [], []
    generator = torch.Generator().manual_seed(global_random_seed)
    for _ in range(N_BATCHES):
        s.grad = None
        x = normal((N_ROWS, 1), generator)
        z = x + (s + x.abs()) * normal((N_ROWS, 1), generator)
        entropy_surrogate(energy, z, context=x).backward()
        grads.append(float(s.grad))
        expected.append(float((1 / (0.5 + x.abs())).mean()))
    difference = np.subtract(grads, expected)
    error = difference.std(ddof=1) / math.sqrt(N_BATCHES)
    assert abs(difference.mean()) / error < 4
    assert error < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_and_context_are_left_alone(dtype):
    energy = ConditionalEnergy(2, 3, (8,)).to(dtype)
    for p in energy.parameters():
        nn.init.normal_(p, generator=torch.Generator().manual_seed(0))
    x = torch.ones(4, 3, dtype=dtype, requires_grad=True)
    z = torch.arange(8, dtype=dtype).view(4, 2).requires_grad_()
    value = entropy_surrogate(energy, z, context=x)
    value.backward()
    assert value.dtype == dtype
    torch.testing.assert_close(value, energy(z, x).mean())
    at = z.detach().requires_grad_()
    energy(at, x).mean().backward()
    torch.testing.assert_close(z.grad, at.grad)
    x.grad = None
    for p in energy.parameters():
        p.grad = None
    entropy_surrogate(energy, z, context=x).backward()
    assert x.grad is None
    assert all(p.grad is None for p in energy.parameters())
    assert all(p.requires_grad for p in energy.parameters())


def test_a_score_field_is_enough():
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def energy(z):
        return z.pow(4).sum(-1)

    score = (-4 * z.pow(3)).detach()
    (a,) = torch.autograd.grad(entropy_surrogate(energy, z), z)
    (b,) = torch.autograd.grad(score_surrogate(score, z), z)
    torch.testing.assert_close(a, b)
    assert score_surrogate(score, z) == 0
