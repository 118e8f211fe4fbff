"""Weights of many rows at once: the log of their mean, and its error."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["LogLikelihood", "Prior", "call_log_likelihood", "log_mean_weight"]


class Prior(Protocol):
    """A normalised density of codes: a `LatentSpace`, a base measure, or your own."""

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n_samples, d)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log densities of shape (n,), w.r.t. the volume of the codes' manifold."""


class LogLikelihood(NamedTuple):
    """Estimates of log p(x), one per row.

    Attributes
    ----------
    value : Tensor of shape (n,)
        The estimates, in nats and float64. Each is too low on average, by about half its
        squared standard error.
    std_error : Tensor of shape (n,)
        Their Monte Carlo standard errors, independent from row to row.
    accept_prob : float
        Mean acceptance probability of the transitions. NaN if there are none.
    """

    value: Tensor
    std_error: Tensor
    accept_prob: float = math.nan


def call_log_likelihood(log_likelihood, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x|z) of shape (n,); raise ValueError for another shape."""
    value = log_likelihood(x, z)
    if value.shape != (len(x),):
        raise ValueError(
            f"log_likelihood(x, z) must return one value per row, of shape ({len(x)},); "
            f"got shape {tuple(value.shape)}. Sum over columns, not over rows."
        )
    return value


def log_mean_weight(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log mean over the first axis, and its delta-method standard error.

    Parameters
    ----------
    log_w : Tensor of shape (n_draws, n)
        Log weights.

    Returns
    -------
    value : Tensor of shape (n,)
    std_error : Tensor of shape (n,)
        sd(w) / (mean(w) sqrt(n_draws)).
    """
    top = log_w.max(0).values
    w = (log_w - top).exp()
    mean = w.mean(0)
    return mean.log() + top, w.std(0) / mean / math.sqrt(len(w))
