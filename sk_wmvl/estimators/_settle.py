r"""Choose the scale of a trained correction, and estimate log Z.

Score matching says nothing about a model where there are no data. In many dimensions the
energy there can be far lower than at the data, so that nearly all mass is away from the
data. The path from the base measure to the model, :math:`q_\lambda \propto q_0
e^{-\lambda E_\theta}`, is an exponential family in :math:`\lambda`. The held-out
log-likelihood is concave on it. A small enough scale therefore does no harm.
"""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.energies import CorrectedEnergy, TransformedEnergy, freeze
from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.estimators._prepare import COMPARISON, NORMALIZER, Setup
from sk_wmvl.normalizers import (
    BaseNormalizer,
    LogNormalizer,
    find_fault,
    is_expensive,
    warn_if_unreliable,
)
from sk_wmvl.normalizers._base import log_mean_exp
from sk_wmvl.normalizers.importance import summarize_weights
from sk_wmvl.samplers._base import evaluate_in_chunks
from sk_wmvl.training import TensorData

__all__ = ["OverdispersedDraws", "inflate", "scale_correction", "settle"]

# Numbers of draws of the base measure, by which scales of the correction are compared.
N_DRAWS, MORE_DRAWS = 16_384, 131_072
MAX_HALVINGS = 7  # the smallest scale above 0 is 1/128
LEVEL = 0.975  # of the quantile that widens errors from few rows
EXACT = LogNormalizer(0.0, 0.0, 0, math.inf, "exact")  # log Z of a base alone
QUICK_ERROR = 0.01  # nats; with less, draws of the base are accurate enough
MIN_GAIN = 1e-4  # nats per row; a smaller gain is not worth a network
INFLATIONS = (1.0, 1.5, 2.0, 3.0, 5.0)


def settle(
    correction: nn.Module,
    setup: Setup,
    judged: TensorData,
    *,
    normalizer: BaseNormalizer | None,
    proposal: BaseMeasure | None,
    device: torch.device,
) -> FittedEnergy:
    """Return the fitted energy: frozen, with its correction scaled, and normalised.

    Parameters
    ----------
    correction : Module
        The trained correction, which is copied.
    setup : Setup
        The space, the units and the base measure.
    judged : TensorData
        The rows by whose likelihood the scale of the correction is chosen.
    normalizer : BaseNormalizer or None
        The estimator of log Z. None leaves the energy unnormalised, and the correction
        at scale 1.
    proposal : BaseMeasure or None
        A normalised density close to the rows, which replaces that of `setup`.
    device : torch.device

    Returns
    -------
    fitted : FittedEnergy

    Warns
    -----
    ConvergenceWarning
        If the correction was scaled because a larger scale does harm.
    NormalizerWarning
        If the estimate of log Z cannot be trusted.
    """
    corrected = CorrectedEnergy(freeze(correction), copy.deepcopy(setup.base))
    energy = TransformedEnergy(corrected, *setup.coordinates).to(device)
    proposal = setup.proposal if proposal is None else proposal
    fitted = FittedEnergy(energy, setup.manifold, proposal, device, setup.seed)
    if normalizer is None:
        return fitted
    # The same object as the energy's base, so that a normalizer sees that it cancels.
    own = corrected.base
    if own is None:
        assert proposal is not None  # density estimators always have one
        source = copy.deepcopy(proposal).to(device)
    else:
        source = own

    @torch.no_grad()
    def normalize() -> LogNormalizer:
        return normalizer.estimate(
            corrected,
            source,
            generator=make_generator(setup.seed, NORMALIZER),
            manifold=setup.manifold,
        )

    if own is None:
        estimate = normalize()
    else:
        generator = make_generator(setup.seed, COMPARISON)
        # A base with expensive densities rules out a grid, but its draws are cheap.
        n_draws = MORE_DRAWS if is_expensive(own) else N_DRAWS
        draws = own.sample(n_draws, generator=generator)
        columns = setup.manifold.flat_columns
        far = inflate(own, draws, columns) if columns else None
        estimate = scale_correction(corrected, normalize, judged, draws, far)
    warn_if_unreliable(estimate)
    return replace(fitted, log_normalizer=estimate)


