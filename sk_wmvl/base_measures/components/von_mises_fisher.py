"""Von Mises-Fisher densities, on spheres and what is folded from them."""

import math

import numpy as np
import torch
from scipy import special
from torch import Tensor

from sk_wmvl.base_measures.components._base import (
    Components,
    chunk_size,
    component_family,
    per_component,
)
from sk_wmvl.base_measures.components._concentration import (
    LARGEST,
    SMALLEST,
    mean_resultant_length,
    sample_cosine,
    solve_concentration,
)
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.manifolds._unit_vectors import UnitVectors

__all__ = ["VonMisesFisher"]

LOG_2PI = math.log(2 * math.pi)
OFF_PLANE = 0.05


class VonMisesFisher(Components):
    r"""Von Mises-Fisher densities, folded where points are identified.

    .. math:: f(x) = C_d(\kappa)\,e^{\kappa\mu^\top x}

    on the sphere; summed over both signs of x for axes and rotations, and over all signs
    of its coordinates for compositions. The folded density keeps the constant
    :math:`C_d(\kappa) = \kappa^{d/2-1} / ((2\pi)^{d/2} I_{d/2-1}(\kappa))`.

    Parameters
    ----------
    manifold : UnitVectors
        A sphere, or a quotient of one.
    centers : Tensor of shape (K, d)
        Mean directions.
    variance : float or Tensor
        The variance per dimension to start from.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures.components import VonMisesFisher
    >>> from sk_wmvl.manifolds import Sphere
    >>> pole = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> f = VonMisesFisher(Sphere(2), pole, 0.5)  # kappa = 2
    >>> f.log_prob(pole)  # log(2 / (2 pi (1 - exp(-4))))
    tensor([[-1.1262]], dtype=torch.float64)
    """

    mu: Tensor
    kappa: Tensor
    log_constant: Tensor

    @staticmethod
    def starting_points(manifold: BaseManifold, centers: Tensor) -> Tensor:
        """Return the centers, moved off the coordinate planes, which no step leaves."""
        signs = manifold._signs(centers[:1], centers[:1])
        if signs is None or signs.shape[1] == 1:
            return centers
        centers = centers.abs().clamp(min=OFF_PLANE)
        return centers / torch.linalg.vector_norm(centers, dim=-1, keepdim=True)

    def __init__(
        self, manifold: UnitVectors, centers: Tensor, variance: float | Tensor
    ):
        super().__init__(manifold, centers, variance)
        self.d = manifold.ambient_dim
        signs = manifold._signs(centers[:1], centers[:1])
        self.n_signs = 0 if signs is None else signs.shape[1]
        spread = per_component(centers, variance)[:, 0].cpu().numpy()
        kappa = manifold.radius**2 / spread
        self.register_buffer("mu", centers)
        self._set_concentration(np.clip(kappa, SMALLEST, LARGEST))

    def _set_concentration(self, kappa: np.ndarray) -> None:
        order = self.d / 2 - 1
        with np.errstate(divide="ignore"):
            bessel = np.log(special.ive(order, kappa))
        low = ~np.isfinite(bessel)
        # where the scaled Bessel function underflows, its power series does not
        if low.any():
            k = kappa[low]
            series = np.log(special.hyp0f1(order + 1, k**2 / 4))
            lead = order * np.log(k / 2) - special.gammaln(order + 1) - k
            bessel[low] = lead + series
        constant = order * np.log(kappa) - self.d / 2 * LOG_2PI - bessel
        constant -= (self.d - 1) * math.log(self.manifold.radius)
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        # of exp(kappa (t - 1)), which does not overflow
        self.register_buffer("log_constant", torch.tensor(constant, device=device))

    @property
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""
        return self.mu

    @property
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""
        return (self.manifold.radius**2 / self.kappa)[:, None]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        if self.n_signs > 1:
            parts = []
            for rows in x.split(chunk_size(self.mu.numel())):
                z = self.kappa[:, None] * rows[:, None, :] * self.mu
                parts.append(torch.logaddexp(z, -z).sum(-1))
            return self.log_constant + torch.cat(parts) - self.kappa
        z = self.kappa * (x @ self.mu.T)
        # smooth at zero too, to the second derivative
        value = z if self.n_signs == 0 else torch.logaddexp(z, -z)
        return self.log_constant + value - self.kappa

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d), by the tangent-normal decomposition."""
        which = which.to(self.mu.device)
        mu, kappa = self.mu[which], self.kappa[which, None]
        t = sample_cosine(kappa.cpu(), self.d, generator).to(mu.device)
        z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        u = z - (z * mu).sum(-1, keepdim=True) * mu
        u = u / torch.linalg.vector_norm(u, dim=-1, keepdim=True)
        x = t * mu + (1 - t * t).clamp(min=0).sqrt() * u
        return self.manifold.projection(x)

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit mean directions and concentrations; see `Components.update`."""
        if self.n_signs > 1:
            size = chunk_size(self.mu.numel())
            total = torch.zeros_like(self.mu)
            for rows, part in zip(
                x.split(size), responsibility.split(size), strict=True
            ):
                sign = (self.kappa[:, None] * rows[:, None, :] * self.mu).tanh()
                total += torch.einsum("nk,nkd,nd->kd", part, sign, rows)
        elif self.n_signs == 1:
            sign = (self.kappa * (x @ self.mu.T)).tanh()
            total = (responsibility * sign).T @ x
        else:
            total = responsibility.T @ x
        length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
        self.mu = torch.where(length > 0, total / length, self.mu)
        kappa = self.manifold.radius**2 / prior[:1].cpu().numpy()
        pseudo = mean_resultant_length(np.clip(kappa, SMALLEST, LARGEST), self.d)[0]
        length = (length[:, 0] + float(pseudo)) / (responsibility.sum(0) + 1)
        self._set_concentration(solve_concentration(length.cpu().numpy(), self.d))


@component_family.register
def _(manifold: UnitVectors) -> type[Components]:
    del manifold
    return VonMisesFisher
