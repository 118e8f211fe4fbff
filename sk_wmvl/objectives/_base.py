r"""What an objective must offer: a value per row, to be minimised.

All objectives that look at the energy at the rows or near them have one sign and one scale.
With :math:`q \propto e^{-E}` their expectation is the score-matching objective
:math:`\frac12\|\nabla E\|^2 - \Delta E`, up to a constant free of the parameters and to
terms that vanish with the step. Objectives that compare the model with a proposal are in
nats (`BaseProposalObjective`).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._component import BaseComponent
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure, base_gradient
from sk_wmvl.energies import (
    AnnealedEnergy,
    CorrectedEnergy,
    FeatureEnergy,
    TangentSpaceEnergy,
    tangent_basis,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.objectives._points import PointEnergy, moves_points, place_sampler
from sk_wmvl.samplers import Langevin

__all__ = [
    "BaseObjective",
    "BaseProblem",
    "Batch",
    "LocalProblem",
    "RowFacts",
    "TrainableEnergy",
    "check_tangent_space",
    "on_manifold",
    "warn_below_floor",
]


BASE_SHARE = 0.25  # draws from the base measure per row of a batch

# What training trains: a correction over a base measure, at one noise level or at all.
TrainableEnergy = CorrectedEnergy | AnnealedEnergy


class RowFacts(NamedTuple):
    """What an objective needs to know of the base measure at the rows, once in a fit.

    Attributes
    ----------
    base_grad : Tensor of shape (n, d) or None
        Derivatives of the base measure's log density.
    log_proposal : Tensor of shape (n,) or None
        Log densities of the proposal.
    """

    base_grad: Tensor | None = None
    log_proposal: Tensor | None = None


class Batch(NamedTuple):
    """Some rows, as training sees them.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        Points, in internal coordinates.
    weight : Tensor of shape (n,)
        Weights, of mean one over the training rows.
    base_grad, log_proposal : Tensor or None
        See ``RowFacts``.
    """

    x: Tensor
    weight: Tensor
    base_grad: Tensor | None = None
    log_proposal: Tensor | None = None


class BaseObjective(BaseComponent, ABC):
    """A loss per row whose mean is minimised in the parameters of an energy.

    A subclass defines `__call__`; the other methods have defaults that suit an objective
    of derivatives at the rows.
    """

    @abstractmethod
    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each row.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        x : Tensor of shape (n, d)
            Rows.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.

        Returns
        -------
        loss : Tensor of shape (n,)
            Differentiable in the parameters of `energy` unless the caller is under
            ``torch.no_grad()``.
        """

    def couples_rows(self) -> bool:
        """Return whether the loss of a row depends on the rows beside it."""
        return False

    def counts_dimensions(self) -> bool:
        """Return whether cost or value depend on the number of coordinates."""
        return False

    def needs_gradient_alone(self) -> bool:
        """Return whether a base measure enters by its gradient at the rows alone.

        So it is to first order in the step of a Langevin sampler, and up to a constant.
        """
        return False

    def check_weights(self) -> None:
        """Raise ValueError if the objective cannot give each row its own weight."""
        if self.couples_rows():
            raise ValueError(
                f"sample_weight cannot be used with {self!r}, in which the rows of a batch "
                "act on one another. Repeat rows instead, or use objective='mvl'."
            )

    def problem(
        self,
        manifold: BaseManifold,
        base: BaseMeasure | None = None,
        proposal: BaseMeasure | None = None,
    ) -> "BaseProblem":
        """Return the training problem that this objective poses on a manifold.

        Parameters
        ----------
        manifold : BaseManifold
            Where the rows live, with its dimension known.
        base : BaseMeasure or None, default=None
            What the network corrects, in float64.
        proposal : BaseMeasure or None, default=None
            A normalised density close to the rows, for objectives that draw from one.

        Returns
        -------
        problem : BaseProblem

        Raises
        ------
        ValueError
            If the objective has no meaning on the manifold.
        """
        return LocalProblem(self, manifold, base, proposal)


