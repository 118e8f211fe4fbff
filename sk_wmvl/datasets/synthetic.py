"""Distributions whose density and score are known, to measure estimators against."""

from abc import ABC, abstractmethod

import numpy as np
from scipy import special, stats
from sklearn.utils import check_random_state

__all__ = [
    "DISTRIBUTIONS",
    "Banana",
    "BaseDistribution",
    "CorrelatedGaussian",
    "Cosine",
    "Funnel",
    "GaussianMixtures",
    "Rings",
    "eight_gaussians",
    "twenty_dimensional_mixture",
]


class BaseDistribution(ABC):
    """A distribution that can be sampled, with its exact log density and score."""

    @abstractmethod
    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, RandomState instance or None, default=None
            Seed.

        Returns
        -------
        X : ndarray of shape (n_samples, d)
        """

    @abstractmethod
    def log_density(self, X) -> np.ndarray:
        """Return normalised log densities.

        Parameters
        ----------
        X : array-like of shape (n_samples, d)
            Points.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, with respect to Lebesgue measure.
        """

    @abstractmethod
    def score(self, X) -> np.ndarray:
        """Return gradients of the log density.

        Parameters
        ----------
        X : array-like of shape (n_samples, d)
            Points.

        Returns
        -------
        score : ndarray of shape (n_samples, d)
        """


class Banana(BaseDistribution):
    r"""The banana :math:`x_0 \sim N(0, 4)`, :math:`x_1 \sim N((x_0^2-4)/5, 1)`.

    References
    ----------
    [Wenliang2019]_

    Examples
    --------
    >>> from sk_wmvl.datasets import Banana
    >>> Banana().log_density([[2.0, 0.0]]).round(4)  # -log(4 pi) - 1/2
    array([-3.031])
    """

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        x0 = rng.normal(0, 2, n_samples)
        return np.c_[x0, rng.normal(0.2 * (x0**2 - 4), 1)]

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        x0, x1 = np.asarray(X, dtype=float).T
        return stats.norm.logpdf(x0, 0, 2) + stats.norm.logpdf(x1 - 0.2 * (x0**2 - 4))

    def score(self, X) -> np.ndarray:
        """Return scores; see `BaseDistribution.score`."""
        x0, x1 = np.asarray(X, dtype=float).T
        r = x1 - 0.2 * (x0**2 - 4)
        return np.c_[-x0 / 4 + 0.4 * x0 * r, -r]


class Cosine(BaseDistribution):
    r"""The cosine band :math:`x_0 \sim U(-4, 4)`, :math:`x_1 \sim N(3\cos 2x_0, 1)`.

    Its edges are sharp, where score matching is biased.

    References
    ----------
    [Wenliang2019]_

    Examples
    --------
    >>> from sk_wmvl.datasets import Cosine
    >>> Cosine().log_density([[0.0, 3.0], [5.0, 0.0]]).round(4)
    array([-2.9984,    -inf])
    """

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        x0 = rng.uniform(-4, 4, n_samples)
        return np.c_[x0, rng.normal(3 * np.cos(2 * x0), 1)]

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        x0, x1 = np.asarray(X, dtype=float).T
        inside = np.where(np.abs(x0) <= 4, -np.log(8), -np.inf)
        return inside + stats.norm.logpdf(x1 - 3 * np.cos(2 * x0))

    def score(self, X) -> np.ndarray:
        """Return scores inside the band; see `BaseDistribution.score`."""
        x0, x1 = np.asarray(X, dtype=float).T
        r = x1 - 3 * np.cos(2 * x0)
        return np.c_[-6 * np.sin(2 * x0) * r, -r]


class Rings(BaseDistribution):
    r"""Concentric rings: a normal radius and a uniform angle.

    .. math:: p(x) = \frac{1}{2\pi\|x\|}\,\frac1K\sum_k N(\|x\|;\,r_k, \sigma^2)

    Parameters
    ----------
    radii : tuple of float, default=(5.0,)
        The radii, with equal weights, several standard deviations from zero.
    sigma : float, default=0.2
        Standard deviation of the radius.

    References
    ----------
    [Wenliang2019]_

    Examples
    --------
    Minus the entropy of the single ring is -log(10 pi) - log(2 pi e 0.04) / 2.

    >>> from sk_wmvl.datasets import Rings
    >>> ring = Rings()
    >>> bool(abs(ring.log_density(ring.sample(20_000, 0)).mean() + 3.256) < 0.02)
    True
    """

    def __init__(self, radii: tuple[float, ...] = (5.0,), sigma: float = 0.2):
        self.radii = radii
        self.sigma = sigma

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        r = rng.choice(self.radii, n_samples) + self.sigma * rng.normal(size=n_samples)
        angle = rng.uniform(0, 2 * np.pi, n_samples)
        return r[:, None] * np.c_[np.cos(angle), np.sin(angle)]

    def _components(self, r: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(r[:, None], self.radii, self.sigma)

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        r = np.linalg.norm(np.asarray(X, dtype=float), axis=1)
        mixture = special.logsumexp(self._components(r), axis=1) - np.log(
            len(self.radii)
        )
        return mixture - np.log(2 * np.pi * r)

    def score(self, X) -> np.ndarray:
        """Return scores; see `BaseDistribution.score`."""
        X = np.asarray(X, dtype=float)
        r = np.linalg.norm(X, axis=1)
        responsibility = special.softmax(self._components(r), axis=1)
        gap = np.asarray(self.radii) - r[:, None]
        pull = (responsibility * gap).sum(1) / self.sigma**2
        return (pull / r - 1 / r**2)[:, None] * X


class Funnel(BaseDistribution):
    r"""The funnel :math:`x_0 \sim N(0, 1)`, :math:`x_1 \sim N(0, e^{x_0})`.

    Examples
    --------
    >>> from sk_wmvl.datasets import Funnel
    >>> Funnel().log_density([[0.0, 0.0]]).round(4)  # -log(2 pi)
    array([-1.8379])
    """

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        x0 = rng.normal(size=n_samples)
        return np.c_[x0, rng.normal(size=n_samples) * np.exp(x0 / 2)]

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        x0, x1 = np.asarray(X, dtype=float).T
        return stats.norm.logpdf(x0) + stats.norm.logpdf(x1, 0, np.exp(x0 / 2))

    def score(self, X) -> np.ndarray:
        """Return scores; see `BaseDistribution.score`."""
        x0, x1 = np.asarray(X, dtype=float).T
        z2 = x1**2 * np.exp(-x0)
        return np.c_[-x0 - 0.5 + 0.5 * z2, -x1 * np.exp(-x0)]


class GaussianMixtures(BaseDistribution):
    """A mixture of Gaussians with one common spherical variance.

    Parameters
    ----------
    means : array of shape (k, d)
        Means.
    sigma : float
        Standard deviation of every component.
    weights : array of shape (k,) or None, default=None
        Weights; None for equal ones.

    Examples
    --------
    >>> from sk_wmvl.datasets import GaussianMixtures
    >>> GaussianMixtures([[0.0]], 1.0).log_density([[0.0]]).round(4)
    array([-0.9189])
    """

    def __init__(self, means, sigma: float, weights=None):
        self.means = np.asarray(means, dtype=float)
        self.sigma = sigma
        k = len(self.means)
        self.weights = np.full(k, 1 / k) if weights is None else np.asarray(weights)

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        k = rng.choice(len(self.means), n_samples, p=self.weights)
        return self.means[k] + self.sigma * rng.normal(
            size=(n_samples, len(self.means.T))
        )

    def _components(self, X: np.ndarray) -> np.ndarray:
        square = ((X[:, None] - self.means) ** 2).sum(-1) / self.sigma**2
        d = self.means.shape[1]
        return (
            np.log(self.weights)
            - 0.5 * square
            - d * np.log(self.sigma)
            - d / 2 * LOG_2PI
        )

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        return special.logsumexp(self._components(np.asarray(X, dtype=float)), axis=1)

    def score(self, X) -> np.ndarray:
        """Return scores; see `BaseDistribution.score`."""
        X = np.asarray(X, dtype=float)
        responsibility = special.softmax(self._components(X), axis=1)
        return (responsibility @ self.means - X) / self.sigma**2


class CorrelatedGaussian(BaseDistribution):
    """A Gaussian whose covariance is A A' with A standard normal, drawn from a seed.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d.
    seed : int, default=0
        Seed of A.

    Examples
    --------
    >>> from sk_wmvl.datasets import CorrelatedGaussian
    >>> CorrelatedGaussian(3).sample(5, random_state=0).shape
    (5, 3)
    """

    def __init__(self, n_features: int = 2, seed: int = 0):
        rng = np.random.default_rng([n_features, seed])
        self.factor = rng.normal(size=(n_features, n_features))
        self.covariance = self.factor @ self.factor.T

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        return rng.normal(size=(n_samples, len(self.factor))) @ self.factor.T

    def log_density(self, X) -> np.ndarray:
        """Return log densities; see `BaseDistribution.log_density`."""
        mean = np.zeros(len(self.factor))
        density = stats.multivariate_normal(mean, self.covariance, allow_singular=False)
        return np.atleast_1d(density.logpdf(np.asarray(X, dtype=float)))

    def score(self, X) -> np.ndarray:
        """Return scores; see `BaseDistribution.score`."""
        return -np.linalg.solve(self.covariance, np.asarray(X, dtype=float).T).T


LOG_2PI = np.log(2 * np.pi)


def eight_gaussians() -> GaussianMixtures:
    """Return eight equal Gaussians (σ = 0.5) on a circle of radius 4."""
    angle = np.arange(8) * np.pi / 4
    return GaussianMixtures(4 * np.c_[np.cos(angle), np.sin(angle)], 0.5)


def twenty_dimensional_mixture() -> GaussianMixtures:
    """Return five unit Gaussians in 20 dimensions, at means of norm 2."""
    means = np.random.default_rng(20).normal(size=(5, 20))
    means *= 2 / np.linalg.norm(means, axis=1, keepdims=True)
    return GaussianMixtures(means, 1.0)


DISTRIBUTIONS = {
    "banana": Banana,
    "cosine": Cosine,
    "ring": Rings,
    "multiring": lambda: Rings((1.0, 3.0, 5.0)),
    "funnel": Funnel,
    "eight-gaussians": eight_gaussians,
    "gaussian-2": lambda: CorrelatedGaussian(2),
    "gaussian-10": lambda: CorrelatedGaussian(10),
    "gaussian-50": lambda: CorrelatedGaussian(50),
    "mixture-20": twenty_dimensional_mixture,
}
