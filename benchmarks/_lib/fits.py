"""Fits of our estimators, and the columns that tables of likelihoods share."""

import warnings

import numpy as np
import torch

from _lib.script import show_progress

__all__ = [
    "BaseAlone",
    "fit_quietly",
    "log_z_columns",
    "mass_error",
    "nll_columns",
    "summarize",
]

NODES = {1: 20_000, 2: 500, 3: 60}  # per period, by the dimension


def fit_quietly(model, X, groups=None):
    """Return the fitted model, with a label instead of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scaled correction is in the label
        model.fit(X, groups=groups)
    model.label = f"{model.n_iter_} epochs, correction x {model.correction_scale_:g}"
    return model


class BaseAlone:
    """The base measure of a fitted density, without its correction.

    Parameters
    ----------
    model : MVLDensity or RiemannianMVLDensity
        Fitted.
    """

    def __init__(self, model):
        self.model = model
        self.label = repr(model.base_).splitlines()[0].rstrip("(")

    def score_samples(self, X):
        """Return log densities in the units of the data."""
        energy = self.model.energy_
        x = self.model._check_points(X)  # of the columns that vary
        with torch.no_grad():
            log_q = energy.energy.base.log_prob(energy.to_internal(x))
        return (log_q - energy.log_det(x)).cpu().numpy()


def mass_error(model):
    """Return | mass / base's mass - 1 | by a quadrature of the manifold, or NaN.

    NaN where there is no quadrature, or no network corrects the base: a base alone is a sum
    of normalised densities, of which thousands are too narrow for any grid.
    """
    manifold = model.manifold_
    if manifold.dim not in NODES or model.correction_scale_ == 0:
        return np.nan
    nodes, log_weights = manifold.quadrature(NODES[manifold.dim])
    points = manifold.to_user(nodes).numpy()
    logs = [fitted.score_samples(points) for fitted in (model, BaseAlone(model))]
    mass, own = (np.exp(log_q + log_weights.numpy()).sum() for log_q in logs)
    return abs(float(mass / own) - 1)


def nll_columns(log_q):
    """Return the mean negative log density of rows, and its standard error."""
    return {"nll": -log_q.mean(), "nll_se": log_q.std() / len(log_q) ** 0.5}


def log_z_columns(model):
    """Return the standard error of log Z, and the method; baselines have none."""
    result = getattr(model, "normalizer_result_", None)
    return {
        "log_z_se": 0.0 if result is None else result.std_error,
        "log_z_by": "exact" if result is None else result.method,
    }


def summarize(rows, data):
    """Print the mean NLL over all rows, and its standard error over splits, by method."""
    rows = [row for row in rows if row["data"] == data]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        nll = np.array([row["nll"] for row in own])
        n = np.array([row["n_test"] for row in own])
        mean = n @ nll / n.sum()
        se = nll.std(ddof=1) / len(nll) ** 0.5 if len(nll) > 1 else np.nan
        show_progress(f"{data}, {method}: {mean:.3f} ± {se:.3f}")
