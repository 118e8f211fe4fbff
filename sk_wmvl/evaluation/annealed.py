"""Annealed importance sampling of log p(x): a path from the prior to each posterior."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl.evaluation._weights import (
    LogLikelihood,
    Prior,
    call_log_likelihood,
    log_mean_weight,
)
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.samplers import (
    HMC,
    BaseSampler,
    GeodesicHMC,
    State,
    adapt_step_size,
    evaluate,
)

__all__ = [
    "AnnealingPlan",
    "LogLikelihood",
    "PosteriorPath",
    "anneal",
    "annealed_log_likelihood",
    "make_sampler",
    "plan_annealing",
    "prior_draws",
    "row_blocks",
]

LogDensity = Callable[[Tensor, Tensor], Tensor]

# Chains at a time: a layer of 784 outputs then takes 3 MB in float32, a processor's cache.
CHUNK = 1024
# The pilot: rows, chains for each, stages of the path, and moves at each stage.
N_PILOT_ROWS, N_PILOT_CHAINS = 64, 4
N_STAGES, PILOT_STEPS = 40, 8
# Stages at (j/J)^4 (Friel & Pettitt): near the prior the log likelihood varies by
# hundreds of nats.
STAGE_POWER = 4


class AnnealingPlan(NamedTuple):
    """What is fixed before a run: where on the path to stop, and how to move there.

    Attributes
    ----------
    t : ndarray of shape (n_temperatures,)
        Powers of the likelihood, increasing, the last one 1; 0 is left out.
    step_sizes : ndarray of shape (n_temperatures,)
        Step size of the sampler at each.
    length : float
        Thermodynamic length of the path. With perfect transitions the variance of a log
        weight is ``length**2 / n_temperatures``.
    """

    t: np.ndarray
    step_sizes: np.ndarray
    length: float


class PosteriorPath(nn.Module):
    r"""The energies :math:`E_t(z) = -\log p(z) - t\log p(x\mid z)`, a row of x per chain.

    Attributes
    ----------
    t : float
        Where on the path `forward` evaluates, in [0, 1].
    """

    def __init__(self, log_likelihood: LogDensity, x: Tensor, prior: Prior):
        super().__init__()
        self.log_likelihood = log_likelihood
        self.x = x
        self.prior = prior
        self.t = 0.0

    def forward(self, z: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        # A uniform prior is a constant without a graph; 0 * z gives it one.
        energy = -self.prior.log_prob(z) + 0 * z.sum(-1)
        if self.t == 0:
            return energy
        return energy - self.t * call_log_likelihood(self.log_likelihood, self.x, z)

    def start(self, z: Tensor) -> State:
        """Return the state at the path's start."""
        self.t = 0.0
        return evaluate(self, z)

    def split(self, state: State) -> tuple[State, State]:
        """Return the states of -log p(z) and -log p(x|z), from the state at `t` > 0.

        The prior is cheap, the decoder is not: it need not be called again. At a power
        near t the rounding error of the difference is no larger than that of the energy.
        """
        t = self.t
        start = self.start(state.x)
        return start, State(
            state.x,
            (state.energy - start.energy) / t,
            (state.grad - start.grad) / t,
        )

    def move_to(self, t: float, start: State, rest: State) -> State:
        """Set `t` and return the state there, without a call of the decoder."""
        self.t = t
        return State(
            start.x, start.energy + t * rest.energy, start.grad + t * rest.grad
        )


def make_sampler(manifold: BaseManifold, sampler: BaseSampler | None) -> BaseSampler:
    """Return a copy of the sampler, or the default of the manifold."""
    if sampler is not None:
        return clone(sampler)
    if isinstance(manifold, Euclidean):
        return HMC(n_leapfrog=2)
    return GeodesicHMC(manifold, n_leapfrog=2)


def prior_draws(
    prior: Prior, n_samples: int, like: Tensor, generator: torch.Generator
) -> Tensor:
    """Return draws of the prior in the dtype and on the device of `like`."""
    return prior.sample(n_samples, generator=generator).to(like)


