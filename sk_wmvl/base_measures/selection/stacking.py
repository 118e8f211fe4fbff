"""The convex combination of densities under which rows held out are likeliest."""

import numpy as np

__all__ = ["stacking_weights", "stratified_weights"]

N_ITERATIONS = 500
TOLERANCE = 1e-6  # nats per row
LEAST = 1e-12


def stacking_weights(values: np.ndarray, row_weight: np.ndarray) -> np.ndarray:
    r"""Return the weights w that maximise the mean of :math:`\log\sum_k w_k q_k(x_i)`.

    The likelihood is concave in w; expectation maximisation climbs it [Smyth1999]_.

    Parameters
    ----------
    values : ndarray of shape (n, K)
        Log densities of rows, by estimates that have not seen them.
    row_weight : ndarray of shape (n,)
        Of the rows, summing to one.

    Returns
    -------
    weights : ndarray of shape (K,)
        Positive, summing to one.

    References
    ----------
    [Smyth1999]_

    Examples
    --------
    The second density is the better one at both rows:

    >>> import numpy as np
    >>> from sk_wmvl.base_measures.selection.stacking import stacking_weights
    >>> stacking_weights(np.log([[0.1, 0.5], [0.2, 0.6]]), np.array([0.5, 0.5])).round(3)
    array([0., 1.])
    """
    return stratified_weights(values[:, :, None], row_weight)[0][:, 0]


def stratified_weights(
    values: np.ndarray,
    row_weight: np.ndarray,
    *,
    kept: np.ndarray | None = None,
    uniform: float | None = None,
) -> tuple[np.ndarray, float]:
    r"""Return weights of estimates that are sums over strata, and of a uniform density.

    Estimate k is :math:`q_k = \sum_b q_{kb}`, where stratum b holds a given part of the
    mass. The weights maximise the mean of

    .. math:: \log\Big((1 - \beta)\sum_{kb} w_{kb}\, q_{kb}(x_i) + \beta u\Big)

    under :math:`\sum_k w_{kb} = 1` for each b: each stratum is divided among the estimates.

    Parameters
    ----------
    values : ndarray of shape (n, K, B)
        Logs of :math:`q_{kb}` at rows, by estimates that have not seen them.
    row_weight : ndarray of shape (n,)
        Of the rows, summing to one.
    kept : ndarray of bool of shape (K, B) or None, default=None
        Which weights may be positive, at least one in each stratum; None stands for all.
    uniform : float or None, default=None
        The log of u; None leaves the uniform density out.

    Returns
    -------
    weights : ndarray of shape (K, B)
    background : float
        The weight :math:`\beta`, zero without `uniform`.

    Examples
    --------
    The first half of the mass is where the first estimate is better, the other where the
    second is:

    >>> import numpy as np
    >>> from sk_wmvl.base_measures.selection.stacking import stratified_weights
    >>> q = np.array([[[0.9, 0.1], [0.2, 0.1]], [[0.1, 0.2], [0.1, 0.9]]]) / 2
    >>> weights, background = stratified_weights(np.log(q), np.array([0.5, 0.5]))
    >>> weights.round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    n, *shape = values.shape
    if kept is None:
        kept = np.ones(shape, bool)
    values = np.where(kept, values, -np.inf).reshape(n, -1)
    largest = values.max(1)
    if uniform is not None:
        largest = np.maximum(largest, uniform)
    density = np.exp(values - largest[:, None])
    weights = kept / kept.sum(0)
    background, elsewhere = 0.0, np.zeros(n)
    if uniform is not None:
        background, elsewhere = 1 / (len(weights) + 1), np.exp(uniform - largest)
    last = -np.inf
    for _ in range(N_ITERATIONS):
        total = (1 - background) * (density @ weights.ravel()) + background * elsewhere
        mean = float(row_weight @ np.log(total))
        if mean - last < TOLERANCE:
            break
        last = mean
        gain = row_weight / total
        weights = weights * (density.T @ gain).reshape(weights.shape)
        weights = np.where(kept, weights.clip(LEAST), 0.0)
        weights /= weights.sum(0)
        background *= float(elsewhere @ gain)
    return weights, background
