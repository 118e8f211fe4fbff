r"""The scale of a trained correction, and log Z at that scale.

The path from the base measure to the model, :math:`q_\lambda \propto q_0
e^{-\lambda E_\theta}`, is an exponential family in :math:`\lambda`. The held-out
log-likelihood is concave on it, and zero, relative to the base measure, at
:math:`\lambda = 0`. The judge chooses the scale, and refuses any at which a search finds
mass that the estimate of log Z misses.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sk_wmvl._autodiff import energy_grad_laplacian
from sk_wmvl.energies import CorrectedEnergy, TangentSpaceEnergy, tangent_basis
from sk_wmvl.energies._base import evaluate_in_chunks
from sk_wmvl.likelihood import (
    SCALES,
    Cover,
    Gain,
    affordable,
    audit,
    gain_at,
)
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers import LogNormalizer, find_fault
from sk_wmvl.normalizers.importance import summarize_weights
from sk_wmvl.training import TensorData

__all__ = ["EXACT", "Verdict", "judge"]

EXACT = LogNormalizer(0.0, 0.0, 0, math.inf, "exact")  # log Z of a base alone
N_DRAWS = 32_768
MAX_SEARCHES, PATIENCE = 12, 3  # and how many may find more mass at one scale
LEVEL = 0.975  # of the quantile that widens errors from few rows
MIN_GAIN = 1e-4  # nats per row; a smaller gain is not worth a network
# The best of many epochs and scales gains about this, over the number of rows that judge,
# from rows of the base measure itself (calibrated on Gaussian rows).
CHANCE = 4.0
TOLERANCE = 0.01  # nats by which two estimates of log Z may differ, beside their errors
MAX_EXACT_FEATURES = 20  # for Laplacians by one derivative per dimension
# Standard errors by which the Hyvärinen score must improve at one of several scales.
NEEDED_SCORE = 2.5
TIED = 0.02  # nats: the largest standard error of a gain with which likelihoods can tie


class Verdict(NamedTuple):
    """What was decided about a correction.

    Attributes
    ----------
    scale : float
        That of the correction; 0 is the base measure alone.
    estimate : LogNormalizer
        Log Z at this scale.
    gain, std_error : float
        Over the base measure at the rows that judge, in nats per row; of the best scale if
        none was kept.
    needed : float
        What a gain must exceed.
    best_scale : float
        The scale with the largest gain; 0 if none gains.
    score_gain : float or None
        By how many standard errors the Hyvärinen score improves, if that decided.
    missed : tuple of float
        Mass, in nats of log Z, that searches for modes have found and draws had missed.
    n_modes : int
        That the last search has found.
    cover : Cover
        What was drawn from last.
    is_scaled_back : bool
        Whether such mass, or an estimate of log Z that contradicts, lowered the scale.
    """

    scale: float
    estimate: LogNormalizer
    gain: float
    std_error: float
    needed: float
    best_scale: float
    score_gain: float | None
    missed: tuple[float, ...]
    n_modes: int
    cover: Cover
    is_scaled_back: bool


@torch.no_grad()
def judge(
    energy: CorrectedEnergy,
    rows: TensorData,
    cover: Cover,
    manifold: BaseManifold,
    normalize: Callable[[], LogNormalizer],
    *,
    is_enough: Callable[[LogNormalizer], bool],
    is_honest: bool = True,
    generator: torch.Generator,
) -> Verdict:
    r"""Set the scale of a correction by rows that neither it nor the base has seen.

    The scale with the largest gain :math:`J(\lambda)` is kept if J exceeds what choosing
    epoch and scale by the same rows gains by chance, 4/n nats for n rows. Where likelihoods
    tie, the scale is kept at which the Hyvärinen score improves most, if it improves by 2.5
    standard errors. They tie if the gain is not negative and known to 0.02 nats. The scale
    is 0 otherwise: the base measure alone.

    A search for modes (`audit`) then looks for mass that the draws miss. What it finds
    joins the draws, and the scale is chosen again. So it is if the estimate of log Z by the
    normalizer is larger than that by the draws, or cannot be trusted.

    Parameters
    ----------
    energy : CorrectedEnergy
        Frozen, in float64, with a base measure. Its `scale` is set.
    rows : TensorData
        In internal units. If they are in groups, the standard error is that of a sum over
        groups.
    cover : Cover
        What is drawn from, over the energy's base.
    manifold : BaseManifold
    normalize : callable
        Returns the estimate of log Z for the energy at its current scale.
    is_enough : callable
        Whether an estimate by the draws needs no other beside it.
    is_honest : bool, default=True
        Whether the correction has not seen the rows. If it has, its score tells nothing, as
        that is what was minimised, and does not decide.
    generator : torch.Generator
        Source of draws, on the CPU.

    Returns
    -------
    verdict : Verdict
    """
    weight = rows.weight.double()
    at_rows = evaluate_in_chunks(energy.correction, rows.x.double())
    share = weight / weight.sum()
    spread, n_effective = _spread(at_rows - float(share @ at_rows), share, rows.groups)
    needed = max(MIN_GAIN, CHANCE / n_effective)
    scores = _score_gains(energy, rows, manifold) if is_honest else None
    pool = cover.draw(affordable(N_DRAWS, cover.base), generator=generator)
    allowed = list(SCALES)
    missed: list[float] = []
    first_scale, n_modes = None, 0
    best, score_gain, estimate = Gain(0.0, 0.0, 0.0), None, EXACT
    for i in range(MAX_SEARCHES):
        at_draws = evaluate_in_chunks(energy.correction, pool.x)
        curve = [
            gain_at(s, at_rows, weight, at_draws, pool.log_weight) for s in allowed
        ]
        best, kept, score_gain = _choose(curve, needed, spread, scores)
        if first_scale is None:
            first_scale = kept.scale
        energy.scale, estimate = kept.scale, EXACT
        if kept.scale == 0:
            break
        found = audit(energy, cover, pool, manifold, generator=generator)
        is_blind = found.cover is cover  # what was found cannot be drawn from
        cover, pool, n_modes = found.cover, found.pool, found.n_modes
        if found.missed:
            missed.append(found.missed)
            if is_blind or i >= PATIENCE:
                allowed = [s for s in allowed if s < kept.scale]
            continue
        log_weights = pool.log_weight - kept.scale * evaluate_in_chunks(
            energy.correction, pool.x
        )
        by_draws = summarize_weights(log_weights, len(pool), "importance")
        agreed: LogNormalizer | None = by_draws
        if not is_enough(by_draws) or find_fault(by_draws):
            agreed = _agree(by_draws, normalize())
        if agreed is not None:
            # by the log Z that the model will have
            value = kept.value + kept.log_z - agreed.value
            chance = needed + CHANCE * agreed.std_error**2
            if value > chance or (score_gain is not None and value >= 0):
                best, estimate = kept._replace(value=value), agreed
                break
        # Neither estimate can be trusted, or one that can sees too much mass.
        allowed = [s for s in allowed if s < kept.scale]
    else:
        energy.scale, estimate = 0.0, EXACT
    return Verdict(
        energy.scale,
        estimate,
        best.value,
        math.hypot(best.scale * spread, estimate.std_error),
        needed,
        best.scale,
        score_gain if energy.scale else None,
        tuple(missed),
        n_modes,
        cover,
        first_scale is not None and energy.scale < first_scale,
    )


def _choose(
    curve: list[Gain],
    needed: float,
    spread: float,
    scores: Callable[[float], tuple[float, float]] | None,
) -> tuple[Gain, Gain, float | None]:
    """Return the largest gain, what is kept, and the gain in score that decided, if any."""
    nothing = Gain(0.0, 0.0, 0.0)
    finite = [gain for gain in curve if math.isfinite(gain.value)]
    best = max([nothing, *finite], key=lambda gain: gain.value)
    if best.value > needed:
        return best, best, None
    if scores is not None:
        tied = [g for g in finite if g.value >= 0 and g.scale * spread < TIED]
        better = [g for g in tied if scores(g.scale)[1] > NEEDED_SCORE]
        if better:
            gain = max(better, key=lambda g: scores(g.scale)[0])
            return best, gain, scores(gain.scale)[1]
    return best, nothing, None


def _agree(by_draws: LogNormalizer, final: LogNormalizer) -> LogNormalizer | None:
    """Return the estimate of log Z to use; None if there is none that can be trusted."""
    draws_fail, final_fails = find_fault(by_draws), find_fault(final)
    if final_fails:
        return None if draws_fail else by_draws
    if draws_fail:
        return final
    tolerance = 4 * math.hypot(by_draws.std_error, final.std_error) + TOLERANCE
    if final.value > by_draws.value + tolerance:
        return None
    if final.value < by_draws.value - tolerance:
        return by_draws  # which reach places that a search has found
    return min(final, by_draws, key=lambda estimate: estimate.std_error)


def _spread(residuals: Tensor, share: Tensor, groups) -> tuple[float, float]:
    """Return the standard error of a weighted mean, and the number of rows it is from.

    Both are by groups if there are any. With few rows the error itself is uncertain, so
    that Student's t widens it.
    """
    terms = residuals * share
    if groups is not None:
        labels = torch.as_tensor(np.unique(groups, return_inverse=True)[1])
        empty = torch.zeros(int(labels.max()) + 1, dtype=share.dtype)
        terms, share = (empty.index_add(0, labels, t.cpu()) for t in (terms, share))
    n_effective = 1 / float(share.square().sum())
    if len(terms) < 2:
        return math.inf, n_effective
    wider = stats.t.ppf(LEVEL, max(n_effective - 1, 1)) / stats.norm.ppf(LEVEL)
    return float(terms.square().sum().sqrt() * wider), n_effective


def _score_gains(
    energy: CorrectedEnergy, rows: TensorData, manifold: BaseManifold
) -> Callable[[float], tuple[float, float]] | None:
    r"""Return by how much the Hyvärinen score improves at a scale, and in standard errors.

    With the gradient g of the base's log density, the score changes by
    :math:`\frac12\lambda^2\|\nabla E\|^2 - \lambda(\nabla E\cdot g + \Delta E)`.
    """
    base_grad = rows.rows.base_grad
    if base_grad is None:
        return None
    if manifold.dim is None or manifold.dim > MAX_EXACT_FEATURES or len(rows) < 2:
        return None
    x = rows.x.double()
    parts = []
    for points, grads in zip(
        x.split(4096), base_grad.double().split(4096), strict=True
    ):
        basis = tangent_basis(manifold, points)
        seen = TangentSpaceEnergy(energy.correction, manifold, points, basis=basis)
        _, grad, laplacian = energy_grad_laplacian(
            seen, seen.origin(), create_graph=False
        )
        frames = [
            (manifold.frame(points, basis[:, :, j]) * grads).sum(1)
            for j in range(basis.shape[2])
        ]
        cross = (grad * torch.stack(frames, 1)).sum(1) + laplacian
        parts.append(torch.stack([0.5 * grad.square().sum(1), cross]))
    square, cross = torch.cat(parts, 1)
    share = rows.weight.double() / rows.weight.double().sum()

    def improvement(scale: float) -> tuple[float, float]:
        change = scale * cross - scale**2 * square
        mean = float(share @ change)
        spread, _ = _spread(change - mean, share, rows.groups)
        return mean, mean / spread if spread > 0 else 0.0

    return improvement
