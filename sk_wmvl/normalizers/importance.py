"""Importance sampling: log Z as the mean weight of draws from the proposal."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl.energies._base import CHUNK
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers._base import (
    BaseNormalizer,
    CountedEnergy,
    LogNormalizer,
    is_over,
    log_mean_exp,
)

__all__ = ["ImportanceNormalizer", "pareto_tail_index", "summarize_weights"]

# Log weights closer than this differ by rounding only, and have no tail to fit.
EQUAL_WEIGHTS = 1e-9
# The estimated index is uncertain by 0.1 or more, so larger values mean no more than this.
LARGEST_INDEX = 0.95
HARMLESS = 0.05  # a standard error, in nats, at which no index is a problem


def pareto_tail_index(log_weights: np.ndarray) -> float:
    r"""Return :math:`\hat k`, the index of a generalised Pareto fit to the weights' tail.

    Weights with index k have moments of order below 1/k only. Their variance is infinite
    from k = 1/2 on, their mean from k = 1 on. The fit is that of Pareto-smoothed importance
    sampling. It takes the excess of the largest :math:`\min(n/5, 3\sqrt n)` weights over
    the next one, and the posterior mean of Zhang and Stephens under a weak prior.

    Parameters
    ----------
    log_weights : array of shape (n,)
        Unnormalised, without NaN.

    Returns
    -------
    k : float
        Minus infinity if the largest weights are all equal. Plus infinity if four weights
        or fewer are in the tail, too few for a fit.

    References
    ----------
    [Vehtari2024]_, [Zhang2009]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.normalizers.importance import pareto_tail_index
    >>> uniform = np.random.default_rng(0).uniform(size=100_000)
    >>> round(pareto_tail_index(-0.6 * np.log(uniform)), 1)  # Pareto weights, k = 0.6
    0.6
    """
    y = np.sort(log_weights - log_weights.max())
    n_tail = math.ceil(min(len(y) / 5, 3 * math.sqrt(len(y))))
    # Weights that underflow are no part of the tail.
    cut = max(y[-n_tail - 1], math.log(np.finfo(np.float64).tiny))
    if -cut < EQUAL_WEIGHTS:
        return -math.inf
    # A difference of exponentials could be zero where weights are nearly equal.
    excess = math.exp(cut) * np.expm1(y[y > cut] - cut)
    return _fit_pareto(excess) if len(excess) > 4 else math.inf


def _fit_pareto(excess: np.ndarray) -> float:
    """Return the index of sorted excesses; grid and prior are those of the references."""
    n = len(excess)
    m = 30 + math.isqrt(n)
    quartile = excess[int(n / 4 + 0.5) - 1]
    b = 1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    b = b / (3 * quartile) + 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    log_likelihood = n * (np.log(-b / k) - k - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    b_mean = (b * weights).sum() / weights.sum()
    k_mean = np.log1p(-b_mean * excess).mean()
    return float((n * k_mean + 10 * 0.5) / (n + 10))  # ten observations' worth of 1/2


def summarize_weights(
    log_weights: Tensor, n_evaluations: int, method: str
) -> LogNormalizer:
    r"""Return the log mean weight with errors that allow for heavy tails.

    The delta-method error is too small for heavy tails, because the draws that matter most
    are missing. The root mean square error of exact Pareto weights is larger by the factor
    :math:`c(k) = \max(1, 0.55 / (1 - k))` for any number of draws. (It was measured at
    n = 512, 4096 and 32768, and holds within 10 % for k from 0.5 to 0.9.) An index
    estimated from the same draws corrects for a part of this. With 4096 draws the true
    error is 1.05 times the reported one at k = 0.5, 1.2 times at 0.6 and 1.5 times at 0.7.

    The error reported is :math:`s = c(\min(\hat k, 0.95))` times that of the delta method.
    The effective sample size is :math:`1 / (1/n + s^2)`, which is Kish's if c = 1. The
    estimate is declared unreliable if :math:`\hat k` is above
    :math:`\min(0.7, 1 - 1/\log_{10} n)` and s above 0.05 nats. If s is less, the weights
    hardly vary, and the index does no harm.

    Parameters
    ----------
    log_weights : Tensor of shape (n,)
        Independent, with mean weight Z.
    n_evaluations : int
        Number of points at which the energy was evaluated.
    method : str
        Name of the normalizer.

    Returns
    -------
    estimate : LogNormalizer

    References
    ----------
    [Vehtari2024]_
    """
    n = len(log_weights)
    value, std_error, ess = log_mean_exp(log_weights)
    if not math.isfinite(value):
        problem = "the energy is NaN, or infinite, where the proposal has its mass"
        return LogNormalizer(value, std_error, n_evaluations, ess, method, problem)
    k = pareto_tail_index(log_weights.double().cpu().numpy())
    inflation = 0.55 / (1 - min(k, LARGEST_INDEX))
    if inflation > 1:
        std_error *= inflation
        ess = 1 / (1 / n + std_error**2)
    threshold = min(0.7, 1 - 1 / math.log10(n))
    problem = ""
    if k > threshold and std_error > HARMLESS:
        problem = (
            f"the Pareto index of its weights' tail is {k:.2f}, above {threshold:.2f}: "
            "the draws miss part of the model"
        )
    return LogNormalizer(value, std_error, n_evaluations, ess, method, problem)


class ImportanceNormalizer(BaseNormalizer):
    r"""Average the ratio of the model to the proposal over draws from the proposal.

    .. math:: Z = \mathbb{E}_{x \sim p}\bigl[e^{-E(x)} / p(x)\bigr].

    The mean is unbiased for Z. The method is cheap and needs neither gradients nor tuning,
    but its error grows like the exponential of the divergence between model and proposal.
    If the energy is a `CorrectedEnergy` whose base is the proposal, the base cancels and is
    not evaluated.

    Parameters
    ----------
    n_samples : int, default=20_000
        Draws from the proposal, at least 100.

    Notes
    -----
    The proposal should have heavier tails than the model. A Gaussian proposal
    underestimates a model with polynomial tails, and no diagnostic shows it, because the
    tail of the weights lies beyond the draws. For Student t with five degrees of freedom on
    six axes the error was 0.02 to 0.03 nats, two standard errors.

    The standard error and the effective sample size allow for heavy tails, and a Pareto
    index above 0.7 makes the estimate unreliable; see `summarize_weights`. A mode where the
    proposal has no draws goes unnoticed.

    References
    ----------
    [Vehtari2024]_

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.normalizers import ImportanceNormalizer
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> proposal = GaussianBase(np.zeros(2), 1.5 * np.eye(2))
    >>> g = torch.Generator().manual_seed(0)
    >>> z = ImportanceNormalizer(10_000).log_normalizer(energy, proposal, generator=g)
    >>> abs(z.value - math.log(2 * math.pi)) < 4 * z.std_error < 0.05
    True
    """

    def __init__(self, n_samples: int = 20_000):
        self.n_samples = n_samples

    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z; see `BaseNormalizer.estimate`."""
        del manifold  # the proposal is a density on it
        if not (isinstance(self.n_samples, int) and self.n_samples >= 100):
            raise ValueError(
                "n_samples of ImportanceNormalizer must be an integer >= 100; got "
                f"{self.n_samples!r}."
            )
        counted, over = CountedEnergy(energy), False
        if is_over(energy, proposal):
            counted, over = CountedEnergy(energy.learned), True
        log_weights = []
        for start in range(0, self.n_samples, CHUNK):
            n = min(CHUNK, self.n_samples - start)
            x = proposal.sample(n, generator=generator)
            value = counted(x)
            log_weights.append(-value if over else -value - proposal.log_prob(x))
        return summarize_weights(
            torch.cat(log_weights), counted.n_evaluations, "importance"
        )
