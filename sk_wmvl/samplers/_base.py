"""The interface of a sampler: one transition, which makes chains and objectives."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._component import BaseComponent

__all__ = [
    "BaseSampler",
    "Chain",
    "State",
    "Transition",
    "evaluate",
    "resample",
]


class State(NamedTuple):
    """Chains at a point, with what was computed there.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        Positions, one chain per row.
    energy : Tensor of shape (n,)
        Energies there.
    grad : Tensor of shape (n, d)
        Gradients of the energy there.
    """

    x: Tensor
    energy: Tensor
    grad: Tensor


class Transition(NamedTuple):
    """The outcome of one step.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        The new positions.
    noise : Tensor of shape (n, d) or None
        The martingale increment of the step at the old position; None if deterministic.
    mirror : Tensor of shape (n, d) or None
        Where the step would have led with the noise's sign changed, if asked for.
    accept_prob : Tensor of shape (n,) or None
        Metropolis acceptance probabilities; None if the sampler has no such test.
    state : State or None
        The new state, if the sampler evaluated the energy at the new positions.
    step_size : float or Tensor of shape (n,)
        The step taken, one for all or one per chain. Objectives divide by it.
    log_weight : Tensor of shape (n,) or None
        The growth of the log of each chain's mass over the step, to first order. The sum
        is zero. None if the sampler moves no mass from chain to chain.
    """

    x: Tensor
    noise: Tensor | None = None
    mirror: Tensor | None = None
    accept_prob: Tensor | None = None
    state: State | None = None
    step_size: float | Tensor = math.nan
    log_weight: Tensor | None = None


class Chain(NamedTuple):
    """Many chains run side by side.

    Attributes
    ----------
    samples : Tensor of shape (n_kept, n_chains, d)
        Positions kept after burn-in and thinning.
    accept_prob : Tensor of shape (n_kept,) or None
        Acceptance probability of the kept steps, averaged over chains.
    state : State
        Where the chains ended.
    """

    samples: Tensor
    accept_prob: Tensor | None
    state: State


def evaluate(
    energy: nn.Module,
    x: Tensor,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> State:
    """Return the state at `x`; the flags are those of `energy_and_grad`."""
    value, grad = energy_and_grad(
        energy, x, create_graph=create_graph, retain_graph=retain_graph
    )
    return State(x, value, grad)


class BaseSampler(BaseComponent, ABC):
    r"""A Markov transition aimed at :math:`\exp(-\beta E)`.

    ``beta=1`` samples the model itself; minimum velocity uses ``beta=0.5``, the first step
    of a sampler aimed at :math:`q^{1/2}`.

    Attributes
    ----------
    step_size : float
        The step.
    is_differentiable : bool
        Whether a step can be differentiated, so that it can serve as an objective.
    couples_rows : bool
        Whether where a chain goes depends on the other chains.
    """

    step_size: float
    is_differentiable: ClassVar[bool] = True
    couples_rows: ClassVar[bool] = False

    @abstractmethod
    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Take one step of every chain.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        state : State
            Where the chains stand. If its gradient carries a graph, so does the step.
        beta : float, default=1.0
            Inverse temperature.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.
        antithetic : bool, default=False
            Whether to return the mirrored step too. Samplers without Gaussian noise
            ignore it.

        Returns
        -------
        transition : Transition
        """

    def run(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        n_steps: int,
        n_burn_in: int = 0,
        thin: int = 1,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Chain:
        """Run one chain from every row of `x`.

        If a sampler moves mass between chains (`Transition.log_weight`), each step ends
        with systematic resampling: heavy chains are copied in proportion to their weight,
        and light ones are replaced. A row of the samples is then a place in the population,
        not the path of one particle.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n_chains, d) to energies of shape (n_chains,).
        x : Tensor of shape (n_chains, d)
            Starting points.
        n_steps : int
            Steps after burn-in.
        n_burn_in : int, default=0
            Steps thrown away first.
        thin : int, default=1
            Every `thin`-th step is kept.
        beta : float, default=1.0
            Inverse temperature.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.

        Returns
        -------
        chain : Chain
        """
        state = evaluate(energy, x)
        kept, accepted = [], []
        for k in range(n_burn_in + n_steps):
            transition = self.step(energy, state, beta=beta, generator=generator)
            state = transition.state or evaluate(energy, transition.x)
            if transition.log_weight is not None:
                rows = resample(transition.log_weight, generator)
                state = State(*(part[rows] for part in state))
            if k >= n_burn_in and (k - n_burn_in) % thin == thin - 1:
                kept.append(state.x)
                if transition.accept_prob is not None:
                    accepted.append(transition.accept_prob.mean())
        empty = x.new_empty((0, *x.shape))
        return Chain(
            torch.stack(kept) if kept else empty,
            torch.stack(accepted) if accepted else None,
            state,
        )


def resample(log_weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return which row takes each place, of shape (n,), by systematic resampling.

    Row i is taken n w_i times on average, and each time to within one. Rows that are taken
    keep their place, so that only the others are replaced.
    """
    n = len(log_weight)
    weight = torch.softmax(log_weight.double(), 0)
    start = torch.rand((), generator=generator, dtype=torch.float64).to(weight.device)
    marks = ((weight.cumsum(0) * n).clamp(max=n) - start).ceil().long()
    marks[-1] = n  # whatever the rounding of the sum
    copies = marks.diff(prepend=marks.new_zeros(1))
    rows = torch.arange(n, device=weight.device)
    surplus = rows.repeat_interleave((copies - 1).clamp(min=0))
    rows[copies == 0] = surplus
    return rows
