"""Bounds on log p(x) from below and above, on rows simulated from the model itself."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl.evaluation._weights import Prior, log_mean_weight
from sk_wmvl.evaluation.annealed import (
    LogDensity,
    PosteriorPath,
    choose_sampler,
    plan_annealing,
    prior_draws,
    row_blocks,
)
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers import BaseSampler
from sk_wmvl.samplers.annealing import AnnealingPlan, anneal

__all__ = ["Bounds", "annealed_bounds"]


class Bounds(NamedTuple):
    """Stochastic bounds on log p(x), one pair per simulated row.

    Attributes
    ----------
    lower, upper : Tensor of shape (n,)
        In nats and float64. The bounds hold on average, not for each row.
    lower_std_error, upper_std_error : Tensor of shape (n,)
        Monte Carlo standard errors. The upper ones ignore that the reverse chains of a row
        have a common start.
    x : Tensor of shape (n, n_columns)
        The rows.
    """

    lower: Tensor
    upper: Tensor
    lower_std_error: Tensor
    upper_std_error: Tensor
    x: Tensor


def annealed_bounds(
    log_likelihood: LogDensity,
    simulate: Callable[[Tensor], Tensor],
    manifold: BaseManifold,
    prior: Prior,
    *,
    n_rows: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    n_temperatures: int = 1000,
    n_chains: int = 16,
    sampler: BaseSampler | None = None,
    plan: AnnealingPlan | None = None,
) -> Bounds:
    r"""Bound log p(x) from both sides by annealing forwards and backwards.

    If x and its code z are drawn from the model, z is an exact draw of the posterior. From
    there chains follow the path back to the prior, by the transitions of
    `annealed_log_likelihood` in reverse order. Minus the log of their mean 1/w is an upper
    bound on average. The gap between the two bounds contains the bias of both. If it is
    small, annealing can be trusted on data that look like the model's.

    Parameters
    ----------
    log_likelihood, manifold, prior, generator, n_temperatures, n_chains, sampler, plan
        As in `annealed_log_likelihood`.
    simulate : callable
        Maps codes of shape (n, d) to draws of x given them, of shape (n, n_columns).
    n_rows : int
        Number of rows to simulate.
    dtype : torch.dtype, default=torch.float64
        The dtype of codes and chains.

    Returns
    -------
    bounds : Bounds

    References
    ----------
    [Grosse2015]_, [Wu2017]_
    """
    sampler = choose_sampler(manifold, sampler)
    like = torch.empty(0, dtype=dtype)
    codes = prior_draws(prior, n_rows, like, generator)
    parts = []
    with torch.inference_mode(False), torch.no_grad():
        x = simulate(codes)
        codes = codes.to(x.device)
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
        blocks = zip(row_blocks(x, n_chains), row_blocks(codes, n_chains), strict=True)
        for rows, exact in blocks:
            path = PosteriorPath(log_likelihood, rows.repeat(n_chains, 1), prior)
            z = prior_draws(prior, len(path.x), exact, generator)
            forward, _ = anneal(path, z, plan, sampler, generator=generator)
            lower, lower_error = log_mean_weight(forward.view(n_chains, -1))
            z = exact.repeat(n_chains, 1)
            back, _ = anneal(path, z, plan, sampler, reverse=True, generator=generator)
            upper, upper_error = log_mean_weight(-back.view(n_chains, -1))
            parts.append(torch.stack([lower, -upper, lower_error, upper_error]))
    lower, upper, lower_error, upper_error = torch.cat(parts, 1)
    return Bounds(lower, upper, lower_error, upper_error, x)
