r"""A guard after training: the correction must help on rows it was not trained on.

Score matching says nothing about a model where there are no data. In many dimensions the
energy can sink there, far below the data's, and take all the mass. The path from the base
measure to the model, :math:`q_\lambda \propto q_0 e^{-\lambda E_\theta}`, is an exponential
family in :math:`\lambda`, on which the held-out log-likelihood is concave: going back along
it far enough always ends where the correction does no harm.
"""

import warnings
from collections.abc import Callable

import torch
from sklearn.exceptions import ConvergenceWarning

from sk_wmvl._batches import TensorData
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.normalizers import LogNormalizer, find_fault

__all__ = ["backtrack"]

MAX_HALVINGS = 7  # down to 1/128, then the base itself


def backtrack(
    energy: CorrectedEnergy, normalize: Callable[[], LogNormalizer], rows: TensorData
) -> LogNormalizer:
    r"""Halve the correction until it raises the likelihood of some rows over the base's.

    The mean log-likelihood of the rows exceeds the base measure's by
    :math:`J(\lambda) = -\lambda\,\overline{E_\theta} - \log Z(\lambda)`. The first of
    :math:`\lambda = 1, \frac12, \frac14, \dots` with a trustworthy :math:`\log Z` and
    :math:`J(\lambda) \ge 0` is kept, or 0 if there is none.

    Parameters
    ----------
    energy : CorrectedEnergy
        Frozen; its `scale` is set.
    normalize : callable
        Returns the estimate for the energy as it stands.
    rows : TensorData
        Rows in internal units, held out from training where there are such.

    Returns
    -------
    estimate : LogNormalizer
        For the scale kept.

    Warns
    -----
    ConvergenceWarning
        If :math:`\log Z` at full strength cannot be trusted, or :math:`J(1)` is below
        zero by more than twice its standard error. A correction that is merely useless
        is scaled back without a warning, as early stopping would.
    """
    weight = rows.weight.double() / rows.weight.double().sum()
    with torch.no_grad():
        values = energy.correction(rows.x.double())
    mean = float((values * weight).sum())
    std_error = float(((values - mean) * weight).square().sum().sqrt())
    harmful = False
    for k in range(MAX_HALVINGS + 1):
        energy.scale = 0.5**k
        estimate = normalize()
        gain = -energy.scale * mean - estimate.value
        fault = find_fault(estimate)
        if gain >= 0 and not fault:
            break
        harmful = harmful or (k == 0 and (bool(fault) or gain < -2 * std_error))
    else:
        energy.scale = 0.0
        estimate = normalize()
    if harmful:
        warnings.warn(
            f"The learned correction was scaled by {energy.scale:g} (correction_scale_): "
            "at full strength it lowers the likelihood of held-out rows, or puts mass "
            "where there are no data. Try base='mixture', a larger alpha, or more rows.",
            ConvergenceWarning,
            stacklevel=6,
        )
    return estimate
