"""Noise on a manifold whose transition density is known."""

from abc import ABC, abstractmethod
from functools import singledispatch
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.base_measures.components._concentration import (
    mean_resultant_length,
    sample_deficit,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean, Product
from sk_wmvl.manifolds._angles import Angles
from sk_wmvl.manifolds._unit_vectors import UnitVectors

__all__ = ["Noised", "add_noise"]


class Noised(NamedTuple):
    r"""Pairs of noised points: row i and row i + n have opposite noise.

    Parameters
    ----------
    x : Tensor of shape (2 n, d)
        Points.
    grad : Tensor of shape (2 n, d)
        Ambient derivatives of the log density of x at its noise level, in x.
    level : Tensor of shape (2 n,)
        Derivatives of that log density in :math:`\log\sigma`.
    """

    x: Tensor
    grad: Tensor
    level: Tensor


class Noise(ABC):
    r"""A family of transition densities :math:`p(y \mid x, \sigma)` on a manifold.

    Their derivatives in y are linear in some features of x. The derivatives of a mixture
    over many x therefore need the mean of the features only.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    """

    def __init__(self, manifold: BaseManifold):
        self.manifold = manifold

    @abstractmethod
    def draw(self, x: Tensor, sigma: Tensor, generator) -> Tensor:
        """Return pairs of draws with opposite noise, of shape (2 n, d)."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return the features of x, of shape (n, k)."""

    @abstractmethod
    def log_pairs(self, y: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """Return log p(y_i | x_j, sigma_i) up to terms free of j, of shape (m, n)."""

    @abstractmethod
    def derivatives(
        self, y: Tensor, sigma: Tensor, mean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return derivatives in y, (m, d), and in log sigma, (m,), at mean features."""


class GaussianNoise(Noise):
    """The normal distribution of variance σ² per coordinate."""

    def draw(self, x, sigma, generator):
        """Return pairs of draws; see `Noise.draw`."""
        z = torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x.device)
        z = sigma[:, None] * z
        return torch.cat([x + z, x - z])

    def features(self, x):
        """Return the coordinates and their sum of squares."""
        return torch.cat([x, x.square().sum(1, keepdim=True)], 1)

    def log_pairs(self, y, x, sigma):
        """Return log densities of pairs; see `Noise.log_pairs`."""
        return -0.5 * (torch.cdist(y, x) / sigma[:, None]).square()

    def derivatives(self, y, sigma, mean):
        """Return derivatives; see `Noise.derivatives`."""
        center, square = mean[:, :-1], mean[:, -1]
        precision = sigma**-2.0
        distance = y.square().sum(1) - 2 * (y * center).sum(1) + square
        return precision[:, None] * (center - y), precision * distance - y.shape[1]


class DirectionalNoise(Noise):
    r"""Distributions of density :math:`\propto e^{\kappa\cos}`.

    The noise level sets the concentration.
    """

    d: int  # of the unit vectors

    def concentration(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the concentration and the mean cosine, of shape (n, 1) each."""
        radius = getattr(self.manifold, "radius", 1.0)
        kappa = (radius / sigma).square()[:, None]
        mean = mean_resultant_length(kappa.cpu().numpy(), self.d)
        return kappa, torch.as_tensor(mean).to(kappa)

    def log_pairs(self, y, x, sigma):
        """Return log densities of pairs; see `Noise.log_pairs`."""
        kappa, _ = self.concentration(sigma)
        return kappa * (self.features(y) @ self.features(x).T)


class VonMisesNoise(DirectionalNoise):
    """Independent von Mises distributions of angles."""

    d = 2

    def draw(self, x, sigma, generator):
        """Return pairs of draws; see `Noise.draw`."""
        kappa = self.concentration(sigma)[0].expand(x.shape).reshape(-1, 1)
        deficit = sample_deficit(kappa.cpu(), 2, generator).view(x.shape)
        sign = torch.randint(0, 2, x.shape, generator=generator) * 2 - 1
        # Cosines would lose the digits of small angles.
        angle = 2 * sign * (deficit / 2).sqrt().asin()
        angle = angle.to(x)
        return torch.cat([x + angle, x - angle])

    def features(self, x):
        """Return cosines and sines."""
        return torch.cat([x.cos(), x.sin()], 1)

    def derivatives(self, y, sigma, mean):
        """Return derivatives; see `Noise.derivatives`."""
        kappa, length = self.concentration(sigma)
        c, s = mean.chunk(2, 1)
        level = -2 * kappa * (c * y.cos() + s * y.sin() - length)
        return kappa * (s * y.cos() - c * y.sin()), level.sum(1)


class VonMisesFisherNoise(DirectionalNoise):
    """The von Mises-Fisher distribution of unit vectors."""

    def __init__(self, manifold: BaseManifold):
        super().__init__(manifold)
        self.d = manifold.ambient_dim

    def draw(self, x, sigma, generator):
        """Return pairs of draws; see `Noise.draw`."""
        kappa, _ = self.concentration(sigma)
        deficit = sample_deficit(kappa.cpu(), self.d, generator).to(x)
        z = torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x.device)
        e = z - (z * x).sum(1, keepdim=True) * x
        sine = (deficit * (2 - deficit)).sqrt()
        e = sine * torch.nn.functional.normalize(e, dim=1)
        along = x - deficit * x
        return torch.cat([along + e, along - e])

    def features(self, x):
        """Return the unit vectors."""
        return x

    def derivatives(self, y, sigma, mean):
        """Return derivatives; see `Noise.derivatives`."""
        kappa, length = self.concentration(sigma)
        level = -2 * kappa[:, 0] * ((y * mean).sum(1) - length[:, 0])
        return kappa * mean, level


class ProductNoise(Noise):
    """Independent noise on each factor, at the same noise level."""

    def __init__(self, manifold: Product):
        super().__init__(manifold)
        self.parts = [make_noise(factor) for _, factor in manifold.factors]
        self.widths = [factor.ambient_dim for _, factor in manifold.factors]
        point = manifold.random_point(1)
        self.n_features = [
            part.features(block).shape[1]
            for part, block in zip(self.parts, point.split(self.widths, 1), strict=True)
        ]

    def _each(self, *tensors):
        return zip(self.parts, *(t.split(self.widths, 1) for t in tensors), strict=True)

    def draw(self, x, sigma, generator):
        """Return pairs of draws; see `Noise.draw`."""
        draws = [part.draw(block, sigma, generator) for part, block in self._each(x)]
        return torch.cat(draws, 1)

    def features(self, x):
        """Return the factors' features."""
        return torch.cat([part.features(block) for part, block in self._each(x)], 1)

    def log_pairs(self, y, x, sigma):
        """Return log densities of pairs; see `Noise.log_pairs`."""
        return sum(part.log_pairs(b, a, sigma) for part, b, a in self._each(y, x))

    def derivatives(self, y, sigma, mean):
        """Return derivatives; see `Noise.derivatives`."""
        each = zip(self._each(y), mean.split(self.n_features, 1), strict=True)
        grads, levels = zip(
            *(part.derivatives(block, sigma, m) for (part, block), m in each),
            strict=True,
        )
        return torch.cat(grads, 1), torch.stack(levels).sum(0)


@singledispatch
def make_noise(manifold: BaseManifold) -> Noise:
    """Return the noise of a manifold; see `add_noise`."""
    raise NotImplementedError(
        f"No noise with a known transition density on {manifold!r}. Use "
        "AnnealedScoreMatching(form='implicit')."
    )


make_noise.register(Euclidean, GaussianNoise)
make_noise.register(Angles, VonMisesNoise)
make_noise.register(UnitVectors, VonMisesFisherNoise)
make_noise.register(Product, ProductNoise)


@torch.no_grad()
def add_noise(
    manifold: BaseManifold,
    x: Tensor,
    sigma: Tensor,
    generator: torch.Generator | None,
    *,
    pooled: bool,
) -> Noised:
    r"""Draw noised points and the derivatives of their log density.

    The noise is Gaussian in Euclidean space. It is von Mises for an angle and von
    Mises-Fisher for unit vectors, with the concentration :math:`1/\sigma^2`. On a manifold
    without cut locus it is the wrapped normal :math:`\exp_x(\sigma z)`.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    x : Tensor of shape (n, d)
        Points.
    sigma : Tensor of shape (n,)
        Noise levels, as lengths, independent of the points.
    generator : torch.Generator or None
        Source of noise, on the CPU.
    pooled : bool
        Whether derivatives are averaged over all rows that a point can have come from,
        weighted by their posterior probability given the batch. The mean is the same (the
        tower rule) and the variance is less. Wrapped normals are not pooled.

    Returns
    -------
    noised : Noised
        In the dtype of x, computed in float64.

    Raises
    ------
    NotImplementedError
        If no transition density is known on the manifold.
    """
    start, sigma = x.double(), sigma.double()
    if not manifold.is_compact and len(manifold.flat_columns) == 0:
        return _wrapped_normal(manifold, x, sigma, generator)
    noise = make_noise(manifold)
    y, sigma = noise.draw(start, sigma, generator), sigma.repeat(2)
    mean = noise.features(start)
    if pooled:
        mean = noise.log_pairs(y, start, sigma).softmax(1) @ mean
    else:
        mean = mean.repeat(2, 1)
    grad, level = noise.derivatives(y, sigma, mean)
    return Noised(y.to(x), grad.to(x), level.to(x))


def _wrapped_normal(manifold, x, sigma, generator) -> Noised:
    start = x.double()
    u = sigma[:, None] * manifold.random_tangent(start, generator=generator)
    start, u, precision = (
        start.repeat(2, 1),
        torch.cat([u, -u]),
        sigma.repeat(2) ** -2.0,
    )
    y = manifold.exp(start, u)

    def minus_log_density(y: Tensor) -> Tensor:
        v = manifold.log(start, y)
        jacobian = manifold.log_det_exp(start, v)
        return 0.5 * precision * manifold.inner(start, v, v) + jacobian

    _, grad = energy_and_grad(cast(nn.Module, minus_log_density), y)
    level = precision * manifold.inner(start, u, u) - manifold.dim
    return Noised(y.to(x), -grad.to(x), level.to(x))
