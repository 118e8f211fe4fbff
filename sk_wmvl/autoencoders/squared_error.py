"""Squared error: the cost of a Wasserstein auto-encoder for real columns."""

import torch
from torch import Tensor

from sk_wmvl.autoencoders._base import BaseLikelihood

__all__ = ["SquaredError"]


class SquaredError(BaseLikelihood):
    """Minus the squared distance: a Gaussian log density of variance 1/2, unnormalised.

    Parameters
    ----------
    columns : Tensor of shape (d,)
        Ones for columns that count, zeros for others.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import SquaredError
    >>> SquaredError(torch.ones(2)).log_prob(torch.ones(1, 2), torch.zeros(1, 2))
    tensor([-2.])
    """

    columns: Tensor

    def __init__(self, columns: Tensor):
        super().__init__()
        self.register_buffer("columns", columns)

    def prepare(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the rows themselves."""
        del generator
        return x

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """Return minus squared errors, of shape (n,)."""
        return -((x - out).square() * self.columns).sum(-1)

    def mean(self, out: Tensor) -> Tensor:
        """Return the outputs."""
        return out

    def curvature(self, out: Tensor) -> Tensor:
        """Return two."""
        return (2 * self.columns).expand_as(out)

    def sample(
        self, out: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the outputs: the decoder is deterministic."""
        del generator
        return out
