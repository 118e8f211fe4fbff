r"""Modified Bessel functions of the first kind, differentiable in the argument.

The ratios :math:`r_\nu = I_{\nu+1}/I_\nu` obey the recurrence
:math:`r_\nu = 1/(2(\nu+1)/\kappa + r_{\nu+1})`, stable downwards, where an error shrinks
by :math:`r_\nu^2` at each step. It starts from Debye's expansion, which is uniform in the
argument, at an order of at least 40. The ratios give the logarithm at lower orders as well.
Nothing overflows or underflows, whatever the order and the argument.
"""

import math

import torch
from numpy.polynomial import Polynomial
from torch import Tensor

__all__ = ["bessel_ratio", "log_bessel"]

TOP_ORDER = 40  # where seven terms of Debye's expansion leave less than 1e-12
# Of the recurrence: enough to damp the cancellation of the start at small arguments.
MIN_STEPS = 12
N_TERMS = 7


def _debye_polynomials() -> tuple[list[list[float]], list[list[float]]]:
    """Return the coefficients of Debye's U_k and V_k, [DLMF]_ 10.41.9 and 10.41.11."""
    p = Polynomial([0.0, 1.0])
    u = [Polynomial([1.0])]
    v = [Polynomial([1.0])]
    for _ in range(N_TERMS - 1):
        slope = u[-1].deriv()
        following = 0.5 * p**2 * (1 - p**2) * slope + 0.125 * (
            (1 - 5 * p**2) * u[-1]
        ).integ(lbnd=0)
        v.append(following - 0.5 * p * (1 - p**2) * u[-1] - p**2 * (1 - p**2) * slope)
        u.append(following)
    return [q.coef.tolist() for q in u], [q.coef.tolist() for q in v]


U, V = _debye_polynomials()


def _series(polynomials: list[list[float]], p: Tensor, order: float) -> Tensor:
    total = torch.zeros_like(p)
    for k in reversed(range(N_TERMS)):
        value = torch.zeros_like(p)
        for c in reversed(polynomials[k]):
            value = value * p + c
        total = total / order + value
    return total


def _ratios(order: float, kappa: Tensor) -> tuple[list[Tensor], float, Tensor]:
    """Return the ratios at `order` and above, the order on top, and Debye's sum there."""
    n_steps = max(MIN_STEPS, math.ceil(TOP_ORDER - order))
    top = order + n_steps
    z = kappa / top
    p = (1 + z * z).rsqrt()
    total = _series(U, p, top)
    ratio = (_series(V, p, top) / total / p - 1) / z
    ratios = []
    for k in reversed(range(n_steps)):
        ratio = (2 * (order + k + 1) / kappa + ratio).reciprocal()
        ratios.append(ratio)
    return ratios, top, total


def bessel_ratio(order: float, kappa: Tensor) -> Tensor:
    r"""Return :math:`I_{\nu+1}(\kappa)/I_\nu(\kappa)` in float64.

    Parameters
    ----------
    order : float
        The order ν, at least zero.
    kappa : Tensor
        Positive arguments, of any shape.
    """
    return _ratios(order, kappa.double())[0][-1]


def log_bessel(order: float, kappa: Tensor) -> Tensor:
    r"""Return :math:`\log I_\nu(\kappa) - \kappa` in float64; see `bessel_ratio`."""
    kappa = kappa.double()
    ratios, top, total = _ratios(order, kappa)
    root = (kappa * kappa + top * top).sqrt()
    value = top * top / (root + kappa) + top * (kappa / (top + root)).log()
    value = value - 0.5 * (2 * math.pi * root).log() + total.log()
    return value - torch.stack(ratios).log().sum(0)
