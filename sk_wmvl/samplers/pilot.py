"""Pilot runs: where annealed chains should stop on their path, and how far they move."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from torch import Tensor

from sk_wmvl.samplers._base import BaseSampler, resample
from sk_wmvl.samplers._warmup import adapt_step_size
from sk_wmvl.samplers.annealing import AnnealedPath, AnnealingPlan

__all__ = ["BaseStages", "FixedStages", "HalvingStages", "plan_path"]

# For perfect transitions the variance of log w is length**2 / n_temperatures. A quarter
# allows for imperfect ones and is near the best split of work between temperatures and
# chains, which for a variance v costs (exp(v) - 1) / v times the least.
VARIANCE = 0.25
MIN_TEMPERATURES, MAX_TEMPERATURES = 8, 1000


class BaseStages(ABC):
    """A rule by which a pilot run divides its path into stages.

    There are two rules, because there are two kinds of pilot. The chains of a normalizer
    all target one density. Their effective sample size sets the pace, and light chains are
    replaced by copies of heavy ones. The chains of a likelihood target one posterior for
    each row. Four chains for a row are too few to measure an effective sample size, and
    chains of different rows cannot replace one another.

    Attributes
    ----------
    n_moves : int
        Moves of each chain at a stop, to settle there and to tune the step size.
    """

    n_moves: ClassVar[int]

    @abstractmethod
    def next_stop(self, stops: list[float], difference: np.ndarray) -> float:
        """Return where to go from the last of `stops`; 1 is the end of the path.

        Parameters
        ----------
        stops : list of float
            All stops so far, the first of which is 0.
        difference : ndarray of shape (n_chains,)
            Values of F at the last stop.
        """

    @abstractmethod
    def survivors(
        self, log_weights: Tensor, generator: torch.Generator | None
    ) -> Tensor | None:
        """Return indices of the chains that go on, (n_chains,), or None for all of them."""

    @abstractmethod
    def lengths(self, stops: list[float], differences: list[np.ndarray]) -> np.ndarray:
        """Return the thermodynamic length of each stage, above zero.

        Parameters
        ----------
        stops : list of float
            All stops, from 0 to 1.
        differences : list of ndarray of shape (n_chains,)
            Values of F at each of them.
        """

    @abstractmethod
    def interpolate(
        self, at: np.ndarray, lengths: np.ndarray, stops: np.ndarray
    ) -> np.ndarray:
        """Return the points t of the path at the lengths `at` from its start."""


class HalvingStages(BaseStages):
    r"""Stages that each halve the effective sample size of the chains.

    After an advance :math:`\delta` equally weighted draws have weights
    :math:`w = e^{-\delta F}` and an effective sample size of
    :math:`\bar w^2 / \overline{w^2}` of their number. This falls from one as
    :math:`\delta` grows. For a small advance minus its logarithm is the square of the
    thermodynamic length :math:`\delta\,\mathrm{sd}(F)`.
    """

    n_moves = 12
    log_goal = math.log(0.5)
    # A path that needs more stages (as when the energy has no normaliser) is cut short.
    max_stages = 60
    smallest_advance = 1e-12

    def next_stop(self, stops: list[float], difference: np.ndarray) -> float:
        """Return where the effective sample size has fallen to the goal."""
        left = 1 - stops[-1]

        def excess(log_advance: float) -> float:
            return self._log_ess(math.exp(log_advance), difference) - self.log_goal

        cut = len(stops) > self.max_stages
        if cut or self._log_ess(left, difference) >= self.log_goal:
            return 1.0
        # On a logarithmic scale: near a poor proposal the first advance is tiny.
        low, high = math.log(left * self.smallest_advance), math.log(left)
        if excess(low) < 0:
            return stops[-1] + math.exp(low)
        return stops[-1] + math.exp(brentq(excess, low, high, xtol=1e-3))

    def survivors(
        self, log_weights: Tensor, generator: torch.Generator | None
    ) -> Tensor | None:
        """Resample the chains by their weights."""
        # sorted, so that a chain meets the same noise whichever others were replaced
        return resample(log_weights, generator).sort().values

    def lengths(self, stops: list[float], differences: list[np.ndarray]) -> np.ndarray:
        """Return the same length for all stages but the last, which may be shorter."""
        loss = self._log_ess(1 - stops[-2], differences[-2]) / self.log_goal
        last = math.sqrt(min(max(loss, 0.0), 1.0))
        lengths = np.r_[np.ones(len(stops) - 2), max(last, 1e-6)]
        return math.sqrt(-self.log_goal) * lengths

    def interpolate(
        self, at: np.ndarray, lengths: np.ndarray, stops: np.ndarray
    ) -> np.ndarray:
        """Interpolate smoothly and monotonically: the stages are few and long."""
        return np.clip(PchipInterpolator(lengths, stops)(at), 0, 1)

    @staticmethod
    def _log_ess(advance: float, difference: np.ndarray) -> float:
        finite = difference[np.isfinite(difference)]
        w = np.exp(-advance * (finite - finite.min()))
        return 2 * math.log(w.mean()) - math.log((w * w).mean())


class FixedStages(BaseStages):
    r"""The 40 stages that end at :math:`(j/40)^4`.

    They are short near the start, where F is minus a log likelihood at draws of the prior
    and varies by hundreds of nats [Friel2008]_.

    Parameters
    ----------
    n_chains : int
        Chains of each target. The target of chain i is i modulo the number of targets.
    """

    n_moves = 8
    stops = (np.arange(41) / 40) ** 4

    def __init__(self, n_chains: int):
        self.n_chains = n_chains

    def next_stop(self, stops: list[float], difference: np.ndarray) -> float:
        """Return the next of the fixed stops."""
        return float(self.stops[len(stops)])

    def survivors(
        self, log_weights: Tensor, generator: torch.Generator | None
    ) -> Tensor | None:
        """Let all chains go on."""
        del log_weights, generator
        return None

    def lengths(self, stops: list[float], differences: list[np.ndarray]) -> np.ndarray:
        """Return lengths from the speeds at the ends of each stage.

        The speed is the standard deviation of F over the chains of a target, and its root
        mean square over the targets.
        """
        speed = np.maximum(
            [self._spread(difference) for difference in differences], 1e-8
        )
        # exact for a speed that is a power of t between stops, as it nearly is
        return np.diff(stops) * np.sqrt(speed[1:] * speed[:-1])

    def interpolate(
        self, at: np.ndarray, lengths: np.ndarray, stops: np.ndarray
    ) -> np.ndarray:
        """Interpolate linearly: the stages are many and short."""
        return np.interp(at, lengths, stops)

    def _spread(self, difference: np.ndarray) -> float:
        return math.sqrt(difference.reshape(self.n_chains, -1).var(0, ddof=1).mean())


def plan_path(
    path: AnnealedPath,
    x: Tensor,
    sampler: BaseSampler,
    stages: BaseStages,
    *,
    n_temperatures: int | None,
    generator: torch.Generator | None,
) -> AnnealingPlan:
    """Send chains ahead to find where to stop on a path, and how far to move there.

    At the end of each stage the chains move, the step size is tuned to the sampler's
    target acceptance, and the thermodynamic length of the stage is measured. Temperatures
    are then placed at equal length, which for perfect transitions gives log weights the
    least variance. Step sizes in between are interpolated.

    Parameters
    ----------
    path : AnnealedPath
    x : Tensor of shape (n_chains, d)
        Draws from the start of the path.
    sampler : BaseSampler
        The transition, with a Metropolis test. Its step size is a first guess.
    stages : BaseStages
        The rule for stages.
    n_temperatures : int or None
        Stops of the plan. None is four times the squared thermodynamic length, from 8 to
        1000.
    generator : torch.Generator or None
        Source of noise, on the CPU.

    Returns
    -------
    plan : AnnealingPlan

    References
    ----------
    [Gelman1998]_
    """
    stops, log_steps = [0.0], []
    _, difference = path.split(x)
    differences = [difference.energy.double().cpu().numpy()]
    while stops[-1] < 1:
        if not np.isfinite(differences[-1]).any():  # the run will have such weights too
            return AnnealingPlan(np.ones(1), np.array([sampler.step_size]), 0.0)
        stop = stages.next_stop(stops, differences[-1])
        log_weights = -(stop - stops[-1]) * torch.from_numpy(differences[-1])
        log_weights = torch.where(log_weights.isfinite(), log_weights, -torch.inf)
        rows = stages.survivors(log_weights, generator)
        path.t = stop
        sampler, state = adapt_step_size(
            sampler,
            path,
            x if rows is None else x[rows.to(x.device)],
            n_steps=stages.n_moves,
            generator=generator,
        )
        x = state.x
        _, difference = path.split(x, state)
        stops.append(stop)
        log_steps.append(math.log(sampler.step_size))
        differences.append(difference.energy.double().cpu().numpy())
    lengths = np.r_[0.0, np.cumsum(stages.lengths(stops, differences))]
    if n_temperatures is None:
        n_temperatures = math.ceil(lengths[-1] ** 2 / VARIANCE)
        n_temperatures = min(max(n_temperatures, MIN_TEMPERATURES), MAX_TEMPERATURES)
    at = np.linspace(0, lengths[-1], n_temperatures + 1)[1:]
    t = stages.interpolate(at, lengths, np.array(stops))
    t[-1] = 1.0  # not a rounding error less
    steps = np.exp(np.interp(at, lengths[1:], log_steps))
    return AnnealingPlan(t, steps, float(lengths[-1]))