class OverdispersedDraws(NamedTuple):
    """Draws from a wider density than the base measure, with importance weights.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        Draws from a density r.
    log_ratio : Tensor of shape (n,)
        The log of the ratio of the base's density to r.
    """

    x: Tensor
    log_ratio: Tensor


@torch.no_grad()
def inflate(
    base: BaseMeasure, draws: Tensor, columns: Sequence[int]
) -> OverdispersedDraws:
    """Return draws of the base, inflated 1, 1.5, 2, 3 and 5 times, a fifth of them each.

    Parameters
    ----------
    base : BaseMeasure
        A density in Euclidean space, or on a product with it.
    draws : Tensor of shape (n, d)
        Draws from the base, which are inflated about their median.
    columns : sequence of int
        The columns of Euclidean space, the only ones that can be inflated.

    Returns
    -------
    draws : OverdispersedDraws
        The inflated draws. Their density r is the mixture of the five densities.
    """
    flat = draws.new_zeros(draws.shape[1], dtype=torch.bool)
    flat[list(columns)] = True
    center = draws.median(0).values

    def scale(x: Tensor, t: float) -> Tensor:
        return torch.where(flat, center + t * (x - center), x)

    parts = torch.tensor_split(draws, len(INFLATIONS))
    x = torch.cat([scale(part, t) for t, part in zip(INFLATIONS, parts, strict=True)])
    densities = [
        base.log_prob(scale(x, 1 / t))
        - len(columns) * math.log(t)
        + math.log(len(part) / len(draws))
        for t, part in zip(INFLATIONS, parts, strict=True)
    ]
    return OverdispersedDraws(x, base.log_prob(x) - torch.stack(densities).logsumexp(0))


def scale_correction(
    energy: CorrectedEnergy,
    normalize: Callable[[], LogNormalizer],
    rows: TensorData,
    draws: Tensor,
    overdispersed: OverdispersedDraws | None = None,
) -> LogNormalizer:
    r"""Set the scale of the correction that makes some rows most likely.

    The mean log-likelihood of the rows exceeds the base measure's by
    :math:`J(\lambda) = -\lambda\,\overline{E_\theta} - \log Z(\lambda)`, a concave
    function. The scale with the largest J is chosen from
    :math:`\lambda = \frac1{128}, \dots, \frac12, 1`. It is kept if its :math:`\log Z` can
    be trusted, and if J exceeds both 0.0001 and its own standard error, which Student's t
    widens if there are few rows. Otherwise the scale is 0, the base measure alone. This is
    the one-standard-error rule of [Breiman1984]_: within one error, the simpler model is
    preferred.

    Parameters
    ----------
    energy : CorrectedEnergy
        The frozen energy, whose `scale` is set.
    normalize : callable
        Returns the estimate of log Z for the energy at its current scale.
    rows : TensorData
        Rows in internal units, held out from training if rows were. If they are in
        groups, the standard error is that of a sum over groups.
    draws : Tensor of shape (n, d)
        Draws from the base measure, in float64. The mean of :math:`e^{-\lambda E_\theta}`
        over them estimates :math:`Z(\lambda)` for all :math:`\lambda`. If this estimate
        cannot be trusted, `normalize` is called instead. That would take minutes if the
        base has very many components. The draws then decide alone, and the base is kept
        if a final call of `normalize` contradicts them.
    overdispersed : OverdispersedDraws or None, default=None
        Draws that reach places where the base has hardly any draws. An estimate of
        :math:`\log Z` that is significantly below theirs cannot be trusted.

    Returns
    -------
    estimate : LogNormalizer
        Log Z at the scale that was kept. It is exact at 0, as the base is normalised.

    Warns
    -----
    ConvergenceWarning
        If at the next larger scale :math:`\log Z` cannot be trusted, or J is below
        zero by more than twice its standard error. A correction that gains nothing, but
        does no harm, is scaled without a warning.
    """
    weight = rows.weight.double() / rows.weight.double().sum()
    with torch.no_grad():
        values = energy.correction(rows.x.double())
        at_draws = evaluate_in_chunks(energy.correction, draws)
        at_far = (
            None
            if overdispersed is None
            else evaluate_in_chunks(energy.correction, overdispersed.x)
        )
    mean = float((values * weight).sum())
    spread = _standard_error(values - mean, weight, rows.groups)
    has_expensive_base = energy.base is not None and is_expensive(energy.base)

    def quick() -> LogNormalizer:
        n = len(draws)
        estimate = summarize_weights(-energy.scale * at_draws, n, "importance")
        trusted = not find_fault(estimate) and estimate.std_error <= QUICK_ERROR
        return estimate if trusted or has_expensive_base else normalize()

    def is_bad(estimate: LogNormalizer) -> bool:
        if overdispersed is not None and at_far is not None:
            log_ratio = overdispersed.log_ratio - energy.scale * at_far
            seen, error, _ = log_mean_exp(log_ratio)
            tolerance = 4 * math.hypot(error, estimate.std_error) + QUICK_ERROR
            if not seen <= estimate.value + tolerance:
                return True
        return bool(find_fault(estimate))

    best, harmful = _search(energy, quick, mean, spread, is_bad)
    if best.method != "exact":
        # Draws of the base can miss a mode of the model, so the normalizer confirms.
        final = normalize()
        tolerance = 4 * math.hypot(best.std_error, final.std_error) + QUICK_ERROR
        if abs(final.value - best.value) <= tolerance and not is_bad(final):
            best = min(best, final, key=lambda estimate: estimate.std_error)
        elif has_expensive_base:
            energy.scale, best, harmful = 0.0, EXACT, True
        else:
            best, harmful = _search(energy, normalize, mean, spread, is_bad)
    if harmful:
        warnings.warn(
            f"The learned correction was scaled by {energy.scale:g} (correction_scale_): "
            "a larger scale makes held-out rows less likely, or puts mass where there are "
            "no data. Try another base, a larger alpha, or more rows.",
            ConvergenceWarning,
            stacklevel=6,
        )
    return best


