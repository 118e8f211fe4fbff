"""Long trainings that survive being cut off: a checkpoint after every few epochs."""

import os
import pickle
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from _lib.script import show_progress

__all__ = ["Run", "add_options", "default_folder", "load", "save", "trained"]

SECONDS_PER_CHECKPOINT = 60


class Run(NamedTuple):
    """A training as far as it has come.

    Attributes
    ----------
    model : estimator
    seconds : float
        Of processor time, over all sittings.
    """

    model: BaseEstimator
    seconds: float


def default_folder(name):
    """Return where checkpoints go unless an option says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(cache) / "sk_wmvl" / name


def add_options(parser, *, folder):
    """Add the options that long runs share."""
    parser.add_argument(
        "--folder", type=Path, default=folder, help="where checkpoints are kept"
    )
    parser.add_argument("--iterations", type=int, help="updates of each model")
    parser.add_argument(
        "--stage",
        choices=["all", "train", "evaluate"],
        default="all",
        help="'evaluate' takes models as far as they are trained",
    )
    parser.add_argument(
        "--rows", type=int, help="images that are evaluated; fewer are faster"
    )


def save(path, value):
    """Pickle a value; a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        pickle.dump(value, file)
    os.replace(temporary, path)


def load(path):
    """Return what `save` has kept."""
    with path.open("rb") as file:
        return pickle.load(file)


def train(make, X, path, n_iterations):
    """Train a model to at least a number of updates, on from its checkpoint if any.

    Parameters
    ----------
    make : callable
        Returns an untrained model with ``partial_fit`` (one epoch) and `n_steps_`.
    X : ndarray of shape (n, n_columns)
        Rows.
    path : Path
        The checkpoint.
    n_iterations : int
        Updates; the epoch under way is finished.

    Returns
    -------
    run : Run
    """
    run = Run(*load(path)) if path.exists() else Run(make(), 0.0)
    model, seconds = run
    saved = time.monotonic()
    while getattr(model, "n_steps_", 0) < n_iterations:
        start = time.process_time()
        model.partial_fit(X)
        seconds += time.process_time() - start
        done = model.n_steps_ >= n_iterations
        if done or time.monotonic() - saved > SECONDS_PER_CHECKPOINT:
            save(path, (model, seconds))
            saved = time.monotonic()
            show_progress(
                f"{path.stem}: {model.n_steps_} of {n_iterations} updates, "
                f"{1e3 * seconds / model.n_steps_:.1f} ms each, "
                f"loss {np.mean(model.loss_curve_[-3:]):.2f}"
            )
    return Run(model, seconds)


def trained(args, cells, make, X, folder, n_iterations):
    """Yield the models that the options ask for, trained unless ``--stage`` says not to.

    Parameters
    ----------
    args : argparse.Namespace
        With the options of `add_options`, `seeds`, `only` and `quick`.
    cells : iterable of str
        Names of models.
    make : callable
        From a name, a seed and `quick` to an untrained model.
    X : ndarray of shape (n, n_columns)
        Rows.
    folder : Path
        Of the checkpoints.
    n_iterations : int
        Updates of each model.

    Yields
    ------
    name : str
    seed : int
    run : Run
    path : Path
        The checkpoint. With ``--stage train`` nothing is left to do, and all are skipped.
    """
    for seed in args.seeds:
        for name in cells:
            if args.only and name not in args.only:
                continue
            path = folder / f"{name}-seed{seed}.pkl"
            if args.stage != "evaluate":
                run = train(
                    partial(make, name, seed, quick=args.quick), X, path, n_iterations
                )
            elif path.exists():
                run = Run(*load(path))
            else:
                show_progress(f"{name}, seed {seed}: not trained")
                continue
            if args.stage != "train":
                yield name, seed, run, path
