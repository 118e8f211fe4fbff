"""Noise-contrastive estimation: tell the data from noise whose density is known."""

import math

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_count
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.objectives._proposal_based import (
    BaseProposalObjective,
    draw_proposal,
    find_proposal,
    log_ratios,
)
from sk_wmvl.objectives.maximum_likelihood import MaximumLikelihood

__all__ = ["NoiseContrastive"]


class NoiseContrastive(BaseProposalObjective):
    r"""Logistic regression of data against noise, with the log ratio as its predictor.

    With :math:`G(x) = -E(x) - \log p_n(x)` and :math:`\nu` draws from the noise
    :math:`p_n` for each row,

    .. math::

        \ell(x) = -\log\frac{1}{1 + \nu e^{-G(x)}}
            - \nu\,\mathbb{E}_{y \sim p_n}\log\frac{1}{1 + \nu^{-1}e^{G(y)}},

    in nats per row; the second mean is over all draws of a batch. The model
    :math:`e^{-E}` is taken to be *normalised*: the energy has a free additive constant,
    which estimates :math:`\log Z`. Inside an estimator this constant is `offset` of
    `CorrectedEnergy`; Z is nevertheless computed anew after training. The noise is the base
    measure or the proposal. On a manifold densities are with respect to the volume.

    Parameters
    ----------
    n_noise : int, default=10
        The number :math:`\nu` of draws for each row. As it grows the estimate becomes as
        good as that of maximum likelihood.

    See Also
    --------
    MaximumLikelihood : With Z computed at each step.

    Notes
    -----
    The estimate is consistent for any noise that covers the model. Its variance grows with
    the distance between data and noise: if the data fill a small part of the noise's range,
    few draws are of use. On fixed draws the value is a loss, by which estimators choose the
    weights to keep.

    References
    ----------
    [Gutmann2010]_, [Gutmann2012]_

    Examples
    --------
    A model that equals the noise cannot be told from it. With one draw for each row the
    loss is 2 log 2.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.objectives import NoiseContrastive
    >>> noise = GaussianBase(np.zeros(1), np.eye(1))
    >>> x = torch.zeros(3, 1, dtype=torch.float64)
    >>> NoiseContrastive(1)(lambda x: -noise.log_prob(x), x, proposal=noise)
    tensor([1.3863, 1.3863, 1.3863], dtype=torch.float64)
    """

    def __init__(self, n_noise: int = 10):
        self.n_noise = n_noise

    @torch.no_grad()
    def start(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        proposal: BaseMeasure | None,
        manifold: BaseManifold,
        generator: torch.Generator,
    ) -> None:
        """Give the energy a free constant that makes Z one, as estimated by draws."""
        estimate = MaximumLikelihood().log_partition(
            energy, x, proposal=proposal, manifold=manifold, generator=generator
        )
        energy.register_parameter("offset", nn.Parameter(estimate.value))

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
        proposal: BaseMeasure | None = None,
        manifold: BaseManifold | None = None,
        log_proposal: Tensor | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseProposalObjective.__call__`."""
        del manifold  # the proposal is a density on it
        check_count(self, n_noise=self.n_noise)
        proposal = find_proposal(self, energy, proposal)
        noise = draw_proposal(proposal, self.n_noise * len(x), x, generator)
        at_data, at_noise = log_ratios(
            energy, proposal, x, noise, log_proposal=log_proposal
        )
        shift, softplus = math.log(self.n_noise), nn.functional.softplus
        false_alarms = softplus(at_noise - shift).mean()
        return softplus(shift - at_data) + self.n_noise * false_alarms
