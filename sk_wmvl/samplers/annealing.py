"""Annealing: chains carried along a path of energies, and the weights they collect."""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl.samplers._base import BaseSampler, State, evaluate

__all__ = ["AnnealedPath", "AnnealingPlan", "NegativeLogProb", "anneal"]


class NegativeLogProb(nn.Module):
    """The energy of a normalised density.

    Parameters
    ----------
    density : object
        With ``log_prob(x)``, of shape (n,).
    """

    def __init__(self, density: Any):
        super().__init__()
        self.density = density

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        # A uniform density may be a constant without a graph; 0 * x gives it one.
        return -self.density.log_prob(x) + 0 * x.sum(-1)


class AnnealedPath(nn.Module, ABC):
    r"""The energies :math:`E_t = E_0 + t F` from :math:`E_0` to :math:`E_1 = E_0 + F`.

    Chains move by the gradient of :math:`E_t`, and their weights grow by :math:`F`. A
    member says what the two parts are, and how to find both at a point.

    Parameters
    ----------
    start : object
        The density :math:`e^{-E_0}` from which chains start, with ``log_prob(x)``.

    Attributes
    ----------
    t : float
        Where on the path `forward` evaluates, in [0, 1].
    """

    def __init__(self, start: Any):
        super().__init__()
        self.start = NegativeLogProb(start)
        self.t = 0.0

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        r"""Return :math:`E_t(x)` of shape (n,)."""

    @abstractmethod
    def split(self, x: Tensor, state: State | None = None) -> tuple[State, State]:
        r"""Return the states of :math:`E_0` and of :math:`F` at points x.

        Parameters
        ----------
        x : Tensor of shape (n, d)
        state : State or None, default=None
            The state of :math:`E_t` at x for the present t > 0, if it is known.

        Returns
        -------
        start, difference : State
        """

    def move_to(self, t: float, start: State, difference: State) -> State:
        """Set `t` and return the state there, without another evaluation."""
        self.t = t
        return State(
            start.x,
            start.energy + t * difference.energy,
            start.grad + t * difference.grad,
        )


class AnnealingPlan(NamedTuple):
    """What is fixed before a run: where on the path to stop, and how to move there.

    Attributes
    ----------
    t : ndarray of shape (n_temperatures,)
        Stops on the path, increasing, the last one 1; the start, 0, is left out.
    step_sizes : ndarray of shape (n_temperatures,)
        Step size of the sampler at each.
    length : float
        Thermodynamic length of the path. With perfect transitions the variance of a log
        weight is ``length**2 / n_temperatures``.
    """

    t: np.ndarray
    step_sizes: np.ndarray
    length: float


def anneal(
    path: AnnealedPath,
    x: Tensor,
    plan: AnnealingPlan,
    sampler: BaseSampler,
    *,
    n_transitions: int = 1,
    reverse: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, float]:
    r"""Carry chains along a path; return their log weights and mean acceptance.

    Each chain collects

    .. math:: \log w = -\sum_k (t_k - t_{k-1})\, F(x_{k-1}),

    where :math:`x_k` follows from :math:`x_{k-1}` by transitions that leave
    :math:`e^{-E_{t_k}}` invariant. Forwards, from draws of :math:`e^{-E_0}`, the mean of w
    is unbiased for :math:`\int e^{-E_1}`. Backwards, from draws of :math:`e^{-E_1}`, the
    same transitions in reverse order make the mean of 1/w unbiased for its inverse.

    Parameters
    ----------
    path : AnnealedPath
    x : Tensor of shape (n, d)
        Where the chains start.
    plan : AnnealingPlan
        Fixed beforehand: steps adapted during the run would spoil the lack of bias.
    sampler : BaseSampler
        The transition, with a Metropolis test. Its step sizes are those of the plan.
    n_transitions : int, default=1
        Moves at each stop.
    reverse : bool, default=False
        Whether the chains go from t = 1 to t = 0.
    generator : torch.Generator, default=None
        Source of noise, on the CPU.

    Returns
    -------
    log_weights : Tensor of shape (n,)
        In float64, log w in both directions.
    accept_prob : float
        NaN if there was no move.

    References
    ----------
    [Neal2001]_, [Grosse2015]_
    """
    sampler = clone(sampler)
    t = [0.0, *map(float, plan.t)]
    last = len(plan.t)
    start, difference = path.split(x)
    log_weights = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    accepted = []
    for k in range(last, 0, -1) if reverse else range(1, last + 1):
        log_weights -= (t[k] - t[k - 1]) * difference.energy.double()
        here = k - 1 if reverse else k
        if here in (0, last):  # a move at either end would change no weight
            continue
        sampler.set_params(step_size=float(plan.step_sizes[here - 1]))
        state = path.move_to(t[here], start, difference)
        for _ in range(n_transitions):
            move = sampler.step(path, state, generator=generator)
            state = move.state or evaluate(path, move.x)
            if move.accept_prob is not None:
                accepted.append(float(move.accept_prob.mean()))
        start, difference = path.split(state.x, state)
    return log_weights, float(np.mean(accepted)) if accepted else math.nan
