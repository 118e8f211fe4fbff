"""Objectives that compare the model with draws of a proposal that covers the space."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import BaseMeasure, KernelBase
from sk_wmvl.base_measures.kernel import LeftOut
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.objectives._base import (
    BaseObjective,
    BaseProblem,
    Batch,
    RowFacts,
    TrainableEnergy,
)

__all__ = [
    "BaseProposalObjective",
    "ProposalProblem",
    "draw_proposal",
    "find_proposal",
    "log_prob",
    "log_prob_left_out",
    "log_ratios",
]

CHUNK = 4096  # rows at a time: bounds the memory of (rows, components), and of draws
MONITOR = 1000  # a stream of the seed that nothing else uses


class BaseProposalObjective(BaseObjective, ABC):
    """An objective that compares the model with draws of a proposal.

    It compares densities at points, so that it works on every manifold without a change.
    It sees what derivatives at the rows do not show: the relative weights of modes, and
    mass that the model puts where there are no rows but the proposal has draws.
    """

    def for_monitoring(self) -> "BaseProposalObjective":
        """Return the objective by which weights are chosen, if need be with more draws."""
        return self

    def start(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        proposal: BaseMeasure | None,
        manifold: BaseManifold,
        generator: torch.Generator,
    ) -> None:
        """Initialise, in place, the parameters that depend on the proposal."""
        del energy, x, proposal, manifold, generator

    def problem(
        self,
        manifold: BaseManifold,
        base: BaseMeasure | None = None,
        proposal: BaseMeasure | None = None,
    ) -> BaseProblem:
        """Return the training problem; see `BaseObjective.problem`."""
        return ProposalProblem(self, manifold, base, proposal)

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
            Rows.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.
        proposal : BaseMeasure or None, default=None
            A normalised density close to the rows, with ``sample`` and ``log_prob``. None
            is the base measure of `energy`. It then cancels in the comparison and is not
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
    """Return log densities at rows, in float32, of a kernel estimate without the row."""
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
    r"""Return :math:`-E - \log p` at rows and at other points, from one evaluation.

    Parameters
    ----------
    energy : Module
        If its base measure is the proposal itself, only what is learned is evaluated.
    proposal : BaseMeasure
        The density p.
    x : Tensor of shape (n, d)
        Rows.
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


class ProposalProblem(BaseProblem):
    """An objective that draws from the base measure, or from a proposal beside it.

    Weights are chosen by the objective itself, on the same draws at each epoch.
    """

    objective: BaseProposalObjective
    _copy: BaseMeasure | None = None

    def facts(self, points: np.ndarray) -> RowFacts:
        """Return the log densities of the proposal."""
        proposal = self.base or self.proposal
        if proposal is None:
            return RowFacts()
        return RowFacts(log_proposal=log_prob_left_out(proposal, points))

    def start(
        self, energy: TrainableEnergy, x: Tensor, generator: torch.Generator
    ) -> None:
        """Initialise, in place, the parameters that depend on the proposal."""
        self.objective.start(
            energy,
            x,
            proposal=self._beside_base(x),
            manifold=self.manifold,
            generator=generator,
        )

    def loss(
        self, energy: TrainableEnergy, batch: Batch, *, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of each row of a batch, (n,)."""
        return self.objective(
            energy,
            batch.x,
            generator=generator,
            proposal=self._beside_base(batch.x),
            manifold=self.manifold,
            log_proposal=batch.log_proposal,
        )

    @torch.no_grad()
    def monitor(self, energy: TrainableEnergy, rows: Batch, *, seed: int) -> Tensor:
        """Return the objective, (n,), with the same draws for the same seed."""
        objective = self.objective.for_monitoring()
        generator = make_generator(seed, MONITOR)
        proposal, log_proposal = self._beside_base(rows.x), rows.log_proposal
        if log_proposal is None:
            log_proposal = log_prob(find_proposal(objective, energy, proposal), rows.x)
        parts = zip(rows.x.split(CHUNK), log_proposal.split(CHUNK), strict=True)
        values = [
            objective(
                energy,
                x,
                generator=generator,
                proposal=proposal,
                manifold=self.manifold,
                log_proposal=log_p,
            )
            for x, log_p in parts
        ]
        return torch.cat(values)

    def at_rows(self, energies: Sequence[Tensor], n_rows: int) -> Tensor:
        """Return the energies at the rows; the other points are draws."""
        return torch.cat(list(energies))[:n_rows]

    def _beside_base(self, x: Tensor) -> BaseMeasure | None:
        """Return the proposal like x, or None where the energy has a base to draw from."""
        if self.base is not None or self.proposal is None:
            return None
        if self._copy is None:
            self._copy = copy.deepcopy(self.proposal).to(x.device, x.dtype)
        return self._copy
