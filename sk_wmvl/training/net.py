"""Training: skorch by composition, with the objective as the loss.

The network object of skorch runs the callbacks, the optimiser and the history; the loop
is made lean: batches are slices of one tensor, the loss is read once an epoch, and the
weights are averaged as they go. What differs from a supervised loop and why:

- validation differentiates in x, so it cannot run under ``no_grad``;
- it monitors the Hyvärinen score, which does not depend on the step size and carries no
  fresh noise, on the averaged weights, which are the ones that are kept; an objective that
  sees more than derivatives, such as the weights of modes, is monitored itself instead, on
  the same draws at each epoch;
- the best weights are restored, and a loss that turns non-finite ends the training with
  the last good ones.
"""

import math
import warnings
from contextlib import ExitStack
from functools import cache
from typing import Any

import skorch
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.utils import to_numpy
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.objectives import BaseGlobalObjective, BaseObjective, RiemannianObjective
from sk_wmvl.objectives._proposal_based import held_out_values
from sk_wmvl.training.averaging import WeightAverage
from sk_wmvl.training.batches import BatchIterator, TensorData
from sk_wmvl.training.state import map_arrays, map_tensors

__all__ = ["OPTIMIZERS", "ObjectiveNet", "limit_threads"]

# The fused kernels take a third of the time of the plain ones on small networks.
OPTIMIZERS: dict[str, tuple[type, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"fused": True, "weight_decay": 0.0}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "lbfgs": (torch.optim.LBFGS, {}),
}

WARM_UP = 0.15  # share of the one-cycle schedule with a rising rate
BASE_SHARE = 0.25  # draws from the base measure per row of a batch
# For annealed objectives: fixed noise levels of a held-out row, and rows at a time.
LEVELS_PER_ROW, MONITOR_CHUNK = 8, 64
SMALL_WORK = 5e5  # units per layer below which a second thread costs more than it gains


