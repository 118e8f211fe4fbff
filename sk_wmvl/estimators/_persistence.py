"""Pickles without devices, stamped with their version and a checksum."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import nn

from sk_wmvl._version import __version__
from sk_wmvl._warnings import warn
from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.training.checksum import checksum

__all__ = ["PersistenceMixin"]


class PersistenceMixin(BaseEstimator):
    """Makes the state of a fitted estimator one that loads on any machine, or not at all.

    A pickle carries a checksum of its numbers. If one has changed, loading raises
    ValueError.
    """

    def __getstate__(self) -> dict:
        state = {**super().__getstate__(), "_sk_wmvl_version": __version__}
        memo: dict = {}  # attributes that share a module share its copy
        for name, value in state.items():
            if isinstance(value, nn.Module | FittedEnergy):
                state[name] = copy.deepcopy(value, memo).cpu()
        if "device_" in state:
            state["device_"] = torch.device("cpu")
        state["_sk_wmvl_checksum"] = checksum(_own(state))
        return state

    def __setstate__(self, state: dict) -> None:
        state = dict(state)
        known = state.pop("_sk_wmvl_checksum", None)  # older pickles have none
        if known is not None and checksum(_own(state)) != known:
            raise ValueError(
                f"This {type(self).__name__} is damaged: its numbers are not those that "
                "were saved, by their checksum. Load another copy of the file, or fit "
                "again."
            )
        version = state.pop("_sk_wmvl_version", __version__)
        if version != __version__:
            warn(
                f"This {type(self).__name__} was saved by sk_wmvl {version} and is loaded "
                f"by {__version__}; results may differ.",
            )
        super().__setstate__(state)


def _own(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state without the stamps of versions, which are no numbers of a fit."""
    stamps = ("_sklearn_version", "_sk_wmvl_version")
    return {k: v for k, v in state.items() if k not in stamps}
