"""Mixtures of normal and Student densities, fitted by expectation maximisation."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.cluster import kmeans_plusplus

from sk_wmvl.base_measures.mixture import log_student_constant
from sk_wmvl.base_measures.selection.separating_axes import separating_axes

__all__ = ["StudentMixture", "continue_fit", "fit_mixture", "join_mixtures"]

N_ITERATIONS = 150
# A fit stops after two checks in a row that gain less than ENOUGH, in nats per row.
CHECK_EVERY, N_WORSE, ENOUGH = 5, 2, 1e-3
# Few components easily start in the wrong places, and starting them again is cheap.
MOST_RESTARTED, N_STARTS, N_STEPS = 8, 4, 10
N_TIED = 15  # steps of a start with one covariance for all components
# Of the correlations of the pooled covariance, which a component starts from and keeps
# where it has few rows.
SHRINKAGE = 0.1
MOST_ENTRIES = 2**16  # of deviations at a time, so that they stay in the cache
# Squared distances and moments are made of products of columns, in one matrix product
# each, where these take no more than 64 MB. Rounding grows with the ratio of a mean to the
# least standard deviation, squared; up to this one it stays below 1e-6.
MOST_PRODUCTS, MOST_RATIO = 2**23, 1e9
FLOOR = 1e-6  # of variances, beside the floor of a column
# Of the variance of nearly collinear columns in some direction, with columns of unit
# variance. The prior and the floor would widen components in such directions by far.
THIN = 1e-5
# What rounding in float64 allows a covariance to tell; a thinner direction is exact.
LEAST_VARIANCE, EXACT = 1e-14, 1e-13


class StudentMixture(NamedTuple):
    """Parameters of a mixture; see `MixtureBase`.

    Attributes
    ----------
    weights : ndarray of shape (k,)
    means : ndarray of shape (k, d)
    covariances : ndarray of shape (k, d, d)
    degrees_of_freedom : ndarray of shape (k,)
        Infinite for normal components.
    n_iterations : int
        Steps of the fit.
    sizes : tuple of int
        Numbers of components that were fitted together: several where mixtures are joined.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    degrees_of_freedom: np.ndarray
    n_iterations: int
    sizes: tuple[int, ...]

    def parts(self) -> "list[tuple[float, StudentMixture]]":
        """Return the mixtures that were joined, with their weights."""
        ends = np.cumsum(self.sizes)
        some = [slice(end - k, end) for k, end in zip(self.sizes, ends, strict=True)]
        parts = []
        for i, size in zip(some, self.sizes, strict=True):
            weight = float(self.weights[i].sum())
            own = (self.weights[i] / weight, self.means[i], self.covariances[i])
            nu = self.degrees_of_freedom[i]
            parts.append((weight, StudentMixture(*own, nu, self.n_iterations, (size,))))
        return parts

    def joint(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logs of weight times density, and squared Mahalanobis distances.

        Both are of shape (k, n).
        """
        return self._joint(Table(x, has_products=False))

    def _joint(self, table: "Table") -> tuple[np.ndarray, np.ndarray]:
        d = self.means.shape[1]
        chol = np.linalg.cholesky(self.covariances)
        squares = table.squares(self.means, np.linalg.inv(chol))
        log_det = 2 * np.log(np.diagonal(chol, axis1=1, axis2=2)).sum(1)
        constant = log_student_constant(self.degrees_of_freedom, d) - 0.5 * log_det
        heavy = np.isfinite(self.degrees_of_freedom)
        if heavy.all():
            nu = self.degrees_of_freedom[:, None]
            joint = np.log1p(squares / nu)
            joint *= -0.5 * (nu + d)
        else:
            joint = -0.5 * squares
            nu = self.degrees_of_freedom[heavy, None]
            joint[heavy] = -0.5 * (nu + d) * np.log1p(squares[heavy] / nu)
        joint += (np.log(self.weights) + constant)[:, None]
        return joint, squares

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log densities of shape (n,)."""
        return self._log_prob(Table(x, has_products=False))

    def _log_prob(self, table: "Table") -> np.ndarray:
        joint, _ = self._joint(table)
        largest = joint.max(0)
        return largest + np.log(np.exp(joint - largest).sum(0))


class Table:
    """Rows, with the products of their columns where these serve.

    Parameters
    ----------
    x : ndarray of shape (n, d)
    has_products : bool, default=True
        Whether products are made, if they are not too many.
    """

    def __init__(self, x: np.ndarray, *, has_products: bool = True):
        self.x = x
        n, d = x.shape
        self.pairs = np.triu_indices(d)
        self.products: np.ndarray | None = None
        if has_products and n * (len(self.pairs[0]) + d) <= MOST_PRODUCTS:
            i, j = self.pairs
            self.products = np.concatenate([x[:, i] * x[:, j], x], 1)

    def squares(self, means: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        """Return squared distances, (k, n), given inverse Cholesky factors (k, d, d)."""
        squares = np.empty((len(means), len(self.x)))
        precision = inverse.swapaxes(1, 2) @ inverse
        if self.products is None or not self._is_precise(means, precision):
            for some, deviation in _deviations(self.x, means):
                white = inverse[some] @ deviation
                np.einsum("kdn,kdn->kn", white, white, out=squares[some])
            return squares
        i, j = self.pairs
        at_mean = (precision @ means[:, :, None])[:, :, 0]
        twice = np.where(i == j, 1.0, 2.0)
        coefficients = np.concatenate([twice * precision[:, i, j], -2 * at_mean], 1)
        np.matmul(coefficients, self.products.T, out=squares)
        squares += (means * at_mean).sum(1)[:, None]
        return np.maximum(squares, 0.0, out=squares)

    def scatter(self, pull: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Return sums of squared deviations, (k, d, d), of rows weighed by pull, (k, n)."""
        k, d = means.shape
        scatter = np.empty((k, d, d))
        i, j = self.pairs
        if self.products is not None:
            sums = pull @ self.products
            second = sums[:, : len(i)] - sums[:, len(i) :][:, i] * means[:, j]
            # Variances that rounding may have spoilt are made from deviations instead.
            spread = second[:, i == j] / pull.sum(1).clip(1e-300)[:, None]
            if (np.square(means) < MOST_RATIO * spread.clip(FLOOR)).all():
                scatter[:, i, j] = scatter[:, j, i] = second
                return scatter
        for some, deviation in _deviations(self.x, means):
            each = deviation * pull[some, None]
            np.matmul(each, deviation.swapaxes(1, 2), out=scatter[some])
        return scatter

    @staticmethod
    def _is_precise(means: np.ndarray, precision: np.ndarray) -> bool:
        sharpest = np.trace(precision, axis1=1, axis2=2)
        return bool((np.square(means).sum(1) * sharpest).max() < MOST_RATIO)


def _deviations(x: np.ndarray, means: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some components at a time, with rows minus their means, (k, d, n)."""
    columns = np.ascontiguousarray(x.T)  # a component's values lie together: fast sums
    size = max(1, MOST_ENTRIES // x.size)
    for first in range(0, len(means), size):
        some = slice(first, first + size)
        yield some, columns - means[some, :, None]


def fit_mixture(
    x: np.ndarray,
    weight: np.ndarray,
    k: int,
    degrees_of_freedom: float,
    *,
    floor: np.ndarray,
    seed: int,
    axes: np.ndarray | None = None,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
    n_iterations: int = N_ITERATIONS,
) -> StudentMixture:
    r"""Fit k components, all with the same degrees of freedom.

    Covariances are the posterior modes under an inverse Wishart prior with d/2 rows' worth
    of weight. Its mode is the pooled covariance within components, with correlations a
    tenth smaller: where there are few rows, components have one shape
    [Friedman1989]_. Student densities are mixtures of normal ones, and expectation
    maximisation weighs a row by :math:`(\nu + d)/(\nu + \delta)` [Peel2000]_.

    Components start at rows far apart along `separating_axes`. They have one covariance in
    common for some steps: covariances of their own, fitted to wrong clusters, would be slow
    to leave these. Up to eight components are started four times, and the likeliest start
    goes on.

    Directions in which nearly collinear columns hardly vary are widened to unit variance
    first: the prior and the floor are relative to the spread of the rows there.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, in columns of unit variance.
    weight : ndarray of shape (n,)
        Not negative.
    k : int
        Number of components; no more than rows.
    degrees_of_freedom : float
        Infinite for normal densities.
    floor : ndarray of shape (d,)
        Added to the variances of the columns.
    seed : int
        Chooses the rows where components start.
    axes : ndarray of shape (d, d) or None, default=None
        Starts are far apart in x times this; `separating_axes` by default.
    held_out : tuple of ndarray or None, default=None
        Rows and their weights. The fit stops where they are likeliest.
    n_iterations : int, default=150
        The most steps.

    Returns
    -------
    mixture : StudentMixture

    References
    ----------
    [Friedman1989]_, [Peel2000]_
    """
    if axes is None and k > 1:
        axes = separating_axes(x, seed, floor=floor)
    units = _thin_units(x, weight, floor)
    if units is not None:
        x, floor = units.to(x), units.floor
        axes = None if axes is None else units.inverse @ axes
        held_out = None if held_out is None else (units.to(held_out[0]), held_out[1])
    else:
        floor = floor + FLOOR
    found = _fit(
        x, weight, k, degrees_of_freedom, floor, seed, axes, held_out, n_iterations
    )
    return found if units is None else units.back(found)


class Units(NamedTuple):
    """Columns in which thin directions are as wide as others.

    Attributes
    ----------
    matrix, inverse : ndarray of shape (d, d)
        Symmetric; the columns are x times the matrix.
    floor : ndarray of shape (d, d)
        The floor of covariances there.
    """

    matrix: np.ndarray
    inverse: np.ndarray
    floor: np.ndarray

    def to(self, x: np.ndarray) -> np.ndarray:
        """Return rows in these units."""
        return x @ self.matrix

    def forward(self, mixture: StudentMixture) -> StudentMixture:
        """Return a mixture in these units."""
        return _moved(mixture, self.matrix)

    def back(self, mixture: StudentMixture) -> StudentMixture:
        """Return a mixture of these units in the columns as they were."""
        return _moved(mixture, self.inverse)


def _moved(mixture: StudentMixture, matrix: np.ndarray) -> StudentMixture:
    covariances = matrix @ mixture.covariances @ matrix
    return mixture._replace(
        means=mixture.means @ matrix,
        covariances=0.5 * (covariances + covariances.swapaxes(1, 2)),
    )


def _thin_units(x: np.ndarray, weight: np.ndarray, floor: np.ndarray) -> Units | None:
    """Return units in which no direction is thin; None if there is none in x."""
    deviation = x - np.average(x, axis=0, weights=weight)
    covariance = (deviation * (weight / weight.sum())[:, None]).T @ deviation
    variances, directions = np.linalg.eigh(covariance + np.diag(floor))
    is_thin = (variances < THIN) & (variances > EXACT)
    # Fewer rows than columns are thin because they are few.
    if len(x) <= 2 * x.shape[1] or not is_thin.any():
        return None
    scale = np.where(is_thin, 1 / np.sqrt(variances.clip(EXACT)), 1.0)
    own = np.maximum(FLOOR, LEAST_VARIANCE * scale**2)
    matrix = (directions * scale) @ directions.T
    return Units(
        matrix,
        (directions / scale) @ directions.T,
        (directions * own) @ directions.T + matrix @ np.diag(floor) @ matrix,
    )


def _fit(
    x, weight, k, degrees_of_freedom, floor, seed, axes, held_out, n_iterations
) -> StudentMixture:
    """Fit in units in which no direction is thin; see `fit_mixture`."""
    table = Table(x, has_products=k > 1)
    new = None if held_out is None else Table(held_out[0], has_products=k > 1)
    mixture, best_mean = None, -math.inf
    for start in range(N_STARTS if 1 < k <= MOST_RESTARTED else 1):
        tried = _start(table, weight, k, degrees_of_freedom, floor, axes, seed + start)
        if not 1 < k <= MOST_RESTARTED:
            mixture = tried
            break
        for _ in range(N_STEPS):
            tried, mean = _step(tried, table, weight, floor)
        if mixture is None or mean > best_mean:
            mixture, best_mean = tried, mean
    assert mixture is not None
    if k == 1 and math.isinf(degrees_of_freedom):
        return mixture  # nothing depends on the last step
    best, best_mean, n_worse = None, -math.inf, 0
    for step in range(1, n_iterations + 1):
        mixture, _ = _step(mixture, table, weight, floor)
        mixture = mixture._replace(n_iterations=step)
        if new is None or (step % CHECK_EVERY and step < n_iterations):
            continue
        assert held_out is not None
        mean = float(np.average(mixture._log_prob(new), weights=held_out[1]))
        n_worse = 0 if mean > best_mean + ENOUGH else n_worse + 1
        if best is None or mean > best_mean:
            best, best_mean = mixture, mean
        if n_worse == N_WORSE:
            break
    return mixture if best is None else best


def _start(
    table: Table, weight, k: int, degrees_of_freedom: float, floor, axes, seed
) -> StudentMixture:
    """Return components at rows far apart, after steps with one covariance."""
    nu, x = np.full(k, degrees_of_freedom), table.x
    if k == 1:
        everything = weight[None]
        return _maximize(table, everything, everything, x[:1], nu, floor)
    y = x @ axes
    _, rows = kmeans_plusplus(y, k, sample_weight=weight, random_state=seed)
    nearest = np.stack([np.square(y - c).sum(1) for c in y[rows]], 1).argmin(1)
    responsibility = (np.arange(k)[:, None] == nearest) * weight
    mixture = _maximize(table, responsibility, responsibility, x[rows], nu, floor)
    for _ in range(N_TIED):
        pooled = np.average(mixture.covariances, axis=0, weights=mixture.weights)
        mixture, _ = _step(
            mixture._replace(
                weights=np.full(k, 1 / k), covariances=np.repeat(pooled[None], k, 0)
            ),
            table,
            weight,
            floor,
        )
    return mixture


def _step(
    mixture: StudentMixture, table: Table, weight, floor
) -> tuple[StudentMixture, float]:
    """Return the next mixture, and the mean log-likelihood of this one."""
    joint, squares = mixture._joint(table)
    largest = joint.max(0)
    joint -= largest
    responsibility = np.exp(joint, out=joint)
    total = responsibility.sum(0)
    responsibility *= weight / total
    d, nu = table.x.shape[1], mixture.degrees_of_freedom
    pull = responsibility
    if np.isfinite(nu[0]):
        squares += nu[:, None]
        pull = np.divide(responsibility, squares, out=squares)
        pull *= nu[:, None] + d
    mean = float(weight @ (largest + np.log(total)) / weight.sum())
    return _maximize(table, responsibility, pull, mixture.means, nu, floor), mean


def _maximize(table: Table, responsibility, pull, last, nu, floor) -> StudentMixture:
    """Return the mixture for given responsibilities; see `fit_mixture`.

    `responsibility` and `pull`, with which rows count in means and covariances, are of
    shape (k, n); `last` are the means that components without rows keep.
    """
    x = table.x
    d, total, mass = x.shape[1], responsibility.sum(1), pull.sum(1)
    means = (pull @ x) / mass.clip(1e-300)[:, None]
    means = np.where((mass < 1e-9)[:, None], last, means)
    scatter = table.scatter(pull, means)
    pooled = scatter.sum(0) / total.sum()
    ridge = np.diag(floor) if floor.ndim == 1 else floor
    common = (1 - SHRINKAGE) * pooled + SHRINKAGE * np.diag(np.diag(pooled))
    rows = 0.5 * d
    covariances = (scatter + rows * common) / (total + rows)[:, None, None] + ridge
    weights = (total / total.sum()).clip(1e-12)
    size = (len(weights),)
    return StudentMixture(weights / weights.sum(), means, covariances, nu, 0, size)


def join_mixtures(
    mixtures: Sequence[StudentMixture], weights: np.ndarray
) -> StudentMixture:
    """Return several mixtures as one, in proportion to weights."""
    weights = weights / weights.sum()
    return StudentMixture(
        np.concatenate([w * m.weights for w, m in zip(weights, mixtures, strict=True)]),
        np.concatenate([m.means for m in mixtures]),
        np.concatenate([m.covariances for m in mixtures]),
        np.concatenate([m.degrees_of_freedom for m in mixtures]),
        max(m.n_iterations for m in mixtures),
        tuple(size for m in mixtures for size in m.sizes),
    )


def continue_fit(
    mixture: StudentMixture,
    x: np.ndarray,
    weight: np.ndarray,
    *,
    floor: np.ndarray,
    n_steps: int,
) -> StudentMixture:
    """Return a mixture after more steps on other rows.

    Components stay what they were, so that what corrects the one mixture suits the other.
    After a few steps hardly anything is left of rows that are no longer there. Their own
    part in means and covariances ends with the first step.

    Parameters
    ----------
    mixture : StudentMixture
        Mixtures that were joined are continued apart, and keep their weights.
    x : ndarray of shape (n, d)
        Rows, in the columns of the mixture.
    weight : ndarray of shape (n,)
        Not negative.
    floor : ndarray of shape (d,)
        See `fit_mixture`.
    n_steps : int

    Returns
    -------
    mixture : StudentMixture
    """
    weights, parts = zip(*mixture.parts(), strict=True)
    units = _thin_units(x, weight, floor)
    ridge = floor + FLOOR if units is None else units.floor
    continued, table = [], Table(x if units is None else units.to(x))
    for part in parts:
        part = part if units is None else units.forward(part)
        for _ in range(n_steps):
            part, _ = _step(part, table, weight, ridge)
        part = part if units is None else units.back(part)
        continued.append(part._replace(n_iterations=mixture.n_iterations))
    return join_mixtures(continued, np.array(weights))
