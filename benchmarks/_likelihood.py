"""Test log likelihood of a variational auto-encoder, by parts that are kept."""

import copy
import math
import os
import time

import numpy as np
import torch
from _common import show_progress

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
N_DRAWS = 200  # of importance sampling
PLAN, BOUNDS, PARTS = 0, 1, 2  # streams of the seed


def evaluate(model, X, path, *, n_temperatures, n_chains):
    """Return estimates of the mean negative log likelihood of binary images, in nats.

    Parameters
    ----------
    model : ImplicitVAE
        Fitted.
    X : ndarray of shape (n, n_pixels)
        Binary images.
    path : Path
        Where results are kept: a second call goes on, and more rows add to fewer.
    n_temperatures, n_chains : int
        Of annealing.

    Returns
    -------
    result : dict
        `nll` with its standard error over images, `mc_se` (that part of it which is due to
        annealing), `accept`, `gap` between the mean bounds, `gap_se`, `importance`,
        `rows`, `temperatures`, `per_minute` (images annealed per minute of processor time).
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

    x = torch.tensor(X, dtype=torch.float32)
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
    if "importance" not in kept or len(kept["importance"]) < len(x):
        keep(importance=model.set_params(n_draws=N_DRAWS).score_samples(X))

    n = len(x)
    value, error, gap = kept["value"][:n], kept["error"][:n], kept["gap"]
    result = {
        "nll": -value.mean(),
        "nll_se": value.std(ddof=1) / math.sqrt(n),
        "mc_se": math.sqrt((error**2).sum()) / n,
        "accept": kept["accept"].mean(),
        "gap": gap.mean(),
        "gap_se": gap.std(ddof=1) / math.sqrt(len(gap)),
        "importance": -kept["importance"][:n].mean(),
        "rows": n,
        "temperatures": n_temperatures,
        "per_minute": 60 * len(kept["value"]) / float(kept["seconds"]),
    }
    return result, value
