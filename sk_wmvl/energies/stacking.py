"""The convex combination of densities under which rows held out are likeliest."""

import numpy as np

__all__ = ["stacking_weights"]

N_ITERATIONS = 500
TOLERANCE = 1e-6  # nats per row
LEAST = 1e-12


def stacking_weights(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    r"""Return the weights w that maximise the mean of :math:`\log\sum_k w_k q_k(x_i)`.

    The likelihood is concave in w; expectation maximisation climbs it [Smyth1999]_.

    Parameters
    ----------
    values : ndarray of shape (n, K)
        Log densities of rows, by estimates that have not seen them.
    share : ndarray of shape (n,)
        Weights of the rows, summing to one.

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
    >>> from sk_wmvl.energies.stacking import stacking_weights
    >>> stacking_weights(np.log([[0.1, 0.5], [0.2, 0.6]]), np.array([0.5, 0.5])).round(3)
    array([0., 1.])
    """
    largest = values.max(1, keepdims=True)
    density = np.exp(values - largest)
    weights = np.full(values.shape[1], 1 / values.shape[1])
    last = -np.inf
    for _ in range(N_ITERATIONS):
        total = density @ weights
        mean = float(share @ np.log(total))
        if mean - last < TOLERANCE:
            break
        last = mean
        weights = weights * (density.T @ (share / total))
        weights = weights.clip(LEAST)
        weights /= weights.sum()
    return weights
