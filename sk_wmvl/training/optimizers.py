"""The optimisers that users can name, their learning rates, and limits on threads."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

__all__ = [
    "OPTIMIZERS",
    "WARM_UP",
    "limit_threads",
    "load_optimizer",
    "make_optimizer",
    "one_cycle",
    "set_rate",
]

# The fused kernels take a third of the time of the plain ones on small networks.
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"fused": True, "weight_decay": 0.0}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    # Adam without momentum is RMSProp whose decaying mean is corrected for its start.
    "rmsprop-debiased": (torch.optim.Adam, {"betas": (0.0, 0.9), "fused": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "lbfgs": (torch.optim.LBFGS, {}),
}

# Of the one-cycle schedule: the fraction of steps that rise, and the first factor.
WARM_UP, FIRST_RATE = 0.15, 0.04
SMALL_WORK = 5e5  # units per layer below which a second thread costs more than it gains


def make_optimizer(
    kind: str | type[torch.optim.Optimizer], module: nn.Module, lr: float
) -> torch.optim.Optimizer:
    """Return an optimiser of a module's parameters.

    Parameters
    ----------
    kind : str or type
        A key of `OPTIMIZERS`, or a torch optimiser.
    module : Module
    lr : float
        The learning rate.
    """
    if isinstance(kind, str):
        cls, options = OPTIMIZERS[kind]
        return cls(module.parameters(), lr=lr, **options)
    return kind(module.parameters(), lr=lr)  # type: ignore[call-arg]  # all have a rate


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from the state of another optimiser, with this one's own rate and options.

    Raises
    ------
    ValueError
        If the state is that of another kind of optimiser, or of other parameters.
    """
    own = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    for group, saved in zip(own, state["param_groups"], strict=False):
        if not group.keys() <= saved.keys():
            raise ValueError("The state is that of another kind of optimizer.")
    optimizer.load_state_dict(state)
    for group, options in zip(optimizer.param_groups, own, strict=True):
        group.update(options)


def one_cycle(t: float) -> float:
    """Return the factor of the learning rate at a time t in [0, 1]: up, then down."""
    if t < WARM_UP:
        rise = 0.5 * (1 - math.cos(math.pi * t / WARM_UP))
        return FIRST_RATE + (1 - FIRST_RATE) * rise
    return 0.5 * (1 + math.cos(math.pi * (t - WARM_UP) / (1 - WARM_UP)))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # a fresh one costs 16 ms, a kept one nothing


def limit_threads(batch_size: int, width: int, device: torch.device) -> ExitStack:
    """Return a context that uses one OpenMP thread while the work is small.

    A second thread gains nothing on small layers, and costs much when other processes use
    the cores. The limit belongs to the calling thread and is lifted on exit.
    """
    stack = ExitStack()
    if device.type == "cpu" and batch_size * width < SMALL_WORK:
        stack.enter_context(_controller().limit(limits=1, user_api="openmp"))
    return stack
