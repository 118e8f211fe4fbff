"""The map between the user's units and the network's: whitening with shrinkage."""

from typing import NamedTuple

import numpy as np

from sk_wmvl.coordinates.johnson import JohnsonTransform

__all__ = [
    "ClippedMoments",
    "Coordinates",
    "central_rows",
    "central_units",
    "fit_coordinates",
    "weighted_moments",
]

N_FOLDS = 5
# Never zero: an exact linear relation must not give a singular matrix.
INTENSITIES = np.concatenate([np.logspace(-10, -1, 28), [0.2, 0.3, 0.5, 0.7, 1.0]])

# For columns that are collinear but for a part in ten thousand, or less.
THIN, SMALLER = 1e-8, np.logspace(-14, -10, 12, endpoint=False)

NO_SPREAD = 1e-12  # a spread at the level of rounding
FARTHEST = 10.0  # standard deviations of a column from its median
MAD_TO_STD = 1.4826  # of a normal column
# Of clipped moments: the deviations at which values are clipped, the part of the rows that
# a value may have, and the least variance of a standardized direction.
CLIPPED_AT, MOST_TIED, LEAST_VARIANCE = 3.0, 0.25, 1e-4


class Coordinates(NamedTuple):
    """The map T(x) = mean + scale u.

    Attributes
    ----------
    mean : ndarray of shape (d,)
    scale : ndarray of shape (d, d)
    transform : JohnsonTransform or None, default=None
        The map T of every column, in the user's units; None is the identity.
    """

    mean: np.ndarray
    scale: np.ndarray
    transform: JohnsonTransform | None = None

    def to_internal(self, X: np.ndarray) -> np.ndarray:
        """Return u of shape (n, d)."""
        y = X if self.transform is None else self.transform.forward(X)
        return np.linalg.solve(self.scale, (y - self.mean).T).T


