"""Pickles without devices, stamped with the version that wrote them."""

import copy
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from sk_wmvl._version import __version__

__all__ = ["PersistenceMixin", "map_arrays", "map_tensors"]


class PersistenceMixin(BaseEstimator):
    """Makes a fitted estimator's state one that loads on any machine."""

    def __getstate__(self) -> dict:
        state = {**super().__getstate__(), "_sk_wmvl_version": __version__}
        for name, value in state.items():
            if isinstance(value, nn.Module):
                state[name] = copy.deepcopy(value).cpu()
        if "device_" in state:
            state["device_"] = torch.device("cpu")
        return state

    def __setstate__(self, state: dict) -> None:
        version = state.pop("_sk_wmvl_version", __version__)
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was saved by sk_wmvl {version} and is loaded "
                f"by {__version__}; results may differ.",
                stacklevel=2,
            )
        super().__setstate__(state)


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