def _standard_error(residuals: Tensor, weight: Tensor, groups) -> float:
    """Return the standard error of a weighted mean, by groups if there are any."""
    terms = residuals * weight
    if groups is not None:
        labels = torch.as_tensor(np.unique(groups, return_inverse=True)[1])
        empty = torch.zeros(int(labels.max()) + 1, dtype=weight.dtype)
        terms, weight = (empty.index_add(0, labels, t.cpu()) for t in (terms, weight))
    if len(terms) < 2:
        return math.inf
    # With few rows the error itself is uncertain, so Student's t replaces the normal.
    n_effective = 1 / float(weight.square().sum())
    wider = stats.t.ppf(LEVEL, max(n_effective - 1, 1)) / stats.norm.ppf(LEVEL)
    return float(terms.square().sum().sqrt() * wider)


def _search(
    energy: CorrectedEnergy,
    normalize: Callable[[], LogNormalizer],
    mean: float,
    spread: float,
    is_bad: Callable[[LogNormalizer], bool],
) -> tuple[LogNormalizer, bool]:
    """Set the scale with the largest gain.

    Returns log Z at this scale, and whether a larger scale does harm. Scales grow until the
    gain falls: it is concave, so it would fall from there on. Small scales come first,
    because log Z is cheap there.
    """
    harmful = False
    best_gain, best_error, best_scale = 0.0, 0.0, 0.0
    best = EXACT
    for k in range(MAX_HALVINGS, -1, -1):
        energy.scale = 0.5**k
        estimate = normalize()
        gain = -energy.scale * mean - estimate.value
        error = math.hypot(energy.scale * spread, estimate.std_error)
        fault = is_bad(estimate)
        if fault or gain <= best_gain:
            harmful = fault or gain < -2 * error
            break
        best_gain, best_error, best_scale, best = gain, error, energy.scale, estimate
    if best_gain <= max(best_error, MIN_GAIN):
        best_scale, best = 0.0, EXACT
    energy.scale = best_scale
    return best, harmful
