"""Von Mises-Fisher densities, on spheres and what is folded from them."""

import math

import numpy as np
import torch
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
    TIGHT,
    half_square_gaps,
    log_bessel,
    mean_deficit,
    sample_deficit,
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
    tight: Tensor  # which components are

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
        constant = order * np.log(kappa) - self.d / 2 * LOG_2PI
        constant -= log_bessel(order, kappa)
        constant -= (self.d - 1) * math.log(self.manifold.radius)
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        # of exp(kappa (t - 1)), which does not overflow
        self.register_buffer("log_constant", torch.tensor(constant, device=device))
        tight = torch.from_numpy(np.flatnonzero(kappa > TIGHT)).to(device)
        self.register_buffer("tight", tight)

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
        if len(self.tight) == len(self.mu):
            return self.log_constant + self._tight_exponents(x)
        top = self.log_constant - self.kappa
        if self.n_signs == 0:
            value = torch.addmm(top, x, (self.kappa[:, None] * self.mu).T)
        else:
            value = top + self._folded_exponents(x)
        if len(self.tight) == 0:
            return value
        own = self.log_constant[self.tight] + self._tight_exponents(x)
        return value.index_copy(1, self.tight, own)

    def _folded_exponents(self, x: Tensor) -> Tensor:
        """Return logs of the folded exponentials, of shape (n, K)."""
        if self.n_signs > 1:
            parts = []
            for rows in x.split(chunk_size(self.mu.numel())):
                z = self.kappa[:, None] * rows[:, None, :] * self.mu
                parts.append(torch.logaddexp(z, -z).sum(-1))
            return torch.cat(parts)
        z = self.kappa * (x @ self.mu.T)
        # smooth at zero too, to the second derivative
        return torch.logaddexp(z, -z)

    def _tight_exponents(self, x: Tensor) -> Tensor:
        """Return the same less κ, of tight components, from differences of points."""
        mu, kappa = self.mu[self.tight], self.kappa[self.tight]
        if self.n_signs > 1:
            total = x.new_zeros(len(x), len(mu))
            for column, center in zip(x.unbind(-1), mu.unbind(-1), strict=True):
                near = -0.5 * kappa * (column[:, None] - center).square()
                far = -0.5 * kappa * (column[:, None] + center).square()
                total = total + torch.logaddexp(near, far)
            return total
        near = -kappa * half_square_gaps(x, mu)
        if self.n_signs == 0:
            return near
        return torch.logaddexp(near, -kappa * half_square_gaps(x, -mu))

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d), by the tangent-normal decomposition."""
        which = which.to(self.mu.device)
        mu, kappa = self.mu[which], self.kappa[which, None]
        deficit = sample_deficit(kappa.cpu(), self.d, generator).to(mu)
        z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        u = z - (z * mu).sum(-1, keepdim=True) * mu
        u = u / torch.linalg.vector_norm(u, dim=-1, keepdim=True)
        x = mu - deficit * mu + (deficit * (2 - deficit)).sqrt() * u
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
        n = responsibility.sum(0)
        length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
        before, self.mu = self.mu, torch.where(length > 0, total / length, self.mu)
        deficit = n - length[:, 0]
        # the difference loses the digits of a component that is, or becomes, tight
        tight = torch.nonzero(deficit * TIGHT < n).flatten()
        if len(tight):
            part = responsibility[:, tight]
            deficit[tight] = (part * self._deficits(x, tight, before)).sum(0)
        kappa = self.manifold.radius**2 / prior[:1].cpu().numpy()
        pseudo = mean_deficit(np.clip(kappa, SMALLEST, LARGEST), self.d)[0]
        deficit = (deficit + float(pseudo)) / (n + 1)
        self._set_concentration(solve_concentration(deficit.cpu().numpy(), self.d))

    def _deficits(self, x: Tensor, which: Tensor, before: Tensor) -> Tensor:
        r"""Return :math:`1-\mu^\top x` of some components, with the signs of the folding.

        Signs are those under the mean directions `before`, as in the sum of the points.
        """
        mu = self.mu[which]
        if self.n_signs == 0:
            return half_square_gaps(x, mu)
        if self.n_signs == 1:
            return half_square_gaps(x, mu).minimum(half_square_gaps(x, -mu))
        total = x.new_zeros(len(x), len(mu))
        columns = zip(
            x.unbind(-1), mu.unbind(-1), before[which].unbind(-1), strict=True
        )
        for column, center, old in columns:
            z = self.kappa[which] * column[:, None] * old
            total += 0.5 * (column[:, None] - z.tanh() * center).square()
            # a sign is uncertain near zero: it is the mean of two, with this variance
            total += 0.5 * (center / z.cosh()).square()
        return total


@component_family.register
def _(manifold: UnitVectors) -> type[Components]:
    del manifold
    return VonMisesFisher
