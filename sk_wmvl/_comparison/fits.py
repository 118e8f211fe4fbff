"""Held-out likelihoods of several estimators on the same random splits."""

import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_wmvl._comparison.data import BadFileError, DataSet
from sk_wmvl._comparison.progress import Stages
from sk_wmvl._rows import label_units
from sk_wmvl.coordinates.varying import find_constant
from sk_wmvl.estimators.density import MVLDensity

__all__ = [
    "BASE",
    "OURS",
    "Comparison",
    "LastFit",
    "Result",
    "compare",
    "leave_out_constant",
]

OURS, BASE = "MVLDensity", "its base alone"
TEST_SHARE = 0.2
BANDWIDTHS = np.geomspace(0.05, 2.0, 16)
MAX_COMPONENTS = 15


class Result(NamedTuple):
    """What one estimator has reached, one entry per split.

    Attributes
    ----------
    name : str
    scores : ndarray of shape (n_splits,)
        Mean log densities of the held-out rows, in nats, in columns of unit variance.
    log_normalizer_std : ndarray of shape (n_splits,)
        Standard errors of log Z, in nats; 0 where it is exact.
    seconds : ndarray of shape (n_splits,)
        Wall-clock time of the fit.
    """

    name: str
    scores: np.ndarray
    log_normalizer_std: np.ndarray
    seconds: np.ndarray


class LastFit(NamedTuple):
    """The density of the last split.

    Attributes
    ----------
    density : MVLDensity
        Fitted to `units` of the training rows.
    units : Pipeline
        Takes rows to the units of the density.
    is_held_out : ndarray of bool of shape (n_samples,)
        Which rows the density has not seen.
    """

    density: MVLDensity
    units: Pipeline
    is_held_out: np.ndarray


class Comparison(NamedTuple):
    """The results on one data set.

    Attributes
    ----------
    results : list of Result
        `MVLDensity` first, its base alone second.
    reports : list of dict
        The `fit_report_` of each split.
    last : LastFit
    warned : tuple of str
        The first lines of what `MVLDensity` warned of, each once.
    """

    results: list[Result]
    reports: list[dict[str, Any]]
    last: LastFit
    warned: tuple[str, ...] = ()


