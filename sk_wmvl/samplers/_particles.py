"""Functions of all samplers whose particles interact."""

from torch import Tensor

from sk_wmvl._component import resolve
from sk_wmvl.kernels import KERNELS, BaseKernel

__all__ = ["check_particles", "stein_direction"]

STATISTICS = ("u", "v")


def check_particles(owner: object, x: Tensor) -> None:
    """Raise ValueError unless there are at least two particles."""
    if len(x) < 2:
        raise ValueError(
            f"{type(owner).__name__} moves each particle by the force of the others; got a "
            f"batch of {len(x)}. At least 2 rows are needed, and a hundred or more make a "
            "good estimate. Raise batch_size, and mind the last batch of an epoch."
        )


def stein_direction(
    owner: object,
    kernel: BaseKernel | str,
    x: Tensor,
    score: Tensor,
    *,
    statistic: str,
) -> Tensor:
    r"""Return the direction of steepest descent in the kernel's space.

    .. math:: \phi(x_i) = \frac1m \sum_j \bigl[k(x_j, x_i)\,s(x_j)
                          + \nabla_{x_j} k(x_j, x_i)\bigr],

    with the sum over all `j` and m = n for the V-statistic, and over :math:`j \ne i` and
    m = n - 1 for the U-statistic. The gradient flows through the scores alone.

    Parameters
    ----------
    owner : object
        The sampler, for messages.
    kernel : BaseKernel or str
        The kernel.
    x : Tensor of shape (n, d)
        Particles.
    score : Tensor of shape (n, d)
        Scores of the target there.
    statistic : {'u', 'v'}
        Whether the pair of a particle with itself is left out or kept.

    Returns
    -------
    direction : Tensor of shape (n, d)
    """
    if statistic not in STATISTICS:
        raise ValueError(
            f"statistic of {type(owner).__name__} must be 'u' (without the pairs i = j) or "
            f"'v' (with them); got {statistic!r}."
        )
    check_particles(owner, x)
    x = x.detach()
    value, slope = resolve(kernel, KERNELS, BaseKernel, name="kernel").gram(x)
    n_terms = len(x)
    if statistic == "u":
        value = value.fill_diagonal_(0)
        n_terms -= 1
    # The kernel's gradient vanishes at i = j, so both statistics have this sum. Points are
    # taken about their mean, so that data far from the origin lose no digits.
    centered = x - x.mean(0)
    repulsion = 2 * (slope @ centered - slope.sum(1, keepdim=True) * centered)
    return (value @ score + repulsion) / n_terms
