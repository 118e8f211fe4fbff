r"""Mixtures of directions and angles whose density and score are known."""

import numpy as np
from scipy import special, stats
from sklearn.utils import check_random_state

from sk_wmvl.datasets.synthetic import BaseDistribution

__all__ = [
    "MANIFOLD_DISTRIBUTIONS",
    "VonMisesFisherMixture",
    "VonMisesMixture",
    "circle_mixture",
    "sphere_mixture",
    "torus_mixture",
    "twenty_dimensional_sphere_mixture",
]

LOG_2PI = np.log(2 * np.pi)
TOLERANCE = 1e-6  # of the norms of means


def log_bessel(order, kappa) -> np.ndarray:
    r"""Return :math:`\log[I_\nu(\kappa)\,\kappa^{-\nu}]`, for large and small κ alike.

    The scaled Bessel function :math:`e^{-\kappa}I_\nu(\kappa)` does not overflow, but
    vanishes where κ is small beside ν. There the power series, as 0F1, is used. Without
    the factor :math:`\kappa^{-\nu}` the value at κ = 0 would be infinite.
    """
    kappa = np.asarray(kappa, dtype=float)
    # At the switch 0F1(; v + 1; k^2 / 4) is below e and I_v is no smaller than 1 / v!.
    small = kappa**2 < 4 * (order + 1)
    near = np.where(small, kappa, 0.0)
    series = np.log(special.hyp0f1(order + 1, near**2 / 4))
    series -= order * np.log(2) + special.gammaln(order + 1)
    far = np.where(small, 2 * np.sqrt(order + 1), kappa)
    scaled = np.log(special.ive(order, far)) + far - order * np.log(far)
    return np.where(small, series, scaled)


