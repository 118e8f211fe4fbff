"""A kernel estimate of the score is solved for, where a score estimator's method is one.

The Hyvärinen score by which the regularisation is chosen is not bounded below for rows
without a density: a field that points to a value at which rows repeat gains without end.
So the field is one of the directions in which rows vary, and ties are blurred.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Rows, label_units
from sk_wmvl._warnings import warn
from sk_wmvl.coordinates import rounding_steps
from sk_wmvl.kernels import BaseKernel, median_length_scale
from sk_wmvl.score_methods import (
    MATRIX_KERNELS,
    BaseScoreMethod,
    SpanField,
    System,
    choose_regularization,
)
from sk_wmvl.training import limit_threads

__all__ = ["solve_field"]

THREAD_WIDTH = 250  # with this, matrices of 2000 rows or more get a second thread
MEDIAN_ROWS = 1000  # the most rows from which the median distance is computed
NO_SPREAD = (
    1e-8  # standard deviations, across a subspace: rounding, where it is whitened
)
COARSE = 0.5  # standard deviations: a column in larger steps is worth a warning


def column_names(estimator) -> list[str]:
    """Return the names of the columns of a fit, or their numbers."""
    named = getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))
    return [str(name) for name in named]


def blur_ties(
    points: np.ndarray, seed: int, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return noise as wide as the steps of rounded columns, and the steps.

    The density of a rounded column plus such noise is its histogram, whose score is finite.

    Parameters
    ----------
    points : ndarray of shape (n, d)
    seed : int
    names : list of str
        Names of the columns, for the warning.
    """
    steps = rounding_steps(points)
    coarse = np.flatnonzero(steps > COARSE * points.std(0))
    if len(coarse):
        warn(
            f"Columns take few values and have no density: "
            f"{', '.join(names[j] for j in coarse)}. The score is that of the values with "
            "uniform noise of one step. Drop these columns if they are labels."
        )
    noise = np.random.default_rng([seed, 2]).uniform(-0.5, 0.5, points.shape)
    return noise * steps, steps


def find_span(points: np.ndarray, names: list[str]) -> np.ndarray | None:
    """Return whether each column varies, given those before it; None if all do.

    Warns of columns that are constant or exact combinations of others.

    Parameters
    ----------
    points : ndarray of shape (n, d)
    names : list of str
    """
    z = points - points[0]  # exactly zero where a column is constant
    scale = np.sqrt((z**2).mean(0))
    z = z / np.where(scale > 0, scale, 1.0)
    # The diagonal of R is the distance of each column from the span of those before it.
    R = np.linalg.qr(z - z.mean(0), mode="r")
    left = np.zeros(z.shape[1])
    left[: len(R)] = np.abs(np.diag(R)) / np.sqrt(len(z))
    varies = left > NO_SPREAD
    if len(z) <= z.shape[1]:  # rows too few to tell more than what is constant
        varies = scale > 0
    if varies.all() or not varies.any():
        return None
    flat = ", ".join(names[j] for j in np.flatnonzero(~varies))
    warn(
        f"Columns are constant, or exact linear combinations of those before them: {flat}. "
        "Rows have no density across the subspace that they span, and the score is zero "
        "there. Drop these columns."
    )
    return varies


def solve_field(
    x: Tensor,
    rows: Rows,
    method: BaseScoreMethod,
    kernel: BaseKernel,
    structure: str,
    *,
    bandwidth: float | None,
    regularization: float | None,
    seed: int,
    inverse: Tensor,
    names: list[str],
) -> dict[str, Any]:
    """Return the fitted attributes of a kernel estimate, by name.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        The rows in internal coordinates, on the device.
    rows : Rows
        Their weights and groups.
    method : BaseScoreMethod
    kernel : BaseKernel
        Its length scale is set, in place.
    structure : str
        A key of `MATRIX_KERNELS`.
    bandwidth : float or None
        The length scale; None is the kernel's own, or else the median distance.
    regularization : float or None
        None chooses it on held-out rows.
    seed : int
    inverse : Tensor of shape (d, d)
        The matrix from the units of the rows to internal ones.
    names : list of str
        Names of the columns, for warnings.
    """
    basis = None
    varies = find_span(rows.points, names)
    noise, steps = blur_ties(rows.points, seed, names)
    groups = rows.groups
    if varies is not None:
        differences = torch.from_numpy(rows.points - rows.points[0]).to(x)
        _, _, right = torch.linalg.svd(differences @ inverse.T, full_matrices=False)
        basis = right[: int(varies.sum())].T
    if steps.any():
        groups = label_units(
            rows.points, groups, in_order=True
        )  # copies, before the noise
        x = x + torch.from_numpy(noise).to(x) @ inverse.T
    if basis is not None:
        x = x @ basis
    side = len(x) * (x.shape[1] if structure == "curl-free" else 1)
    w = torch.ones(len(x)) if rows.weight is None else torch.from_numpy(rows.weight)
    w = (w.double() / w.double().sum()).to(x.device)
    with limit_threads(side, THREAD_WIDTH, x.device):
        length_scale = bandwidth or kernel.length_scale
        if length_scale is None:
            order = np.random.default_rng([seed, 1]).permutation(len(x))
            some = torch.from_numpy(order[:MEDIAN_ROWS])
            length_scale = median_length_scale(x.cpu()[some])
        kernel.set_params(length_scale=float(length_scale))
        matrix_kernel = MATRIX_KERNELS[structure](kernel)
        scores = None
        if regularization is None:
            regularization, scores = choose_regularization(
                method, matrix_kernel, x, w, groups=groups, seed=seed
            )
        field = method.fit(System(matrix_kernel, x, w), float(regularization))
    return {
        "field_": field if basis is None else SpanField(field, basis),
        "bandwidth_": float(length_scale),
        "regularization_": regularization,
        "regularization_scores_": scores,
    }
