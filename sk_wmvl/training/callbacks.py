"""Callbacks: a progress bar, scikit-learn's callbacks, and checkpoints on disk."""

import glob
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from sk_wmvl._warnings import warn
from sk_wmvl.training.checksum import checksum
from sk_wmvl.training.state import to_arrays, to_tensors

__all__ = ["Checkpoint", "FitProgress", "SklearnBridge"]

MAGIC = b"sk_wmvl checkpoint 1 "
# Of a net, beside what its state, its task and its rows have.
SETTINGS = (
    "lr",
    "n_epochs_",
    "batch_size",
    "one_cycle",
    "n_iter_no_change",
    "tol",
    "averaging",
    "steps_per_copy",
)


class Checkpoint(Callback):
    """Writes the training to a file after each epoch, and goes on from it.

    A fit that was killed goes on if it is called again with the same rows, parameters and
    an integer `random_state`; only its callbacks may differ. It loses the epoch in which it
    was killed. With the objective alone, ``objective_weight=None``, the model has the same
    bits as if it had not been killed; with the likelihood, draws of the base measure are
    made anew. The file is replaced as a whole, so that a kill or a full disk leaves the
    last good one. It has a checksum, and is read without executing code.

    A fit that goes on from the last one, by `partial_fit` or ``warm_start=True``, replaces
    the file without a warning. If such a call was killed, load the estimator as it was
    before, and call again.

    What comes before training, such as the choice of a base measure, is done again; an
    estimator's `memory` saves that. So are the epochs after a search for missed mass.

    Parameters
    ----------
    path : str or Path
        The file. Each fit needs its own: in a search over parameters, fits would overwrite
        one another's.

    Raises
    ------
    OSError
        In a fit, if there is no folder to write to.
    ValueError
        In a fit, if the file is damaged.

    Warns
    -----
    UserWarning
        If the file is that of another fit, which is then overwritten; and once in a fit
        if it cannot be written, as on a full disk.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_wmvl import MVLDensity
    >>> from sk_wmvl.training import Checkpoint
    >>> X = np.random.default_rng(0).normal(size=(50, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     callbacks = [Checkpoint(f"{folder}/fit.ckpt")]
    ...     params = {"base": "gaussian", "max_epochs": 2, "random_state": 0}
    ...     density = MVLDensity(callbacks=callbacks, **params).fit(X)
    >>> density.n_iter_
    2
    """

    def __init__(self, path):
        self.path = path

    def initialize(self):
        """Begin a fit."""
        self.fit_: str | None = None
        self.is_done_ = self.has_warned_ = False
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Go on from the file, if there is one of this fit."""
        if self.fit_ is not None:  # training goes on after a search for missed mass
            return
        path = Path(self.path)
        _check_place(path)
        _remove_parts(path)
        self.fit_ = _name_of_fit(net, X)
        if not path.exists():
            return
        saved = _read(path)
        if saved["fit"] != self.fit_:
            if net.n_steps_ > 0:  # from the last fit, whose file this may well be
                return
            warn(
                f"{path} is the checkpoint of another fit, with other rows, parameters or "
                "random_state, and is overwritten. Give each fit a file of its own."
            )
            return
        net.set_training_state(to_arrays(saved["state"]))
        kept = to_arrays(saved["loop"]["kept"])
        if net.steps_per_copy is None:  # the kept weights, and not a whole state
            kept = to_tensors(kept, next(net.module_.parameters()).device)
        net.resumed_ = {**saved["loop"], "kept": kept}

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Replace the file."""
        if self.is_done_:
            return
        saved = {
            "fit": self.fit_,
            "state": to_tensors(net.get_training_state()),
            "loop": to_tensors(to_arrays(net.loop_state_)),
        }
        try:
            _write(Path(self.path), saved)
        except OSError as error:
            if not self.has_warned_:
                warn(
                    f"The checkpoint {self.path} cannot be written ({error}). The training "
                    "goes on and tries again after each epoch; until then the file, if "
                    "there is one, stays as it is. Free some space."
                )
            self.has_warned_ = True

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Write no more: what follows is a repair, which has an end of its own."""
        self.is_done_ = True


def _check_place(path: Path) -> None:
    """Raise OSError unless a file can be written there."""
    if path.is_dir():
        raise IsADirectoryError(
            f"Checkpoint needs a file; {path} is a folder. Add the name of a file to it."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of the checkpoint {path} does not exist. Create it, or choose "
            "another path."
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"The folder of the checkpoint {path} is not yours to write to. Change its "
            "permissions, or choose another path."
        )


def _remove_parts(path: Path) -> None:
    """Remove what fits left that were killed while they wrote this file."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        if part.suffixes[-2][1:].isdigit():
            part.unlink(missing_ok=True)


def _name_of_fit(net, data) -> str:
    """Return a hash of all that training starts from, but for the callbacks."""
    state = net.get_training_state()  # weights, optimizer's options, and generators
    del state["history"]  # it has times
    # A split that is given beforehand has its rows in a function of skorch's.
    held_out = getattr(net.train_split, "keywords", net.train_split)
    settings = {name: getattr(net, name) for name in SETTINGS}
    optimizer = f"{net.optimizer.__module__}.{net.optimizer.__qualname__}"
    start = [state, net.module_, vars(net.task)]
    return checksum([*start, data, held_out, settings, optimizer])


def _write(path: Path, saved: dict[str, Any]) -> None:
    """Write a file beside the path, and put it there as a whole."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    content = buffer.getvalue()
    head = MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(head + content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; raise ValueError if it is not what was written."""
    head, _, content = path.read_bytes().partition(b"\n")
    if head != MAGIC + hashlib.sha256(content).hexdigest().encode():
        raise ValueError(
            f"{path} is no checkpoint of sk_wmvl, or is damaged: its checksum is wrong. "
            "Delete it, and the fit begins anew."
        )
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


class FitProgress(Callback):
    """One progress bar for the whole fit, on standard error.

    Parameters
    ----------
    label : str
        Text before the bar.
    """

    def __init__(self, label: str, n_epochs: int):
        self.label = label
        self.n_epochs = n_epochs

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=self.n_epochs, desc=self.label, unit="epoch")

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Advance the bar and show the last losses."""
        row = net.history[-1]
        shown = {k: row[k] for k in ("train_loss", "valid_loss") if k in row}
        self.bar_.set_postfix({k: f"{v:.4g}" for k, v in shown.items()}, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close the bar."""
        self.bar_.close()


class SklearnBridge(Callback):
    """Opens one subtask of scikit-learn's callback context per epoch.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    context : CallbackContext
        Its root context.
    X : ndarray of shape (n_samples, n_features)
        The training data.
    reconstruct : callable
        Returns the fitted attributes as if training had ended now.
    """

    def __init__(self, estimator, context, X, reconstruct: Callable[[], dict]):
        self.estimator = estimator
        self.context = context
        self.X = X
        self.reconstruct = reconstruct

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Open a subtask."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Close the subtask; a callback's wish to stop ends the training."""
        stop = self.task_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=self.reconstruct,
        )
        if stop:
            net.stopped_ = True
