"""Test log likelihood of a variational auto-encoder, by parts that are kept."""

import copy
import math
import os
import time

import numpy as np
import torch

from _lib.script import show_progress
from sk_wmvl._random import make_generator
from sk_wmvl.evaluation import (
    AnnealingPlan,
    annealed_bounds,
    annealed_log_likelihood,
    plan_annealing,
)

__all__ = ["evaluate"]

PART = 50  # images
N_SIMULATED = 32
N_DRAWS = 100  # of importance sampling
PLAN, BOUNDS, PARTS = 0, 1, 2  # streams of the seed


def evaluate(model, X, path, *, n_annealed, n_temperatures, n_chains):
    """Return estimates of the mean negative log likelihood of binary images, in nats.

    Parameters
    ----------
    model : ImplicitVAE
        Fitted.
    X : ndarray of shape (n, n_pixels)
        Binary images.
    path : Path
        Where results are kept: a second call goes on, and more rows add to fewer.
    n_annealed : int
        How many of the images annealing is done for; importance sampling, for all.
    n_temperatures, n_chains : int
        Of annealing.

    Returns
    -------
    result : dict
        `nll` by importance sampling, with its standard error over images; `ais` by
        annealing, on fewer images, `ais_less` by how much that is less than `nll` of the
        same images, `accept` the acceptance; `gap` between the mean bounds. `rows` and
        `annealed` are numbers of images, `per_minute` and `ais_per_minute` images per
        minute of processor time.
    values : ndarray of shape (n,)
        The log likelihood of each image.
    """
    decoder = copy.deepcopy(model.decoder_).float()
    latent = model.latent_
    args = decoder.log_prob, latent.manifold, latent
    kept = dict(np.load(path)) if path.exists() else {}

    def keep(**values):
        kept.update(values)
        temporary = path.with_suffix(".partial.npz")
        np.savez(temporary, **kept)
        os.replace(temporary, path)

    x = torch.tensor(X[:n_annealed], dtype=torch.float32)
    settings = np.array([n_temperatures, n_chains])
    if "t" not in kept or (kept["settings"] != settings).any():
        kept.clear()
        plan = plan_annealing(
            args[0],
            x,
            *args[1:],
            generator=make_generator(0, PLAN),
            n_temperatures=n_temperatures,
        )
        keep(**plan._asdict(), settings=settings, seconds=0.0, accept=np.empty(0))
        keep(value=np.empty(0), error=np.empty(0))
    plan = AnnealingPlan(kept["t"], kept["step_sizes"], float(kept["length"]))

    if "gap" not in kept:
        g = make_generator(0, BOUNDS)
        bounds = annealed_bounds(
            args[0],
            lambda z: decoder.sample(z, generator=g),
            *args[1:],
            n_rows=N_SIMULATED,
            generator=g,
            dtype=torch.float32,
            n_temperatures=n_temperatures,
            n_chains=n_chains,
        )
        keep(gap=(bounds.upper - bounds.lower).numpy())

    while len(kept["value"]) < len(x):
        done = len(kept["value"])
        start = time.process_time()
        part = annealed_log_likelihood(
            args[0],
            x[done : done + PART],
            *args[1:],
            generator=make_generator(0, PARTS + done // PART),
            n_chains=n_chains,
            plan=plan,
        )
        keep(
            value=np.append(kept["value"], part.value.numpy()),
            error=np.append(kept["error"], part.std_error.numpy()),
            accept=np.append(kept["accept"], part.accept_prob),
            seconds=kept["seconds"] + time.process_time() - start,
        )
        n = len(kept["value"])
        show_progress(
            f"{path.stem}: {n} of {len(x)} images, {-kept['value'].mean():.2f} nats, "
            f"{60 * n / kept['seconds']:.0f} per minute"
        )
    if len(kept.get("importance", ())) < len(X):
        start = time.process_time()
        values = model.set_params(n_draws=N_DRAWS).score_samples(X)
        keep(importance=values, importance_seconds=time.process_time() - start)

    n, m = len(X), len(x)
    value, gap = kept["importance"][:n], kept["gap"]
    less = kept["value"][:m] - value[:m]
    result = {
        "nll": -value.mean(),
        "nll_se": value.std(ddof=1) / math.sqrt(n),
        "rows": n,
        "per_minute": 60 * len(kept["importance"]) / float(kept["importance_seconds"]),
        "ais": -kept["value"][:m].mean(),
        "ais_less": less.mean(),
        "ais_less_se": less.std(ddof=1) / math.sqrt(m),
        "annealed": m,
        "temperatures": n_temperatures,
        "accept": kept["accept"].mean(),
        "gap": gap.mean(),
        "gap_se": gap.std(ddof=1) / math.sqrt(len(gap)),
        "ais_per_minute": 60 * len(kept["value"]) / float(kept["seconds"]),
    }
    return result, value
