r"""Robust fits of exponential families, by Windham's weights.

With a density :math:`f_\theta \propto e^{\theta^\top T}` the distribution with density
proportional to :math:`f_\theta^c f_\theta` is again one of the family, with parameters
:math:`(1 + c)\theta`. So rows are weighted by :math:`f_\theta^c`, the family is fitted to
the weighted rows, and the parameters are divided by 1 + c, until they no longer change
[Windham1995]_. The score-matching estimate, minimum of a quadratic, solves

.. math:: \sum_i w_i\,f_\theta(x_i)^c\,r_i(\theta) = 0,
          \qquad r_i(\theta) = (1 + c)\,D_i^\top D_i\,\theta + l_i.
"""

import warnings
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sk_wmvl._quadratic import DistinctRows, QuadraticObjective
from sk_wmvl.energies.exponential import Candidate
from sk_wmvl.manifolds import BaseManifold

__all__ = ["RobustFit", "fit_robust"]

MAX_ITERATIONS, ENOUGH = 500, 1e-9  # of the largest parameter


class RobustFit(NamedTuple):
    """A fit with Windham's weights.

    Attributes
    ----------
    system : QuadraticObjective
        Of the rows with their last weights.
    theta : Tensor of shape (k,)
        The natural parameters.
    covariance : Tensor of shape (k, k)
        The sandwich estimate of their covariance.
    """

    system: QuadraticObjective
    theta: Tensor
    covariance: Tensor


def fit_robust(
    candidate: Candidate, manifold: BaseManifold, data: DistinctRows, c: float
) -> RobustFit:
    r"""Return the fixed point that is reached from the estimate without weights.

    The covariance is that of the root of the estimating equations above,
    :math:`J^{-1}BJ^{-\top}` with B the sum of squares of the terms of rows (groups) and
    J their derivative, which the weights enter too.

    Parameters
    ----------
    candidate : Candidate
        Statistics, without a penalty.
    manifold : BaseManifold
        With its dimension known.
    data : DistinctRows
        Without a base measure.
    c : float
        Above zero; the larger, the less a row counts where the density is low.

    Returns
    -------
    fit : RobustFit

    References
    ----------
    [Windham1995]_, [Scealy2024]_
    """
    T = candidate.energy.statistics(data.x)
    T = T - data.weight @ T  # a constant cancels, its rounding error does not
    zero = T.new_zeros(T.shape[1])
    system = QuadraticObjective(candidate, manifold, data)
    theta = system.solution(0.0)[0]
    for _ in range(MAX_ITERATIONS):
        weight = robust_weights(T, theta, c) * data.weight
        system = system.reweighted(weight / weight.sum())
        # half way: whole steps may oscillate
        last, theta = theta, 0.5 * (theta + system.solution(0.0)[0] / (1 + c))
        if (theta - last).abs().max() <= ENOUGH * theta.abs().max():
            break
    else:
        warnings.warn(
            f"The robust fit had not settled after {MAX_ITERATIONS} rounds of weights with "
            f"robustness={c:g}: parameters still changed by "
            f"{float((theta - last).abs().max() / theta.abs().max()):.1g}. Use a smaller "
            "one.",
            ConvergenceWarning,
            stacklevel=2,
        )
    scale = robust_weights(T, theta, c)
    slope, terms = zero.new_zeros(len(zero), len(zero)), []
    for i, D, linear in system.parts():
        residual = linear + (1 + c) * (D.mT @ (D @ theta).unsqueeze(-1)).squeeze(-1)
        w = data.weight[i] * scale[i]
        weighted = (D * w[:, None, None]).flatten(0, 1)
        slope += (1 + c) * weighted.T @ D.flatten(0, 1)
        slope += c * (residual * w[:, None]).T @ T[i]
        terms.append(residual * scale[i, None])
    term = torch.cat(terms)
    if data.label is None:
        term = data.square.sqrt()[:, None] * term
    else:
        sums = term.new_zeros(int(data.label.max()) + 1, term.shape[1])
        term = sums.index_add(0, data.label, data.weight[:, None] * term)
    root = torch.linalg.solve(slope, term.T)
    return RobustFit(system, theta, root @ root.T)


def robust_weights(T: Tensor, theta: Tensor, c: float) -> Tensor:
    """Return densities to the power c over their largest, of shape (n,)."""
    power = c * (T @ theta)
    return (power - power.max()).exp()
