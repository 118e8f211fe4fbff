"""The importance-weighted bound on log p(x), for encoders with a density."""

from collections.abc import Callable

import torch
from torch import Tensor

from sk_wmvl.evaluation._weights import (
    LogLikelihood,
    Prior,
    call_log_likelihood,
    log_mean_weight,
)

__all__ = ["importance_weighted_bound"]

CHUNK = 1024  # draws at a time, as in annealing


def importance_weighted_bound(
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    prior: Prior,
    sample_posterior: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    n_draws: int = 1000,
) -> LogLikelihood:
    r"""Estimate log p(x) by draws from an encoder with a density.

    .. math:: \log\frac1K\sum_k \frac{p(x\mid z_k)\,p(z_k)}{q(z_k\mid x)},
              \qquad z_k\sim q(\cdot\mid x).

    This is a lower bound on average, which rises to log p(x) with the number of draws.

    Parameters
    ----------
    log_likelihood : callable
        Maps x of shape (n, n_columns) and z of shape (n, d) to log p(x|z) of shape (n,).
    x : Tensor of shape (n, n_columns)
        Rows.
    prior : object
        With ``log_prob(z)``.
    sample_posterior : callable
        Maps rows of shape (n, n_columns) to one code for each, of shape (n, d), and its log
        density log q(z|x), of shape (n,), w.r.t. the measure of the prior's density.
    n_draws : int, default=1000
        The number K of codes for each row.

    Returns
    -------
    log_likelihood : LogLikelihood

    References
    ----------
    [Burda2016]_

    Examples
    --------
    If q is the true posterior, every weight is p(x), and the error is zero.

    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.evaluation import importance_weighted_bound
    >>> g = torch.Generator().manual_seed(0)
    >>> def normal(x, mean, variance):
    ...     square = ((x - mean) ** 2 / variance).sum(-1)
    ...     return -0.5 * square - 0.5 * math.log(2 * math.pi * variance)
    >>> def sample_posterior(x):
    ...     z = x / 2 + math.sqrt(0.5) * torch.randn(x.shape, generator=g).double()
    ...     return z, normal(z, x / 2, 0.5)
    >>> importance_weighted_bound(
    ...     lambda x, z: normal(x, z, 1.0),
    ...     torch.zeros(1, 1).double(),
    ...     GaussianBase(np.zeros(1), np.eye(1)),
    ...     sample_posterior,
    ...     n_draws=10,
    ... ).value  # -log(4 pi) / 2
    tensor([-1.2655], dtype=torch.float64)
    """
    if not (isinstance(n_draws, int) and n_draws >= 2):
        raise ValueError(f"n_draws must be an integer >= 2; got {n_draws!r}.")
    values, errors = [], []
    with torch.no_grad():
        for rows in x.split(max(1, CHUNK // n_draws)):
            wide = rows.repeat(n_draws, 1)
            z, log_q = sample_posterior(wide)
            log_p = call_log_likelihood(log_likelihood, wide, z) + prior.log_prob(z)
            log_w = (log_p - log_q).double().view(n_draws, -1)
            value, error = log_mean_weight(log_w)
            values.append(value)
            errors.append(error)
    return LogLikelihood(torch.cat(values), torch.cat(errors))
