"""An energy of the point and of a noise level: one network for a path of densities."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.energies._network import soft_clip
from sk_wmvl.manifolds import BaseManifold

__all__ = ["AnnealedEnergy", "LevelEnergy"]

N_FREQUENCIES = 128
LOWEST_FREQUENCY = 0.3  # radians per unit of the features


class LevelEnergy(BaseEnergy):
    r"""A network of a point and a noise level :math:`t\in[0,1]`.

    With :math:`\sigma(t) = \sigma_0^{1-t}\sigma_1^t` the network has three kinds of inputs:
    the features of the point, divided by :math:`\sqrt{1+\sigma^2}` where the space is not
    compact; waves :math:`e^{-\|w\|^2\sigma^2/4}\cos(w^\top x+b)` of the features x; and the
    noise level. Diffusion damps a wave by :math:`e^{-\|w\|^2\sigma^2/2}`. The factor of the
    waves fades fine detail at the noise levels that blur it, so that the network need not
    learn this. The frequencies start between 0.3 and :math:`1/\sigma_0` and are learned.

    Parameters
    ----------
    network : Module
        Maps inputs of shape (n, `n_inputs(manifold)`) to energies of shape (n,).
    manifold : BaseManifold
        The manifold, with its dimension known.
    sigmas : tuple of float
        The noise :math:`\sigma_0 < \sigma_1` at the noise levels 0 and 1.
    radius : float or None, default=None
        Features are clipped at this norm, as in `InnerProductEnergy`.
    generator : torch.Generator, default=None
        Source of the frequencies, on the CPU.

    References
    ----------
    [Tancik2020]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import LevelEnergy, MLPEnergy
    >>> from sk_wmvl.manifolds import Circle
    >>> circle = Circle()
    >>> network = MLPEnergy(LevelEnergy.n_inputs(circle))
    >>> energy = LevelEnergy(network, circle, (0.05, 3.0))
    >>> energy(torch.zeros(3, 1), torch.rand(3)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        network: nn.Module,
        manifold: BaseManifold,
        sigmas: tuple[float, float],
        *,
        radius: float | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.network = network
        self.manifold = manifold
        self.sigmas = sigmas
        self.radius = radius
        w = torch.randn(N_FREQUENCIES, manifold.n_features, generator=generator)
        w = nn.functional.normalize(w, dim=1)
        span = math.log(1 / (LOWEST_FREQUENCY * sigmas[0]))
        length = span * torch.rand(N_FREQUENCIES, 1, generator=generator)
        self.frequency = nn.Parameter(LOWEST_FREQUENCY * length.exp() * w)
        phase = torch.rand(N_FREQUENCIES, generator=generator)
        self.phase = nn.Parameter(2 * math.pi * phase)

    @staticmethod
    def n_inputs(manifold: BaseManifold) -> int:
        """Return how many inputs the network has."""
        return manifold.n_features + N_FREQUENCIES + 2

    def sigma(self, t: Tensor) -> Tensor:
        """Return the noise at noise levels t, of their shape."""
        low, high = self.sigmas
        return low * (high / low) ** t

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Return the energies, (n,), at points (n, d) and noise levels (n,) or zero."""
        if t is None:
            t = x.new_zeros(len(x))
        z = self.manifold.features(x)
        square = self.sigma(t)[:, None].square()
        damping = (-0.25 * self.frequency.square().sum(1) * square).exp()
        waves = damping * (z @ self.frequency.T + self.phase).cos()
        if not self.manifold.is_compact:
            z = soft_clip(z / (1 + square).sqrt(), self.radius)
        level = t[:, None]
        return self.network(torch.cat([z, waves, level, level.square()], 1))


class AnnealedEnergy(BaseEnergy):
    r"""A correction of a base measure, at every noise level.

    In Euclidean space the base at a noise level is :math:`q_0` inflated by
    :math:`\sqrt{1+\sigma^2}`, as diffusion inflates the standard normal. On a manifold it
    is :math:`q_0` at all noise levels.

    Parameters
    ----------
    correction : LevelEnergy
        The network's energy.
    base : BaseMeasure or None
        The density :math:`q_0`, normalised; None for none.

    Examples
    --------
    An untrained correction leaves the base, which has variance 1 + 9 at noise level 1.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.energies import AnnealedEnergy, LevelEnergy, MLPEnergy
    >>> from sk_wmvl.manifolds import Euclidean
    >>> line = Euclidean(1)
    >>> network = LevelEnergy(MLPEnergy(LevelEnergy.n_inputs(line)), line, (0.05, 3.0))
    >>> energy = AnnealedEnergy(network, GaussianBase(np.zeros(1), np.eye(1)).float())
    >>> energy(torch.zeros(1, 1), torch.ones(1)).detach()  # log(20 pi) / 2
    tensor([2.0702])
    """

    def __init__(self, correction: nn.Module, base: BaseMeasure | None):
        super().__init__()
        self.correction = cast(LevelEnergy, correction)
        self.base = base

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Return the energies, (n,), at points (n, d) and noise levels (n,) or zero."""
        if t is None:
            t = x.new_zeros(len(x))
        value = self.correction(x, t)
        if self.base is None:
            return value
        manifold = self.correction.manifold
        if len(manifold.flat_columns) < manifold.ambient_dim:
            return value - self.base.log_prob(x)
        stretch = (1 + self.correction.sigma(t).square()).sqrt()
        log_base = self.base.log_prob(x / stretch[:, None])
        return value - log_base + x.shape[1] * stretch.log()
