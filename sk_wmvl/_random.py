"""Randomness without global state: every random number comes from an explicit generator."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["draw_seed", "make_generator", "rademacher", "randn_like"]


def draw_seed(random_state) -> int:
    """Return one integer seed drawn from a scikit-learn ``random_state``.

    An integer gives the same seed at each call, a ``RandomState`` advances, and None takes
    fresh entropy from the system. Unlike in scikit-learn, None does not read numpy's
    global stream: no function of the package reads or writes global random state.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        The user's parameter.

    Returns
    -------
    seed : int
        Between 0 and 2**31 - 2.

    Raises
    ------
    ValueError
        For anything else.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    is_seed = isinstance(random_state, Integral) and 0 <= random_state < 2**32
    if not (is_seed or isinstance(random_state, np.random.RandomState)):
        raise ValueError(
            f"random_state={random_state!r} is no seed. Use an integer from 0 to "
            "2**32 - 1, a numpy.random.RandomState, or None."
        )
    return int(check_random_state(random_state).randint(2**31 - 1))


def make_generator(seed: int, stream: int = 0) -> torch.Generator:
    """Return a CPU generator for one stream of a seed.

    Streams of one seed are independent. Noise is always drawn on the CPU and then moved,
    so a seed gives the same numbers on every device.

    Parameters
    ----------
    seed : int
        A seed of at least zero.
    stream : int, default=0
        The index of the stream.

    Returns
    -------
    generator : torch.Generator
    """
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    # torch seeds are signed 64-bit integers
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def randn_like(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Return standard normal noise of the shape, dtype and device of `x`."""
    return torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x.device)


def rademacher(
    shape: tuple[int, ...], x: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor:
    """Return random signs of a given shape, in the dtype and on the device of `x`."""
    signs = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8)
    return (2 * signs - 1).to(x.device, x.dtype)
