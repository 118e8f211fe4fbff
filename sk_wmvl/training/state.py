"""Training states as numpy arrays and plain objects, which load on any machine."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["to_arrays", "to_tensors"]


def to_arrays(value: Any) -> Any:
    """Return nested dicts and lists with a copy of every tensor, as an array."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: to_arrays(v) for k, v in value.items()}
    if isinstance(value, list):
        return [to_arrays(v) for v in value]
    return value


def to_tensors(value: Any, device: torch.device | str = "cpu") -> Any:
    """Return nested dicts and lists with every array as a tensor of its own."""
    if isinstance(value, np.ndarray):
        return torch.tensor(value, device=device)
    if isinstance(value, dict):
        return {k: to_tensors(v, device) for k, v in value.items()}
    if isinstance(value, list):
        return [to_tensors(v, device) for v in value]
    return value
