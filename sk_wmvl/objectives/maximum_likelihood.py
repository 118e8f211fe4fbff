"""Maximum likelihood, with the normalising constant estimated at each step."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_count
from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives._proposal_based import (
    BaseProposalObjective,
    draw_proposal,
    find_proposal,
    log_prob,
    log_ratios,
)
from sk_wmvl.samplers._product_grid import initial_grid

__all__ = ["LogPartition", "MaximumLikelihood"]

N_LOCATE = 1000  # draws of the proposal that show where to put a grid
MARGIN = 0.5  # by which it is wider, in inverse hyperbolic sines of standard deviations
MAX_GRID_DIM = 3
# Of the wider copy of a proposal. A network can put spurious modes in the tails of a
# Gaussian base, where draws from it never fall: measured, log Z = 2.2 where 200 000 draws
# gave 0.1.
WIDTH = 2.0
# The least of many losses is also the luckiest: it favours a model whose mass is where the
# draws happen not to fall.
MONITOR_FACTOR = 16


class LogPartition(NamedTuple):
    r"""An estimate of :math:`\log Z` that can be differentiated in the parameters.

    Attributes
    ----------
    value : Tensor of shape ()
        The estimate, in nats.
    std_error : float
        Its standard error, by the delta method; zero for a grid, which has no sampling
        error.
    effective_sample_size : float
        Kish's number of effective draws; infinite for a grid.
    """

    value: Tensor
    std_error: float
    effective_sample_size: float


class MaximumLikelihood(BaseProposalObjective):
    r"""The negative log-likelihood.

    .. math:: \ell(x) = E(x) + \log\hat Z,

    in nats. By default Z is estimated by importance sampling, from one set of draws for the
    whole batch,

    .. math:: \log\hat Z = \log\frac1m\sum_{j=1}^m \frac{e^{-E(y_j)}}{p(y_j)},
              \qquad y_j \sim p,

    with p the base measure or the proposal. In Euclidean space p is an even mixture of it
    and a copy twice as wide, which reaches into the tails. The gradient of
    :math:`\log\hat Z` is the mean of :math:`-\nabla_\theta E` under the self-normalised
    weights, an estimate of the expectation under the model. It is biased, as
    :math:`\log\hat Z` is, by the order of one over the effective number of draws. With
    `n_nodes` the sum is over a grid instead, and the gradient is exact as far as the grid
    resolves the model.

    Parameters
    ----------
    n_draws : int, default=1024
        The number m of draws.
    n_nodes : int or None, default=None
        If given, the nodes of a grid per axis, in up to three dimensions of Euclidean
        space, or per period of a manifold that has a quadrature rule.

    See Also
    --------
    NoiseContrastive : Without a computation of Z, from the same draws.
    sk_wmvl.normalizers : Log Z of a fitted model, to a stated error.

    Notes
    -----
    The value can be monitored: it is the likelihood itself. Importance sampling works where
    the base measure is near the model. In many dimensions it is not: `log_partition` gives
    the standard error and the effective number of draws. The objective does not see mass
    that the model puts where no draw falls. A grid in Euclidean space covers nine standard
    deviations of a Gaussian proposal. The base measure is evaluated at each node too.

    References
    ----------
    [Neal2001]_

    Examples
    --------
    A standard normal model with twice the variance as proposal; the value at zero is
    :math:`\log 2\pi = 1.8379`.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.objectives import MaximumLikelihood
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> proposal = GaussianBase(np.zeros(2), 2 * np.eye(2))
    >>> x = torch.zeros(1, 2, dtype=torch.float64)
    >>> MaximumLikelihood(n_nodes=32)(energy, x, proposal=proposal)
    tensor([1.8379], dtype=torch.float64)
    """

    def __init__(self, n_draws: int = 1024, *, n_nodes: int | None = None):
        self.n_draws = n_draws
        self.n_nodes = n_nodes

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
        at_data, terms = self._terms(
            energy, x, generator, proposal, manifold, log_proposal
        )
        return at_data + torch.logsumexp(terms, 0)

    def for_monitoring(self) -> "MaximumLikelihood":
        """Return the same with 16 times the draws; a grid stays as it is."""
        check_count(self, n_draws=self.n_draws)
        return MaximumLikelihood(MONITOR_FACTOR * self.n_draws, n_nodes=self.n_nodes)

    def log_partition(
        self,
        energy: nn.Module,
        like: Tensor,
        *,
        generator: torch.Generator | None = None,
        proposal: BaseMeasure | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogPartition:
        r"""Return :math:`\log\hat Z` as a step of training sees it.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        like : Tensor of shape (n, d)
            Points, for their width, dtype and device alone.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.
        proposal : BaseMeasure or None, default=None
            What is drawn from; None is the base measure of `energy`.
        manifold : BaseManifold or None, default=None
            Where the points live; None is Euclidean space.

        Returns
        -------
        log_partition : LogPartition
        """
        none = like[:0]
        _, terms = self._terms(
            energy, none, generator, proposal, manifold, none.new_zeros(0)
        )
        value = torch.logsumexp(terms, 0)
        if self.n_nodes is not None:
            return LogPartition(value, 0.0, math.inf)
        share = (terms.detach() - value.detach()).exp().double()
        n = len(share)
        error = math.sqrt(float((n * share - 1).square().sum()) / (n * (n - 1)))
        return LogPartition(value, error, 1 / float(share.square().sum()))

    def _terms(
        self,
        energy: nn.Module,
        x: Tensor,
        generator: torch.Generator | None,
        proposal: BaseMeasure | None,
        manifold: BaseManifold | None,
        log_proposal: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return energies at the rows, and logs of terms whose sum is Z."""
        check_count(self, n_draws=self.n_draws)
        proposal = find_proposal(self, energy, proposal)
        x = x.detach()
        if self.n_nodes is not None:
            nodes, log_weights = self._grid(proposal, manifold, x)
            at_data, at_nodes = energy(torch.cat([x, nodes])).split(
                [len(x), len(nodes)]
            )
            return at_data, log_weights - at_nodes
        if manifold is None or isinstance(manifold, Euclidean):
            draws, log_density = _draw_widely(proposal, self.n_draws, x, generator)
            at_data, at_draws = energy(torch.cat([x, draws])).split(
                [len(x), len(draws)]
            )
            return at_data, -at_draws - log_density - math.log(self.n_draws)
        draws = draw_proposal(proposal, self.n_draws, x, generator)
        if log_proposal is None:
            log_proposal = log_prob(proposal, x)
        at_data, at_draws = log_ratios(
            energy, proposal, x, draws, log_proposal=log_proposal
        )
        return -at_data - log_proposal, at_draws - math.log(self.n_draws)

    def _grid(
        self, proposal: BaseMeasure, manifold: BaseManifold | None, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return nodes and the logs of their weights."""
        check_count(self, n_nodes=self.n_nodes)
        n = self.n_nodes
        assert n is not None
        if manifold is not None and not isinstance(manifold, Euclidean):
            try:
                nodes, log_weights = manifold.quadrature(n)
            except NotImplementedError as error:
                raise ValueError(
                    f"n_nodes of MaximumLikelihood asks for quadrature, and there is no "
                    f"rule for {manifold!r}. Use n_nodes=None: draws of the proposal."
                ) from error
            return nodes.to(x), log_weights.to(x)
        if x.shape[1] > MAX_GRID_DIM:
            raise ValueError(
                f"n_nodes of MaximumLikelihood asks for a grid in {x.shape[1]} dimensions; "
                f"at most {MAX_GRID_DIM} will do. Use n_nodes=None: draws of the proposal."
            )
        # The same grid at each step, so that the loss is a function of the energy alone.
        grid = initial_grid(draw_proposal(proposal, N_LOCATE, x, make_generator(0)))
        grid = grid._replace(low=grid.low - MARGIN, high=grid.high + MARGIN)
        nodes, jacobian = grid.nodes(n)
        return nodes, jacobian + ((grid.high - grid.low) / n).log().sum()


@torch.no_grad()
def _draw_widely(
    proposal: BaseMeasure, n: int, x: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return draws, half of them on average from a wider copy, and log densities."""
    center = draw_proposal(proposal, N_LOCATE, x, make_generator(0)).mean(0)
    y = draw_proposal(proposal, n, x, generator)
    is_wide = (torch.rand(n, 1, generator=generator) < 0.5).to(y.device)
    y = torch.where(is_wide, center + WIDTH * (y - center), y)
    narrow = log_prob(proposal, y)
    wide = log_prob(proposal, center + (y - center) / WIDTH)
    wide = wide - y.shape[1] * math.log(WIDTH)
    return y, torch.logaddexp(narrow, wide) - math.log(2)
