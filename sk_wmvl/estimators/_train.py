"""Train an energy on prepared rows."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn

from sk_wmvl._random import make_generator
from sk_wmvl._rows import Rows, label_units
from sk_wmvl._validation import check_callbacks
from sk_wmvl.energies import check_energy
from sk_wmvl.estimators._prepare import NOISE, SHUFFLE, split
from sk_wmvl.likelihood import Cover
from sk_wmvl.objectives import BaseProblem
from sk_wmvl.objectives._with_likelihood import LikelihoodProblem
from sk_wmvl.training import (
    OPTIMIZERS,
    BatchIterator,
    FitProgress,
    ObjectiveTask,
    TensorData,
    TrainingNet,
    make_data,
)

__all__ = ["Trained", "TrainingOptions", "train"]

# With batch_size='auto' a step takes a 32nd of the rows, within these bounds.
STEPS_PER_EPOCH, LEAST_BATCH, LARGEST_BATCH = 32, 32, 256
# With max_epochs='auto' as many passes as take so many steps, within these bounds.
MOST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 10_000, 4, 100
# Of further training, after a search has found mass where there are no rows.
MOST_REPAIRS, REPAIR_EPOCHS, REPAIR_PATIENCE = 3, 25, 8


class TrainingOptions(NamedTuple):
    """The parameters of an estimator that concern training; see `MVLDensity`."""

    energy: object
    alpha: float
    batch_size: int | str
    lr: float
    lr_schedule: str
    max_epochs: int | str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    optimizer: str | type
    callbacks: list | None
    net_params: dict | None
    verbose: int

    @classmethod
    def of(cls, estimator) -> "TrainingOptions":
        """Return the options of an estimator."""
        return cls(*(getattr(estimator, name) for name in cls._fields))

    def rows_per_step(self, n_rows: int) -> int:
        """Return the size of a batch."""
        batch_size = (self.net_params or {}).get("batch_size", self.batch_size)
        if batch_size == "auto":
            return int(np.clip(n_rows // STEPS_PER_EPOCH, LEAST_BATCH, LARGEST_BATCH))
        return n_rows if batch_size == -1 else int(batch_size)  # as skorch has it

    def n_epochs(self, n_rows: int) -> int:
        """Return the largest number of epochs of a fit."""
        max_epochs = (self.net_params or {}).get("max_epochs", self.max_epochs)
        if max_epochs == "auto":
            affordable = MOST_STEPS * self.rows_per_step(n_rows) // n_rows
            return int(np.clip(affordable, LEAST_EPOCHS, MOST_EPOCHS))
        return int(max_epochs)


@dataclass(frozen=True)
class Trained:
    """The result of training.

    Attributes
    ----------
    correction : Module
        The network, with averaged weights.
    judged : TensorData
        The held-out rows, or the training rows if none were held out.
    history : list of dict
        skorch's history.
    state : dict
        The state from which training can be resumed.
    cover : Cover or None
        What the likelihood's draws were drawn from, with the places that were found.
    judges : {'held out', 'training', 'none'}
        See `settle`.
    """

    correction: nn.Module
    judged: TensorData
    history: list[dict]
    state: dict[str, Any]
    cover: Cover | None = None
    judges: str = "held out"

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that are published."""
        valid = [row["valid_loss"] for row in self.history if "valid_loss" in row]
        return {
            "history_": self.history,
            "n_iter_": len(self.history),
            "loss_curve_": [row["train_loss"] for row in self.history],
            "validation_loss_curve_": valid,
            "_training_state": self.state,
        }


