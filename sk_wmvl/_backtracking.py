r"""A guard after training: the correction must help on rows it was not trained on.

Score matching says nothing about a model where there are no data. In many dimensions the
energy can sink there, far below the data's, and take all the mass. The path from the base
measure to the model, :math:`q_\lambda \propto q_0 e^{-\lambda E_\theta}`, is an exponential
family in :math:`\lambda`, on which the held-out log-likelihood is concave: going back along
it far enough always ends where the correction does no harm.
"""

import math
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
    r"""Scale the correction to where it raises the likelihood of some rows most.

    The mean log-likelihood of the rows exceeds the base measure's by
    :math:`J(\lambda) = -\lambda\,\overline{E_\theta} - \log Z(\lambda)`, a concave
    function. Of :math:`\lambda = 1, \frac12, \frac14, \dots` the one with the largest J is
    kept, if its :math:`\log Z` can be trusted and J exceeds its own standard error;
    otherwise 0, the base measure alone: within an error the simpler model is preferred, the
    one-standard-error rule of [Breiman1984]_.

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
    spread = float(((values - mean) * weight).square().sum().sqrt())
    harmful = False
    best_gain, best_scale, best = 0.0, 0.0, None
    for k in range(MAX_HALVINGS + 1):
        energy.scale = 0.5**k
        estimate = normalize()
        gain = -energy.scale * mean - estimate.value
        error = math.hypot(energy.scale * spread, estimate.std_error)
        fault = find_fault(estimate)
        harmful = harmful or (k == 0 and (bool(fault) or gain < -2 * error))
        if best is not None and gain <= best_gain:
            break  # J is concave: it only falls from here
        if gain > error and not fault:
            best_gain, best_scale, best = gain, energy.scale, estimate
    energy.scale = best_scale
    if best is None:
        best = normalize()
    if harmful:
        warnings.warn(
            f"The learned correction was scaled by {energy.scale:g} (correction_scale_): "
            "at full strength it lowers the likelihood of held-out rows, or puts mass "
            "where there are no data. Try base='mixture', a larger alpha, or more rows.",
            ConvergenceWarning,
            stacklevel=6,
        )
    return best
