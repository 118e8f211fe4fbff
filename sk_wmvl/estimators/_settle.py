"""Freeze a trained energy, set the scale of its correction, and estimate log Z."""

import copy
from dataclasses import replace

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sk_wmvl._random import make_generator
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.energies import CorrectedEnergy, TransformedEnergy, freeze
from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.estimators._judge import EXACT, judge
from sk_wmvl.estimators._prepare import COMPARISON, NORMALIZER, Setup
from sk_wmvl.likelihood import Cover
from sk_wmvl.normalizers import (
    AutoNormalizer,
    BaseNormalizer,
    LogNormalizer,
    is_expensive,
    warn_if_unreliable,
)
from sk_wmvl.normalizers.quadrature import has_quadrature
from sk_wmvl.training import TensorData

__all__ = ["settle"]


def settle(
    correction: nn.Module,
    setup: Setup,
    judged: TensorData,
    *,
    normalizer: BaseNormalizer | None,
    proposal: BaseMeasure | None,
    cover: Cover | None,
    judges: str,
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
    cover : Cover or None
        What training has drawn from, with the places that it has found.
    judges : {'held out', 'training', 'none'}
        Whether training has not seen the rows that judge; or has, as was asked for; or
        there are too few rows to judge by, so that the correction is dropped.
    device : torch.device

    Returns
    -------
    fitted : FittedEnergy

    Warns
    -----
    ConvergenceWarning
        If the correction was scaled back because it puts mass where there are no data.
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
        warn_if_unreliable(estimate)
        return replace(fitted, log_normalizer=estimate)

    def is_enough(by_draws: LogNormalizer) -> bool:
        """Return whether annealing, which is slow, would add nothing to the search."""
        if is_expensive(own):
            return True
        is_left_to_us = isinstance(normalizer, AutoNormalizer)
        is_cheap = (setup.manifold.dim or 3) <= 2 and has_quadrature(setup.manifold)
        return (
            is_left_to_us
            and not is_cheap
            and by_draws.std_error <= normalizer.target_std_error
        )

    if judges == "none":
        corrected.scale = 0.0
        return replace(fitted, log_normalizer=EXACT)
    # The base that is drawn from now knows all rows.
    wide = Cover(own) if cover is None else cover.with_base(own)
    verdict = judge(
        corrected,
        judged,
        wide,
        setup.manifold,
        normalize,
        is_enough=is_enough,
        is_honest=judges == "held out",
        generator=make_generator(setup.seed, COMPARISON),
    )
    if verdict.is_scaled_back:
        warn(
            f"The learned correction was scaled to {verdict.scale:g} "
            "(correction_scale_): a larger scale puts mass where there are no data. Try "
            "another base, a larger alpha or objective_weight, or more rows.",
            ConvergenceWarning,
        )
    warn_if_unreliable(verdict.estimate)
    return replace(fitted, log_normalizer=verdict.estimate, verdict=verdict)
