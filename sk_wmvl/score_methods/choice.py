"""The regularisation by cross-validation: the exact Hyvärinen score of rows left out."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import label_units, make_folds
from sk_wmvl.score_methods._base import BaseScoreMethod, System
from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel

__all__ = ["GRID", "Choice", "choose_regularization"]

GRID = np.logspace(0, -4, 17)
N_FOLDS = 4
MAX_SIDE = 600  # of a fold's matrix: larger samples are thinned at random
MAX_HELD_OUT = 500  # rows of a fold on which the score is taken


class Choice(NamedTuple):
    """What cross-validation found.

    Attributes
    ----------
    regularization : float
        The best of the grid.
    scores : ndarray of shape (k,)
        The mean Hyvärinen score of each; lower is better.
    """

    regularization: float
    scores: np.ndarray


def choose_regularization(
    method: BaseScoreMethod,
    kernel: BaseMatrixKernel,
    x: Tensor,
    w: Tensor,
    *,
    groups: np.ndarray | None = None,
    grid: np.ndarray = GRID,
    seed: int = 0,
) -> Choice:
    r"""Return the value of a grid with the best held-out Hyvärinen score.

    :math:`\frac12\|s\|^2+\nabla\cdot s` is exact, for fields that are not gradients too.
    All values of the grid cost one eigendecomposition per fold. Of two equal ones the
    larger is taken.

    Parameters
    ----------
    method : BaseScoreMethod
    kernel : BaseMatrixKernel
    x : Tensor of shape (n, d)
        The sample, at least two rows.
    w : Tensor of shape (n,)
        Weights.
    groups : ndarray of int of shape (n,) or None, default=None
        Labels; rows of a group are left out together. Without, copies of a row are.
    grid : array of shape (k,)
        In descending order.
    seed : int, default=0
        Of the folds.

    Returns
    -------
    choice : Choice
    """
    rng = np.random.default_rng([seed, 0])
    units = label_units(x.cpu().numpy(), groups, in_order=True)
    folds = make_folds(units, N_FOLDS, rng, dealt=True)
    if not folds:
        return Choice(float(grid[0]), np.full(len(grid), np.nan))
    most = max(2, MAX_SIDE // kernel.n_blocks(x.shape[1]))
    total, mass = np.zeros(len(grid)), 0.0
    for fold in folds:
        train = rng.permutation(fold.train)[:most]
        held = rng.permutation(fold.held_out)[:MAX_HELD_OUT]
        i, j = torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(held))
        system = System(kernel, x[i], w[i] / w[i].sum())
        fields = method.path(system, grid)
        values = [float(f.hyvarinen_values(x[j]) @ w[j]) for f in fields]
        total += np.array(values)
        mass += float(w[j].sum())
    scores = total / mass
    finite = np.where(np.isfinite(scores), scores, np.inf)
    return Choice(float(grid[int(np.argmin(finite))]), scores)
