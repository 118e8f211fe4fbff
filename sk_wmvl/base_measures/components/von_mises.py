"""Products of von Mises densities, on circles and tori."""

import math

import numpy as np
import torch
from scipy import special
from torch import Tensor

from sk_wmvl.base_measures.components._base import (
    Components,
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
from sk_wmvl.manifolds._angles import Angles

__all__ = ["VonMises"]

LOG_2PI = math.log(2 * math.pi)


class VonMises(Components):
    r"""Products of von Mises densities, one for each angle.

    .. math:: f(x) = \prod_j \frac{e^{\kappa_j\cos(x_j-\mu_j)}}{2\pi I_0(\kappa_j)}

    Parameters
    ----------
    manifold : Angles
        A circle or torus.
    centers : Tensor of shape (K, d)
        Mean angles.
    variance : float or Tensor
        The variance per dimension to start from.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> zero = torch.zeros(1, 1, dtype=torch.float64)
    >>> VonMises(Torus(1), zero, 1.0).log_prob(zero)  # 1 - log(2 pi I0(1))
    tensor([[-1.0738]], dtype=torch.float64)
    """

    mu: Tensor
    kappa: Tensor
    log_constant: Tensor
    moments: Tensor  # of the centers, times the concentrations

    @staticmethod
    def n_units(manifold: BaseManifold) -> int:
        """Return the number of coordinates."""
        return manifold.ambient_dim

    def __init__(self, manifold: Angles, centers: Tensor, variance: float | Tensor):
        super().__init__(manifold, centers, variance)
        self.register_buffer("mu", centers)
        spread = per_component(centers, variance, centers.shape[1])
        self._set_concentration(1 / spread.cpu().numpy())

    def _set_concentration(self, kappa: np.ndarray) -> None:
        kappa = np.clip(kappa, SMALLEST, LARGEST)
        constant = -np.log(special.ive(0, kappa)).sum(1) - kappa.shape[1] * LOG_2PI
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        self.register_buffer("log_constant", torch.tensor(constant, device=device))
        cos, sin = self.mu.cos(), self.mu.sin()
        self.register_buffer(
            "moments", torch.cat([self.kappa * cos, self.kappa * sin], -1)
        )

    @property
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""
        return self.mu

    @property
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""
        return 1 / self.kappa

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        circle = torch.cat([x.cos(), x.sin()], -1)
        return self.log_constant + circle @ self.moments.T - self.kappa.sum(-1)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        kappa = self.kappa[which].cpu()
        c = sample_cosine(kappa.reshape(-1, 1), 2, generator).reshape(kappa.shape)
        sign = 2.0 * torch.randint(0, 2, kappa.shape, generator=generator) - 1
        angle = sign * torch.atan2((1 - c * c).clamp(min=0).sqrt(), c)
        return self.manifold.projection(self.mu[which] + angle.to(self.mu.device))

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit mean angles and concentrations; see `Components.update`."""
        c, s = responsibility.T @ x.cos(), responsibility.T @ x.sin()
        self.mu = torch.atan2(s, c)
        kappa = np.clip(1 / prior.cpu().numpy(), SMALLEST, LARGEST)
        pseudo = torch.from_numpy(mean_resultant_length(kappa, 2)).to(c)
        n = responsibility.sum(0)[:, None] + 1
        length = ((c * c + s * s).sqrt() + pseudo) / n
        self._set_concentration(solve_concentration(length.cpu().numpy(), 2))


@component_family.register
def _(manifold: Angles) -> type[Components]:
    del manifold
    return VonMises
