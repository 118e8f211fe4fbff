"""Normal posteriors with independent coordinates."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from sk_wmvl._random import randn_like
from sk_wmvl.autoencoders._base import BasePosterior
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["NormalPosterior"]


class NormalPosterior(BasePosterior):
    """The normal distribution with a mean and a standard deviation per coordinate.

    Parameters
    ----------
    loc : Tensor of shape (n, d)
        Means.
    scale : Tensor of shape (n, d)
        Standard deviations.

    References
    ----------
    [Kingma2014]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import NormalPosterior
    >>> posterior = NormalPosterior(torch.ones(1, 2), torch.ones(1, 2))
    >>> posterior.kl()  # half the squared mean
    tensor([1.])
    """

    manifold_class: ClassVar[type[BaseManifold]] = Euclidean

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc = loc
        self.scale = scale

    @staticmethod
    def n_raw(d: int) -> int:
        """Return 2 d: means and standard deviations."""
        return 2 * d

    @classmethod
    def from_raw(cls, raw: Tensor) -> Self:
        """Return distributions; standard deviations are softplus of the second half."""
        loc, scale = raw.chunk(2, -1)
        # softplus can round to zero, and the log of it would be infinite
        tiny = torch.finfo(raw.dtype).tiny ** 0.5
        return cls(loc, nn.functional.softplus(scale) + tiny)

    def sample(self, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one draw per row; see `BasePosterior.sample`."""
        return self.loc + self.scale * randn_like(self.loc, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log densities; see `BasePosterior.log_prob`."""
        u = (z - self.loc) / self.scale
        lead = self.scale.log().sum(-1) + 0.5 * z.shape[1] * math.log(2 * math.pi)
        return -0.5 * u.square().sum(-1) - lead

    def kl(self) -> Tensor:
        """Return the divergence from the standard normal distribution, of shape (n,)."""
        square = self.loc.square() + self.scale.square()
        return (0.5 * (square - 1) - self.scale.log()).sum(-1)

    def mean(self) -> Tensor:
        """Return the mean."""
        return self.loc

    def expectation(self) -> Tensor:
        """Return the mean."""
        return self.loc
