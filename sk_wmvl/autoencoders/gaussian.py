"""Gaussian likelihood with one learned noise level."""

import math

import torch
from torch import Tensor, nn

from sk_wmvl._random import randn_like
from sk_wmvl.autoencoders._base import BaseLikelihood

__all__ = ["GaussianLikelihood"]

# In standard deviations of a column; without it exact fits would be infinitely likely.
MIN_SCALE = 1e-3


class GaussianLikelihood(BaseLikelihood):
    r"""Columns normal about the decoder's outputs, with one standard deviation σ.

    Parameters
    ----------
    columns : Tensor of shape (d,)
        Ones for columns that vary, zeros for constant columns, which are left out.

    Attributes
    ----------
    log_scale : Parameter
        :math:`\log(\sigma - 10^{-3})`, learned.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import GaussianLikelihood
    >>> likelihood = GaussianLikelihood(torch.ones(2))
    >>> x = torch.zeros(1, 2)
    >>> likelihood.log_prob(x, x).detach()  # -log(2 pi) - 2 log 1.001
    tensor([-1.8399])
    """

    columns: Tensor

    def __init__(self, columns: Tensor):
        super().__init__()
        self.register_buffer("columns", columns)
        self.n_columns = float(columns.sum())
        self.log_scale = nn.Parameter(torch.zeros(()))

    def prepare(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the rows themselves."""
        del generator
        return x

    def scale(self) -> Tensor:
        """Return the standard deviation."""
        return self.log_scale.exp() + MIN_SCALE

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """Return log densities; see `BaseLikelihood.log_prob`."""
        scale = self.scale()
        square = ((x - out).square() * self.columns).sum(-1) / scale.square()
        lead = self.n_columns * (scale.log() + 0.5 * math.log(2 * math.pi))
        return -0.5 * square - lead

    def mean(self, out: Tensor) -> Tensor:
        """Return the outputs."""
        return out

    def curvature(self, out: Tensor) -> Tensor:
        """Return the inverse variance."""
        return (self.columns / self.scale().square()).expand_as(out)

    def sample(
        self, out: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return normal draws; constant columns are the outputs."""
        return out + self.columns * self.scale() * randn_like(out, generator)
