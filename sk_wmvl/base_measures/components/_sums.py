"""Sums of exponentials on a logarithmic scale, of many terms that vanish."""

import math

import torch
from torch import Tensor

__all__ = ["log_sum_exp", "scaled_exp"]

LOG2_E = 1 / math.log(2)


def scaled_exp(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Return exponentials over the largest of each row, and logs of the largest.

    Powers of two are taken. The exponentials of most kernels at a point underflow, and
    there `torch.exp` takes up to ten times as long.

    Parameters
    ----------
    logs : Tensor of shape (n, K)

    Returns
    -------
    parts : Tensor of shape (n, K)
        Between zero and one.
    most : Tensor of shape (n, 1)
        Logs of what the parts are multiples of, constant.
    """
    lowest = torch.finfo(logs.dtype).min  # where it is taken, a row of -inf stays -inf
    most = logs.detach().amax(-1, keepdim=True).clamp(min=lowest)
    return torch.exp2((logs - most) * LOG2_E), most


def log_sum_exp(logs: Tensor) -> Tensor:
    """Return logs of the sums of exponentials over the last axis, of shape (n,).

    Parameters
    ----------
    logs : Tensor of shape (n, K)

    Returns
    -------
    values : Tensor of shape (n,)
    """
    parts, most = scaled_exp(logs)
    return parts.sum(-1).log() + most.squeeze(-1)
