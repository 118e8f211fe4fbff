"""Bernoulli likelihood: binary columns, or grey values read as probabilities."""

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseLikelihood

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(BaseLikelihood):
    r"""Independent columns, one with probability :math:`1/(1+e^{-o})`, o the output.

    Parameters
    ----------
    binarize : bool, default=True
        Whether values between 0 and 1 are probabilities, of which fresh binary rows are
        drawn at each step of training. Otherwise they enter the cross-entropy as they are.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import BernoulliLikelihood
    >>> x = torch.tensor([[1.0, 0.0]])
    >>> BernoulliLikelihood().log_prob(x, torch.zeros(1, 2))  # 2 log(1/2)
    tensor([-1.3863])
    """

    def __init__(self, *, binarize: bool = True):
        super().__init__()
        self.binarize = binarize

    def prepare(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return fresh binary rows; see `BaseLikelihood.prepare`."""
        if not self.binarize:
            return x
        uniform = torch.rand(x.shape, dtype=x.dtype, generator=generator)
        return (uniform.to(x.device) < x).to(x.dtype)

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """Return minus cross-entropies; see `BaseLikelihood.log_prob`."""
        return ((x * out) - nn.functional.softplus(out)).sum(-1)

    def mean(self, out: Tensor) -> Tensor:
        """Return the probabilities."""
        return out.sigmoid()

    def curvature(self, out: Tensor) -> Tensor:
        """Return p (1 - p)."""
        p = out.sigmoid()
        return p * (1 - p)

    def sample(
        self, out: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return binary draws."""
        uniform = torch.rand(out.shape, dtype=out.dtype, generator=generator)
        return (uniform.to(out.device) < out.sigmoid()).to(out.dtype)
