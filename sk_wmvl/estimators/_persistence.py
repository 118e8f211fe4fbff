"""Pickles without devices, stamped with the version that wrote them."""

import copy

import torch
from sklearn.base import BaseEstimator
from torch import nn

from sk_wmvl._version import __version__
from sk_wmvl._warnings import warn
from sk_wmvl.estimators._fitted import FittedEnergy

__all__ = ["PersistenceMixin"]


class PersistenceMixin(BaseEstimator):
    """Makes the state of a fitted estimator one that loads on any machine."""

    def __getstate__(self) -> dict:
        state = {**super().__getstate__(), "_sk_wmvl_version": __version__}
        memo: dict = {}  # attributes that share a module share its copy
        for name, value in state.items():
            if isinstance(value, nn.Module | FittedEnergy):
                state[name] = copy.deepcopy(value, memo).cpu()
        if "device_" in state:
            state["device_"] = torch.device("cpu")
        return state

    def __setstate__(self, state: dict) -> None:
        version = state.pop("_sk_wmvl_version", __version__)
        if version != __version__:
            warn(
                f"This {type(self).__name__} was saved by sk_wmvl {version} and is loaded "
                f"by {__version__}; results may differ.",
            )
        super().__setstate__(state)
