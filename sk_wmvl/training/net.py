"""The training loop: skorch by composition, with a task that says what a step does.

The network object of skorch runs the callbacks, the optimiser and the history. The loop is
lean: batches are slices of one tensor, the losses are read once an epoch, and the weights
are averaged at every step. It differs from a supervised loop in three ways:

- validation differentiates in x, so it cannot run under ``no_grad``;
- the averaged weights are monitored and kept;
- the best weights are restored. A fault, such as a loss that is not finite, ends the
  training with the last good weights.
"""

import math
from collections.abc import Callable
from typing import Any

import skorch
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from sk_wmvl._warnings import warn
from sk_wmvl.training.averaging import AVERAGING, WeightAverage
from sk_wmvl.training.batches import BatchIterator, TensorData
from sk_wmvl.training.optimizers import (
    WARM_UP,
    load_optimizer,
    one_cycle,
    set_rate,
)
from sk_wmvl.training.state import to_arrays, to_tensors
from sk_wmvl.training.task import BaseTask

__all__ = ["TrainingNet"]


class TrainingNet(NeuralNet):
    """A skorch net that trains a module by the steps of a task.

    Besides skorch's own parameters:

    task : BaseTask
        What a step does, and what is monitored.
    one_cycle : bool
        Whether the learning rate follows one cycle over ``max_epochs``.
    n_iter_no_change : int or None
        Patience in epochs, from the peak of the learning rate; None never stops.
    tol : float
        Smallest improvement of the monitored value that counts.
    averaging : float
        Memory of the weight average.
    steps_per_copy : int or None
        If given, a fault restores the whole training state, from a copy that is made at
        the end of an epoch once this many steps have passed since the last copy. None
        restores the averaged weights of the best epoch.
    """

    def __init__(
        self,
        module,
        *args,
        task: BaseTask,
        one_cycle: bool = True,
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        averaging: float = AVERAGING,
        steps_per_copy: int | None = None,
        criterion=nn.Identity,
        **kwargs,
    ):
        self.task = task
        self.one_cycle = one_cycle
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.averaging = averaging
        self.steps_per_copy = steps_per_copy
        super().__init__(module, criterion, *args, **kwargs)

    # --- what skorch asks for ---------------------------------------------------------

    @property
    def _default_callbacks(self):
        table = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *table]

    def initialize(self):
        """Build optimiser and callbacks, and start the weight average."""
        super().initialize()
        self.average_ = WeightAverage(self.module_, memory=self.averaging)
        self.n_steps_ = 0
        self.resumed_: dict[str, Any] | None = None
        self.task.begin(self.module_)
        return self

    def initialize_criterion(self):
        """Do nothing: the task computes the loss."""
        return self

    def train_step(self, batch, **fit_params):
        """Take one step of the task, at the rate of the schedule."""
        del fit_params
        if self.one_cycle:
            t = min(1.0, self.n_steps_ / self.n_total_steps_)
            set_rate(self.optimizer_, self.lr * one_cycle(t))
        return self.task.step(self, batch)

    def descend(self, compute: Callable[[], Tensor], batch) -> None:
        """Take one step of the optimiser and move the weight average.

        Parameters
        ----------
        compute : callable
            Computes the loss to be differentiated. Some optimisers call it several times.
        batch : Batch
            For callbacks that look at it.
        """

        def closure() -> Tensor:
            self.optimizer_.zero_grad()
            loss = compute()
            loss.backward()
            if self.full_callbacks_:
                parameters = TeeGenerator(self.get_all_learnable_params())
                self.notify(
                    "on_grad_computed",
                    named_parameters=parameters,
                    batch=batch,
                    training=True,
                )
            return loss

        if isinstance(self.optimizer_, torch.optim.LBFGS):
            self.optimizer_.step(closure)
        else:
            closure()
            self.optimizer_.step()
        self.n_steps_ += 1
        self.average_.update(self.n_steps_)

    # --- epochs -----------------------------------------------------------------------

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch; the losses are brought to the host once, at its end."""
        if iterator is None:
            return
        if not training:
            self._record("valid", {"loss": self._monitor(iterator.dataset)}, iterator)
            return
        self.module_.train()
        totals: dict[str, Tensor] = {}
        for batch in iterator:
            if self.full_callbacks_:
                self.notify("on_batch_begin", batch=batch, training=True)
            step = step_fn(batch, **fit_params)
            for name, value in step.losses.items():
                part = value * len(batch.x)
                totals[name] = totals[name] + part if name in totals else part
            if self.full_callbacks_:
                loss = step.losses["loss"]
                self.history.record_batch("train_loss", loss.item())
                self.history.record_batch("train_batch_size", len(batch.x))
                seen = {"loss": loss, "y_pred": step.values}
                self.notify("on_batch_end", batch=batch, training=True, **seen)
        n_rows = len(iterator.dataset)
        means = {name: float(total) / n_rows for name, total in totals.items()}
        self._record(prefix, means, iterator)

    def _monitor(self, rows: TensorData) -> float:
        self.average_.copy_buffers()
        return self.task.monitor(self.average_.module, rows)

    def _record(self, prefix: str, values: dict[str, float], iterator) -> None:
        key, loss = f"{prefix}_loss", values.pop("loss")
        self.epoch_[key] = loss
        self.epoch_ |= values
        before = [row[key] for row in self.history[:-1] if key in row]
        if not (prefix == "train" and self.full_callbacks_):
            self.history.new_batch()
            self.history.record_batch(key, loss)
            self.history.record_batch(f"{prefix}_batch_size", len(iterator.dataset))
        self.history.record(key, loss)
        self.history.record(f"{key}_best", loss < min(before, default=math.inf))
        for name, value in values.items():
            self.history.record(name, value)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on a `TensorData` for some epochs; see the module's docstring.

        Returns
        -------
        self : TrainingNet
        """
        del fit_params
        epochs = self.max_epochs if epochs is None else epochs
        data, valid = self.get_split_datasets(X, y)
        sets = {"dataset_train": data, "dataset_valid": valid}
        iterator = self.get_iterator(data, training=True)
        watch = None if valid is None else BatchIterator(valid, -1)
        resumed, self.resumed_ = self.resumed_, None
        n_done = 0 if resumed is None else resumed["n_done"]
        before = self.n_steps_ if resumed is None else resumed["n_steps_before"]
        self.n_total_steps_ = before + max(1, epochs * len(iterator))
        self.full_callbacks_ = any(
            getattr(type(cb), name) is not getattr(Callback, name)
            for _, cb in self.callbacks_
            for name in ("on_batch_begin", "on_batch_end", "on_grad_computed")
        )
        self.stopped_ = self.was_halted_ = False
        # The untrained model is a candidate too.
        best = math.inf if watch is None else self._monitor(valid)
        kept, copied = self._copy(), self.n_steps_
        reference, waited = best, 0
        if resumed is not None:
            best, reference, waited = (
                resumed[k] for k in ("best", "reference", "waited")
            )
            kept, copied = resumed["kept"], resumed["copied"]
            self.stopped_ = resumed["stopped"]
        for k in range(n_done, epochs):
            if self.stopped_:
                break
            self.epoch_: dict[str, float] = {}  # losses of this one
            self.notify("on_epoch_begin", **sets)
            self.run_single_epoch(iterator, True, "train", self.train_step)
            if watch is not None:
                self.run_single_epoch(watch, False, "valid", None)
            fault = self.task.find_fault(self.epoch_)
            if fault:
                epoch = len(self.history)
                self._restore(kept)
                self.was_halted_ = True
                what = "The last good weights"
                if self.steps_per_copy is not None:
                    what = f"The weights after epoch {len(self.history)}"
                warn(
                    f"Training diverged in epoch {epoch}: {fault}. {what} are kept. "
                    f"{self.task.remedy}",
                    ConvergenceWarning,
                )
                break
            loss = self.epoch_["train_loss" if watch is None else "valid_loss"]
            if watch is None or loss < best:
                best = loss
                if self.steps_per_copy is None:
                    kept = self._copy()
            if self.n_steps_ - copied >= (self.steps_per_copy or math.inf):
                kept, copied = self._copy(), self.n_steps_
            if loss < reference - self.tol:
                reference, waited = loss, 0
            elif not self._is_warming_up():
                waited += 1
            if watch is not None and waited == self.n_iter_no_change:
                self.stopped_ = True
            self.loop_state_ = {
                "n_done": k + 1,
                "n_steps_before": before,
                "best": best,
                "reference": reference,
                "waited": waited,
                "kept": kept,
                "copied": copied,
                "stopped": self.stopped_,
            }
            try:
                self.notify("on_epoch_end", **sets)
            except KeyboardInterrupt:  # how skorch's callbacks ask to stop
                self.stopped_ = self.was_halted_ = True
            if self.stopped_:
                break
        if watch is not None:
            self._restore(kept)
        return self

    def _is_warming_up(self) -> bool:
        """Return whether the rate still rises: no improvement is then no sign of an end."""
        return self.one_cycle and self.n_steps_ < WARM_UP * self.n_total_steps_

    def partial_fit(self, X, y=None, classes=None, epochs=None, **fit_params):
        """Train without re-initialising; unlike skorch's, Ctrl-C is not swallowed."""
        del classes
        self.n_epochs_ = self.max_epochs if epochs is None else epochs
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, epochs=self.n_epochs_, **fit_params)
        self.module_.eval()
        self.notify("on_train_end", X=X, y=y)
        return self

    # --- what is kept -----------------------------------------------------------------

    def _copy(self) -> dict[str, Any]:
        if self.steps_per_copy is not None:
            return self.get_training_state()
        return self.average_.snapshot()

    def _restore(self, kept: dict[str, Any]) -> None:
        if self.steps_per_copy is not None:
            self.set_training_state(kept)
        else:
            self.average_.module.load_state_dict(kept)
            self.module_.load_state_dict(kept)

    def get_training_state(self) -> dict[str, Any]:
        """Return what a resumed training needs, as numpy arrays and plain objects."""
        return {
            **to_arrays(
                {
                    "weights": dict(self.module_.state_dict()),
                    "average": self.average_.snapshot(),
                    "optimizer": self.optimizer_.state_dict(),
                    "shuffle": self.iterator_train__generator.get_state(),
                    "task": self.task.get_state(),
                }
            ),
            "n_steps": self.n_steps_,
            "history": self.history.to_list(),
        }

    def set_training_state(self, state: dict[str, Any]) -> None:
        """Resume from `get_training_state`, at this net's own learning rate.

        Raises
        ------
        RuntimeError, ValueError, KeyError
            If the state is that of another network or optimiser.
        """
        device = next(self.module_.parameters()).device
        self.module_.load_state_dict(to_tensors(state["weights"], device))
        self.average_.module.load_state_dict(to_tensors(state["average"], device))
        load_optimizer(self.optimizer_, to_tensors(state["optimizer"], device))
        self.iterator_train__generator.set_state(torch.tensor(state["shuffle"]))
        self.task.set_state(to_tensors(state["task"]))
        self.n_steps_ = state["n_steps"]
        self.history = skorch.history.History(state["history"])