class BaseProblem(ABC):
    """An objective at work: on a manifold, over a base measure.

    Training asks it for the energy to train, for the loss of a batch and for the value by
    which the weights to keep are chosen.

    Parameters
    ----------
    objective : BaseObjective
    manifold : BaseManifold
        With its dimension known.
    base, proposal : BaseMeasure or None
        See `BaseObjective.problem`.
    """

    def __init__(
        self,
        objective: BaseObjective,
        manifold: BaseManifold,
        base: BaseMeasure | None,
        proposal: BaseMeasure | None,
    ):
        self.objective = objective
        self.manifold = manifold
        self.base = base
        self.proposal = proposal

    @property
    def is_flat(self) -> bool:
        """Whether the rows live in Euclidean space."""
        return isinstance(self.manifold, Euclidean)

    # --- the energy -------------------------------------------------------------------

    def make_correction(
        self,
        make_network: Callable[[int, float | None], nn.Module],
        *,
        radius: float | None,
        generator: torch.Generator,
    ) -> nn.Module:
        """Return the untrained correction, a function of points on the manifold.

        Parameters
        ----------
        make_network : callable
            Makes a network from the number of its inputs and the norm at which they are
            clipped.
        radius : float or None
            That norm; None clips nowhere.
        generator : torch.Generator
            Source of further weights.

        Returns
        -------
        correction : Module
            Maps points of shape (n, d) to energies of shape (n,).
        """
        del generator
        network = make_network(self.manifold.n_features, radius)
        return network if self.is_flat else FeatureEnergy(network, self.manifold)

    def make_energy(self, correction: nn.Module) -> TrainableEnergy:
        """Return the energy to train: the correction over a copy of the base measure."""
        return CorrectedEnergy(correction, copy.deepcopy(self.base))

    def start(
        self, energy: TrainableEnergy, x: Tensor, generator: torch.Generator
    ) -> None:
        """Initialise, in place, the parameters that depend on the rows."""
        del energy, x, generator

    # --- the rows ---------------------------------------------------------------------

    def facts(self, points: np.ndarray) -> RowFacts:
        """Return what the loss needs to know of rows (n, d), in float32, on the CPU."""
        del points
        return RowFacts()

    # --- training ---------------------------------------------------------------------

    @abstractmethod
    def loss(
        self, energy: TrainableEnergy, batch: Batch, *, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of each row of a batch, (n,)."""

    @abstractmethod
    def monitor(self, energy: TrainableEnergy, rows: Batch, *, seed: int) -> Tensor:
        """Return the value by which weights are chosen, at each row, (n,).

        Lower is better. The same seed gives the same draws at each epoch.
        """

    def mean_square(
        self,
        energy: TrainableEnergy,
        batch: Batch,
        energies: Sequence[Tensor],
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the mean square of the correction, over the rows and over the base.

        Over the rows it is taken at every point that the objective has evaluated at the
        rows or near them, which costs nothing. The objective says nothing where there are
        no rows, and the correction could grow without bound there. Draws from the base
        measure reach such places.

        Parameters
        ----------
        energy : TrainableEnergy
        batch : Batch
            Of which the loss was computed last.
        energies : sequence of Tensor
            What the correction returned for that.
        generator : torch.Generator
            Source of draws, on the CPU.

        Returns
        -------
        square : Tensor of shape ()
        """
        weight = batch.weight
        values = self.at_rows(energies, len(weight))
        repeated = weight.repeat(len(values) // len(weight))
        square = (repeated * values.square()).mean()
        if energy.base is not None:
            n_draws = math.ceil(len(weight) * BASE_SHARE)
            draws = energy.base.sample(n_draws, generator=generator)
            square = square + energy.correction(draws).square().mean()
        return square

    def at_rows(self, energies: Sequence[Tensor], n_rows: int) -> Tensor:
        """Return the energies that the loss of n rows took at the rows or near them."""
        del n_rows
        return torch.cat(list(energies))


class LocalProblem(BaseProblem):
    """An objective of derivatives at the rows.

    On a manifold it is evaluated in the tangent spaces of the rows; or at the rows
    themselves, if its sampler moves points of the manifold. The base measure then enters by
    its gradient at the rows alone, which is computed once. So it does in Euclidean space,
    for objectives that need no more. Weights are chosen by the Hyvärinen score, which
    involves no step size and no fresh noise.

    Raises
    ------
    ValueError
        If the objective has no meaning in tangent spaces and the manifold is not flat, or
        if its sampler is for another manifold.
    """

    def __init__(self, objective, manifold, base, proposal):
        super().__init__(objective, manifold, base, proposal)
        if not self.is_flat:
            check_tangent_space(objective)
        self.objective = place_sampler(objective, manifold)

    @property
    def evaluates_base(self) -> bool:
        """Whether the base measure is evaluated in training, not just at the rows before.

        That would be most of the time of a fit.
        """
        return self.is_flat and (
            self.base is None or not self.objective.needs_gradient_alone()
        )

    def facts(self, points: np.ndarray) -> RowFacts:
        """Return the gradients of the base measure, if they are all that is needed."""
        if self.base is None or self.evaluates_base:
            return RowFacts()
        return RowFacts(
            base_grad=base_gradient(self.base, torch.from_numpy(points)).float()
        )

    def loss(
        self, energy: TrainableEnergy, batch: Batch, *, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of each row of a batch, (n,)."""
        if self.evaluates_base:
            return self.objective(energy, batch.x, generator=generator)
        return on_manifold(
            self.objective,
            energy.correction,
            batch.x,
            self.manifold,
            base_grad=batch.base_grad,
            generator=generator,
        )

    def monitor(self, energy: TrainableEnergy, rows: Batch, *, seed: int) -> Tensor:
        """Return Hyvärinen scores, (n,), up to a constant."""
        if self.evaluates_base:
            return hyvarinen_values(energy, rows.x, seed=seed)
        return hyvarinen_values(
            energy.correction,
            rows.x,
            manifold=self.manifold,
            base_grad=rows.base_grad,
            seed=seed,
        )


def on_manifold(
    objective: BaseObjective,
    energy: nn.Module,
    x: Tensor,
    manifold: BaseManifold,
    *,
    base_grad: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return an objective for Euclidean space at points of a manifold, (n,).

    It is evaluated at the origins of the tangent spaces of the points, or at the points
    themselves if its sampler moves these.

    Parameters
    ----------
    objective : BaseObjective
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n, d)
        Points.
    manifold : BaseManifold
        With its dimension known.
    base_grad : Tensor of shape (n, d) or None, default=None
        If given, `energy` corrects a base measure; see `TangentSpaceEnergy`.
    generator : torch.Generator or None, default=None
        Source of noise.
    """
    if moves_points(objective):
        if base_grad is not None:
            energy = PointEnergy(energy, manifold, x, base_grad)
        return objective(energy, x, generator=generator)
    basis = tangent_basis(manifold, x) if objective.counts_dimensions() else None
    seen = TangentSpaceEnergy(energy, manifold, x, basis=basis, base_grad=base_grad)
    return objective(seen, seen.origin(), generator=generator)


def check_tangent_space(objective: BaseObjective) -> None:
    """Raise ValueError if an objective means nothing in the tangent space of one row."""
    if moves_points(objective):
        return
    sampler = getattr(objective, "sampler", None)
    if sampler not in (None, "langevin") and not isinstance(sampler, Langevin):
        raise ValueError(
            f"sampler={sampler!r} cannot serve on a manifold: every row moves in a tangent "
            "space of its own, where Langevin() is the one sampler that knows all it "
            "needs. Samplers of the manifold itself are RiemannianLangevin() and "
            "LocalRiemannianLangevin()."
        )
    if objective.couples_rows():
        raise ValueError(
            f"{objective!r} cannot serve on a manifold: its rows act on one another, and "
            "every row has a tangent space of its own. Use "
            "DenoisingScoreMatching (objective='dsm'), which has the same expectation."
        )


def warn_below_floor(owner: object, step: float, x: Tensor, floor: float) -> None:
    """Warn if a difference over `step` is lost in the rounding of float32."""
    if step < floor and x.dtype == torch.float32:
        warn(
            f"{type(owner).__name__} divides a difference by {step:.1e}; below "
            f"{floor:.0e} the rounding error of float32 swamps it. Use a larger step or "
            "float64 tensors.",
            RuntimeWarning,
        )
