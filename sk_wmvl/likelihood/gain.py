r"""What a correction gains over its base measure, at every scale.

The model :math:`q_\lambda\propto q_0 e^{-\lambda E}` makes rows likelier than the base
measure does by

.. math:: J(\lambda) = -\lambda\,\overline{E} - \log Z(\lambda),\qquad
          Z(\lambda) = \mathbb{E}_{q_0} e^{-\lambda E},

a concave function of :math:`\lambda` with J(0) = 0. One evaluation of the network at the
rows and at weighted draws gives it for all scales.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SCALES", "Gain", "best_gain", "gain_at", "gains", "log_mean_exp"]

# About the square root of two apart, and coarser where a correction hardly counts.
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 1 / 16, 1 / 32, 1 / 64)


class Gain(NamedTuple):
    r"""A gain in mean log-likelihood.

    Attributes
    ----------
    value : float
        :math:`J(\lambda)`, in nats per row.
    scale : float
        The scale :math:`\lambda`.
    log_z : float
        :math:`\log Z(\lambda)`, in nats.
    """

    value: float
    scale: float
    log_z: float


def gains(
    at_rows: Tensor, weight: Tensor, at_draws: Tensor, log_weight: Tensor
) -> list[Gain]:
    """Return the gains at all `SCALES`.

    Parameters
    ----------
    at_rows : Tensor of shape (n,)
        The correction at rows that are judged.
    weight : Tensor of shape (n,)
        Their weights.
    at_draws : Tensor of shape (m,)
        The correction at weighted draws.
    log_weight : Tensor of shape (m,)
        Their weights' logs; see `Pool`.

    Returns
    -------
    gains : list of Gain
    """
    return [gain_at(s, at_rows, weight, at_draws, log_weight) for s in SCALES]


def gain_at(
    scale: float, at_rows: Tensor, weight: Tensor, at_draws: Tensor, log_weight: Tensor
) -> Gain:
    """Return the gain at one scale; see `gains`."""
    weight = weight.double()
    mean = float((weight * at_rows.double()).sum() / weight.sum())
    terms = log_weight.double() - scale * at_draws.double()
    log_z = float(torch.logsumexp(terms, 0)) - math.log(len(terms))
    return Gain(-scale * mean - log_z, scale, log_z)


def best_gain(
    at_rows: Tensor, weight: Tensor, at_draws: Tensor, log_weight: Tensor
) -> Gain:
    """Return the largest gain; that of scale 0, which is zero, if none is positive."""
    values = gains(at_rows, weight, at_draws, log_weight)
    # A correction that is NaN somewhere has no gain.
    finite = [gain for gain in values if math.isfinite(gain.value)]
    return max([Gain(0.0, 0.0, 0.0), *finite], key=lambda gain: gain.value)


def log_mean_exp(log_weights: Tensor) -> tuple[float, float, float]:
    r"""Return the log of the mean weight, its standard error and Kish's ESS.

    The standard error is that of the delta method, sd(w) / (mean(w) sqrt(n)). If the
    largest log weight is NaN or infinite, it is returned with an infinite error.
    """
    n = len(log_weights)
    top = float(log_weights.max())  # NaN if any is
    if not math.isfinite(top):
        return top, math.inf, 0.0
    w = (log_weights - top).exp().double()
    mean = float(w.mean())
    std_error = float(w.std()) / mean / math.sqrt(n) if n > 1 else math.inf
    ess = float(w.sum().square() / w.square().sum())
    return math.log(mean) + top, std_error, ess
