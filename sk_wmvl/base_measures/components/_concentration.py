r"""The concentration of von Mises-Fisher distributions: estimates and draws.

Near the mean direction :math:`\mu` a cosine is one but for digits that rounding takes.
All functions therefore work with the *deficit*
:math:`1-\mu^\top x = \tfrac12\|x-\mu\|^2`, which keeps its digits.
"""

import functools
import math

import numpy as np
import torch
from scipy import special
from torch import Tensor

__all__ = [
    "LARGEST",
    "SMALLEST",
    "TIGHT",
    "half_square_gaps",
    "log_bessel",
    "mean_deficit",
    "mean_resultant_length",
    "sample_deficit",
    "solve_concentration",
]

# At the largest concentration a unit vector in float64 has four digits of its deviation.
SMALLEST, LARGEST = 1e-2, 1e24
TIGHT = 1e5  # beyond it kappa (t - 1) from a product t loses more than ten digits
N_NEWTON, N_FIXED_POINT = 5, 8
DEBYE = 1e3  # of the root of order² + kappa²: beyond it four terms are exact to 1e-13
ASYMPTOTIC = 100.0  # times d: beyond it the series of the deficit is exact
N_TERMS = 9


def log_bessel(order: float, kappa: np.ndarray) -> np.ndarray:
    r"""Return :math:`\log I_\nu(\kappa) - \kappa`, without overflow or underflow."""
    kappa = np.asarray(kappa, dtype=np.float64)
    large = np.hypot(order, kappa) >= DEBYE
    value = np.empty_like(kappa)
    value[large] = _debye(order, kappa[large])
    k = kappa[~large]
    with np.errstate(divide="ignore"):
        scaled = np.log(special.ive(order, k))
    low = ~np.isfinite(scaled)
    # where the scaled Bessel function underflows, its power series does not
    if low.any():
        few = k[low]
        series = np.log(special.hyp0f1(order + 1, few**2 / 4))
        lead = order * np.log(few / 2) - special.gammaln(order + 1) - few
        scaled[low] = lead + series
    value[~large] = scaled
    return value


def _debye(order: float, kappa: np.ndarray) -> np.ndarray:
    r"""Return :math:`\log I_\nu(\kappa)-\kappa` by Debye's expansion, [DLMF]_ 10.41.3.

    With :math:`\rho=\sqrt{\nu^2+\kappa^2}` and :math:`p=\nu/\rho`, the terms
    :math:`U_k(p)/\nu^k` are polynomials of p over powers of ρ: also zero has its order.
    """
    root = np.hypot(order, kappa)
    p = (order / root) ** 2
    u1 = (3 - 5 * p) / 24
    u2 = (81 + p * (-462 + p * 385)) / 1152
    u3 = (30375 + p * (-369603 + p * (765765 - p * 425425))) / 414720
    value = order * (order / (root + kappa) + np.log(kappa / (order + root)))
    value -= 0.5 * np.log(2 * math.pi * root)
    return value + np.log1p((u1 + (u2 + u3 / root) / root) / root)


def mean_resultant_length(kappa: np.ndarray, d: int) -> np.ndarray:
    r"""Return :math:`A_d(\kappa) = I_{d/2}(\kappa)/I_{d/2-1}(\kappa)`."""
    return np.exp(log_bessel(d / 2, kappa) - log_bessel(d / 2 - 1, kappa))


def mean_deficit(kappa: np.ndarray, d: int) -> np.ndarray:
    r"""Return :math:`1-A_d(\kappa)`, the mean deficit, to nearly all digits.

    Beyond 100 d it is a series :math:`\sum_n b_n\kappa^{-n}` with :math:`b_1=(d-1)/2`.
    Riccati's equation :math:`A_d'=1-A_d^2-(d-1)A_d/\kappa` gives the other terms.
    """
    kappa = np.asarray(kappa, dtype=np.float64)
    series = np.zeros_like(kappa)
    for coefficient in reversed(_deficit_series(d)):
        series = (series + coefficient) / kappa
    low = kappa < ASYMPTOTIC * d
    if low.any():
        series[low] = 1 - mean_resultant_length(kappa[low], d)
    return series


@functools.cache
def _deficit_series(d: int) -> list[float]:
    """Return the coefficients of the series; see `mean_deficit`."""
    b = [(d - 1) / 2]
    for n in range(1, N_TERMS):
        products = sum(b[i] * b[n - 1 - i] for i in range(n))
        b.append(((n - 2 * b[0]) * b[-1] + products) / 2)
    return b


def solve_concentration(deficit: np.ndarray, d: int) -> np.ndarray:
    r"""Return the κ with :math:`1-A_d(\kappa)` as given."""
    deficit = np.clip(deficit, 1e-300, 1 - 1e-9)
    length = 1 - deficit
    start = length * (d - length**2) / (deficit * (2 - deficit))
    kappa = np.clip(start, SMALLEST, LARGEST)
    low = kappa < ASYMPTOTIC * d
    k, target = kappa[low], length[low]
    for _ in range(N_NEWTON):
        a = mean_resultant_length(k, d)
        slope = np.maximum(1 - a**2 - (d - 1) / k * a, 1e-300)
        step = np.where(np.isfinite(a), (a - target) / slope, 0.0)
        k = np.clip(k - step, 0.5 * k, 2 * k)
    kappa[low] = k
    # Newton's slope cancels here, and the deficit is nearly (d - 1) / (2 kappa)
    k = kappa[~low]
    for _ in range(N_FIXED_POINT):
        k = k * mean_deficit(k, d) / deficit[~low]
    kappa[~low] = k
    return np.clip(kappa, SMALLEST, LARGEST)


def half_square_gaps(x: Tensor, centers: Tensor) -> Tensor:
    r"""Return :math:`\tfrac12\|x_i-c_k\|^2`, (n, K), from differences of coordinates."""
    pairs = zip(x.unbind(-1), centers.unbind(-1), strict=True)
    total = x.new_zeros(len(x), len(centers))
    for column, center in pairs:
        gap = column[:, None] - center
        total = torch.addcmul(total, gap, gap)
    return 0.5 * total


def sample_deficit(kappa: Tensor, d: int, generator: torch.Generator | None) -> Tensor:
    """Return one minus the cosine of the angle to the mean, (n, 1), in float64.

    It is Wood's rejection sampler, in terms that do not cancel at large concentrations.
    """
    kappa = kappa.double()
    b = (d - 1) / (2 * kappa + (4 * kappa**2 + (d - 1) ** 2).sqrt())
    # of x0 = (1 - b) / (1 + b), the cosine at which a proposal is surely accepted
    x0_deficit = 2 * b / (1 + b)
    out, left = torch.empty_like(kappa), torch.arange(len(kappa))
    shape = torch.full((1,), (d - 1) / 2, dtype=kappa.dtype)
    while len(left):
        n = len(left)
        # a symmetric beta variable, from two gamma variables
        g = torch._standard_gamma(shape.expand(2 * n), generator=generator)
        z = (g[:n] / (g[:n] + g[n:]))[:, None]
        bl, first = b[left], x0_deficit[left]
        deficit = 2 * bl * z / (1 - (1 - bl) * z)
        u = torch.rand(n, 1, generator=generator, dtype=kappa.dtype)
        # log of (1 - x0 w) / (1 - x0^2), where the cosine is w = 1 - deficit
        ratio = (first + (1 - first) * deficit) / (first * (2 - first))
        good = kappa[left] * (first - deficit) + (d - 1) * ratio.log()
        accept = (good >= u.log()).squeeze(1)
        out[left[accept]] = deficit[accept]
        left = left[~accept]
    return out.clamp(0, 2)
