"""Products of von Mises densities, on circles and tori."""

import math

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.base_measures.components._base import (
    Components,
    component_family,
    per_component,
)
from sk_wmvl.base_measures.components._concentration import (
    LARGEST,
    SMALLEST,
    TIGHT,
    log_bessel,
    mean_deficit,
    sample_deficit,
    solve_concentration,
)
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.manifolds._angles import Angles

__all__ = ["VonMises"]

LOG_2PI = math.log(2 * math.pi)


def gap(x: Tensor, center: Tensor) -> Tensor:
    r"""Return :math:`1-\cos(x-\mu)` without a loss of digits."""
    return 2 * (0.5 * (x - center)).sin().square()


class VonMises(Components):
    r"""Products of von Mises densities, one for each angle.

    .. math:: f(x) = \prod_j \frac{e^{\kappa_j\cos(x_j-\mu_j)}}{2\pi I_0(\kappa_j)}

    Tight components are evaluated by :math:`1-\cos t = 2\sin^2(t/2)`, which keeps its
    digits up to κ = 1e24.

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
    tight: Tensor  # which components are, in an angle at least

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
        constant = -log_bessel(0, kappa).sum(1) - kappa.shape[1] * LOG_2PI
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        self.register_buffer("log_constant", torch.tensor(constant, device=device))
        cos, sin = self.mu.cos(), self.mu.sin()
        self.register_buffer(
            "moments", torch.cat([self.kappa * cos, self.kappa * sin], -1)
        )
        tight = torch.from_numpy(np.flatnonzero(kappa.max(1) > TIGHT)).to(device)
        self.register_buffer("tight", tight)

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
        if len(self.tight) == len(self.mu):
            return self.log_constant + self._tight_exponents(x)
        circle = torch.cat([x.cos(), x.sin()], -1)
        top = self.log_constant - self.kappa.sum(-1)
        value = torch.addmm(top, circle, self.moments.T)
        if len(self.tight) == 0:
            return value
        own = self.log_constant[self.tight] + self._tight_exponents(x)
        return value.index_copy(1, self.tight, own)

    def _tight_exponents(self, x: Tensor) -> Tensor:
        r"""Return sums of :math:`κ(\cos t-1)` of tight components, (n, K)."""
        total = x.new_zeros(len(x), len(self.tight))
        mu, kappa = self.mu[self.tight], self.kappa[self.tight]
        each = zip(x.unbind(-1), mu.unbind(-1), kappa.unbind(-1), strict=True)
        for column, center, concentration in each:
            total = total - concentration * gap(column[:, None], center)
        return total

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        kappa = self.kappa[which].cpu()
        deficit = sample_deficit(kappa.reshape(-1, 1), 2, generator).view(kappa.shape)
        sign = 2.0 * torch.randint(0, 2, kappa.shape, generator=generator) - 1
        angle = sign * torch.atan2((deficit * (2 - deficit)).sqrt(), 1 - deficit)
        return self.manifold.projection(self.mu[which] + angle.to(self.mu))

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit mean angles and concentrations; see `Components.update`."""
        c, s = responsibility.T @ x.cos(), responsibility.T @ x.sin()
        self.mu = torch.atan2(s, c)
        n = responsibility.sum(0)[:, None]
        deficit = n - (c * c + s * s).sqrt()
        # the difference loses the digits of a component that is, or becomes, tight
        tight = torch.nonzero((deficit * TIGHT < n).any(1)).flatten()
        if len(tight):
            part = responsibility[:, tight]
            pairs = zip(x.unbind(-1), self.mu[tight].unbind(-1), strict=True)
            sums = [(part * gap(column[:, None], at)).sum(0) for column, at in pairs]
            deficit[tight] = torch.stack(sums, -1)
        kappa = np.clip(1 / prior.cpu().numpy(), SMALLEST, LARGEST)
        pseudo = torch.from_numpy(mean_deficit(kappa, 2)).to(c)
        deficit = (deficit + pseudo) / (n + 1)
        self._set_concentration(solve_concentration(deficit.cpu().numpy(), 2))


@component_family.register
def _(manifold: Angles) -> type[Components]:
    del manifold
    return VonMises