def best_mixture(Z: np.ndarray, seed: int) -> GaussianMixture:
    """Return the mixture with the lowest BIC over components and covariance types."""
    candidates = (
        GaussianMixture(k, covariance_type=kind, random_state=seed).fit(Z)
        for kind in ("full", "tied", "diag", "spherical")
        for k in range(1, min(MAX_COMPONENTS, len(Z) // 4) + 1)
    )
    return min(candidates, key=lambda mixture: mixture.bic(Z))


def best_kernel(Z: np.ndarray) -> KernelDensity:
    """Return the Gaussian kernel estimate with the best cross-validated bandwidth."""
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=5)
    return search.fit(Z).best_estimator_


@torch.no_grad()
def base_log_density(density: MVLDensity, Z: np.ndarray) -> np.ndarray:
    """Return log densities of the base measure that a fit has chosen.

    Parameters
    ----------
    density : MVLDensity
    Z : ndarray of shape (n, d)
        In the units of its training rows.

    Returns
    -------
    log_density : ndarray of shape (n,)
    """
    energy = density.energy_
    z = density._check_points(Z)  # of the columns that vary
    log_density = energy.energy.base.log_prob(energy.to_internal(z))
    return (log_density - energy.log_det(z)).cpu().numpy()


def _splits(
    X: np.ndarray, n_splits: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices of training rows and of held-out ones."""
    copies = label_units(X)
    for k in range(n_splits):
        halves = GroupShuffleSplit(1, test_size=TEST_SHARE, random_state=seed + k)
        yield next(halves.split(X, groups=copies))


def leave_out_constant(data: DataSet, *, n_splits: int, seed: int) -> DataSet:
    """Leave out columns that are constant in the training rows of a split of `compare`.

    `MVLDensity` gives no density of such a column, and the others give it a peak as narrow
    as rounding: their likelihoods would not be of the same columns.

    Parameters
    ----------
    data : DataSet
        Principal components of any columns vary, and columns are kept then.
    n_splits, seed : int
        As in `compare`.

    Returns
    -------
    data : DataSet
        What is left out has its reasons in `left_out`.

    Raises
    ------
    BadFileError
        If no column is left.
    """
    if data.n_components is not None:
        return data
    while True:
        reasons: dict[int, str] = {}
        for k, (inside, _) in enumerate(_splits(data.X, n_splits, seed)):
            rows = data.X[inside]
            for j in np.flatnonzero(find_constant(rows)).tolist():
                reason = (
                    f"constant, {rows[0, j]:g} in the training rows of split {k + 1}"
                )
                reasons.setdefault(j, f"{data.columns[j]}: {reason}")
        if not reasons:
            return data
        left_out = (*data.left_out, *reasons.values())
        kept = [j for j in range(len(data.columns)) if j not in reasons]
        if not kept:
            raise BadFileError(
                f"{data.name}: no column can be compared ({'; '.join(left_out)})."
            )
        # Rows that differed in these columns alone are copies now, and are split anew.
        data = data._replace(
            X=data.X[:, kept],
            columns=[data.columns[j] for j in kept],
            pictured=(0, 1),
            left_out=left_out,
        )


def compare(
    data: DataSet, *, n_splits: int, seed: int, params: dict, stages: Stages
) -> Comparison:
    """Fit all estimators on random splits of one data set.

    All are fitted to the same rows and compared in the same units, in which the training
    rows have unit variance. Copies of a row are on the same side of a split.

    Parameters
    ----------
    data : DataSet
        From `leave_out_constant`.
    n_splits : int
        Number of splits, each with 20 % of the rows for testing.
    seed : int
        Seed of the first split. The next ones count up from it.
    params : dict
        Parameters of `MVLDensity`.
    stages : Stages
        Shows what is done. Its bar advances three times per split.

    Returns
    -------
    comparison : Comparison
    """
    table: dict[str, list[tuple[float, float, float]]] = {}
    reports: list[dict[str, Any]] = []
    warned: dict[str, None] = {}  # in order, without repetitions
    for k, (inside, outside) in enumerate(_splits(data.X, n_splits, seed)):
        steps: list[Any] = [StandardScaler()]
        if data.n_components is not None:
            steps.insert(0, PCA(data.n_components, random_state=seed + k))
        units = make_pipeline(*steps)
        train = units.fit_transform(data.X[inside])
        test = units.transform(data.X[outside])
        density = MVLDensity(random_state=seed + k, callbacks=[stages], **params)
        makers = {
            OURS: density.fit,
            "GaussianMixture (BIC)": lambda Z, k=k: best_mixture(Z, seed + k),
            "KernelDensity (CV)": best_kernel,
        }
        for name, make in makers.items():
            what = f"{data.name}, split {k + 1}/{n_splits}: {name}"
            stages.begin(what, "base" if name == OURS else "")
            start = time.perf_counter()
            with warnings.catch_warnings(record=True) as caught:
                if name == OURS:
                    warnings.simplefilter("always", UserWarning)
                else:
                    # Warnings of single fits, such as those of mixtures that have not
                    # converged, would only repeat what the table shows.
                    warnings.simplefilter("ignore")
                model = make(train)
                seconds = time.perf_counter() - start
                std = getattr(model, "log_normalizer_std_", 0.0)
                score = model.score_samples(test).mean()
                table.setdefault(name, []).append((score, std, seconds))
                if name == OURS:
                    score = base_log_density(density, test).mean()
                    seconds = density.fit_report_["seconds"]["base"]
                    table.setdefault(BASE, []).append((score, 0.0, seconds))
                    reports.append(density.fit_report_)
            lines = (str(warning.message).strip().split("\n")[0] for warning in caught)
            warned.update(dict.fromkeys(lines))
            stages.bar.update()
    is_held_out = np.zeros(len(data.X), dtype=bool)
    is_held_out[outside] = True
    results = [Result(name, *np.array(rows).T) for name, rows in table.items()]
    last = LastFit(density, units, is_held_out)
    return Comparison(results, reports, last, tuple(warned))
