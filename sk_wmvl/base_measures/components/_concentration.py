"""The concentration of von Mises-Fisher distributions: estimates and draws."""

import numpy as np
import torch
from scipy import special
from torch import Tensor

__all__ = [
    "LARGEST",
    "SMALLEST",
    "mean_resultant_length",
    "sample_cosine",
    "solve_concentration",
]

# Beyond, exp(kappa (t - 1)) varies within the rounding of double precision.
SMALLEST, LARGEST = 1e-2, 1e8
N_NEWTON = 5


def mean_resultant_length(kappa: np.ndarray, d: int) -> np.ndarray:
    r"""Return :math:`A_d(\kappa) = I_{d/2}(\kappa)/I_{d/2-1}(\kappa)`."""
    return special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)


def solve_concentration(length: np.ndarray, d: int) -> np.ndarray:
    r"""Return the κ with :math:`A_d(\kappa)` as given, by Newton's method."""
    length = np.clip(length, 1e-9, 1 - 1e-12)
    kappa = np.clip(length * (d - length**2) / (1 - length**2), SMALLEST, LARGEST)
    for _ in range(N_NEWTON):
        a = mean_resultant_length(kappa, d)
        slope = np.maximum(1 - a**2 - (d - 1) / kappa * a, 1e-300)
        step = np.where(np.isfinite(a), (a - length) / slope, 0.0)
        kappa = np.clip(kappa - step, 0.5 * kappa, 2 * kappa)
    # near one the slope cancels, and the asymptote is exact to 1e-6
    tight = (d - 1) / (2 * (1 - length))
    return np.clip(np.where(1 - length < 1e-6, tight, kappa), SMALLEST, LARGEST)


def sample_cosine(kappa: Tensor, d: int, generator: torch.Generator | None) -> Tensor:
    """Return cosines of the angle to the mean, (n, 1), by Wood's rejection sampler.

    In float64 whatever the dtype: at a large concentration the cosine is close to one.
    """
    dtype, kappa = kappa.dtype, kappa.double()
    b = (d - 1) / (2 * kappa + (4 * kappa**2 + (d - 1) ** 2).sqrt())
    x0 = (1 - b) / (1 + b)
    # 1 - x0^2 without cancellation
    c = kappa * x0 + (d - 1) * (4 * b / (1 + b) ** 2).log()
    out, left = torch.empty_like(kappa), torch.arange(len(kappa))
    shape = torch.full((1,), (d - 1) / 2, dtype=kappa.dtype)
    while len(left):
        n = len(left)
        # a symmetric beta variable, from two gamma variables
        g = torch._standard_gamma(shape.expand(2 * n), generator=generator)
        z = (g[:n] / (g[:n] + g[n:]))[:, None]
        bl = b[left]
        w = (1 - (1 + bl) * z) / (1 - (1 - bl) * z)
        u = torch.rand(n, 1, generator=generator, dtype=kappa.dtype)
        good = kappa[left] * w + (d - 1) * (1 - x0[left] * w).log() - c[left]
        accept = (good >= u.log()).squeeze(1)
        out[left[accept]] = w[accept]
        left = left[~accept]
    return out.clamp(-1, 1).to(dtype)
