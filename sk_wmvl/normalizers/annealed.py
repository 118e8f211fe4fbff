"""Annealed importance sampling: log Z along a path from the proposal to the model."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl._component import resolve
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers._base import (
    BaseNormalizer,
    CountedEnergy,
    LogNormalizer,
    is_flat,
)
from sk_wmvl.normalizers.importance import summarize_weights
from sk_wmvl.samplers import (
    HMC,
    SAMPLERS,
    BaseSampler,
    GeodesicHMC,
    State,
    adapt_step_size,
    evaluate,
)

__all__ = ["AnnealedNormalizer"]

# The pilot's chains; its stages each halve the effective sample size ...
N_PILOT = 128
PILOT_ESS = 0.5
# ... and then move the chains this often, to settle and to tune the step size.
PILOT_STEPS = 12
# For perfect transitions the variance of log w is length**2 / n_temperatures. A quarter
# allows for imperfect ones and is near the best split of work between temperatures and
# chains, which for a variance v costs (exp(v) - 1) / v times the least.
VARIANCE = 0.25
MIN_TEMPERATURES, MAX_TEMPERATURES = 8, 1000
# A path that needs more stages (as when the energy has no normaliser) is cut short.
MAX_STAGES = 60
SMALLEST_ADVANCE = 1e-12


class NegativeLogProb(nn.Module):
    """The energy of the proposal."""

    def __init__(self, proposal: nn.Module):
        super().__init__()
        self.proposal = proposal

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return -self.proposal.log_prob(x)


class GeometricPath(nn.Module):
    r"""The energies :math:`E_t = (1 - t) E_0 + t E`, with :math:`E_0 = -\log p`.

    Attributes
    ----------
    t : float
        Where on the path `forward` evaluates, in [0, 1].
    """

    def __init__(self, energy: nn.Module, proposal: nn.Module):
        super().__init__()
        self.energy = energy
        self.proposal = proposal
        self.t = 0.0

    def forward(self, x: Tensor) -> Tensor:
        r"""Return :math:`E_t(x)` of shape (n,)."""
        return (self.t - 1) * self.proposal.log_prob(x) + self.t * self.energy(x)

    def ends(self, x: Tensor) -> tuple[State, State]:
        """Return the states at `x` of the two ends of the path."""
        return evaluate(NegativeLogProb(self.proposal), x), evaluate(self.energy, x)

    def move_to(self, t: float, first: State, last: State) -> State:
        """Set `t` and return the state there, without another evaluation."""
        self.t = t
        return State(
            first.x,
            (1 - t) * first.energy + t * last.energy,
            (1 - t) * first.grad + t * last.grad,
        )


class Schedule(NamedTuple):
    """Temperatures of a run, with a tuned sampler for each but the last.

    Attributes
    ----------
    t : list of float
        Increasing, from 0 (left out) to 1.
    samplers : list of BaseSampler
    """

    t: list[float]
    samplers: list[BaseSampler]


def next_stage(gap: np.ndarray, left: float) -> tuple[float, float]:
    r"""Return how far t may advance, and the length of that stage.

    The conditional effective sample size of equally weighted draws after an advance
    :math:`\delta`, with weights :math:`w = e^{\delta (E_0 - E)}`, is
    :math:`\bar w^2 / \overline{w^2}`; it falls from one as :math:`\delta` grows. Minus
    its logarithm is, for a small advance, the square of the thermodynamic length
    :math:`\delta\,\mathrm{sd}(E_0 - E)`.
    """

    def log_ess(delta: float) -> float:
        w = np.exp(delta * (gap - gap.max()))
        return 2 * math.log(w.mean()) - math.log((w * w).mean())

    goal = math.log(PILOT_ESS)
    loss = log_ess(left)
    if loss >= goal:
        return left, math.sqrt(max(loss / goal, 0.0))
    # On a logarithmic scale: near a poor proposal the first advance is tiny.
    low, high = math.log(left * SMALLEST_ADVANCE), math.log(left)
    if log_ess(math.exp(low)) < goal:
        return math.exp(low), 1.0
    root = brentq(lambda s: log_ess(math.exp(s)) - goal, low, high, xtol=1e-3)
    return math.exp(root), 1.0


class AnnealedNormalizer(BaseNormalizer):
    r"""Carry draws of the proposal to the model and accumulate their weights.

    Along :math:`q_t \propto p^{1-t} e^{-tE}` from t = 0 to t = 1 each chain collects

    .. math:: \log w = \sum_k (t_k - t_{k-1})
              \bigl[-E(x_{k-1}) - \log p(x_{k-1})\bigr],

    where :math:`x_0 \sim p` and :math:`x_k` follows from :math:`x_{k-1}` by transitions
    that leave :math:`q_{t_k}` invariant. The mean of w is unbiased for Z.

    A pilot run finds the schedule: 128 draws advance by stages that halve their
    effective sample size, are resampled and moved, and the sampler's step size is tuned
    at each stage. The temperatures of the real run are then placed at equal
    thermodynamic length, with step sizes in between interpolated. They are fixed before
    the real run, whose noise is independent of the pilot's: nothing is lost of
    unbiasedness.

    Parameters
    ----------
    n_chains : int, default=512
        Independent weights, at least 100. The error falls like its inverse square root.
    n_temperatures : int, default=None
        Steps of the path. The variance of log w falls like its inverse. None is four
        times the squared thermodynamic length that the pilot measures, from 8 to 1000.
    sampler : {'hmc', 'mala'} or BaseSampler, default=None
        The transition, with a Metropolis test. Its step size is only a first guess.
        None is HMC with two leapfrog steps: of one, two, three, five and ten, two gave
        the most effective draws per gradient on three Gaussian targets, or close to it.
        On a manifold None is `GeodesicHMC`, and another sampler must be one of it.
    n_transitions : int, default=1
        Moves at each temperature.

    See Also
    --------
    ImportanceNormalizer : The path of a single step.

    Notes
    -----
    The error is corrected for the weights' tail as in importance sampling. Modes that
    no chain enters go unnoticed, as with any sampler.

    References
    ----------
    [Neal2001]_, [Gelman1998]_

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.normalizers import AnnealedNormalizer
    >>> energy = lambda x: 50 * ((x - 1) ** 2).sum(-1)  # standard deviation 0.1
    >>> proposal = GaussianBase(np.zeros(5), np.eye(5))
    >>> g = torch.Generator().manual_seed(0)
    >>> z = AnnealedNormalizer().log_normalizer(energy, proposal, generator=g)
    >>> abs(z.value - 2.5 * math.log(2 * math.pi / 100)) < 4 * z.std_error < 0.5
    True
    """

    def __init__(
        self,
        n_chains: int = 512,
        n_temperatures: int | None = None,
        *,
        sampler: BaseSampler | str | None = None,
        n_transitions: int = 1,
    ):
        self.n_chains = n_chains
        self.n_temperatures = n_temperatures
        self.sampler = sampler
        self.n_transitions = n_transitions

    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z; see `BaseNormalizer.estimate`."""
        self._check()
        counted = CountedEnergy(energy)
        path = GeometricPath(counted, proposal)
        schedule = self._pilot(path, manifold, generator)

        x = proposal.sample(self.n_chains, generator=generator)
        log_weights = x.new_zeros(self.n_chains)
        previous = 0.0
        for k, t in enumerate(schedule.t):
            first, last = path.ends(x)
            log_weights += (t - previous) * (first.energy - last.energy)
            previous = t
            if t < 1:  # a move at the end of the path would change no weight
                state = path.move_to(t, first, last)
                for _ in range(self.n_transitions):
                    sampler = schedule.samplers[k]
                    step = sampler.step(path, state, generator=generator)
                    state = step.state or evaluate(path, step.x)
                x = state.x
        return summarize_weights(log_weights, counted.n_evaluations, "annealed")

    def _pilot(
        self,
        path: GeometricPath,
        manifold: BaseManifold | None,
        generator: torch.Generator | None,
    ) -> Schedule:
        if self.sampler is not None:
            sampler = resolve(self.sampler, SAMPLERS, BaseSampler, name="sampler")
        elif manifold is None or is_flat(manifold):
            sampler = HMC(n_leapfrog=2)
        else:
            sampler = GeodesicHMC(manifold, n_leapfrog=2)
        x = path.proposal.sample(N_PILOT, generator=generator)
        t, lengths = [0.0], [0.0]
        log_steps: list[float] = []
        while t[-1] < 1:
            first, last = path.ends(x)
            gap = (first.energy - last.energy).double()
            gap = torch.where(torch.isfinite(gap), gap, -torch.inf)
            alive = gap[torch.isfinite(gap)].cpu().numpy()
            if len(alive) == 0:  # the weights will say so too
                return Schedule([1.0], [])
            left = 1 - t[-1]
            advance, length = next_stage(alive, left)
            if len(log_steps) == MAX_STAGES:
                advance = left
            t.append(1.0 if advance == left else t[-1] + advance)
            lengths.append(lengths[-1] + max(length, 1e-6))
            x = x[_resample((advance * gap).cpu(), generator).to(x.device)]
            path.t = t[-1]
            sampler, state = adapt_step_size(
                sampler, path, x, n_steps=PILOT_STEPS, generator=generator
            )
            log_steps.append(math.log(sampler.step_size))
            x = state.x

        n_temperatures = self.n_temperatures
        if n_temperatures is None:
            # A stage is as long as a loss of ESS by this factor makes it.
            length = lengths[-1] * math.sqrt(-math.log(PILOT_ESS))
            n_temperatures = math.ceil(length**2 / VARIANCE)
            n_temperatures = min(
                max(n_temperatures, MIN_TEMPERATURES), MAX_TEMPERATURES
            )
        at = np.linspace(0, lengths[-1], n_temperatures + 1)[1:]
        temperatures = np.clip(PchipInterpolator(lengths, t)(at), 0, 1).tolist()
        temperatures[-1] = 1.0  # not a rounding error less
        steps = np.exp(np.interp(at, lengths[1:], log_steps))
        return Schedule(
            temperatures,
            [clone(sampler).set_params(step_size=float(h)) for h in steps[:-1]],
        )

    def _check(self) -> None:
        least = {"n_chains": 100, "n_temperatures": 1, "n_transitions": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None and name == "n_temperatures":
                continue
            if not (isinstance(value, int) and value >= bound):
                raise ValueError(
                    f"{name} of AnnealedNormalizer must be an integer >= {bound}; got "
                    f"{value!r}."
                )


def _resample(log_weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return indices of shape (n,) drawn by systematic resampling."""
    n = len(log_weights)
    cumulative = torch.softmax(log_weights, 0).cumsum(0)
    uniform = torch.rand((), dtype=log_weights.dtype, generator=generator)
    points = (torch.arange(n, dtype=log_weights.dtype) + uniform) / n
    return torch.searchsorted(cumulative, points).clamp(max=n - 1)