class ObjectiveNet(NeuralNet):
    """A skorch net whose loss is an objective of the energy it trains.

    Besides skorch's own parameters:

    objective : BaseObjective
    manifold : BaseManifold or None
        Where the points live; None is Euclidean space. On a manifold the objective sees
        the lifted correction, and of the base measure its gradient at the data; unless it
        is a `BaseGlobalObjective`, which sees the energy as it is.
    proposal : BaseMeasure or None
        What a `BaseGlobalObjective` draws from; None is the base measure.
    alpha : float
        Weight of the mean square of the correction's energy.
    noise_generator : torch.Generator
    monitor_seed : int
    one_cycle : bool
        Whether the learning rate follows one cycle over ``max_epochs``.
    n_iter_no_change : int or None
        Patience in epochs; None never stops.
    tol : float
        Smallest improvement of the monitored score that counts.
    """

    def __init__(
        self,
        module,
        *args,
        objective: BaseObjective,
        noise_generator: torch.Generator,
        monitor_seed: int,
        manifold: BaseManifold | None = None,
        proposal: BaseMeasure | None = None,
        alpha: float = 0.0,
        one_cycle: bool = True,
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        criterion=nn.Identity,
        **kwargs,
    ):
        self.objective = objective
        self.noise_generator = noise_generator
        self.monitor_seed = monitor_seed
        self.manifold = manifold
        self.proposal = proposal
        self.alpha = alpha
        self.one_cycle = one_cycle
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        super().__init__(module, criterion, *args, **kwargs)

    # --- what skorch asks for ---------------------------------------------------------

    @property
    def _default_callbacks(self):
        table = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *table]

    def initialize(self):
        """Build optimiser and callbacks, and start the weight average."""
        super().initialize()
        self.average_ = WeightAverage(self.module_)
        self.n_steps_ = 0
        self.energies_: list[Tensor] = []
        self.module_.correction.register_forward_hook(self._record_energy)
        return self

    def initialize_criterion(self):
        """Do nothing: the objective is the loss."""
        return self

    def _record_energy(self, module, inputs, output):
        del inputs
        if self.alpha and module.training:
            self.energies_.append(output)

    # --- one step ---------------------------------------------------------------------

    def train_step_single(self, batch, **fit_params):
        """Return the loss of one batch after its backward pass."""
        del fit_params
        x, weight, *at_base = batch
        self.energies_.clear()
        if isinstance(self.objective, BaseGlobalObjective):
            values = self.objective(
                self.module_,
                x,
                generator=self.noise_generator,
                proposal=self.proposal,
                manifold=self.manifold,
                log_proposal=at_base[0],
            )
        elif self.manifold is None:
            values = self.objective(self.module_, x, generator=self.noise_generator)
        else:
            values = RiemannianObjective(self.objective, self.manifold)(
                self.module_.correction,
                x,
                generator=self.noise_generator,
                base_grad=at_base[0] if at_base else None,
            )
        loss = (values * weight).mean()
        total = loss + self.alpha * self._scale(weight) if self.alpha else loss
        total.backward()
        return {"loss": loss.detach(), "y_pred": values.detach()}

    def _scale(self, weight: Tensor) -> Tensor:
        """Return the mean square of the correction, over the data and over the base.

        Over the data it is taken at every point about them that the objective looked at,
        which costs nothing. Draws from the base measure reach where there are no data:
        there the objective says nothing, and the correction could grow without bound.
        """
        correction, base = self.module_.correction, self.module_.base
        energy = torch.cat(self.energies_)
        if isinstance(self.objective, BaseGlobalObjective):
            energy = energy[: len(weight)]  # the other points are draws
        repeated = weight.repeat(len(energy) // len(weight))
        scale = (repeated * energy.square()).mean()
        if base is not None:
            n_draws = math.ceil(len(weight) * BASE_SHARE)
            draws = base.sample(n_draws, generator=self.noise_generator)
            scale = scale + correction(draws).square().mean()
        return scale

    def _schedule(self) -> None:
        if not self.one_cycle:
            return
        t = min(1.0, self.n_steps_ / self.n_total_steps_)
        if t < WARM_UP:
            share = 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * t / WARM_UP))
        else:
            share = 0.5 * (1 + math.cos(math.pi * (t - WARM_UP) / (1 - WARM_UP)))
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr * share

    def train_step(self, batch, **fit_params):
        """Take one step of the optimiser and move the weight average."""
        self._schedule()
        if self.full_callbacks_ or isinstance(self.optimizer_, torch.optim.LBFGS):
            step = super().train_step(batch, **fit_params)
        else:
            self.optimizer_.zero_grad()
            step = self.train_step_single(batch)
            self.optimizer_.step()
        self.n_steps_ += 1
        self.average_.update(self.n_steps_)
        return step

    # --- epochs -----------------------------------------------------------------------

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch; the loss is brought to the host once, at its end."""
        if iterator is None:
            return
        if not training:
            loss = self._monitor(iterator.dataset)
            self._record("valid", loss, len(iterator.dataset))
            return
        self.module_.train()
        total, count = torch.zeros((), device=iterator.dataset.x.device), 0
        for batch in iterator:
            if self.full_callbacks_:
                self.notify("on_batch_begin", batch=batch, training=True)
            step = step_fn(batch, **fit_params)
            total += step["loss"] * len(batch[0])
            count += len(batch[0])
            if self.full_callbacks_:
                self.history.record_batch("train_loss", step["loss"].item())
                self.history.record_batch("train_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=True, **step)
        self._record(prefix, float(total) / count, count)

    def _monitor(self, dataset: TensorData) -> float:
        self.average_.copy_buffers()
        energy = self.average_.module
        if self.objective.sigmas:
            values = self._annealed_values(dataset.x)
        elif isinstance(self.objective, BaseGlobalObjective):
            values = held_out_values(
                self.objective,
                energy,
                dataset.x,
                dataset.log_proposal,
                proposal=self.proposal,
                manifold=self.manifold,
                seed=self.monitor_seed,
            )
        else:
            values = hyvarinen_values(
                energy if self.manifold is None else energy.correction,
                dataset.x,
                manifold=self.manifold,
                base_grad=dataset.base_grad,
                seed=self.monitor_seed,
            )
        return float((values * dataset.weight).sum() / dataset.weight.sum())

    def _annealed_values(self, x: Tensor) -> Tensor:
        """Return the objective on fixed noise: one level is blind to what others see."""
        generator = torch.Generator().manual_seed(self.monitor_seed)
        values = []
        for rows in x.split(MONITOR_CHUNK):
            with torch.no_grad():
                value = self.objective(
                    self.average_.module,
                    rows.repeat(LEVELS_PER_ROW, 1),
                    generator=generator,
                )
            values.append(value.view(LEVELS_PER_ROW, -1).mean(0))
        return torch.cat(values)

    def _record(self, prefix: str, loss: float, count: int) -> None:
        key = f"{prefix}_loss"
        before = [row[key] for row in self.history[:-1] if key in row]
        if not (prefix == "train" and self.full_callbacks_):
            self.history.new_batch()
            self.history.record_batch(key, loss)
            self.history.record_batch(f"{prefix}_batch_size", count)
        self.history.record(key, loss)
        self.history.record(f"{key}_best", loss < min(before, default=math.inf))

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on a `TensorData` for some epochs; see the module's docstring.

        Returns
        -------
        self : ObjectiveNet
        """
        del fit_params
        epochs = self.max_epochs if epochs is None else epochs
        data, valid = self.get_split_datasets(X, y)
        sets = {"dataset_train": data, "dataset_valid": valid}
        iterator = self.get_iterator(data, training=True)
        watch = None if valid is None else BatchIterator(valid, -1)
        self.n_total_steps_ = self.n_steps_ + max(1, epochs * len(iterator))
        self.full_callbacks_ = any(
            getattr(type(cb), name) is not getattr(Callback, name)
            for _, cb in self.callbacks_
            for name in ("on_batch_begin", "on_batch_end", "on_grad_computed")
        )
        self.stopped_ = False
        best, best_weights, waited = math.inf, self.average_.snapshot(), 0
        if watch is not None:  # the untrained model is a candidate too
            best = self._monitor(valid)
        reference = best
        for _ in range(epochs):
            self.notify("on_epoch_begin", **sets)
            self.run_single_epoch(iterator, True, "train", self.train_step)
            if watch is not None:
                self.run_single_epoch(watch, False, "valid", None)
            row = self.history[-1]
            loss = row["train_loss"] if watch is None else row["valid_loss"]
            if not (math.isfinite(row["train_loss"]) and math.isfinite(loss)):
                self._load(best_weights)
                warnings.warn(
                    f"Training diverged in epoch {len(self.history)}: the loss is "
                    f"{row['train_loss']}. The last good weights are kept. Try a smaller "
                    "lr, a larger alpha or epsilon, or rescale the data.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
                break
            if watch is None or loss < best:
                best, best_weights = loss, self.average_.snapshot()
            if loss < reference - self.tol:
                reference, waited = loss, 0
            else:
                waited += 1
            try:
                self.notify("on_epoch_end", **sets)
            except KeyboardInterrupt:  # how skorch's callbacks ask to stop
                self.stopped_ = True
            if watch is not None and waited == self.n_iter_no_change:
                self.stopped_ = True
            if self.stopped_:
                break
        if watch is not None:
            self._load(best_weights)
        return self

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train without re-initialising; unlike skorch's, Ctrl-C is not swallowed."""
        del classes
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    # --- weights ----------------------------------------------------------------------

    def _load(self, weights: dict[str, Tensor]) -> None:
        self.average_.module.load_state_dict(weights)
        self.module_.load_state_dict(weights)

    def get_training_state(self) -> dict[str, Any]:
        """Return all that a resumed training needs, as numpy arrays and plain objects."""
        shuffle = self.iterator_train__generator
        return {
            "weights": map_tensors(dict(self.module_.state_dict()), to_numpy),
            "average": map_tensors(self.average_.snapshot(), to_numpy),
            "optimizer": map_tensors(self.optimizer_.state_dict(), to_numpy),
            "noise": self.noise_generator.get_state().numpy(),
            "shuffle": shuffle.get_state().numpy(),
            "n_steps": self.n_steps_,
            "history": self.history.to_list(),
        }

    def set_training_state(self, state: dict[str, Any]) -> None:
        """Resume from `get_training_state`."""
        device = next(self.module_.parameters()).device

        def tensor(a):
            return torch.tensor(a, device=device)

        self.module_.load_state_dict(map_arrays(state["weights"], tensor))
        self.average_.module.load_state_dict(map_arrays(state["average"], tensor))
        self.optimizer_.load_state_dict(map_arrays(state["optimizer"], tensor))
        self.noise_generator.set_state(torch.tensor(state["noise"]))
        self.iterator_train__generator.set_state(torch.tensor(state["shuffle"]))
        self.n_steps_ = state["n_steps"]
        self.history = skorch.history.History(state["history"])


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # a fresh one costs 16 ms, a kept one nothing


def limit_threads(batch_size: int, width: int, device: torch.device) -> ExitStack:
    """Return a context that uses one OpenMP thread while the work is small.

    A second thread gains nothing on layers this small and costs much when other
    processes want the cores. The limit belongs to the calling thread and is lifted on exit.
    """
    stack = ExitStack()
    if device.type == "cpu" and batch_size * width < SMALL_WORK:
        stack.enter_context(_controller().limit(limits=1, user_api="openmp"))
    return stack
