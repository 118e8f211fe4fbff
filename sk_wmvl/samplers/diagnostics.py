r"""Diagnostics of chains: effective sample sizes, standard errors and R-hat.

Definitions of Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), [Vehtari2021]_.
Arrays are numpy, of shape (n_chains, n_draws) or (n_chains, n_draws, d). The samples of a
`Chain` have the draws first: pass ``chain.samples.transpose(0, 1).numpy()``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["ess_bulk", "ess_tail", "mcse_mean", "rhat"]

MIN_DRAWS = 4  # two in each half of a chain


def rhat(draws: ArrayLike) -> float | np.ndarray:
    r"""Return the rank-normalised split :math:`\hat R`, which is near 1 if chains agree.

    This is the larger of two values: that of the draws, which compares locations, and that
    of their distances to the median, which compares scales. A common bound is 1.01.

    Parameters
    ----------
    draws : array of shape (n_chains, n_draws) or (n_chains, n_draws, d)
        At least four draws. Each chain is split in two halves.

    Returns
    -------
    rhat : float, or array of shape (d,)

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.samplers import rhat
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> round(rhat(draws), 2), rhat(draws + np.arange(4)[:, None]) > 1.5
    (1.0, True)
    """
    return _per_feature(_rhat, draws)


def ess_bulk(draws: ArrayLike) -> float | np.ndarray:
    """Return the effective sample size for the center of the distribution.

    This is that of the mean of rank-normalised draws, which exists for every distribution.

    Parameters
    ----------
    draws : array of shape (n_chains, n_draws) or (n_chains, n_draws, d)
        At least four draws.

    Returns
    -------
    ess : float, or array of shape (d,)

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.samplers import ess_bulk
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> 3500 < ess_bulk(draws) < 4500
    True
    """
    return _per_feature(lambda x: _ess(_rank_normalise(_split(x))), draws)


def ess_tail(draws: ArrayLike) -> float | np.ndarray:
    """Return the smaller effective sample size of the 5 % and 95 % quantiles.

    Parameters
    ----------
    draws : array of shape (n_chains, n_draws) or (n_chains, n_draws, d)
        At least four draws.

    Returns
    -------
    ess : float, or array of shape (d,)

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.samplers import ess_tail
    >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
    >>> 3000 < ess_tail(draws) < 5000
    True
    """
    return _per_feature(
        lambda x: min(_ess(_split(x <= np.quantile(x, p))) for p in (0.05, 0.95)),
        draws,
    )


def mcse_mean(draws: ArrayLike) -> float | np.ndarray:
    """Return the Monte Carlo standard error of the mean of all draws.

    Parameters
    ----------
    draws : array of shape (n_chains, n_draws) or (n_chains, n_draws, d)
        At least four draws.

    Returns
    -------
    mcse : float, or array of shape (d,)

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.samplers import mcse_mean
    >>> draws = np.random.default_rng(0).normal(size=(4, 2500))
    >>> round(mcse_mean(draws), 3)  # 1 / sqrt(10000)
    0.01
    """
    return _per_feature(
        lambda x: x.std(ddof=1) / np.sqrt(_ess(_split(x))) if x.std() > 0 else 0.0,
        draws,
    )


def _per_feature(
    statistic: Callable[[np.ndarray], float], draws: ArrayLike
) -> float | np.ndarray:
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim not in (2, 3) or draws.shape[1] < MIN_DRAWS:
        raise ValueError(
            "Draws must have shape (n_chains, n_draws) or (n_chains, n_draws, d) with "
            f"n_draws >= {MIN_DRAWS}; got shape {draws.shape}."
        )
    if draws.ndim == 2:
        return _finite_only(statistic, draws)
    columns = np.moveaxis(draws, 2, 0)
    return np.array([_finite_only(statistic, column) for column in columns])


def _finite_only(statistic: Callable[[np.ndarray], float], x: np.ndarray) -> float:
    # A chain with NaN or infinite values has no effective sample size.
    return float(statistic(x)) if np.isfinite(x).all() else float("nan")


def _split(x: np.ndarray) -> np.ndarray:
    """Return first and last halves as chains, without the middle of an odd number."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, -half:]])


def _rank_normalise(x: np.ndarray) -> np.ndarray:
    r"""Return :math:`\Phi^{-1}((r - 3/8) / (n + 1/4))` for ranks r among all draws."""
    ranks = rankdata(x, method="average").reshape(x.shape)
    return ndtri((ranks - 0.375) / (x.size + 0.25))


def _rhat(x: np.ndarray) -> float:
    split = _split(x)
    folded = np.abs(split - np.median(split))
    return max(_plain_rhat(_rank_normalise(z)) for z in (split, folded))


def _plain_rhat(x: np.ndarray) -> float:
    n = x.shape[1]
    within = x.var(axis=1, ddof=1).mean()
    between = n * x.mean(axis=1).var(ddof=1)
    if within == 0:  # constant chains agree or are infinitely far apart
        return 1.0 if between == 0 else float("inf")
    return float(np.sqrt((between / within + n - 1) / n))


def _autocovariance(x: np.ndarray) -> np.ndarray:
    """Return the biased autocovariances of each row at lags 0 to n - 1."""
    n = x.shape[1]
    size = next_fast_len(2 * n, real=True)  # zero padding: no wrap-around
    f = rfft(x - x.mean(axis=1, keepdims=True), n=size, axis=1)
    return irfft(f * f.conj(), n=size, axis=1)[:, :n] / n


def _ess(x: np.ndarray) -> float:
    r"""Return the effective sample size of the mean over chains, n_chains n / tau.

    With :math:`\rho_t` the autocorrelations of all chains together,
    :math:`\tau = -1 + 2 \sum_t P_t`, where :math:`P_t = \rho_{2t} + \rho_{2t+1}` is cut
    at its first negative value and made to decrease (Geyer).
    """
    x = np.asarray(x, dtype=np.float64)
    if np.ptp(x) < np.finfo(np.float64).resolution:
        return float(x.size)
    n_chains, n = x.shape
    covariance = _autocovariance(x).mean(axis=0)
    within = covariance[0] * n / (n - 1)
    total = covariance[0]
    if n_chains > 1:
        total = total + x.mean(axis=1).var(ddof=1)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0

    # The last lags are means of one or two products, and are left out.
    n_pairs = max((n - 1) // 2, 1)
    pairs = rho[0 : 2 * n_pairs : 2] + rho[1 : 2 * n_pairs : 2]
    negative = np.flatnonzero(pairs <= 0)
    cut = int(negative[0]) if len(negative) else n_pairs - 1
    tau = -1 + 2 * np.minimum.accumulate(pairs[:cut]).sum()
    # The even lag after the last pair, if positive, lowers the variance of tau.
    tau += rho[2 * cut] if pairs[cut] > 0 else max(rho[2 * cut], 0)
    # The bound keeps a noisy tau of antithetic chains from an impossible sample size.
    tau = max(tau, 1 / np.log10(x.size))
    return float(x.size / tau)
