r"""Robust fits of exponential families, by Windham's weights.

For a density :math:`f_\theta \propto e^{\theta^\top T}`, the density proportional to
:math:`f_\theta^c f_\theta` is also in the family, with parameters :math:`(1 + c)\theta`.
Therefore rows are weighted by :math:`f_\theta^c`, the family is fitted to the weighted
rows, and the parameters are divided by 1 + c, until they no longer change [Windham1995]_.
The score-matching estimate, the minimum of a quadratic form, solves

.. math:: \sum_i w_i\,f_\theta(x_i)^c\,r_i(\theta) = 0,
          \qquad r_i(\theta) = (1 + c)\,D_i^\top D_i\,\theta + l_i.
"""

from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sk_wmvl._warnings import warn
from sk_wmvl.coordinates.whitening import central_rows
from sk_wmvl.exponential import Candidate, LinearEnergy
from sk_wmvl.exponential._pose import pose
from sk_wmvl.exponential._quadratic import DistinctRows, Objective
from sk_wmvl.manifolds import BaseManifold

__all__ = ["RobustFit", "fit_robust"]

MAX_ITERATIONS = 500
TOLERANCE = 1e-9  # of the largest parameter
NEGLIGIBLE = 1e-3  # a row with less than this part of the mean weight hardly counts
LEAST_WEIGHT = 0.5  # warn if the rows that count had less of the total weight


class RobustFit(NamedTuple):
    """A fit with Windham's weights.

    Attributes
    ----------
    energy : LinearEnergy
        The energy of the family; its coefficients are not yet set.
    theta : Tensor of shape (k,)
        The natural parameters.
    covariance : Tensor of shape (k, k)
        The sandwich estimate of their covariance.
    loss : float
        The Hyvärinen score of the rows, without the robust weights.
    score, std_error : float
        The mean score of rows (or groups) each left out in turn, to first order in the
        row's weight, and its standard error.
    """

    energy: LinearEnergy
    theta: Tensor
    covariance: Tensor
    loss: float
    score: float
    std_error: float


def fit_robust(
    candidate: Candidate, manifold: BaseManifold, data: DistinctRows, c: float
) -> RobustFit:
    r"""Return the fixed point that the iteration reaches from the central rows' estimate.

    The central rows are those whose Euclidean columns lie within ten robust standard
    deviations of the median (`central_rows`).

    The covariance is that of the root of the estimating equations above,
    :math:`J^{-1}BJ^{-\top}`. B is the sum of squares of the terms of rows (groups), and J
    the derivative of their sum, including the derivative of the weights. Leaving out a
    row changes the root by :math:`J^{-1}` times its term.

    Parameters
    ----------
    candidate : Candidate
        Statistics without a penalty.
    manifold : BaseManifold
        A manifold whose dimension is known.
    data : DistinctRows
        Rows without a base measure.
    c : float
        The power of the weights, above zero. Rows of low density count less for larger c.

    Returns
    -------
    fit : RobustFit

    Raises
    ------
    ValueError
        If the weights leave too few rows.

    References
    ----------
    [Windham1995]_, [Scealy2024]_
    """
    central = central_rows(data.x.cpu().numpy(), manifold.flat_columns)
    first = data.weight * torch.from_numpy(central).to(data.x.device)
    first /= first.sum()
    T = candidate.energy.statistics(data.x)
    # a constant in T has no effect, but its rounding error would have
    T = T - first @ T
    system = pose(candidate, manifold, data._replace(weight=first))
    theta = system.solution(0.0)[0]
    for _ in range(MAX_ITERATIONS):
        weight = robust_weights(T, theta, c) * data.weight
        weight /= weight.sum()
        try:
            system = system.reweighted(weight)
        except ValueError as error:
            raise ValueError(
                f"{_remaining(weight, data.weight, c)} These do not determine the "
                f"{len(theta)} parameters. Use a smaller robustness."
            ) from error
        # half a step, since whole steps may oscillate
        last, theta = theta, 0.5 * (theta + system.solution(0.0)[0] / (1 + c))
        if (theta - last).abs().max() <= TOLERANCE * theta.abs().max():
            break
    else:
        warn(
            f"The robust fit did not converge in {MAX_ITERATIONS} iterations with "
            f"robustness={c:g}: parameters still changed by a relative "
            f"{float((theta - last).abs().max() / theta.abs().max()):.1g}. Use a smaller "
            "robustness.",
            ConvergenceWarning,
        )
    if _weight_of_rest(weight, data.weight) < LEAST_WEIGHT:
        warn(
            f"{_remaining(weight, data.weight, c)} The fit describes these alone, and they "
            "may not be the rows of interest. Use a smaller robustness.",
            UserWarning,
        )
    return RobustFit(system.energy, theta, *_errors(system, T, theta, data, c))


def _weight_of_rest(weight: Tensor, own: Tensor) -> float:
    """Return the total of the rows' own weights over rows that still count."""
    return float(own[weight > NEGLIGIBLE * own].sum())


def _remaining(weight: Tensor, own: Tensor, c: float) -> str:
    """Return a sentence that says how many rows still count."""
    return (
        f"With robustness={c:g} the weights leave {_weight_of_rest(weight, own):.0%} of "
        f"the {len(own)} distinct rows, that is {int((weight > NEGLIGIBLE * own).sum())}: "
        "the density at the others is so low that each counts less than "
        f"{NEGLIGIBLE:g} of the mean."
    )


def _errors(
    system: Objective, T: Tensor, theta: Tensor, data: DistinctRows, c: float
) -> tuple[Tensor, float, float, float]:
    """Return the covariance of theta, and the last three fields of `RobustFit`."""
    scale = robust_weights(T, theta, c)
    w, linear = data.weight * scale, system.linear()
    residual = linear + (1 + c) * system.bend(theta)
    slope = (1 + c) * system.curvature(w) + c * (residual * w[:, None]).T @ T
    term = residual * scale[:, None]
    label = data.label
    if label is None:
        label = torch.arange(len(T), device=T.device)
    k = int(label.max()) + 1
    pull = data.weight[:, None] * term
    pull = pull.new_zeros(k, len(theta)).index_add(0, label, pull)
    moved = theta + torch.linalg.solve(slope, pull.T).T
    # the variance counts every copy of a row
    spread = data.square.sqrt()[:, None] * term if data.label is None else pull
    root = torch.linalg.solve(slope, spread.T)
    scores, out = (
        0.5 * (own * system.bend(own)).sum(-1) + (linear * own).sum(-1)
        for own in (theta, moved[label])
    )
    loss = float(data.weight @ scores)
    mean = data.weight @ out
    sums = out.new_zeros(k).index_add(0, label, data.weight * (out - mean))
    return root @ root.T, loss, float(mean), float(sums.square().sum().sqrt())


def robust_weights(T: Tensor, theta: Tensor, c: float) -> Tensor:
    """Return densities to the power c, relative to the largest, of shape (n,)."""
    power = c * (T @ theta)
    return (power - power.max()).exp()
