"""Von Mises-Fisher posteriors, stable from nearly uniform to nearly a point."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from sk_wmvl._random import randn_like
from sk_wmvl.autoencoders._base import BasePosterior
from sk_wmvl.autoencoders._bessel import bessel_ratio, log_bessel
from sk_wmvl.autoencoders._quadrature import angle_slope
from sk_wmvl.autoencoders.latent import away_from_zero
from sk_wmvl.base_measures.components._concentration import sample_deficit
from sk_wmvl.manifolds import BaseManifold, Sphere
from sk_wmvl.manifolds._unit_vectors import unit

__all__ = [
    "VonMisesFisherPosterior",
    "concentration_from_raw",
    "log_sphere_area",
    "orthogonal_direction",
]


def log_sphere_area(d: int) -> float:
    r"""Return the log of the area of the unit sphere in :math:`\mathbb{R}^d`."""
    return math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)


def concentration_from_raw(raw: Tensor, d: int) -> Tensor:
    r"""Return :math:`\kappa=\sqrt{d-1}\,(1+\mathrm{softplus})` of a network's outputs.

    Codes on the sphere, times :math:`\sqrt d`, are nearly :math:`(\kappa/\sqrt d)\mu` and
    noise of unit variance in each coordinate. With the factor a code says 0.5 to 1.4 nats
    about its row in the beginning, in any dimension, and never less than 0.2. With
    1 + softplus, as the authors of [Davidson2018]_ have it, the direction drowns in the
    noise of many dimensions before the decoder has learned to read it.
    """
    return math.sqrt(d - 1) * (1 + nn.functional.softplus(raw))


def orthogonal_direction(mu: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return uniform unit vectors orthogonal to `mu`, differentiable in it."""
    noise = randn_like(mu, generator)
    v = noise - (noise * mu).sum(-1, keepdim=True) * mu
    return v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)


class VonMisesFisherPosterior(BasePosterior):
    r"""The density :math:`C_d(\kappa)e^{\kappa\mu^\top z}` on the unit sphere.

    Parameters
    ----------
    mu : Tensor of shape (n, d)
        Mean directions, d at least 2.
    kappa : Tensor of shape (n,)
        Concentrations, from 1e-3 to 1e5.

    Notes
    -----
    Constants and angles are computed in float64, whatever the dtype. The angle to the mean
    is drawn by Wood's rejection sampler [Wood1994]_. Its derivative in κ is the implicit
    one, :math:`-\partial_\kappa F/\partial_\theta F` of the distribution function F
    [Figurnov2018]_, by quadrature, so that gradients are unbiased without a
    score-function term for the rejections, which [Davidson2018]_ need.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import VonMisesFisherPosterior
    >>> pole = torch.tensor([[0.0, 0.0, 1.0]])
    >>> posterior = VonMisesFisherPosterior(pole, torch.tensor([2.0]))
    >>> posterior.log_prob(pole)  # log(2 / (2 pi (1 - exp(-4))))
    tensor([-1.1262])
    """

    manifold_class: ClassVar[type[BaseManifold]] = Sphere

    def __init__(self, mu: Tensor, kappa: Tensor):
        self.mu = mu
        self.kappa = kappa
        self.d = mu.shape[1]

    @staticmethod
    def n_raw(d: int) -> int:
        """Return d + 1: a direction and a concentration."""
        return d + 1

    @classmethod
    def from_raw(cls, raw: Tensor) -> Self:
        """Return distributions; see `concentration_from_raw`."""
        mu = unit(away_from_zero(raw[:, :-1]))
        return cls(mu, concentration_from_raw(raw[:, -1], mu.shape[1]))

    def sample(self, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one draw per row; see `BasePosterior.sample`."""
        kappa = self.kappa.double()
        deficit = sample_deficit(kappa.detach().cpu()[:, None], self.d, generator)
        # The arc cosine of 1 - deficit would lose the digits of small angles.
        angle = 2 * (deficit.squeeze(1) / 2).sqrt().asin().to(kappa.device)
        if kappa.requires_grad:
            slope = angle_slope(angle, kappa.detach(), self.d)
            angle = angle + slope * (kappa - kappa.detach())
        angle = angle[:, None]
        v = orthogonal_direction(self.mu, generator)
        return angle.cos().to(v) * self.mu + angle.sin().to(v) * v

    def _log_constant(self) -> Tensor:
        """Return the log density at the mean, in float64."""
        order, kappa = self.d / 2 - 1, self.kappa.double()
        lead = order * kappa.log() - self.d / 2 * math.log(2 * math.pi)
        return lead - log_bessel(order, kappa)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log densities; see `BasePosterior.log_prob`."""
        # 1 - cos as half a squared chord, which does not cancel at the mean
        deficit = 0.5 * (z - self.mu).double().square().sum(-1)
        return (self._log_constant() - self.kappa.double() * deficit).to(z)

    def entropy(self) -> Tensor:
        """Return entropies in nats, of shape (n,)."""
        kappa = self.kappa.double()
        deficit = 1 - bessel_ratio(self.d / 2 - 1, kappa)
        return (kappa * deficit - self._log_constant()).to(self.kappa)

    def kl(self) -> Tensor:
        """Return the divergence from the uniform distribution, of shape (n,)."""
        kappa = self.kappa.double()
        deficit = 1 - bessel_ratio(self.d / 2 - 1, kappa)
        value = self._log_constant() - kappa * deficit + log_sphere_area(self.d)
        return value.to(self.kappa)

    def mean(self) -> Tensor:
        """Return the mean direction."""
        return self.mu

    def expectation(self) -> Tensor:
        """Return the mean direction times the mean cosine."""
        cosine = bessel_ratio(self.d / 2 - 1, self.kappa)
        return cosine[:, None].to(self.mu) * self.mu
