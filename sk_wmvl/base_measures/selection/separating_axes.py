"""Axes along which clusters separate, found before the clusters are."""

import numpy as np

__all__ = ["separating_axes"]

N_ROWS, N_NEIGHBORS = 1000, 10
MAX_ROUNDS, UNCHANGED = 20, 0.05  # in the variance along any direction
# Columns of few values have no scatter among neighbors.
SHRINKAGE, RIDGE = 0.1, 1e-3
DROPPED = 0.9  # of the scatter that may be all of noise


def separating_axes(
    x: np.ndarray, seed: int, *, floor: np.ndarray | float = 0.0
) -> np.ndarray:
    r"""Return a matrix A such that the rows of x A are far apart in different clusters.

    Clusters separate best in the metric of the scatter *within* them. Differences between
    near rows estimate this scatter without the clusters. Which rows are near is judged
    again in the new metric, until it no longer changes [Art1982]_. In coordinates where the
    scatter of near rows is white, a direction with variance v is scaled by

    .. math:: \sqrt{1 - 0.9 \, v_{\min} / v},

    so that the few directions that separate clusters are not lost among many that do not.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, in columns of unit variance; copies of a row count once.
    seed : int
        Chooses up to 1000 rows, of which the axes are estimated.
    floor : ndarray of shape (d,) or float, default=0.0
        Variance of the rounding of the columns. It is added to the scatter, as near rows
        agree in a column of few values.

    Returns
    -------
    axes : ndarray of shape (d, d)

    References
    ----------
    [Art1982]_

    Examples
    --------
    Two clusters that the first column separates, beside four columns of noise:

    >>> import numpy as np
    >>> from sk_wmvl.base_measures.selection.separating_axes import separating_axes
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((1000, 5))
    >>> x[:, 0] = 0.98 * rng.choice([-1, 1], 1000) + 0.2 * x[:, 0]
    >>> y = x @ separating_axes(x, 0)
    >>> bool(y.var(0)[4] > 20 * y.var(0)[:4].max())  # they come in ascending order
    True
    """
    rows = np.unique(x, axis=0)
    n, d = min(len(rows), N_ROWS), x.shape[1]
    if n < 3:
        return np.eye(d)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))[:n]]
    n_neighbors = min(N_NEIGHBORS, n - 1)
    whitening = np.eye(d)
    for _ in range(MAX_ROUNDS):
        y = rows @ whitening
        square = np.square(y).sum(1)
        distance = square[:, None] + square - 2 * y @ y.T
        np.fill_diagonal(distance, np.inf)
        near = np.argpartition(distance, n_neighbors - 1, axis=1)[:, :n_neighbors]
        difference = (rows[:, None] - rows[near]).reshape(-1, d)
        scatter = difference.T @ difference / len(difference)
        scatter += np.diag(2 * np.broadcast_to(floor, d))  # of a difference
        scatter *= d / np.trace(scatter)
        diagonal = np.diag(np.diag(scatter))
        scatter = (1 - SHRINKAGE) * scatter + SHRINKAGE * diagonal + RIDGE * np.eye(d)
        change = np.linalg.eigvalsh(whitening.T @ scatter @ whitening)
        whitening = np.linalg.cholesky(np.linalg.inv(scatter))
        if np.abs(change - 1).max() < UNCHANGED:
            break
    y = (rows - rows.mean(0)) @ whitening
    variances, directions = np.linalg.eigh(y.T @ y / n)
    variances = variances.clip(1e-12)
    kept = 1 - DROPPED * variances[0] / variances
    return whitening @ directions * np.sqrt(kept)
