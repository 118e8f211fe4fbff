"""Parametric baselines: von Mises mixtures on tori, Dirichlet and logistic normal."""

import numpy as np
from scipy.special import digamma, gammaln, ive, logsumexp, polygamma

from sk_wmvl.datasets import VonMisesMixture

__all__ = ["Dirichlet", "LogisticNormal", "von_mises_mixture"]

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
KAPPA_MAX = 300.0  # 3.3 degrees: a component on repeated angles has no infinite peak
N_STARTS = 5
PATIENCE = 2  # candidates tried beyond the best


def concentration(r):
    """Return κ with I_1(κ) / I_0(κ) = r, by Newton's method from a closed form."""
    r = np.clip(r, 0.0, 1 - 1e-9)
    kappa = np.clip(r * (2 - r**2) / (1 - r**2), 0.0, KAPPA_MAX)
    for _ in range(5):
        a = ive(1, kappa) / ive(0, kappa)
        slope = 1 - a**2 - a / np.maximum(kappa, 1e-9)
        slope = np.where(kappa > 1e-6, slope, 0.5)
        kappa = np.clip(kappa - (a - r) / slope, 0.0, KAPPA_MAX)
    return kappa


def _em(X, k, rng, n_iter=200, tol=1e-5):
    """Return a mixture of k von Mises products, and its mean log-likelihood."""
    Z = np.exp(1j * X)
    model = VonMisesMixture(
        X[rng.choice(len(X), k, replace=False)], np.full((k, X.shape[1]), 4.0)
    )
    old = -np.inf
    for _ in range(n_iter):
        log_joint = model._components(X)
        log_p = logsumexp(log_joint, axis=1)
        value = log_p.mean()
        if value - old < tol:
            break
        old = value
        responsibility = np.exp(log_joint - log_p[:, None])
        mass = responsibility.sum(0) + 1e-9
        mean = (responsibility.T @ Z) / mass[:, None]
        model = VonMisesMixture(np.angle(mean), concentration(np.abs(mean)), mass)
    return model, value


def von_mises_mixture(X, seed=0):
    """Return the mixture with the lowest BIC.

    Parameters
    ----------
    X : array of shape (n, m)
        Angles in radians.
    seed : int, default=0

    Returns
    -------
    model : VonMisesMixture
        With a `label`, and `score_samples` for its log density.
    """
    rng = np.random.default_rng(seed)
    n, m = X.shape
    best, best_bic, n_worse = None, np.inf, 0
    for k in COMPONENTS:
        if k > max(1, n // 8) or n_worse == PATIENCE:
            break
        model, value = max(
            (_em(X, k, rng) for _ in range(1 if k == 1 else N_STARTS)),
            key=lambda pair: pair[1],
        )
        bic = -2 * n * value + (k * (2 * m + 1) - 1) * np.log(n)
        n_worse = 0 if bic < best_bic else n_worse + 1
        if bic < best_bic:
            best, best_bic = model, bic
    best.label = f"{len(best.weights)} components"
    best.score_samples = best.log_density
    return best


class Dirichlet:
    """The Dirichlet distribution by maximum likelihood.

    Log densities are with respect to Lebesgue measure on the first p - 1 parts.

    Parameters
    ----------
    X : array of shape (n, p)
        Compositions without zeros.
    """

    def __init__(self, X):
        mean_log = np.log(X).mean(0)
        m, v = X.mean(0), X[:, 0].var()
        self.alpha = m * max(m[0] * (1 - m[0]) / v - 1, 1.0)
        for _ in range(100):  # Newton: the Hessian is a diagonal plus rank one
            a = self.alpha
            gradient = digamma(a.sum()) - digamma(a) + mean_log
            q, z = -polygamma(1, a), polygamma(1, a.sum())
            b = (gradient / q).sum() / (1 / z + (1 / q).sum())
            step = (gradient - b) / q
            while (a - step <= 0).any():
                step = step / 2
            self.alpha = a - step
            if np.abs(step / a).max() < 1e-10:
                break
        self.label = "alpha " + " ".join(f"{a:.3g}" for a in self.alpha)

    def score_samples(self, X):
        """Return log densities."""
        a = self.alpha
        return gammaln(a.sum()) - gammaln(a).sum() + np.log(X) @ (a - 1)


class LogisticNormal:
    """A Gaussian in log ratios.

    Log densities are with respect to Lebesgue measure on the first p - 1 parts.

    Parameters
    ----------
    X : array of shape (n, p)
        Compositions without zeros.
    """

    def __init__(self, X):
        Y = np.log(X[:, :-1] / X[:, -1:])
        self.mean = Y.mean(0)
        self.cholesky = np.linalg.cholesky(np.atleast_2d(np.cov(Y.T, bias=True)))
        self.label = ""

    def score_samples(self, X):
        """Return log densities."""
        Y = np.log(X[:, :-1] / X[:, -1:]) - self.mean
        white = np.linalg.solve(self.cholesky, Y.T)
        log_det = np.log(np.diag(self.cholesky)).sum()
        p = len(self.mean)
        normal = -0.5 * (white**2).sum(0) - log_det - p / 2 * np.log(2 * np.pi)
        return normal - np.log(X).sum(1)
