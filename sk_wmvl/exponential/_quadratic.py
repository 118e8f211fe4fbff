r"""The quadratic that score matching is, of an energy linear in its parameters.

With :math:`\log q = \log q_0 + \theta^\top T` and, at each row, the tangent gradients D of
the statistics, their Laplacians l and the gradient g of :math:`\log q_0`, the objective is

.. math:: \sum_i w_i\bigl(\tfrac12\|D_i\theta + g_i\|^2 + l_i^\top\theta\bigr)
          + \tfrac12\alpha\,\theta^\top R\theta
          = \tfrac12\theta^\top(A + \alpha R)\theta - b^\top\theta + \text{const}.

In the basis that makes R the identity and A diagonal, all :math:`\alpha` cost one solution,
and leaving one row out changes A by a matrix of the rank of the manifold's dimension.
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Rows, merge_copies
from sk_wmvl.base_measures import BaseMeasure, base_gradient
from sk_wmvl.energies import tangent_basis
from sk_wmvl.exponential import Candidate
from sk_wmvl.manifolds import BaseManifold

__all__ = ["DistinctRows", "QuadraticObjective", "merge_rows"]

CHUNK = 2**22  # entries of the gradients of the statistics at a time
KEPT = 2**25  # at most so many are kept; more are computed again
RANK = 1e-12  # of the largest eigenvalue of the penalty; below, a function is zero
SINGULAR = 1e-12  # the same of A, scaled to a unit diagonal


class DistinctRows(NamedTuple):
    """Distinct rows; those that depend on one another bear the same label.

    `weight` sums to one; `square` holds sums of squares of the weights of equal rows.
    """

    x: Tensor
    weight: Tensor
    square: Tensor
    gradient: Tensor | None  # of the base, in tangent coordinates, (n, m)
    label: Tensor | None


def merge_rows(
    rows: Rows, manifold: BaseManifold, base: BaseMeasure | None, device: torch.device
) -> DistinctRows:
    """Merge equal rows: left out one at a time, a row would be seen in its copy."""
    first, label = merge_copies(rows.points, rows.groups)
    weight = np.ones(len(rows.points)) if rows.weight is None else rows.weight
    weight = weight / weight.sum()
    x = torch.from_numpy(rows.points[first]).to(device)
    gradient = None
    if base is not None:
        ambient = base_gradient(base, x)
        basis = tangent_basis(manifold, x)
        columns = [
            (ambient * manifold.frame(x, column)).sum(-1) for column in basis.unbind(-1)
        ]
        gradient = torch.stack(columns, -1)
    group = None
    if rows.groups is not None:
        group = torch.from_numpy(rows.groups[first]).to(device)
    return DistinctRows(
        x,
        torch.from_numpy(np.bincount(label, weight)).to(device),
        torch.from_numpy(np.bincount(label, weight**2)).to(device),
        gradient,
        group,
    )


class QuadraticObjective:
    """The quadratic objective of one set of statistics."""

    def __init__(
        self, candidate: Candidate, manifold: BaseManifold, data: DistinctRows
    ):
        self.energy = candidate.energy.to(data.x.device)
        self.manifold = manifold
        self.data = data
        self.m: int = manifold.dim or 1
        k = len(self.energy.coefficients)
        self.size = max(1, CHUNK // (self.m * k))
        self.kept: list | None = None
        if len(data.x) * self.m * k <= KEPT:
            self.kept = list(self._compute())
        self.penalty = candidate.penalty
        self._assemble()

    def _assemble(self) -> None:
        """Set A and b, and what diagonalises A."""
        k = len(self.energy.coefficients)
        self.A = self.data.x.new_zeros(k, k)
        self.b = self.data.x.new_zeros(k)
        for i, D, slope in self.parts():
            w = self.data.weight[i]
            weighted = (D * w[:, None, None]).flatten(0, 1)
            self.A += weighted.T @ D.flatten(0, 1)
            self.b -= w @ slope
        self.modes, self.curvature = self._modes(self.penalty)
        self.force = self.modes.T @ self.b

    def reweighted(self, weight: Tensor) -> "QuadraticObjective":
        """Return the objective of the same rows with other weights, summing to one."""
        other = copy.copy(self)
        other.data = self.data._replace(weight=weight)
        other._assemble()
        return other

    def _compute(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield, in parts, the gradients D and the linear terms of rows."""
        for start in range(0, len(self.data.x), self.size):
            i = slice(start, start + self.size)
            D, linear = self.energy.derivatives(self.manifold, self.data.x[i])
            if self.data.gradient is not None:
                linear = linear + (D * self.data.gradient[i].unsqueeze(-1)).sum(1)
            yield i, D, linear

    def parts(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield slices of the rows, gradients (n, m, k) and linear terms (n, k) there."""
        return iter(self.kept) if self.kept is not None else self._compute()

    def _modes(self, penalty: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return Q and s with Q'AQ = diag(s) and Q'RQ = I, or Q'AQ = I without R."""
        if penalty is None:
            return self._unpenalized()
        values, vectors = torch.linalg.eigh(penalty)
        kept = values > RANK * values[-1]
        root = vectors[:, kept] / values[kept].sqrt()
        curvature, turn = torch.linalg.eigh(root.T @ self.A @ root)
        return root @ turn, curvature.clamp(min=0)

    def _unpenalized(self) -> tuple[Tensor, Tensor]:
        scale = self.A.diagonal().sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        scaled = self.A / torch.outer(scale, scale)
        values, vectors = torch.linalg.eigh(scaled)
        if not float(values[0]) > SINGULAR * float(values[-1]):
            raise ValueError(
                f"{len(self.data.x)} distinct rows do not determine the "
                f"{len(self.b)} parameters of {type(self.energy).__name__}: a combination "
                "of the statistics has no gradient at any of them. Use more rows, a "
                "simpler family, or one with a penalty (alpha)."
            )
        modes = vectors / values.sqrt() / scale[:, None]
        return modes, torch.ones_like(values)

    def _check_alpha(self, alphas: np.ndarray) -> None:
        least = float((self.curvature + float(alphas.min())).min())
        if not least > SINGULAR * float(self.curvature.max()):
            raise ValueError(
                f"alpha={alphas.min():g} is too small: {len(self.data.x)} distinct rows do "
                f"not determine {len(self.curvature)} parameters. Use a larger alpha."
            )

    # --- leaving out ------------------------------------------------------------------

    def leave_out(self, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean scores of what is left out in turn, and their standard errors.

        No folds are made: each distinct row, or each group, is left out exactly. The
        weights of what stays, and the penalty, are not scaled up.
        """
        self._check_alpha(alphas)
        alone = self.data.label is None
        scores = torch.cat(
            [
                (self._leave_rows_out if alone else self._leave_group_out)(
                    alphas, *part
                )
                for part in (self.parts() if alone else self._groups())
            ],
            1,
        )
        weight = self.data.weight
        if self.data.label is not None:
            weight = torch.bincount(self.data.label, weight)
            weight = weight[weight > 0]
        mean = scores @ weight
        spread = (scores - mean[:, None]).square() @ weight.square()
        return mean.cpu().numpy(), spread.sqrt().cpu().numpy()

    def _gradient(self, i) -> Tensor:
        """Return the base's gradient at rows, or zeros."""
        if self.data.gradient is None:
            return self.data.x.new_zeros(len(self.data.weight[i]), self.m)
        return self.data.gradient[i]

    def _unseen(self, D: Tensor, linear: Tensor, w: Tensor, inverse: Tensor) -> Tensor:
        r"""Return :math:`D_i\theta_{-i}`, the gradient at each row without that row.

        By the Woodbury identity it is :math:`(I - wS)^{-1}(D\theta - wc)`, with
        :math:`S = DM^{-1}D^\top`, :math:`M = A + \alpha R` and c = -D M⁻¹ linear.
        """
        scaled = D * inverse
        eye = torch.eye(self.m, dtype=w.dtype, device=w.device)
        left = eye - w[:, None, None] * (scaled @ D.mT)
        c = -(scaled @ linear.unsqueeze(-1)).squeeze(-1)
        right = D @ (inverse * self.force) - w[:, None] * c
        return torch.linalg.solve_ex(left, right.unsqueeze(-1))[0].squeeze(-1)

    def _leave_rows_out(
        self, alphas: np.ndarray, i: slice, D: Tensor, linear: Tensor
    ) -> Tensor:
        """Return the score of each row under the solution without it, (n_alphas, n)."""
        w, g = self.data.weight[i], self._gradient(i)
        D, linear = D @ self.modes, linear @ self.modes
        laplacian = linear - (D * g.unsqueeze(-1)).sum(1)
        scores = []
        for alpha in alphas.tolist():
            inverse = 1 / (self.curvature + alpha)
            unseen = self._unseen(D, linear, w, inverse)
            # theta without the row: theta + w M^-1 (linear + D' unseen)
            shift = linear + (D * unseen.unsqueeze(-1)).sum(1)
            value = laplacian @ (inverse * self.force)
            value = value + w * (laplacian * inverse * shift).sum(-1)
            scores.append(0.5 * (unseen + g).square().sum(-1) + value)
        return torch.stack(scores)

    def _groups(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the rows of each group."""
        D, linear = (
            torch.cat(part) for part in list(zip(*self.parts(), strict=True))[1:]
        )
        for label in torch.unique(self.data.label):
            i = torch.nonzero(self.data.label == label).flatten()
            yield i, D[i], linear[i]

    def _leave_group_out(
        self, alphas: np.ndarray, i: Tensor, D: Tensor, linear: Tensor
    ) -> Tensor:
        """Return the mean score of a group under the solution without it, (n_alphas, 1)."""
        w, g = self.data.weight[i], self._gradient(i)
        D, linear = D @ self.modes, linear @ self.modes
        laplacian = linear - (D * g.unsqueeze(-1)).sum(1)
        own = (D * w[:, None, None]).flatten(0, 1).T @ D.flatten(0, 1)
        force = self.force + w @ linear
        scores = []
        for alpha in alphas.tolist():
            left = torch.diag(self.curvature + alpha) - own
            phi = torch.linalg.solve_ex(left, force)[0]
            value = 0.5 * (D @ phi + g).square().sum(-1) + laplacian @ phi
            scores.append((w @ value) / w.sum())
        return torch.stack(scores)[:, None]

    # --- the solution -----------------------------------------------------------------

    def solution(self, alpha: float) -> tuple[Tensor, Tensor, float]:
        r"""Return coefficients, their covariance and the objective without the penalty.

        The covariance is the sandwich :math:`M^{-1}BM^{-1}`, B the sum of squares of the
        weighted gradients of the rows' (groups') terms. Each is taken at the solution
        without that row, which makes it the jackknife; at the solution itself it would be
        too small where rows are few.
        """
        inverse = 1 / (self.curvature + alpha)
        phi = inverse * self.force
        data, loss = self.data, 0.0
        gradients = []
        for i, D, linear in self.parts():
            D, linear = D @ self.modes, linear @ self.modes
            w, g = data.weight[i], self._gradient(i)
            seen = D @ phi
            at = self._unseen(D, linear, w, inverse) if data.label is None else seen
            gradients.append(linear + (D * at.unsqueeze(-1)).sum(1))
            laplacian = linear - (D * g.unsqueeze(-1)).sum(1)
            value = 0.5 * (seen + g).square().sum(-1) + laplacian @ phi
            loss += float(w @ value)
        gradient = torch.cat(gradients)
        gradient = gradient - data.weight @ gradient
        if data.label is None:
            gradient = data.square.sqrt()[:, None] * gradient
        else:
            weighted = data.weight[:, None] * gradient
            sums = weighted.new_zeros(int(data.label.max()) + 1, weighted.shape[1])
            gradient = sums.index_add(0, data.label, weighted)
        middle = inverse[:, None] * (gradient.T @ gradient) * inverse
        return self.modes @ phi, self.modes @ middle @ self.modes.T, loss
