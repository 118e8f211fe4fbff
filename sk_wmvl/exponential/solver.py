"""Score matching of an exponential family in closed form."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._autodiff import jacobian
from sk_wmvl._rows import Rows
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential import (
    Candidate,
    ExponentialFamily,
    LinearEnergy,
    check_robustness,
)
from sk_wmvl.exponential._pose import pose
from sk_wmvl.exponential._quadratic import DistinctRows, Objective, merge_rows
from sk_wmvl.exponential._robust import fit_robust
from sk_wmvl.manifolds import BaseManifold

__all__ = ["RegularizationPath", "Solution", "describe", "solve"]

MAX_COMPARED = 2000  # rows that are used to compare sets of statistics


class RegularizationPath(NamedTuple):
    """The leave-one-out score of each weight of the penalty.

    A robust fit has the weight zero only, and its score is exact to first order in the
    weight of a row.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        The weights of the penalty, ascending.
    scores : ndarray of shape (n_alphas,)
        Mean Hyvärinen scores of rows (or groups) left out in turn, without the base
        measure's own Laplacian, in internal units; lower is better.
    std_errors : ndarray of shape (n_alphas,)
        Their standard errors.
    """

    alphas: np.ndarray
    scores: np.ndarray
    std_errors: np.ndarray


class Solution(NamedTuple):
    """The solved score-matching problem.

    Attributes
    ----------
    energy : LinearEnergy
        The energy, with its coefficients set.
    covariance : Tensor of shape (k, k)
        The sandwich estimate of the covariance of the coefficients, clustered by groups.
        It uses the jackknife, except for robust fits.
    alpha : float
        The chosen weight of the penalty.
    path : RegularizationPath
        The weights that were compared.
    loss : float
        The objective at the solution, without the penalty.
    """

    energy: LinearEnergy
    covariance: Tensor
    alpha: float
    path: RegularizationPath
    loss: float


def solve(
    family: ExponentialFamily,
    rows: Rows,
    manifold: BaseManifold,
    base: BaseMeasure | None,
    *,
    device: torch.device,
    seed: int = 0,
) -> Solution:
    """Fit a family by score matching.

    Parameters
    ----------
    family : ExponentialFamily
    rows : Rows
        Rows in internal coordinates. Weights make up for unequal sampling probabilities.
        Rows of one group are left out together.
    manifold : BaseManifold
        A manifold whose dimension is known.
    base : BaseMeasure or None
        The base measure that the family corrects.
    device : torch.device
    seed : int, default=0
        Seed of the family's random choices.

    Returns
    -------
    solution : Solution

    Raises
    ------
    ValueError
        If the rows do not determine the parameters, if no density has these parameters, or
        if the family's robustness is negative, or above zero with a penalty or a base
        measure.

    References
    ----------
    [Hyvarinen2007b]_, [Mardia2016]_, [Sriperumbudur2017]_, [Windham1995]_
    """
    check_robustness(family)
    alphas = np.array(family.alphas())
    data = merge_rows(rows, manifold, base, device)
    candidates = list(family.candidates(manifold, data.x, data.weight, seed=seed))
    chosen = candidates[0]
    if len(candidates) > 1:
        some = _subset(data, seed)
        least = [
            _leave_out(c, manifold, some, alphas)[1].scores.min() for c in candidates
        ]
        chosen = candidates[int(np.argmin(least))]
    if family.robustness > 0:
        if chosen.penalty is not None or base is not None:
            raise ValueError(
                f"robustness={family.robustness:g} of {type(family).__name__}: robust "
                "weights are for families without a penalty and without a base measure. "
                "Use robustness=0."
            )
        robust = fit_robust(chosen, manifold, data, family.robustness)
        energy, theta, covariance, loss, *score = robust
        alpha, path = 0.0, RegularizationPath(alphas, *(np.array([v]) for v in score))
    else:
        system, path = _leave_out(chosen, manifold, data, alphas)
        alpha = float(alphas[np.argmin(path.scores)])
        energy, (theta, covariance, loss) = system.energy, system.solution(alpha)
    family.check(theta)
    energy.coefficients = theta
    return Solution(energy, covariance, alpha, path, loss)


def describe(
    family: ExponentialFamily,
    solution: Solution,
    manifold: BaseManifold,
    coordinates: Coordinates,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the users' parameters and their standard errors, by the delta method."""
    theta = solution.energy.coefficients[None]
    values, errors = {}, {}
    for name, value in family.parameters(theta, manifold, coordinates).items():

        def parameter(theta: Tensor, name: str = name) -> Tensor:
            return family.parameters(theta, manifold, coordinates)[name].reshape(1, -1)

        slope = jacobian(parameter, theta, create_graph=False)[0]
        variance = ((slope @ solution.covariance) * slope).sum(-1)
        values[name] = value[0].cpu().numpy()
        errors[name] = variance.clamp(min=0).sqrt().view(value.shape[1:]).cpu().numpy()
    return values, errors


def _subset(data: DistinctRows, seed: int) -> DistinctRows:
    """Return a random subset of the rows that is large enough to compare candidates.

    Groups may be cut, since the rows outside the subset are not used to judge.
    """
    n = len(data.x)
    if n <= MAX_COMPARED:
        return data
    order = np.random.default_rng(seed).permutation(n)[:MAX_COMPARED]
    i = torch.from_numpy(np.sort(order)).to(data.x.device)
    return DistinctRows(
        data.x[i],
        data.weight[i] / data.weight[i].sum(),
        data.square[i],
        None if data.gradient is None else data.gradient[i],
        None if data.label is None else data.label[i],
    )


def _leave_out(
    candidate: Candidate, manifold: BaseManifold, data: DistinctRows, alphas: np.ndarray
) -> tuple[Objective, RegularizationPath]:
    """Return the quadratic objective of one set of statistics, and its path."""
    system = pose(candidate, manifold, data)
    scores, errors = system.leave_out(alphas)
    scores = np.where(np.isfinite(scores), scores, np.inf)
    return system, RegularizationPath(alphas, scores, errors)
