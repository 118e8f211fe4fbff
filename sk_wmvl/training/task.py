"""What a training step does: the part of the loop that differs between models."""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sk_wmvl.objectives import BaseProblem, Batch
from sk_wmvl.objectives._base import TrainableEnergy
from sk_wmvl.training.batches import TensorData

__all__ = ["BaseTask", "ObjectiveTask", "Step"]


class Step(NamedTuple):
    """The outcome of a step.

    Attributes
    ----------
    losses : dict of str to Tensor of shape ()
        Values to be averaged over the rows of an epoch; ``"loss"`` is among them.
    values : Tensor of shape (n,)
        The loss of each row of the batch, for callbacks that look at it.
    """

    losses: dict[str, Tensor]
    values: Tensor


class BaseTask(ABC):
    """The steps of a `TrainingNet`, and the value that monitors them.

    Subclasses set `remedy`, the advice that follows a warning of divergence.

    Parameters
    ----------
    generator : torch.Generator
        Source of noise, on the CPU.
    """

    remedy: str

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def begin(self, module: nn.Module) -> None:
        """Attach to the module in training, once it is on its device."""
        del module

    @abstractmethod
    def step(self, net, batch: Batch) -> Step:
        """Take one step by `net.descend`."""

    def monitor(self, module: nn.Module, rows: TensorData) -> float:
        """Return what weights are chosen by on held-out rows; lower is better."""
        raise NotImplementedError

    def find_fault(self, row: dict[str, float]) -> str:
        """Return what is wrong with the losses of an epoch; empty if nothing is."""
        for value in row.values():
            if not math.isfinite(value):
                return f"the loss is {value}"
        return ""

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed training needs beside the net's own state."""
        return {"noise": self.generator.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self.generator.set_state(state["noise"])


class ObjectiveTask(BaseTask):
    """One step of an objective, with the L2 penalty on the scale of the correction.

    Parameters
    ----------
    problem : BaseProblem
        The objective, on the manifold and over the base measure.
    alpha : float
        Weight of the mean square of the correction.
    generator : torch.Generator
        Source of noise, on the CPU.
    monitor_seed : int
        Seed of what is monitored.
    """

    remedy = "Try a smaller lr, a larger alpha or epsilon, or rescale the data."

    def __init__(
        self,
        problem: BaseProblem,
        *,
        alpha: float,
        generator: torch.Generator,
        monitor_seed: int,
    ):
        super().__init__(generator)
        self.problem = problem
        self.alpha = alpha
        self.monitor_seed = monitor_seed
        self._energies: list[Tensor] = []

    def begin(self, module: nn.Module) -> None:
        """Record the outputs of the correction, for the penalty on them."""
        energy = cast(TrainableEnergy, module)
        energy.correction.register_forward_hook(self._record)

    def _record(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        del inputs
        if self.alpha and module.training:
            self._energies.append(output)

    def step(self, net, batch: Batch) -> Step:
        """Take one step of the optimiser; the loss is recorded without the penalty."""
        steps = []

        def compute() -> Tensor:
            self._energies.clear()
            values = self.problem.loss(net.module_, batch, generator=self.generator)
            loss = (values * batch.weight).mean()
            steps.append(Step({"loss": loss.detach()}, values.detach()))
            if not self.alpha:
                return loss
            square = self.problem.mean_square(
                net.module_, batch, self._energies, generator=self.generator
            )
            return loss + self.alpha * square

        net.descend(compute, batch)
        return steps[0]

    def monitor(self, module: nn.Module, rows: TensorData) -> float:
        """Return the weighted mean of what the problem monitors."""
        energy = cast(TrainableEnergy, module)
        values = self.problem.monitor(energy, rows.rows, seed=self.monitor_seed)
        return float((values * rows.weight).sum() / rows.weight.sum())
