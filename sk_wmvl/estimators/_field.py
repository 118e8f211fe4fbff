"""A kernel estimate of the score is solved for, where a score estimator's method is one."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Rows
from sk_wmvl.kernels import BaseKernel, median_length_scale
from sk_wmvl.score_methods import (
    MATRIX_KERNELS,
    BaseScoreMethod,
    System,
    choose_regularization,
)
from sk_wmvl.training import limit_threads

__all__ = ["solve_field"]

THREAD_WIDTH = 250  # with this, matrices of 2000 rows or more get a second thread
MEDIAN_ROWS = 1000  # the most rows from which the median distance is computed


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
    """
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
                method, matrix_kernel, x, w, groups=rows.groups, seed=seed
            )
        field = method.fit(System(matrix_kernel, x, w), float(regularization))
    return {
        "field_": field,
        "bandwidth_": float(length_scale),
        "regularization_": regularization,
        "regularization_scores_": scores,
    }
