r"""The derivative of the angle of a von Mises-Fisher draw in the concentration.

The angle has density :math:`f(\theta)\propto e^{\kappa\cos\theta}\sin^{d-2}\theta` and
distribution function F. At a fixed value of F its derivative is
:math:`d\theta/d\kappa = -\partial_\kappa F/f(\theta)`: minus the integral of
:math:`(A(\kappa) - \cos)\,f/f(\theta)` from θ to π. The integral from 0 to π is zero, so
that the integral from 0 to θ gives the same value.
"""

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.autoencoders._bessel import bessel_ratio

__all__ = ["angle_slope"]

N_NODES = 64
REACH = 14.0  # in standard deviations, where a normal tail is 1e-43
_nodes, _weights = np.polynomial.legendre.leggauss(N_NODES)
NODES = torch.from_numpy((_nodes + 1) / 2)
WEIGHTS = torch.from_numpy(_weights / 2)


def angle_slope(angle: Tensor, kappa: Tensor, d: int) -> Tensor:
    r"""Return :math:`d\theta/d\kappa` at a fixed value of F, of shape (n,); not positive.

    Parameters
    ----------
    angle : Tensor of shape (n,)
        Angles to the mean, in float64.
    kappa : Tensor of shape (n,)
        Concentrations, in float64.
    d : int
        The dimension of the ambient space.
    """
    mean = bessel_ratio(d / 2 - 1, kappa)
    # The mode's cosine c solves kappa (1 - c^2) = (d - 2) c; the curvature of log f there
    # is kappa (c + 1/c), and kappa if d = 2. Half of it is a bound for both.
    c = 2 * kappa / (d - 2 + ((d - 2) ** 2 + 4 * kappa**2).sqrt())
    reach = REACH / (0.5 * kappa * (c + 1 / c)).sqrt()
    # Integrating away from the mean avoids a difference of large terms.
    above = angle.cos() <= mean
    far = torch.where(above, (angle + reach).clamp(max=np.pi), (angle - reach).clamp(0))
    width = far - angle
    t = angle[:, None] + width[:, None] * NODES.to(angle)
    # cos t - cos angle, without cancellation
    rise = (
        -2 * torch.sin((t + angle[:, None]) / 2) * torch.sin((t - angle[:, None]) / 2)
    )
    log_ratio = (d - 2) * (t.sin() / angle[:, None].sin()).log()
    weight = (kappa[:, None] * rise + log_ratio).exp()
    gap = mean[:, None] - t.cos()
    integral = (gap * weight) @ WEIGHTS.to(angle) * width
    return -integral
