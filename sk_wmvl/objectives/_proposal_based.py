"""Objectives that look beyond the data: at draws from a proposal that covers the space."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import BaseMeasure, KernelBase
from sk_wmvl.base_measures.kernel import LeftOut
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.objectives._base import BaseObjective

__all__ = [
    "BaseGlobalObjective",
    "draw_proposal",
    "find_proposal",
    "held_out_values",
    "log_prob",
    "log_prob_left_out",
    "log_ratios",
]

CHUNK = 4096  # rows at a time: bounds the memory of (rows, components), and of draws
MONITOR = 1000  # a stream of the seed that nothing else uses


class BaseGlobalObjective(BaseObjective, ABC):
    """An objective that compares the model with a proposal, not only with its neighborhood.

    Densities are compared at points, so that it serves on every manifold as it stands. It
    sees what derivatives at the data do not: the relative weight of modes, and mass that
    the model puts where no data are, as far as the proposal goes.
    """

    def for_monitoring(self) -> "BaseGlobalObjective":
        """Return the objective by which weights are chosen: with more draws, if need be."""
        return self

    @abstractmethod
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
        """Return the objective at each sample.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        x : Tensor of shape (n, d)
            Data.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.
        proposal : BaseMeasure or None, default=None
            A normalised density close to the data, with ``sample`` and ``log_prob``. None
            is the base measure of `energy`, which then cancels in the comparison and is not
            evaluated.
        manifold : BaseManifold or None, default=None
            Where the points live, with its dimension known; None is Euclidean space.
        log_proposal : Tensor of shape (n,) or None, default=None
            Log densities of the proposal at `x`, if they are known.

        Returns
        -------
        loss : Tensor of shape (n,)

        Raises
        ------
        ValueError
            If there is neither a proposal nor a base measure.
        """


def find_proposal(
    owner: object, energy: nn.Module, proposal: BaseMeasure | None
) -> BaseMeasure:
    """Return the proposal, or the base measure of the energy if there is none."""
    if proposal is None:
        proposal = getattr(energy, "base", None)
    if proposal is None:
        raise ValueError(
            f"{type(owner).__name__} compares the energy with draws from a proposal; got "
            "none, and the energy has no base measure. Pass proposal=..., such as "
            "GaussianBase(mean, covariance), or a CorrectedEnergy with a base."
        )
    return proposal


@torch.no_grad()
def draw_proposal(
    proposal: BaseMeasure, n: int, x: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Return n draws, in the dtype and on the device of `x`."""
    return proposal.sample(n, generator=generator).to(x)


@torch.no_grad()
def log_prob(proposal: BaseMeasure, x: Tensor) -> Tensor:
    """Return log densities of shape (n,), in the dtype of `x`; constant."""
    like = next(proposal.buffers(), x)
    return proposal.log_prob(x.to(like)).to(x)


@torch.no_grad()
def log_prob_left_out(proposal: BaseMeasure, points: np.ndarray) -> Tensor:
    """Return log densities at rows, in float32; a kernel estimate leaves the row out."""
    own: nn.Module = LeftOut(proposal) if isinstance(proposal, KernelBase) else proposal
    own = copy.deepcopy(own).cpu()  # where the rows are
    parts = [own(x) for x in torch.from_numpy(points).split(CHUNK)]
    return torch.cat(parts).float()


def log_ratios(
    energy: nn.Module,
    proposal: BaseMeasure,
    x: Tensor,
    y: Tensor,
    *,
    log_proposal: Tensor | None,
) -> tuple[Tensor, Tensor]:
    r"""Return :math:`-E - \log p` at data and at other points, from one evaluation.

    Parameters
    ----------
    energy : Module
        If its base measure is the proposal itself, only what is learned is evaluated.
    proposal : BaseMeasure
        The density p.
    x : Tensor of shape (n, d)
        Data.
    y : Tensor of shape (m, d)
        Other points.
    log_proposal : Tensor of shape (n,) or None
        :math:`\log p` at `x`, if known.

    Returns
    -------
    at_x : Tensor of shape (n,)
    at_y : Tensor of shape (m,)
    """
    points = torch.cat([x.detach(), y])
    if isinstance(energy, CorrectedEnergy) and energy.base is proposal:
        ratio = -energy.learned(points)
    else:
        at_x = log_prob(proposal, x) if log_proposal is None else log_proposal
        ratio = -energy(points) - torch.cat([at_x, log_prob(proposal, y)])
    at_x, at_y = ratio.split([len(x), len(y)])
    return at_x, at_y


@torch.no_grad()
def held_out_values(
    objective: BaseGlobalObjective,
    energy: nn.Module,
    x: Tensor,
    log_proposal: Tensor | None,
    *,
    proposal: BaseMeasure | None,
    manifold: BaseManifold | None,
    seed: int,
) -> Tensor:
    """Return the objective at rows, with the same draws whenever the seed is the same."""
    objective, generator = objective.for_monitoring(), make_generator(seed, MONITOR)
    if log_proposal is None:
        log_proposal = log_prob(find_proposal(objective, energy, proposal), x)
    values = [
        objective(
            energy,
            rows,
            generator=generator,
            proposal=proposal,
            manifold=manifold,
            log_proposal=log_p,
        )
        for rows, log_p in zip(x.split(CHUNK), log_proposal.split(CHUNK), strict=True)
    ]
    return torch.cat(values)
