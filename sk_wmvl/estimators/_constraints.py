"""The allowed values of parameters that several estimators share."""

import torch
from torch import nn

from sk_wmvl._validation import LARGEST, Integral, Interval, Real, StrOptions
from sk_wmvl.energies import ENERGIES
from sk_wmvl.energies._network import ACTIVATIONS
from sk_wmvl.exponential import FAMILIES, ExponentialFamily
from sk_wmvl.objectives import OBJECTIVES, BaseObjective
from sk_wmvl.training import OPTIMIZERS

__all__ = ["CONSTRAINTS", "EPOCHS"]

EPOCHS = Interval(Integral, 1, 10**6, closed="both")  # a year, at 30 seconds each

CONSTRAINTS: dict = {
    "objective": [StrOptions(set(OBJECTIVES)), BaseObjective],
    "epsilon": [Interval(Real, 0, LARGEST, closed="right")],
    "alpha": [Interval(Real, 0, LARGEST, closed="both")],
    "energy": [
        StrOptions({*ENERGIES, *FAMILIES}),
        ExponentialFamily,
        nn.Module,
        callable,
    ],
    "hidden_layer_sizes": ["array-like"],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "spectral_norm": ["boolean"],
    "standardize": ["boolean"],
    "batch_size": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "lr": [Interval(Real, 0, LARGEST, closed="right")],
    "lr_schedule": [StrOptions({"one-cycle", "constant"})],
    "max_epochs": [EPOCHS],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, LARGEST, closed="both")],
    "optimizer": [StrOptions(set(OPTIMIZERS)), type],
    "callbacks": [None, list, tuple],
    "net_params": [None, dict],
    "warm_start": ["boolean"],
    "device": [str, torch.device],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
