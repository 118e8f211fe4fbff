"""The mixtures and kernels of scikit-learn, tuned as a careful user would."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

__all__ = [
    "gaussian",
    "kernel",
    "mixture_by_bic",
    "mixture_by_rows",
    "refit",
]

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
BANDWIDTHS = np.geomspace(0.02, 1.5, 18)  # in standard deviations
CHUNK = 500  # rows at a time in the score of a kernel density
PATIENCE = 3  # candidates tried beyond the best


class _Standardized:
    """A model of standardised columns, in the units of the data.

    Parameters
    ----------
    model : GaussianMixture or KernelDensity
        Fitted to (X - mean) / std.
    mean, std : array of shape (d,)
    label : str
        What was chosen.
    """

    def __init__(self, model, mean, std, label):
        self.model, self.mean, self.std, self.label = model, mean, std, label

    def score_samples(self, X):
        """Return log densities."""
        Z = (X - self.mean) / self.std
        return self.model.score_samples(Z) - np.log(self.std).sum()


class Mixture(_Standardized):
    """A Gaussian mixture of standardised columns."""

    def __init__(self, model, mean, std):
        super().__init__(model, mean, std, f"{model.n_components} components")

    def score_fn(self, X):
        """Return gradients of the log density."""
        Z = (X - self.mean) / self.std
        responsibility = self.model.predict_proba(Z)
        score = np.zeros_like(Z)
        for k, (mean, precision) in enumerate(
            zip(self.model.means_, self.model.precisions_, strict=True)
        ):
            score += responsibility[:, [k]] * ((mean - Z) @ precision)
        return score / self.std


class Kernel(_Standardized):
    """A Gaussian kernel density of standardised columns."""

    def __init__(self, model, mean, std):
        super().__init__(model, mean, std, f"bandwidth {model.bandwidth:.3g}")
        self.points = np.asarray(model.tree_.data)

    def score_fn(self, X):
        """Return gradients of the log density."""
        Z = (X - self.mean) / self.std
        h2 = self.model.bandwidth**2
        scores = []
        for rows in np.array_split(Z, max(1, len(Z) // CHUNK)):
            exponent = -0.5 / h2 * cdist(rows, self.points, "sqeuclidean")
            responsibility = np.exp(exponent - exponent.max(1, keepdims=True))
            responsibility /= responsibility.sum(1, keepdims=True)
            scores.append((responsibility @ self.points - rows) / h2)
        return np.concatenate(scores) / self.std


def _moments(X):
    std = X.std(0)
    return X.mean(0), np.where(std > 0, std, 1.0)


def _search_mixtures(X, seed, criterion):
    mean, std = _moments(X)
    best, best_value, n_worse = None, np.inf, 0
    for k in COMPONENTS:
        if k > len(X) // 5:
            break
        model = GaussianMixture(
            k, reg_covar=1e-5, max_iter=1000, n_init=2, random_state=seed
        )
        model = Mixture(model.fit((X - mean) / std), mean, std)
        value = criterion(model)
        n_worse = 0 if value < best_value else n_worse + 1
        if value < best_value:
            best, best_value = model, value
        if n_worse == PATIENCE:
            break
    return best


def gaussian(X):
    """Return the Gaussian with the moments of X."""
    mean, std = _moments(X)
    return Mixture(GaussianMixture(1, reg_covar=0).fit((X - mean) / std), mean, std)


def mixture_by_bic(X, seed):
    """Return the full-covariance mixture with the lowest BIC, of 1 to 64 components."""
    mean, std = _moments(X)
    return _search_mixtures(X, seed, lambda m: m.model.bic((X - mean) / std))


def mixture_by_rows(X, X_valid, seed):
    """Return the full-covariance mixture with the highest likelihood of other rows."""
    return _search_mixtures(X, seed, lambda m: -m.score_samples(X_valid).mean())


def kernel(X, X_valid, *, n_selection=10_000):
    """Return the kernel density with the bandwidth that suits other rows best.

    Parameters
    ----------
    X : array of shape (n, d)
        Where the kernels sit.
    X_valid : array of shape (m, d)
        Rows that choose the bandwidth.
    n_selection : int, default=10_000
        At most so many rows of X and a quarter as many of X_valid take part in the choice.
    """
    mean, std = _moments(X)
    Z, Z_valid = (X - mean) / std, (X_valid - mean) / std
    Z_valid = Z_valid[: n_selection // 4]
    # All bandwidths from one matrix of squared distances.
    square = cdist(Z_valid, Z[:n_selection], "sqeuclidean")
    nearest = square.min(1, keepdims=True)
    square -= nearest
    best, best_value = BANDWIDTHS[-1], -np.inf
    for h in BANDWIDTHS:
        sums = np.exp(-0.5 / h**2 * square).sum(1)
        value = (np.log(sums) - 0.5 / h**2 * nearest[:, 0]).mean()
        value -= Z.shape[1] * np.log(h)
        if value > best_value:
            best, best_value = h, value
    return Kernel(KernelDensity(bandwidth=best).fit(Z), mean, std)


def refit(model, X):
    """Return a `Mixture` or a `Kernel` with the same settings, fitted to other rows."""
    mean, std = _moments(X)
    inner = clone(model.model).fit((X - mean) / std)
    return type(model)(inner, mean, std)