class VonMisesFisherMixture(BaseDistribution):
    r"""A mixture of von Mises-Fisher distributions on the unit sphere :math:`S^m`.

    .. math:: p(x) = \sum_k w_k\,\frac{\kappa_k^{\nu}\,e^{\kappa_k\mu_k^\top x}}
        {(2\pi)^{\nu+1} I_\nu(\kappa_k)},\quad \nu = \frac{m-1}{2}

    with respect to the surface measure, of total mass :math:`2\pi` on the circle and
    :math:`4\pi` on the sphere. Points are unit vectors of shape (n, m + 1), and scores
    are tangent: :math:`\sum_k r_k\kappa_k(I - xx^\top)\mu_k` with the responsibilities
    :math:`r_k`.

    Parameters
    ----------
    means : array-like of shape (k, m + 1)
        Mean directions :math:`\mu_k`, of unit length.
    kappas : array-like of shape (k,)
        Concentrations :math:`\kappa_k \ge 0`; 0 is the uniform distribution.
    weights : array-like of shape (k,) or None, default=None
        Weights, which are scaled to sum to one; None for equal ones.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    The uniform distribution on the sphere has the log density -log(4 pi).

    >>> from sk_wmvl.datasets import VonMisesFisherMixture
    >>> uniform = VonMisesFisherMixture([[0.0, 0.0, 1.0]], [0.0])
    >>> uniform.log_density([[1.0, 0.0, 0.0]]).round(4)
    array([-2.531])
    """

    def __init__(self, means, kappas, weights=None):
        self.means = np.asarray(means, dtype=float)
        self.kappas = np.asarray(kappas, dtype=float)
        _check_norms(self.means)
        self.weights = _weights(weights, self.means, self.kappas)

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws; see `BaseDistribution.sample`.

        Exact: by inversion on the sphere, by rejection [Wood1994]_ in other dimensions.
        """
        rng = check_random_state(random_state)
        counts = rng.multinomial(n_samples, self.weights)
        parts = []
        for mean, kappa, n in zip(self.means, self.kappas, counts, strict=True):
            if n == 0:
                continue
            if kappa == 0:
                x = rng.normal(size=(n, len(mean)))
                parts.append(x / np.linalg.norm(x, axis=1, keepdims=True))
            else:
                draws = stats.vonmises_fisher.rvs(mean, kappa, n, random_state=rng)
                parts.append(draws.reshape(n, -1))
        return rng.permutation(np.concatenate(parts))

    def _components(self, X: np.ndarray) -> np.ndarray:
        order = self.means.shape[1] / 2 - 1
        log_z = (order + 1) * LOG_2PI + log_bessel(order, self.kappas)
        return np.log(self.weights) + self.kappas * (X @ self.means.T) - log_z

    def log_density(self, X) -> np.ndarray:
        """Return log densities with respect to the surface measure.

        Parameters
        ----------
        X : array-like of shape (n_samples, m + 1)
            Unit vectors.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats.
        """
        return special.logsumexp(self._components(np.asarray(X, dtype=float)), axis=1)

    def score(self, X) -> np.ndarray:
        """Return Riemannian gradients of the log density, tangent to the sphere.

        Parameters
        ----------
        X : array-like of shape (n_samples, m + 1)
            Unit vectors.

        Returns
        -------
        score : ndarray of shape (n_samples, m + 1)
        """
        X = np.asarray(X, dtype=float)
        pull = special.softmax(self._components(X), axis=1) * self.kappas
        gradient = pull @ self.means
        return gradient - (gradient * X).sum(1, keepdims=True) * X


class VonMisesMixture(BaseDistribution):
    r"""A mixture of products of von Mises distributions on the torus :math:`T^m`.

    .. math:: p(x) = \sum_k w_k\prod_{j=1}^m
        \frac{e^{\kappa_{kj}\cos(x_j-\mu_{kj})}}{2\pi I_0(\kappa_{kj})}

    with respect to Lebesgue measure on the angles, of total mass :math:`(2\pi)^m`.
    Points are angles in radians, any real numbers; scores are derivatives per angle.

    Parameters
    ----------
    means : array-like of shape (k, m)
        Mean angles :math:`\mu_{kj}`.
    kappas : array-like of shape (k, m)
        Concentrations :math:`\kappa_{kj} \ge 0`.
    weights : array-like of shape (k,) or None, default=None
        Weights, which are scaled to sum to one; None for equal ones.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    The uniform distribution on two angles has the log density -2 log(2 pi).

    >>> from sk_wmvl.datasets import VonMisesMixture
    >>> uniform = VonMisesMixture([[0.0, 0.0]], [[0.0, 0.0]])
    >>> uniform.log_density([[1.0, 9.0]]).round(4)
    array([-3.6758])
    """

    def __init__(self, means, kappas, weights=None):
        self.means = np.asarray(means, dtype=float)
        self.kappas = np.asarray(kappas, dtype=float)
        self.weights = _weights(weights, self.means, self.kappas)
        if self.kappas.shape != self.means.shape:
            raise ValueError(
                f"kappas has shape {self.kappas.shape}, but means {self.means.shape}: "
                "give one concentration per component and angle."
            )

    def sample(self, n_samples: int, random_state=None) -> np.ndarray:
        """Return independent draws in [-π, π); see `BaseDistribution.sample`."""
        rng = check_random_state(random_state)
        k = rng.choice(len(self.means), n_samples, p=self.weights)
        X = rng.vonmises(self.means[k], self.kappas[k])
        return np.mod(X + np.pi, 2 * np.pi) - np.pi

    def _components(self, X: np.ndarray) -> np.ndarray:
        log_z = LOG_2PI + np.log(special.ive(0, self.kappas))
        # cos - 1 = -2 sin^2: with the scaled Bessel function nothing cancels.
        half = np.sin(0.5 * (X[:, None] - self.means))
        return np.log(self.weights) - (2 * self.kappas * half**2 + log_z).sum(-1)

    def log_density(self, X) -> np.ndarray:
        """Return log densities with respect to Lebesgue measure on the angles.

        Parameters
        ----------
        X : array-like of shape (n_samples, m)
            Angles in radians.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats.
        """
        return special.logsumexp(self._components(np.asarray(X, dtype=float)), axis=1)

    def score(self, X) -> np.ndarray:
        """Return derivatives of the log density by each angle.

        Parameters
        ----------
        X : array-like of shape (n_samples, m)
            Angles in radians.

        Returns
        -------
        score : ndarray of shape (n_samples, m)
        """
        X = np.asarray(X, dtype=float)
        responsibility = special.softmax(self._components(X), axis=1)
        pull = -self.kappas * np.sin(X[:, None] - self.means)
        return (responsibility[..., None] * pull).sum(1)


def _check_norms(means: np.ndarray) -> None:
    defect = np.abs(np.linalg.norm(means, axis=-1) - 1)
    if means.ndim != 2 or means.shape[1] < 2 or not (defect <= TOLERANCE).all():
        raise ValueError(
            "means must be unit vectors, of shape (k, m + 1); got shape "
            f"{means.shape} with norms {np.linalg.norm(means, axis=-1)}."
        )


def _weights(weights, means: np.ndarray, kappas: np.ndarray) -> np.ndarray:
    """Return weights that sum to one, after a check of what all components share."""
    if means.ndim != 2 or len(kappas) != len(means) or not (kappas >= 0).all():
        raise ValueError(
            f"kappas must be non-negative, one row per row of means, of shape "
            f"{means.shape}; got {kappas!r}."
        )
    w = np.ones(len(means)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (len(means),) or not ((w > 0).all() and np.isfinite(w).all()):
        raise ValueError(
            f"weights must be {len(means)} positive numbers; got {weights!r}."
        )
    return w / w.sum()


def circle_mixture() -> VonMisesFisherMixture:
    r"""Return the paper's mixture on the circle (its Figure 2).

    Means (0, 1) and (1, -1)/√2, concentrations 2 and 3, weights 0.7 and 0.3. The paper
    prints concentrations :math:`1/\sigma^2` with σ = 2 and 3; its runs used 2 and 3.

    Returns
    -------
    distribution : VonMisesFisherMixture

    References
    ----------
    [Wang2020]_
    """
    return VonMisesFisherMixture(
        [[0.0, 1.0], [0.5**0.5, -(0.5**0.5)]], [2.0, 3.0], [0.7, 0.3]
    )


def sphere_mixture(seed: int = 23) -> VonMisesFisherMixture:
    r"""Return a mixture of four components on the sphere, as in the paper's Figure 4.

    The parameters are drawn as in the paper: uniform means, concentrations
    :math:`\sqrt{U(1, 50)} + 0.1`, weights proportional to :math:`U(1, 50)^2`.

    Parameters
    ----------
    seed : int, default=23
        Seed of the parameters.

    Returns
    -------
    distribution : VonMisesFisherMixture

    References
    ----------
    [Wang2020]_
    """
    rng = np.random.default_rng(seed)
    means = _unit_rows(rng.normal(size=(4, 3)))
    kappas = np.sqrt(rng.uniform(1, 50, 4)) + 0.1
    return VonMisesFisherMixture(means, kappas, rng.uniform(1, 50, 4) ** 2)


def twenty_dimensional_sphere_mixture() -> VonMisesFisherMixture:
    """Return five components with concentrations 5 to 40 on the sphere in 21 dimensions.

    Returns
    -------
    distribution : VonMisesFisherMixture
    """
    rng = np.random.default_rng(20)
    means = _unit_rows(rng.normal(size=(5, 21)))
    return VonMisesFisherMixture(means, rng.uniform(5, 40, 5), rng.uniform(1, 3, 5))


def torus_mixture() -> VonMisesMixture:
    """Return four components with concentrations 1 to 15 on the torus of seven angles.

    Returns
    -------
    distribution : VonMisesMixture
    """
    rng = np.random.default_rng(7)
    means = rng.uniform(-np.pi, np.pi, (4, 7))
    return VonMisesMixture(means, rng.uniform(1, 15, (4, 7)), rng.uniform(1, 3, 4))


def _unit_rows(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


MANIFOLD_DISTRIBUTIONS = {
    "circle": circle_mixture,
    "sphere": sphere_mixture,
    "sphere-20": twenty_dimensional_sphere_mixture,
    "torus-7": torus_mixture,
}
