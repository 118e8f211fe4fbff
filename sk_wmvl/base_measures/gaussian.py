"""The multivariate normal density."""

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl.base_measures._base import LOG_2PI, BaseMeasure

__all__ = ["GaussianBase"]


class GaussianBase(BaseMeasure):
    r"""A multivariate normal density.

    Parameters
    ----------
    mean : array of shape (d,)
    covariance : array of shape (d, d)
        Positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> q = GaussianBase(np.zeros(2), np.eye(2))
    >>> q.log_prob(torch.zeros(1, 2).double())  # -log(2 pi)
    tensor([-1.8379], dtype=torch.float64)
    """

    mean: Tensor
    chol: Tensor
    precision_chol: Tensor
    bias: Tensor

    def __init__(self, mean: np.ndarray, covariance: np.ndarray):
        super().__init__()
        chol = np.linalg.cholesky(covariance)
        precision_chol = np.linalg.inv(chol)  # rows whiten: P (x - mean)
        d = len(mean)
        self.log_constant = -0.5 * d * LOG_2PI - float(np.log(np.diag(chol)).sum())
        to = torch.float64
        self.register_buffer("mean", torch.tensor(mean, dtype=to))
        self.register_buffer("chol", torch.tensor(chol, dtype=to))
        self.register_buffer("precision_chol", torch.tensor(precision_chol, dtype=to))
        self.register_buffer("bias", torch.tensor(-precision_chol @ mean, dtype=to))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        r = nn.functional.linear(x, self.precision_chol, self.bias)
        return self.log_constant - 0.5 * (r * r).sum(-1)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        z = torch.randn(
            n_samples, len(self.mean), generator=generator, dtype=self.mean.dtype
        )
        return self.mean + z.to(self.mean.device) @ self.chol.T

    def inflated(self, factor: float) -> "GaussianBase":
        """Return the density with standard deviations multiplied."""
        chol = self.chol.double().cpu().numpy() * factor
        wider = GaussianBase(self.mean.double().cpu().numpy(), chol @ chol.T)
        return wider.to(self.mean)
