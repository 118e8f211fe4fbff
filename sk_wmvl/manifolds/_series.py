"""Functions of a length r as smooth functions of r squared.

Each has a series below `SERIES_BELOW` and a double ``where``. Their derivatives are
therefore finite at zero, also in float32.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "asinh_over",
    "cos",
    "cosh",
    "log_sinh_over",
    "safe_norm",
    "sin_over",
    "sinh_over",
]

SERIES_BELOW = 1e-2  # of the squared argument: five terms are exact in float64
# asinh(t)/t = sum_k (-1)^k (2k)! / (4^k k!^2 (2k+1)) t^2k; eight terms leave 1e-18
ASINH = [(-1) ** k * math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(8)]


def split(square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where to use the series, r for the formula, and r squared for the series."""
    small = square < SERIES_BELOW
    return (
        small,
        torch.where(small, 1.0, square).sqrt(),
        torch.where(small, square, 0.0),
    )


def safe_norm(u: Tensor) -> Tensor:
    """Return norms of shape (n, 1) whose gradient at zero is zero."""
    square = u.square().sum(-1, keepdim=True)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def cos(square: Tensor) -> Tensor:
    r"""Return :math:`\cos r` from :math:`r^2`."""
    small, r, s = split(square)
    series = 1 - s / 2 * (1 - s / 12 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90))))
    return torch.where(small, series, r.cos())


def sin_over(square: Tensor) -> Tensor:
    r"""Return :math:`\sin r / r` from :math:`r^2`."""
    small, r, s = split(square)
    series = 1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110))))
    return torch.where(small, series, r.sin() / r)


def cosh(square: Tensor) -> Tensor:
    r"""Return :math:`\cosh r` from :math:`r^2`."""
    small, r, s = split(square)
    series = 1 + s / 2 * (1 + s / 12 * (1 + s / 30 * (1 + s / 56 * (1 + s / 90))))
    return torch.where(small, series, r.cosh())


def sinh_series(s: Tensor) -> Tensor:
    """Return the series of `sinh_over`."""
    return 1 + s / 6 * (1 + s / 20 * (1 + s / 42 * (1 + s / 72 * (1 + s / 110))))


def sinh_over(square: Tensor) -> Tensor:
    r"""Return :math:`\sinh r / r` from :math:`r^2`."""
    small, r, s = split(square)
    return torch.where(small, sinh_series(s), r.sinh() / r)


def log_sinh_over(square: Tensor) -> Tensor:
    r"""Return :math:`\log(\sinh r / r)` from :math:`r^2`, without overflow."""
    small, r, s = split(square)
    large = r + torch.log1p(-torch.exp(-2 * r)) - torch.log(2 * r)
    return torch.where(small, sinh_series(s).log(), large)


def asinh_over(square: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{asinh}\,t / t` from :math:`t^2`."""
    small, t, s = split(square)
    series = torch.zeros_like(s)
    for coefficient in reversed(ASINH):
        series = coefficient + s * series
    return torch.where(small, series, t.asinh() / t)