def train(
    rows: Rows,
    problem: BaseProblem,
    correction: nn.Module,
    options: TrainingOptions,
    *,
    seed: int,
    device: torch.device,
    epochs: int | None = None,
    state: dict[str, Any] | None = None,
    label: str = "fit",
    make_bridge: Callable[[Callable[[], Trained]], Callback] | None = None,
) -> Trained:
    """Train a correction.

    Parameters
    ----------
    rows : Rows
        In internal coordinates.
    problem : BaseProblem
        The objective on the manifold and over the base measure.
    correction : Module
        The untrained network.
    options : TrainingOptions
    seed : int
        The seed of the division of rows, the shuffling and the noise.
    device : torch.device
    epochs : int or None, default=None
        The number of epochs at a constant rate, with no rows held out. None is a whole
        fit with the schedule and the early stopping of `options`.
    state : dict or None, default=None
        The state of an earlier training, which goes on.
    label : str, default='fit'
        Name of the progress bar.
    make_bridge : callable or None, default=None
        Makes one more callback. Its argument is a function that returns the current
        result.

    Returns
    -------
    trained : Trained

    Raises
    ------
    ValueError
        If `state` belongs to another network or optimiser.
    """
    in_part = epochs is not None
    holds_out = options.early_stopping and not in_part
    fraction = options.validation_fraction if holds_out else 0.0
    inside, outside = split(rows, fraction, seed)
    facts = problem.facts(rows.points)
    data = make_data(rows, facts, inside, inside, device)
    valid = make_data(rows, facts, inside, outside, device) if len(outside) else None
    judged = data if valid is None else valid
    if rows.groups is None:  # copies are one judge
        units = label_units(rows.points[inside if valid is None else outside])
        if units.max() + 1 < len(units):
            judged = TensorData(judged.rows, units)
    judges = "held out" if valid is not None else "none" if holds_out else "training"
    energy = problem.make_energy(correction)
    energy.to(device, torch.float32)
    check_energy(energy.correction, data.x[:2], options.energy)
    problem.start(energy, data.x, make_generator(seed, NOISE))
    task = ObjectiveTask(
        problem,
        alpha=options.alpha,
        generator=make_generator(seed, NOISE),
        monitor_seed=seed,
    )
    net = _make_net(
        energy, task, options, len(data), valid, seed, device, label, in_part
    )
    if state is not None:
        try:
            net.set_training_state(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(
                "Training cannot go on from the last fit: the network or the optimizer "
                "has changed. Fit again with warm_start=False."
            ) from error

    def outcome() -> Trained:
        # The module of the average holds the weights that are kept.
        return Trained(
            net.average_.module.correction,
            judged,
            net.history.to_list(),
            net.get_training_state(),
            problem.cover if isinstance(problem, LikelihoodProblem) else None,
            judges,
        )

    if make_bridge is not None:
        bridge = make_bridge(outcome)
        net.callbacks_.append(("sklearn_bridge", bridge.initialize()))
    net.partial_fit(data, epochs=epochs)
    # A bridge to scikit-learn's callbacks has announced how many epochs there will be.
    may_go_on = valid is not None and make_bridge is None
    if isinstance(problem, LikelihoodProblem) and may_go_on:
        _repair(net, data, problem, judged, seed)
    return outcome()


def _repair(
    net: TrainingNet,
    data: TensorData,
    problem: LikelihoodProblem,
    judged: TensorData,
    seed: int,
) -> None:
    """Train on while a search finds mass that the draws of training miss.

    What it finds joins what is drawn from, so that training sees it.
    """
    for i in range(MOST_REPAIRS):
        if net.was_halted_:
            return
        energy = net.average_.module
        if not problem.finds_missed_mass(energy, judged.rows, seed=seed + i):
            return
        net.set_params(n_iter_no_change=REPAIR_PATIENCE)
        net.partial_fit(data, epochs=REPAIR_EPOCHS)


def _make_net(
    energy: nn.Module,
    task: ObjectiveTask,
    options: TrainingOptions,
    n_rows: int,
    valid: TensorData | None,
    seed: int,
    device: torch.device,
    label: str,
    in_part: bool,
) -> TrainingNet:
    """Return the skorch net, built."""
    if isinstance(options.optimizer, str):
        optimizer, extra = OPTIMIZERS[options.optimizer]
    else:
        optimizer, extra = options.optimizer, {}
    # The user's callbacks are copied, because skorch initialises them in place.
    callbacks = copy.deepcopy(list(options.callbacks or []))
    check_callbacks(callbacks)
    if options.verbose == 1:
        n_epochs = 1 if in_part else options.n_epochs(n_rows)
        callbacks.append(("fit_progress", FitProgress(label, n_epochs)))
    params = {
        "task": task,
        "one_cycle": options.lr_schedule == "one-cycle" and not in_part,
        "n_iter_no_change": options.n_iter_no_change,
        "tol": options.tol,
        "optimizer": optimizer,
        "lr": options.lr,
        "max_epochs": options.n_epochs(n_rows),
        "batch_size": options.rows_per_step(n_rows),
        "iterator_train": BatchIterator,
        "iterator_train__shuffle": True,
        "iterator_train__generator": make_generator(seed, SHUFFLE),
        "train_split": None if valid is None else predefined_split(valid),
        "callbacks": callbacks,
        "device": device,
        "verbose": int(options.verbose >= 2),
        **{f"optimizer__{k}": v for k, v in extra.items()},
        **(options.net_params or {}),
    }
    return TrainingNet(energy, **params).initialize()
