"""Annealed importance sampling of log p(x): a path from the prior to each posterior."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.evaluation._weights import (
    LogLikelihood,
    Prior,
    call_log_likelihood,
    log_mean_weight,
)
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers import BaseSampler, State, evaluate
from sk_wmvl.samplers.annealing import AnnealedPath, AnnealingPlan, anneal
from sk_wmvl.samplers.geodesic_hmc import make_hmc
from sk_wmvl.samplers.pilot import FixedStages, plan_path

__all__ = [
    "AnnealingPlan",
    "LogLikelihood",
    "PosteriorPath",
    "annealed_log_likelihood",
    "choose_sampler",
    "plan_annealing",
    "prior_draws",
    "row_blocks",
]

LogDensity = Callable[[Tensor, Tensor], Tensor]

# Chains at a time: a layer of 784 outputs then takes 3 MB in float32, a processor's cache.
CHUNK = 1024
N_PILOT_ROWS, N_PILOT_CHAINS = 64, 4  # of the pilot run, the chains for each row


class PosteriorPath(AnnealedPath):
    r"""The path :math:`E_t(z) = -\log p(z) - t\log p(x\mid z)`, a row of x per chain.

    Parameters
    ----------
    log_likelihood : callable
        Maps rows and codes to log p(x|z) of shape (n,).
    x : Tensor of shape (n, n_columns)
        Rows.
    prior : object
        With ``log_prob(z)``.
    """

    def __init__(self, log_likelihood: LogDensity, x: Tensor, prior: Prior):
        super().__init__(prior)
        self.log_likelihood = log_likelihood
        self.x = x

    def forward(self, z: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        log_likelihood = call_log_likelihood(self.log_likelihood, self.x, z)
        return self.start(z) - self.t * log_likelihood

    def split(self, z: Tensor, state: State | None = None) -> tuple[State, State]:
        """Recover -log p(x|z) from the state on the path; see `AnnealedPath.split`.

        The prior is cheap, the decoder is not: it need not be called again. The stops near
        the start lie close together, and at a stop near t the rounding error of the
        difference is no larger than that of the energy.
        """
        if state is None:
            self.t = 1.0
            state = evaluate(self, z)
        start = evaluate(self.start, z)
        return start, State(
            z,
            (state.energy - start.energy) / self.t,
            (state.grad - start.grad) / self.t,
        )


def choose_sampler(manifold: BaseManifold, sampler: BaseSampler | None) -> BaseSampler:
    """Return the sampler, or the default of the manifold."""
    return make_hmc(manifold, n_leapfrog=2) if sampler is None else sampler


def prior_draws(
    prior: Prior, n_samples: int, like: Tensor, generator: torch.Generator
) -> Tensor:
    """Return draws of the prior in the dtype and on the device of `like`."""
    return prior.sample(n_samples, generator=generator).to(like)


def row_blocks(x: Tensor, n_chains: int) -> Iterator[Tensor]:
    """Yield blocks of rows whose chains are moved together."""
    yield from x.split(max(1, CHUNK // n_chains))


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

    Four chains for each of at most 64 rows go from the prior to the posterior in 40 stages.
    At each stage the step size is tuned to the sampler's target acceptance, and the
    standard deviation of :math:`\log p(x\mid z)` over chains is measured, which is the
    speed at which the thermodynamic length of the path grows. Temperatures are placed at
    equal length, which for perfect transitions gives log weights the least variance. Step
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
    with torch.inference_mode(False), torch.no_grad():
        rows = torch.randperm(len(x), generator=generator)[:N_PILOT_ROWS].to(x.device)
        x = x[rows].repeat(N_PILOT_CHAINS, 1)
        z = prior_draws(prior, len(x), x, generator)
        first = call_log_likelihood(log_likelihood, x, z)
        if not torch.isfinite(first).all():
            raise ValueError(
                f"log_likelihood is not finite at {int((~torch.isfinite(first)).sum())} of "
                f"{len(first)} draws from the prior. Check x for NaN and the decoder."
            )
        return plan_path(
            PosteriorPath(log_likelihood, x, prior),
            z,
            choose_sampler(manifold, sampler),
            FixedStages(N_PILOT_CHAINS),
            n_temperatures=n_temperatures,
            generator=generator,
        )


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
    :math:`q_{t_k}` invariant. The mean of w over the chains of a row is unbiased for p(x),
    so its log is a lower bound on average. Temperatures and step sizes are found by a pilot
    run and then fixed, because steps adapted during the run would make a bias.

    Parameters
    ----------
    log_likelihood : callable
        Maps tensors x of shape (n, n_columns) and z of shape (n, d) to log p(x|z) of shape
        (n,), differentiable in z: a decoder and its likelihood.
    x : Tensor of shape (n, n_columns)
        Rows. Chains have their dtype. Float32 is twice as fast, and its rounding error is
        far below the Monte Carlo error, as weights are summed in float64.
    manifold : BaseManifold
        The space of codes.
    prior : object
        The distribution of codes, with ``sample(n, generator=...)`` and ``log_prob(z)``: a
        `LatentSpace` or a base measure.
    generator : torch.Generator
        Source of noise, on the CPU.
    n_temperatures : int, default=1000
        Stops on the path. The variance of log w falls like its inverse.
    n_chains : int, default=16
        Chains for each row.
    sampler : BaseSampler, default=None
        The transition, with a Metropolis test. Its step size is a first guess. None is
        `HMC` in Euclidean space and `GeodesicHMC` elsewhere, with two leapfrog steps. With
        one step these are Metropolis-adjusted (Riemannian) Langevin dynamics.
    plan : AnnealingPlan, default=None
        A result of `plan_annealing`, for calls on parts of the rows. None makes one.

    Returns
    -------
    log_likelihood : LogLikelihood

    Raises
    ------
    ValueError
        If `log_likelihood` returns another shape, or is not finite at draws of the prior.

    See Also
    --------
    annealed_bounds : Lower and upper bounds on simulated rows, which show the bias.
    importance_weighted_bound : Cheaper, for an encoder with a density.

    References
    ----------
    [Neal2001]_, [Wu2017]_

    Examples
    --------
    If z is standard normal, and x given z is normal about z, then x has variance 2.

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
    sampler = choose_sampler(manifold, sampler)
    values, errors, accepted = [], [], []
    with torch.inference_mode(False), torch.no_grad():
        for rows in row_blocks(x, n_chains):
            path = PosteriorPath(log_likelihood, rows.repeat(n_chains, 1), prior)
            z = prior_draws(prior, len(path.x), x, generator)
            log_w, accept = anneal(path, z, plan, sampler, generator=generator)
            value, error = log_mean_weight(log_w.view(n_chains, -1))
            values.append(value)
            errors.append(error)
            accepted.append(accept)
    return LogLikelihood(torch.cat(values), torch.cat(errors), float(np.mean(accepted)))
