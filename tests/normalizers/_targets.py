"""Densities whose normalising constants are known, and a proposal."""

import math

import numpy as np
import torch
from scipy import integrate
from torch import nn

from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.energies import CorrectedEnergy


def generator(seed):
    return torch.Generator().manual_seed(seed)


class Normal(nn.Module):
    """Independent normals of one scale, written out by hand."""

    def __init__(self, d, scale=1.0, dtype=torch.float64):
        super().__init__()
        self.d, self.scale, self.dtype = d, scale, dtype

    def log_prob(self, x):
        constant = self.d * (0.5 * math.log(2 * math.pi) + math.log(self.scale))
        return -0.5 * (x / self.scale).square().sum(-1) - constant

    def sample(self, n_samples, *, generator=None):
        shape = (n_samples, self.d)
        return self.scale * torch.randn(shape, generator=generator, dtype=self.dtype)


def gaussian(d, condition):
    """A Gaussian of variances 1 to 1/condition along the axes of a fixed rotation."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    variances = np.geomspace(1, 1 / condition, d)
    precision = torch.tensor(rotation / variances @ rotation.T)
    log_z = 0.5 * d * math.log(2 * math.pi) + 0.5 * np.log(variances).sum()
    return lambda x: 0.5 * ((x @ precision) * x).sum(-1), log_z


def student(d, nu=5):
    """Independent Student t, of nu degrees of freedom."""
    log_z = 0.5 * math.log(nu * math.pi) + math.lgamma(nu / 2)
    log_z -= math.lgamma((nu + 1) / 2)
    energy = lambda x: 0.5 * (nu + 1) * torch.log1p(x.square() / nu).sum(-1)
    return energy, d * log_z


def mixture(d, center=1.0, scale=0.4):
    """A unit normal and a narrow one of the same height, side by side."""

    def energy(x):
        narrow = -0.5 * ((x - center) / scale).square().sum(-1)
        wide = -0.5 * (x + center).square().sum(-1)
        return -torch.logaddexp(narrow, wide)

    return energy, 0.5 * d * math.log(2 * math.pi) + math.log(1 + scale**d)


def quartic(d):
    """Density exp(-x**4) on each axis, with integral 2 Gamma(5/4)."""
    return lambda x: x.pow(4).sum(-1), d * math.log(2 * math.gamma(1.25))


def wiggle(d):
    """No closed form: one-dimensional quadrature by an independent routine."""
    f = lambda x: math.exp(-0.5 * x**2 + math.sin(3 * x))
    integral = integrate.quad(f, -12, 12, epsabs=1e-13, limit=200)[0]
    energy = lambda x: (0.5 * x.square() - (3 * x).sin()).sum(-1)
    return energy, d * math.log(integral)


class ManyComponents(GaussianBase):
    """A density that claims to be expensive, and counts its evaluations."""

    def __init__(self, mean, covariance, n_components):
        super().__init__(mean, covariance)
        self.n, self.n_evaluations = n_components, 0

    @property
    def n_components(self):
        return self.n

    def log_prob(self, x):
        self.n_evaluations += len(x)
        return super().log_prob(x)


def tilted(n_components=1):
    """Return a base, and an energy that tilts it: log Z is 0.125."""
    base = ManyComponents(np.zeros(2), np.eye(2), n_components)
    return base, CorrectedEnergy(Tilt(), base)


class Tilt(nn.Module):
    def forward(self, x):
        return 0.5 * x[:, 0]
