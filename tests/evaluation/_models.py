"""Decoders whose marginal density is known, and a check of estimates against it."""

import math

import numpy as np
import torch
from scipy import stats

from sk_wmvl.base_measures import GaussianBase

NOISE = 0.3
W = torch.tensor(
    [[1.0, 0.5], [-0.3, 0.8], [0.2, -1.2], [0.7, 0.1]], dtype=torch.float64
)
NORMAL = GaussianBase(np.zeros(2), np.eye(2))


def normal_log_likelihood(x, mean, noise=NOISE):
    square = (x - mean).square().sum(-1) / noise**2
    return -0.5 * square - 0.5 * x.shape[1] * math.log(2 * math.pi * noise**2)


def linear(x, z):
    """Decode by a matrix: the marginal is Gaussian."""
    return normal_log_likelihood(x, z @ W.T.to(z))


def linear_log_prob(x):
    """Return the log marginal density of `linear` under `NORMAL`."""
    cov = W.numpy() @ W.numpy().T + NOISE**2 * np.eye(4)
    marginal = stats.multivariate_normal(np.zeros(4), cov)
    return torch.from_numpy(marginal.logpdf(x.double().numpy()))


def simulate_linear(z, g):
    mean = z @ W.T.to(z)
    return mean + NOISE * torch.randn(mean.shape, generator=g, dtype=z.dtype)


def two_modes(x, z):
    """Decode an angle by a curve that comes near itself: posteriors with two modes."""
    angle = torch.atan2(z[:, 1], z[:, 0])
    return normal_log_likelihood(
        x, torch.stack([angle.cos(), (2 * angle).sin()], 1), 0.2
    )


def simulate_two_modes(z, g):
    mean = torch.stack([z[:, 0], 2 * z[:, 0] * z[:, 1]], 1)
    return mean + 0.2 * torch.randn(len(z), 2, generator=g, dtype=z.dtype)


class Uniform:
    """The uniform distribution on a compact manifold."""

    def __init__(self, manifold):
        self.manifold = manifold

    def sample(self, n, *, generator=None):
        return self.manifold.random_point(n, generator=generator)

    def log_prob(self, z):
        return torch.full_like(z[:, 0], -self.manifold.log_volume())


def assert_agrees(result, truth):
    """Sum over rows, whose errors are independent; allow for the bias of the log."""
    gap = (result.value - truth).sum()
    bias = 0.5 * result.std_error.square().sum()
    error = result.std_error.square().sum().sqrt()
    assert abs(gap + bias) < 4 * error
    assert error / len(truth) < 0.1
