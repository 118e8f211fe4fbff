"""Score matching of an exponential family: solved, not descended."""

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
from sk_wmvl.exponential._quadratic import DistinctRows, QuadraticObjective, merge_rows
from sk_wmvl.exponential._robust import fit_robust
from sk_wmvl.manifolds import BaseManifold

__all__ = ["RegularizationPath", "Solution", "describe", "solve"]

MAX_COMPARED = 2000  # rows by which sets of statistics are compared


class RegularizationPath(NamedTuple):
    """How well each weight of the penalty serves rows that are left out.

    Of a robust fit there is one, zero, and what a row changes is taken to first order.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        The weights, rising.
    scores : ndarray of shape (n_alphas,)
        Mean Hyvärinen scores of rows (or groups) each left out in turn, less the base
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
        With its coefficients set.
    covariance : Tensor of shape (k, k)
        The sandwich estimate of the covariance of the coefficients, by the jackknife
        (without it, if robust); with groups, clustered by them.
    alpha : float
        The weight of the penalty that was chosen.
    path : RegularizationPath
        What it was chosen from.
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
        In internal coordinates. Weights are those of a sample drawn with other
        probabilities than the population's; rows of one group are left out together.
    manifold : BaseManifold
        With its dimension known.
    base : BaseMeasure or None
        What the family corrects.
    device : torch.device
    seed : int, default=0
        Seed of what the family draws.

    Returns
    -------
    solution : Solution

    Raises
    ------
    ValueError
        If the rows do not determine the parameters, or these belong to no density, or the
        family's robustness is no number >= 0, or is above zero where there is a penalty or
        a base measure.

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
                "weights are for families without a penalty that correct no base measure. "
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
    """Return rows that are enough to compare candidates by.

    This thins the rows; it divides them from no others, so that groups may be cut.
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
) -> tuple[QuadraticObjective, RegularizationPath]:
    """Return the system of one set of statistics, and its path."""
    system = QuadraticObjective(candidate, manifold, data)
    return system, _path(system, alphas)


def _path(system: QuadraticObjective, alphas: np.ndarray) -> RegularizationPath:
    scores, errors = system.leave_out(alphas)
    scores = np.where(np.isfinite(scores), scores, np.inf)
    return RegularizationPath(alphas, scores, errors)