def row_blocks(x: Tensor, n_chains: int) -> Iterator[Tensor]:
    """Yield blocks of rows whose chains are moved together."""
    yield from x.split(max(1, CHUNK // n_chains))


def anneal(
    path: PosteriorPath,
    z: Tensor,
    plan: AnnealingPlan,
    sampler: BaseSampler,
    generator: torch.Generator,
    *,
    reverse: bool = False,
) -> tuple[Tensor, float]:
    r"""Carry codes along the path; return log weights, float64, and mean acceptance.

    Forwards from draws of the prior the mean of w is unbiased for p(x). Backwards, from
    draws of the posterior, the same transitions in reverse order make the mean of 1/w
    unbiased for 1/p(x).
    """
    t = [0.0, *map(float, plan.t)]
    last = len(plan.t)
    path.t = 1.0
    start, rest = path.split(evaluate(path, z))
    log_w = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    accepted = []
    for k in range(last, 0, -1) if reverse else range(1, last + 1):
        log_w -= (t[k] - t[k - 1]) * rest.energy.double()
        here = k - 1 if reverse else k
        if here in (0, last):  # a move at the end would change no weight
            continue
        sampler.set_params(step_size=float(plan.step_sizes[here - 1]))
        state = path.move_to(t[here], start, rest)
        move = sampler.step(path, state, generator=generator)
        if move.accept_prob is not None:
            accepted.append(float(move.accept_prob.mean()))
        start, rest = path.split(move.state or evaluate(path, move.x))
    return log_w, float(np.mean(accepted)) if accepted else math.nan


def _check(**values: int) -> None:
    for name, value in values.items():
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{name} must be an integer >= 1; got {value!r}.")


def _check_rows(x: Tensor) -> None:
    if not (isinstance(x, Tensor) and x.ndim == 2 and x.is_floating_point() and len(x)):
        raise ValueError(
            "x must be a tensor of floats of shape (n, n_columns) with n >= 1; got "
            f"{tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__}."
        )


def plan_annealing(
    log_likelihood: LogDensity,
    x: Tensor,
    manifold: BaseManifold,
    prior: Prior,
    *,
    generator: torch.Generator,
    n_temperatures: int = 1000,
    sampler: BaseSampler | None = None,
) -> AnnealingPlan:
    r"""Find where on the path to stop and how far to move there, by a pilot run.

    Four chains for each of at most 64 rows go from the prior to the posterior in 40
    stages; at each the step size is tuned to the sampler's target acceptance and the
    variance over chains of :math:`\log p(x\mid z)` is measured. Its root is the speed at
    which the thermodynamic length of the path grows. Temperatures are placed at equal
    length, which for perfect transitions gives log weights the least variance, and step
    sizes in between are interpolated.

    Parameters
    ----------
    log_likelihood, x, manifold, prior, generator, n_temperatures, sampler
        As in `annealed_log_likelihood`.

    Returns
    -------
    plan : AnnealingPlan

    References
    ----------
    [Gelman1998]_, [Friel2008]_, [Hoffman2014]_
    """
    _check(n_temperatures=n_temperatures)
    _check_rows(x)
    sampler = make_sampler(manifold, sampler)
    with torch.inference_mode(False), torch.no_grad():
        rows = torch.randperm(len(x), generator=generator)[:N_PILOT_ROWS].to(x.device)
        x = x[rows].repeat(N_PILOT_CHAINS, 1)
        path = PosteriorPath(log_likelihood, x, prior)
        z = prior_draws(prior, len(x), x, generator)
        first = call_log_likelihood(log_likelihood, x, z)
        if not torch.isfinite(first).all():
            raise ValueError(
                f"log_likelihood is not finite at {int((~torch.isfinite(first)).sum())} of "
                f"{len(first)} draws from the prior. Check x for NaN and the decoder."
            )
        t = (np.arange(N_STAGES + 1) / N_STAGES) ** STAGE_POWER
        speed, log_steps = [_spread(first)], []
        for here in t[1:]:
            path.t = float(here)
            sampler, state = adapt_step_size(
                sampler, path, z, n_steps=PILOT_STEPS, generator=generator
            )
            z = state.x
            log_steps.append(math.log(sampler.step_size))
            _, rest = path.split(state)
            speed.append(_spread(rest.energy))
    # exact for a speed that is a power of t between stages, as it nearly is
    speed_ = np.maximum(speed, 1e-8)
    lengths = np.r_[0.0, np.cumsum(np.diff(t) * np.sqrt(speed_[1:] * speed_[:-1]))]
    at = np.linspace(0, lengths[-1], n_temperatures + 1)[1:]
    stops = np.interp(at, lengths, t)
    stops[-1] = 1.0  # not a rounding error less
    steps = np.exp(np.interp(stops, t[1:], log_steps))
    return AnnealingPlan(stops, steps, float(lengths[-1]))


def _spread(values: Tensor) -> float:
    """Return the standard deviation over chains, root mean square over rows."""
    chains = values.double().view(N_PILOT_CHAINS, -1)
    return math.sqrt(float(chains.var(0).mean()))


def annealed_log_likelihood(
    log_likelihood: LogDensity,
    x: Tensor,
    manifold: BaseManifold,
    prior: Prior,
    *,
    generator: torch.Generator,
    n_temperatures: int = 1000,
    n_chains: int = 16,
    sampler: BaseSampler | None = None,
    plan: AnnealingPlan | None = None,
) -> LogLikelihood:
    r"""Estimate :math:`\log p(x) = \log\int p(x\mid z)\,p(z)\,dz` of every row.

    Chains start at draws of the prior and follow
    :math:`q_t(z)\propto p(z)\,p(x\mid z)^t` from t = 0 to t = 1. Each collects

    .. math:: \log w = \sum_k (t_k - t_{k-1}) \log p(x\mid z_{k-1}),

    where :math:`z_k` follows from :math:`z_{k-1}` by a transition that leaves
    :math:`q_{t_k}` invariant. The mean of w over a row's chains is unbiased for p(x), so
    that its log is a lower bound on average. Temperatures and step sizes are found by a
    pilot run and then fixed: a step adapted during the run would spoil this.

    Parameters
    ----------
    log_likelihood : callable
        Maps tensors x of shape (n, n_columns) and z of shape (n, d) to log p(x|z) of shape
        (n,), differentiable in z: a decoder and its likelihood.
    x : Tensor of shape (n, n_columns)
        Rows. Their dtype is that of the chains: float32 is twice as fast, and rounding is
        far below the Monte Carlo error (weights are summed in float64).
    manifold : BaseManifold
        Where codes live.
    prior : object
        Their law, with ``sample(n, generator=...)`` and ``log_prob(z)``: a `LatentSpace`
        or a base measure.
    generator : torch.Generator
        Source of noise, on the CPU.
    n_temperatures : int, default=1000
        Stops on the path. The variance of log w falls like its inverse.
    n_chains : int, default=16
        Chains for each row.
    sampler : BaseSampler, default=None
        The transition, with a Metropolis test. Its step size is a first guess. None is
        `HMC` in Euclidean space and `GeodesicHMC` elsewhere, of two leapfrog steps; with
        one they are Metropolis-adjusted (Riemannian) Langevin.
    plan : AnnealingPlan, default=None
        Of `plan_annealing`, to be shared by calls on parts of the rows. None makes one.

    Returns
    -------
    log_likelihood : LogLikelihood

    Raises
    ------
    ValueError
        If `log_likelihood` returns another shape, or is not finite at draws of the prior.

    See Also
    --------
    annealed_bounds : Lower and upper bounds on simulated rows, which tell the bias.
    importance_weighted_bound : Cheaper, where the encoder has a density.

    References
    ----------
    [Neal2001]_, [Wu2017]_

    Examples
    --------
    With z standard normal and x given z normal about z, x has variance 2.

    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.evaluation import annealed_log_likelihood
    >>> from sk_wmvl.manifolds import Euclidean
    >>> def log_likelihood(x, z):
    ...     return -0.5 * (x - z).square().sum(-1) - 0.5 * math.log(2 * math.pi)
    >>> result = annealed_log_likelihood(
    ...     log_likelihood,
    ...     torch.zeros(1, 1).double(),
    ...     Euclidean(1),
    ...     GaussianBase(np.zeros(1), np.eye(1)),
    ...     generator=torch.Generator().manual_seed(0),
    ...     n_temperatures=100,
    ... )
    >>> abs(result.value + 0.5 * math.log(4 * math.pi)) < 4 * result.std_error
    tensor([True])
    """
    _check(n_chains=n_chains)
    if plan is None:
        plan = plan_annealing(
            log_likelihood,
            x,
            manifold,
            prior,
            generator=generator,
            n_temperatures=n_temperatures,
            sampler=sampler,
        )
    _check_rows(x)
    sampler = make_sampler(manifold, sampler)
    values, errors, accepted = [], [], []
    with torch.inference_mode(False), torch.no_grad():
        for rows in row_blocks(x, n_chains):
            path = PosteriorPath(log_likelihood, rows.repeat(n_chains, 1), prior)
            z = prior_draws(prior, len(path.x), x, generator)
            log_w, accept = anneal(path, z, plan, sampler, generator)
            value, error = log_mean_weight(log_w.view(n_chains, -1))
            values.append(value)
            errors.append(error)
            accepted.append(accept)
    return LogLikelihood(torch.cat(values), torch.cat(errors), float(np.mean(accepted)))
