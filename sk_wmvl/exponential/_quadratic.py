r"""The quadratic form of score matching, for an energy linear in its parameters.

Let :math:`\log q = \log q_0 + \theta^\top T`. With the tangent gradients D of the
statistics at each row, their Laplacians l and the gradient g of :math:`\log q_0`, the
objective is

.. math:: \sum_i w_i\bigl(\tfrac12\|D_i\theta + g_i\|^2 + l_i^\top\theta\bigr)
          + \tfrac12\alpha\,\theta^\top R\theta
          = \tfrac12\theta^\top(A + \alpha R)\theta - b^\top\theta + \text{const}.

In the basis that makes R the identity and A diagonal, one decomposition gives the
solutions for all :math:`\alpha`. Leaving one row out changes A by a matrix whose rank is
the manifold's dimension.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Rows, merge_copies
from sk_wmvl.base_measures import BaseMeasure, base_gradient
from sk_wmvl.energies import tangent_basis
from sk_wmvl.exponential import Candidate, LinearEnergy
from sk_wmvl.manifolds import BaseManifold

__all__ = [
    "DistinctRows",
    "Objective",
    "QuadraticObjective",
    "merge_rows",
    "undetermined",
]

CHUNK = 2**22  # entries of the statistics' gradients that are computed at a time
KEPT = 2**25  # entries that are kept at most; more are computed again at each pass
RANK = 1e-12  # of the penalty's largest eigenvalue: smaller ones count as zero
SINGULAR = 1e-12  # the same for A, scaled to a unit diagonal


class DistinctRows(NamedTuple):
    """Distinct rows, each of which stands for all its copies.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        The rows, in internal coordinates.
    weight : Tensor of shape (n,)
        Their weights, which sum to one.
    square : Tensor of shape (n,)
        Sums of the squared weights of the copies.
    gradient : Tensor of shape (n, m) or None
        Gradients of the base measure's log density, in tangent coordinates.
    label : Tensor of shape (n,) or None
        The group of each row.
    """

    x: Tensor
    weight: Tensor
    square: Tensor
    gradient: Tensor | None
    label: Tensor | None


def merge_rows(
    rows: Rows, manifold: BaseManifold, base: BaseMeasure | None, device: torch.device
) -> DistinctRows:
    """Merge equal rows, so that no copy stays in the fit when a row is left out."""
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


def undetermined(n: int, k: int, energy: LinearEnergy) -> ValueError:
    """Return the error that n distinct rows do not determine k parameters."""
    return ValueError(
        f"{n} distinct rows do not determine the {k} parameters of "
        f"{type(energy).__name__}: a combination of the statistics has no gradient at any "
        "of them. Use more rows, a simpler family, or one with a penalty (alpha)."
    )


class Objective(ABC):
    """The quadratic objective of some rows, as the solver and robust fits need it.

    Attributes
    ----------
    energy : LinearEnergy
        The energy of k statistics.
    data : DistinctRows
    """

    energy: LinearEnergy
    data: DistinctRows

    @abstractmethod
    def reweighted(self, weight: Tensor) -> "Objective":
        """Return the objective of the same rows with other weights that sum to one."""

    @abstractmethod
    def linear(self) -> Tensor:
        """Return the rows' linear terms, of shape (n, k)."""

    @abstractmethod
    def bend(self, theta: Tensor) -> Tensor:
        r"""Return :math:`D_i^\top D_i\theta` of shape (n, k), for theta (k,) or (n, k)."""

    @abstractmethod
    def curvature(self, weight: Tensor) -> Tensor:
        r"""Return :math:`\sum_i w_iD_i^\top D_i` of shape (k, k), for other weights."""

    @abstractmethod
    def leave_out(self, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean scores of rows left out in turn, and their standard errors.

        There are no folds: each distinct row, or each group, is left out exactly. The
        weights of the remaining rows, and the penalty, are not scaled up.
        """

    @abstractmethod
    def solution(self, alpha: float) -> tuple[Tensor, Tensor, float]:
        r"""Return coefficients, their covariance and the objective without the penalty.

        The covariance is the sandwich :math:`M^{-1}BM^{-1}`, where B is the sum of squares
        of the weighted gradients of the rows' (groups') terms. A row's gradient is taken
        at the solution without that row, as in the jackknife, since at the solution itself
        it is too small if there are few rows.
        """

    def _sandwich(self, gradient: Tensor, inverse: Tensor) -> Tensor:
        """Return the covariance from gradients (n, k) and the inverse of M, (k, k)."""
        data = self.data
        gradient = gradient - data.weight @ gradient
        if data.label is None:
            gradient = data.square.sqrt()[:, None] * gradient
        else:
            weighted = data.weight[:, None] * gradient
            sums = weighted.new_zeros(int(data.label.max()) + 1, weighted.shape[1])
            gradient = sums.index_add(0, data.label, weighted)
        root = gradient @ inverse
        return root.T @ root


class QuadraticObjective(Objective):
    """The quadratic objective of one set of statistics, by their derivatives."""

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
        """Set A and b, and the basis that diagonalises A."""
        self.b = self.data.x.new_zeros(len(self.energy.coefficients))
        for i, _, slope in self.parts():
            self.b -= self.data.weight[i] @ slope
        self.A = self.curvature(self.data.weight)
        self.modes, self.values = self._modes(self.penalty)
        self.force = self.modes.T @ self.b

    def reweighted(self, weight: Tensor) -> "QuadraticObjective":
        """Return the objective of the same rows with other weights that sum to one."""
        other = copy.copy(self)
        other.data = self.data._replace(weight=weight)
        other._assemble()
        return other

    def _compute(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Compute and yield what `parts` yields."""
        for start in range(0, len(self.data.x), self.size):
            i = slice(start, start + self.size)
            D, linear = self.energy.derivatives(self.manifold, self.data.x[i])
            if self.data.gradient is not None:
                linear = linear + (D * self.data.gradient[i].unsqueeze(-1)).sum(1)
            yield i, D, linear

    def parts(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield slices of the rows, with gradients (n, m, k) and linear terms (n, k)."""
        return iter(self.kept) if self.kept is not None else self._compute()

    def linear(self) -> Tensor:
        """Return the rows' linear terms; see `Objective`."""
        return torch.cat([linear for _, _, linear in self.parts()])

    def bend(self, theta: Tensor) -> Tensor:
        """Return each row's curvature times theta; see `Objective`."""
        theta = theta.expand(len(self.data.x), -1).unsqueeze(-1)
        return torch.cat(
            [(D.mT @ (D @ theta[i])).squeeze(-1) for i, D, _ in self.parts()]
        )

    def curvature(self, weight: Tensor) -> Tensor:
        """Return the sum of the rows' curvatures; see `Objective`."""
        total = self.data.x.new_zeros(len(self.b), len(self.b))
        for i, D, _ in self.parts():
            weighted = (D * weight[i, None, None]).flatten(0, 1)
            total += weighted.T @ D.flatten(0, 1)
        return total

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
        """Return Q and a vector of ones s with Q'AQ = diag(s)."""
        scale = self.A.diagonal().sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        scaled = self.A / torch.outer(scale, scale)
        values, vectors = torch.linalg.eigh(scaled)
        if not float(values[0]) > SINGULAR * float(values[-1]):
            raise undetermined(len(self.data.x), len(self.b), self.energy)
        modes = vectors / values.sqrt() / scale[:, None]
        return modes, torch.ones_like(values)

    def _check_alpha(self, alphas: np.ndarray) -> None:
        least = float((self.values + float(alphas.min())).min())
        if not least > SINGULAR * float(self.values.max()):
            raise ValueError(
                f"alpha={alphas.min():g} is too small: {len(self.data.x)} distinct rows do "
                f"not determine {len(self.values)} parameters. Use a larger alpha."
            )

    # --- leaving out ------------------------------------------------------------------

    def leave_out(self, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean scores of rows left out, and their errors; see `Objective`."""
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
        """Return the base measure's gradients at rows, or zeros."""
        if self.data.gradient is None:
            return self.data.x.new_zeros(len(self.data.weight[i]), self.m)
        return self.data.gradient[i]

    def _unseen(self, D: Tensor, linear: Tensor, w: Tensor, inverse: Tensor) -> Tensor:
        r"""Return :math:`D_i\theta_{-i}`, the gradient at each row of the fit without it.

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
            inverse = 1 / (self.values + alpha)
            unseen = self._unseen(D, linear, w, inverse)
            # theta without the row: theta + w M^-1 (linear + D' unseen)
            shift = linear + (D * unseen.unsqueeze(-1)).sum(1)
            value = laplacian @ (inverse * self.force)
            value = value + w * (laplacian * inverse * shift).sum(-1)
            scores.append(0.5 * (unseen + g).square().sum(-1) + value)
        return torch.stack(scores)

    def _groups(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what `parts` yields, one group at a time."""
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
            left = torch.diag(self.values + alpha) - own
            phi = torch.linalg.solve_ex(left, force)[0]
            value = 0.5 * (D @ phi + g).square().sum(-1) + laplacian @ phi
            scores.append((w @ value) / w.sum())
        return torch.stack(scores)[:, None]

    # --- the solution -----------------------------------------------------------------

    def solution(self, alpha: float) -> tuple[Tensor, Tensor, float]:
        """Return coefficients, covariance and objective; see `Objective`."""
        inverse = 1 / (self.values + alpha)
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
        middle = self._sandwich(torch.cat(gradients), torch.diag(inverse))
        return self.modes @ phi, self.modes @ middle @ self.modes.T, loss
