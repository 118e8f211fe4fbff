"""Power spherical posteriors: like von Mises-Fisher ones, but cheaper."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.autoencoders._base import BasePosterior
from sk_wmvl.autoencoders.latent import away_from_zero
from sk_wmvl.autoencoders.von_mises_fisher import (
    concentration_from_raw,
    log_sphere_area,
    orthogonal_direction,
)
from sk_wmvl.manifolds import BaseManifold, Sphere
from sk_wmvl.manifolds._unit_vectors import unit

__all__ = ["PowerSphericalPosterior"]


class PowerSphericalPosterior(BasePosterior):
    r"""The density proportional to :math:`(1+\mu^\top z)^\kappa` on the unit sphere.

    Its cosine is :math:`2b-1` with b from a beta distribution, so that neither rejections
    nor Bessel functions are needed [DeCao2020]_. Near the mean it resembles the von
    Mises-Fisher distribution of concentration κ/2.

    Parameters
    ----------
    mu : Tensor of shape (n, d)
        Mean directions, d at least 2.
    kappa : Tensor of shape (n,)
        Concentrations.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import PowerSphericalPosterior
    >>> pole = torch.tensor([[0.0, 0.0, 1.0]])
    >>> posterior = PowerSphericalPosterior(pole, torch.tensor([1.0]))
    >>> posterior.log_prob(pole)  # log(2 / (4 pi))
    tensor([-1.8379])
    """

    manifold_class: ClassVar[type[BaseManifold]] = Sphere

    def __init__(self, mu: Tensor, kappa: Tensor):
        self.mu = mu
        self.kappa = kappa
        self.d = mu.shape[1]

    def _shapes(self) -> tuple[Tensor, float]:
        """Return the two parameters of the beta distribution."""
        half = (self.d - 1) / 2
        return self.kappa.double() + half, half

    @staticmethod
    def n_raw(d: int) -> int:
        """Return d + 1: a direction and a concentration."""
        return d + 1

    @classmethod
    def from_raw(cls, raw: Tensor) -> Self:
        """Return distributions, with the concentrations of von Mises-Fisher ones."""
        mu = unit(away_from_zero(raw[:, :-1]))
        return cls(mu, concentration_from_raw(raw[:, -1], mu.shape[1]))

    def sample(self, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one draw per row; see `BasePosterior.sample`."""
        a, b = self._shapes()
        device = a.device
        g = torch._standard_gamma(a.cpu(), generator=generator).to(device)
        other = torch.full_like(a, b).cpu()
        h = torch._standard_gamma(other, generator=generator).to(device)
        cosine = ((g - h) / (g + h))[:, None]
        # sqrt(1 - cos^2) without cancellation
        sine = (2 * (g * h).sqrt() / (g + h))[:, None]
        v = orthogonal_direction(self.mu, generator)
        return cosine.to(v) * self.mu + sine.to(v) * v

    def _log_constant(self) -> Tensor:
        """Return the log density at the mean, in float64."""
        a, b = self._shapes()
        # (1 + 1)^kappa there, over 2^(a+b) pi^b Gamma(a)/Gamma(a+b)
        lead = -2 * b * math.log(2) - b * math.log(math.pi)
        return lead + torch.lgamma(a + b) - torch.lgamma(a)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log densities; see `BasePosterior.log_prob`."""
        # (1 + cos)/2 as one less a quarter of the squared chord
        quarter = 0.25 * (z - self.mu).double().square().sum(-1)
        tail = self.kappa.double() * torch.log1p(-quarter.clamp(max=1 - 1e-15))
        return (self._log_constant() + tail).to(z)

    def entropy(self) -> Tensor:
        """Return entropies in nats, of shape (n,)."""
        a, b = self._shapes()
        mean = torch.digamma(a) - torch.digamma(a + b)  # of log((1 + cos)/2)
        return (-self._log_constant() - self.kappa.double() * mean).to(self.kappa)

    def kl(self) -> Tensor:
        """Return the divergence from the uniform distribution, of shape (n,)."""
        a, b = self._shapes()
        mean = torch.digamma(a) - torch.digamma(a + b)
        value = self._log_constant() + self.kappa.double() * mean
        return (value + log_sphere_area(self.d)).to(self.kappa)

    def mean(self) -> Tensor:
        """Return the mean direction."""
        return self.mu

    def expectation(self) -> Tensor:
        """Return the mean direction times the mean cosine."""
        cosine = self.kappa / (self.kappa + self.d - 1)
        return cosine[:, None] * self.mu
