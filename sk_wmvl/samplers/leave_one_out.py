"""A kernel estimate of the density of each row from all the others."""

import math

import torch
from torch import Tensor

from sk_wmvl._component import BaseComponent, check_positive
from sk_wmvl.samplers._particles import check_particles

__all__ = ["LeaveOneOutDensity"]

# Scott's rule oversmooths where the spread is the distance between modes, so narrower
# bandwidths compete with it. The least is a floor: with ties the likelihood has no maximum.
SCOTT_FACTORS = [2.0**-k for k in range(6)]


class LeaveOneOutDensity(BaseComponent):
    r"""Gaussian kernel estimate of the log density of each row, without the row itself.

    .. math:: \log\hat p(x_i) = \log\frac{1}{n - 1}\sum_{j \ne i} N(x_i;\, x_j, h^2 I).

    Parameters
    ----------
    bandwidth : float or None, default=None
        The bandwidth `h`, in units of `x`. The candidates of None are Scott's rule times 1,
        1/2, ..., 1/32; the one with the largest leave-one-out likelihood is taken.

    Notes
    -----
    It estimates the density *smoothed* by the kernel. Its error shrinks slowly with the
    size of the batch and grows fast with the dimension, so that it can be trusted up to
    about three dimensions. If all rows coincide, the bandwidth is one.

    References
    ----------
    [Scott1992]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.samplers import LeaveOneOutDensity
    >>> LeaveOneOutDensity(1.0)(torch.zeros(5, 1))  # -log(2 pi) / 2
    tensor([-0.9189, -0.9189, -0.9189, -0.9189, -0.9189])
    """

    def __init__(self, bandwidth: float | None = None):
        self.bandwidth = bandwidth

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,) at points of shape (n, d)."""
        check_particles(self, x)
        distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        square = distance.square().fill_diagonal_(math.inf)  # a weight of zero
        if self.bandwidth is not None:
            check_positive(self, bandwidth=self.bandwidth)
            return _log_density(square, x.shape[1], float(self.bandwidth))
        n, d = x.shape
        scale = float(x.var(0).mean().sqrt()) * n ** (-1 / (d + 4)) or 1.0
        candidates = [_log_density(square, d, scale * f) for f in SCOTT_FACTORS]
        return max(candidates, key=lambda values: float(values.mean()))


def _log_density(square: Tensor, d: int, h: float) -> Tensor:
    log_peak = -d * math.log(h * math.sqrt(2 * math.pi))
    log_sum = torch.logsumexp(square / (-2 * h**2), 1)
    return log_peak + log_sum - math.log(len(square) - 1)
