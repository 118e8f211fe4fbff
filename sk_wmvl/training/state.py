"""Tensors of a training state as numpy arrays, which load on any machine."""

import numpy as np
from torch import Tensor

__all__ = ["map_arrays", "map_tensors"]


def map_tensors(value, function):
    """Apply a function to every tensor in nested dicts and lists."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {k: map_tensors(v, function) for k, v in value.items()}
    if isinstance(value, list):
        return [map_tensors(v, function) for v in value]
    return value


def map_arrays(value, function):
    """Apply a function to every array in nested dicts and lists."""
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, dict):
        return {k: map_arrays(v, function) for k, v in value.items()}
    if isinstance(value, list):
        return [map_arrays(v, function) for v in value]
    return value