def weighted_moments(
    X: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the weighted mean and a shrunk, positive definite covariance.

    Each feature is scaled to unit variance, and the correlation matrix S is shrunk to
    :math:`(1-\rho) S + \rho\,I`, with :math:`\rho` from a grid between 1e-10 and one (from
    1e-14 where columns are nearly collinear) by the cross-validated Gaussian likelihood (5
    folds). With many rows :math:`\rho` is negligible even where S has tiny eigenvalues,
    which an intensity chosen for the Frobenius norm would hide. A feature without variance
    keeps scale one.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
        Only ratios matter.

    Returns
    -------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    """
    n = len(X)
    w = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    mean = w @ X
    Z = X - mean
    std = np.sqrt(w @ Z**2)
    constant = std <= NO_SPREAD * np.abs(mean).clip(1e-300)
    std[constant] = 1.0
    Z = Z / std
    rho = _shrinkage(Z[:, ~constant], w)
    S = (1 - rho) * (Z * w[:, None]).T @ Z
    np.fill_diagonal(S, 1.0)  # variances are those of the data
    return mean, S * np.outer(std, std)


def _shrinkage(Z: np.ndarray, w: np.ndarray) -> float:
    """Return the intensity with the best cross-validated Gaussian log-likelihood."""
    # Not `make_folds`: coordinates are the same for every seed, so rows go in their order.
    fold = np.arange(len(Z)) % N_FOLDS
    intensities = INTENSITIES
    if len(Z) > 2 * Z.shape[1] > 0:
        least = np.linalg.eigvalsh((Z * w[:, None]).T @ Z)[0]
        if least < THIN:
            intensities = np.concatenate([SMALLER, INTENSITIES])
    loss = np.zeros(len(intensities))
    for k in range(min(N_FOLDS, len(Z))):
        inside, outside = fold != k, fold == k
        w_in = w[inside] / w[inside].sum()
        centre = w_in @ Z[inside]
        R = Z[inside] - centre
        values, vectors = np.linalg.eigh((R * w_in[:, None]).T @ R)
        squares = w[outside] @ ((Z[outside] - centre) @ vectors) ** 2
        shrunk = np.outer(1 - intensities, values.clip(0)) + intensities[:, None]
        loss += w[outside].sum() * np.log(shrunk).sum(1) + (squares / shrunk).sum(1)
    return float(intensities[np.argmin(loss)])


def _central(X: np.ndarray) -> np.ndarray:
    """Return whether values are within ten deviations of the column's median, (n, d).

    The deviation is 1.4826 times the median absolute one. A column in which more than
    half of the values are equal has none; all its values are central.
    """
    distance = np.abs(X - np.median(X, axis=0))
    deviation = MAD_TO_STD * np.median(distance, axis=0)
    return (distance <= FARTHEST * deviation) | (deviation == 0)


def central_rows(X: np.ndarray, columns: list[int]) -> np.ndarray:
    """Return whether the values of a row are central in all of the columns, (n,).

    A value is central if it is within ten robust standard deviations of its column's
    median. If fewer than half of the rows are central, the others are no outliers, and all
    rows are taken.
    """
    central = np.all(_central(X[:, columns]), axis=1)
    few = 2 * np.count_nonzero(central) < len(X)
    return np.ones(len(X), dtype=bool) if few else central


def central_units(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard deviations of the columns' central values, (d,) each.

    A column without a spread gets a deviation of one.
    """
    values = np.where(_central(X), X, np.nan)
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    std[std <= NO_SPREAD * np.abs(mean).clip(1e-300)] = 1.0
    return mean, std


class ClippedMoments(NamedTuple):
    """Moments that a few far rows do not decide.

    Attributes
    ----------
    columns : ndarray of int of shape (k,)
        The columns that they are of.
    mean : ndarray of shape (k,)
    covariance : ndarray of shape (k, k)
    n_rows : int
    """

    columns: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    n_rows: int

    @classmethod
    def of(
        cls,
        X: np.ndarray,
        weight: np.ndarray | None,
        columns: np.ndarray | None = None,
    ) -> "ClippedMoments":
        """Return the moments of values clipped at three deviations from the median.

        The deviation is a robust one, see `central_rows`. Columns without one are not
        clipped.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        weight : ndarray of shape (n,) or None
        columns : ndarray of int of shape (k,) or None, default=None
            None takes all in which no value has more than a quarter of the rows: where one
            has about a half, the deviation is a matter of chance.

        Returns
        -------
        moments : ClippedMoments
        """
        n = len(X)
        if columns is None:
            most = [np.unique(column, return_counts=True)[1].max() for column in X.T]
            columns = np.flatnonzero(np.array(most) <= MOST_TIED * n)
        X = X[:, columns]
        median = np.median(X, axis=0)
        deviation = MAD_TO_STD * np.median(np.abs(X - median), axis=0)
        reach = np.where(deviation > 0, CLIPPED_AT * deviation, np.inf)
        X = X.clip(median - reach, median + reach)
        w = np.full(n, 1 / n) if weight is None else weight / weight.sum()
        mean = w @ X
        Z = X - mean
        return cls(columns, mean, (Z * w[:, None]).T @ Z, n)

    def divergence(self, first: "ClippedMoments") -> float:
        """Return the Kullback-Leibler divergence of normal densities, in nats.

        The columns have the scales of `first`, and variances a floor, since directions in
        which rows hardly differ tell of rounding.

        Parameters
        ----------
        first : ClippedMoments
            Of the same columns.

        Returns
        -------
        divergence : float
            Of the normal density of these moments from that of `first`.
        """
        std = np.sqrt(np.diag(first.covariance))
        std = np.where(std > 0, std, 1.0)
        floor = LEAST_VARIANCE * np.eye(len(std))
        A, B = (m.covariance / np.outer(std, std) + floor for m in (self, first))
        shift = (self.mean - first.mean) / std
        inverse = np.linalg.inv(B)
        log_det = np.linalg.slogdet(B)[1] - np.linalg.slogdet(A)[1]
        trace = (inverse * A).sum()
        return float(0.5 * (trace + shift @ inverse @ shift - len(std) + log_det))


def fit_coordinates(
    X: np.ndarray,
    weight: np.ndarray | None,
    *,
    standardize: bool,
    columns: list[int],
    robust: bool = False,
    floor: np.ndarray | None = None,
) -> tuple[Coordinates, np.ndarray, np.ndarray]:
    """Return coordinates, and the data's mean and covariance in the user's units.

    With `standardize` the scale is the symmetric square root of the correlation matrix
    times the standard deviations (ZCA-cor): the internal features are white, and
    each stays as close as possible to its own column.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
    standardize : bool
        If False the map is the identity.
    columns : list of int
        The Euclidean columns. The map of the others is the identity, their mean is zero and
        their covariance is the identity.
    robust : bool, default=False
        Whether mean and covariance are of `central_rows` alone.
    floor : ndarray of shape (d,) or None, default=None
        Added to the variances: those of rounding.

    Returns
    -------
    coordinates : Coordinates
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
    """
    d = X.shape[1]
    identity = Coordinates(np.zeros(d), np.eye(d))
    if len(columns) < d:
        mean, covariance = np.zeros(d), np.eye(d)
        if not columns:
            return identity, mean, covariance
        inner, mean[columns], covariance[np.ix_(columns, columns)] = fit_coordinates(
            X[:, columns],
            weight,
            standardize=standardize,
            columns=list(range(len(columns))),
            robust=robust,
            floor=None if floor is None else floor[columns],
        )
        identity.mean[columns] = inner.mean
        identity.scale[np.ix_(columns, columns)] = inner.scale
        return identity, mean, covariance
    if robust:
        central = central_rows(X, columns)
        X, weight = X[central], None if weight is None else weight[central]
    mean, covariance = weighted_moments(X, weight)
    if floor is not None:
        covariance = covariance + np.diag(floor)
    if not standardize:
        return identity, mean, covariance
    std = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(std, std))
    root = (vectors * np.sqrt(values)) @ vectors.T
    return Coordinates(mean, std[:, None] * root), mean, covariance
