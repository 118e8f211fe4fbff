r"""The quadratic form of score matching for energies linear in a unit vector.

With :math:`T(x) = x` on the unit sphere of :math:`\mathbb{R}^d` the matrices
:math:`D^\top D` are the projections :math:`G_i = I - x_ix_i^\top`, and the Laplacians are
:math:`-(d-1)x_i`. The objective is therefore

.. math:: \sum_i w_i\bigl(\tfrac12\theta^\top G_i\theta - (d-1)x_i^\top\theta\bigr),

and nothing of the size of the tangent spaces' bases is needed.

Coordinates are turned so that the first, c, is along the mean of the rows. The others, z,
diagonalise the second moments. The closer the rows, the smaller is the curvature along the
mean: it is the mean of :math:`1-c^2`, computed as that of :math:`|z|^2`. Schur's complement
keeps its digits, which a decomposition of the whole matrix does not.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.exponential import Candidate
from sk_wmvl.exponential._monomials import unit_vectors
from sk_wmvl.exponential._quadratic import (
    CHUNK,
    SINGULAR,
    DistinctRows,
    Objective,
    undetermined,
)
from sk_wmvl.manifolds import BaseManifold

__all__ = ["DirectionObjective"]


class Turned(NamedTuple):
    """Batches of b sets of r rows in turned coordinates.

    Attributes
    ----------
    weight : Tensor of shape (b, r)
    c : Tensor of shape (b, r)
        Coordinates along the mean.
    z : Tensor of shape (b, r, d - 1)
        The others.
    """

    weight: Tensor
    c: Tensor
    z: Tensor


class DirectionObjective(Objective):
    """The quadratic objective of a `DirectionEnergy`, without a base and a penalty."""

    def __init__(
        self, candidate: Candidate, manifold: BaseManifold, data: DistinctRows
    ):
        self.energy = candidate.energy.to(data.x.device)
        self.points = unit_vectors(manifold, data.x)
        self.data = data
        self._assemble()

    def _assemble(self) -> None:
        x, w = self.points, self.data.weight
        self.slope = x.shape[1] - 1  # minus the Laplacian is this times x
        mean = w @ x
        length = torch.linalg.vector_norm(mean)
        first = torch.zeros_like(mean)
        first[0] = 1 if float(mean[0]) >= 0 else -1
        # a reflection that takes the mean to minus the first axis, without cancellation
        u = mean / torch.where(length > 0, length, 1.0) + first
        basis = torch.eye(len(mean)).to(x) - 2 * torch.outer(u, u) / u.square().sum()
        basis[:, 0] *= -first[0]
        y = x @ basis[:, 1:]
        squares, turn = torch.linalg.eigh((y * w[:, None]).T @ y)
        basis[:, 1:] = basis[:, 1:] @ turn
        self.basis, self.rest = basis, 1 - squares
        self.c, self.z = x @ basis[:, 0], x @ basis[:, 1:]
        self.square = self.z.square().sum(-1)
        self.first, self.mixed = w @ self.square, (w * self.c) @ self.z
        self.force = self.slope * torch.cat([(w @ self.c)[None], w @ self.z])
        ratio = self.mixed / self.rest
        self.schur = self.first - self.mixed @ ratio
        well = float(self.schur) > SINGULAR * float(self.first)
        if not (well and float(self.rest.min()) > SINGULAR):
            raise undetermined(len(x), len(mean), self.energy)
        # the inverse of A, by blocks
        column = torch.cat([torch.ones_like(self.force[:1]), ratio])
        self.inverse = torch.outer(column, column) / self.schur
        self.inverse.diagonal()[1:] += 1 / self.rest

    def reweighted(self, weight: Tensor) -> "DirectionObjective":
        """Return the objective of the same rows with other weights that sum to one."""
        other = copy.copy(self)
        other.data = self.data._replace(weight=weight)
        other._assemble()
        return other

    # --- what a fit sums over rows ----------------------------------------------------

    def linear(self) -> Tensor:
        """Return the Laplacians, of shape (n, d)."""
        return -self.slope * self.points

    def bend(self, theta: Tensor) -> Tensor:
        """Return each row's curvature times theta, of shape (n, d)."""
        return theta - (self.points * theta).sum(-1, keepdim=True) * self.points

    def curvature(self, weight: Tensor) -> Tensor:
        """Return the sum of the rows' curvatures, so weighted."""
        eye = torch.eye(self.points.shape[1]).to(weight)
        return weight.sum() * eye - (self.points * weight[:, None]).T @ self.points

    # --- leaving out ------------------------------------------------------------------

    def _take(self, i: Tensor) -> Turned:
        """Return sets of rows whose indices have the shape (b, r)."""
        return Turned(self.data.weight[i], self.c[i], self.z[i])

    def _without(self, out: Turned) -> tuple[Tensor, Tensor]:
        r"""Return the solutions without each set of rows, of shapes (b,) and (b, d - 1).

        Leaving out the set takes :math:`\sum w` times the identity from the diagonal
        block, and adds :math:`\sum wzz^\top`, which Woodbury's identity inverts.
        """
        w, c, z = out
        inverse = 1 / (self.rest - w.sum(1, keepdim=True))
        first = self.first - (w * z.square().sum(-1)).sum(1)
        mixed = self.mixed - ((w * c)[..., None] * z).sum(1)
        force = self.force[0] - self.slope * (w * c).sum(1)
        forces = self.force[1:] - self.slope * (w[..., None] * z).sum(1)
        both = torch.stack([mixed, forces], -1) * inverse[..., None]
        small = torch.diag_embed(1 / w) + (z * inverse[:, None]) @ z.mT
        change = torch.linalg.solve_ex(small, z @ both)[0]
        both = both - inverse[..., None] * (z.mT @ change)
        by_mixed, by_forces = both.unbind(-1)
        along = force + (mixed * by_forces).sum(-1)
        along = along / (first - (mixed * by_mixed).sum(-1))
        return along, by_forces + along[:, None] * by_mixed

    def _scores(self, rows: Turned, along: Tensor, across: Tensor) -> Tensor:
        """Return the scores of sets of rows, (b, r), under a solution for each set."""
        _, c, z = rows
        t = (z * across[:, None]).sum(-1)
        along = along[:, None]
        square = along.square() * z.square().sum(-1) - 2 * along * c * t
        square = square + across.square().sum(-1, keepdim=True) - t.square()
        return 0.5 * square - self.slope * (c * along + t)

    def _sets(self) -> list[Tensor]:
        """Return indices of the rows that are left out together, (b, r) each."""
        label, n = self.data.label, len(self.points)
        if label is not None:
            return [torch.nonzero(label == g).T for g in torch.unique(label)]
        size = max(1, CHUNK // self.points.shape[1])
        return list(torch.arange(n, device=self.points.device)[:, None].split(size))

    def leave_out(self, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean score of rows left out in turn, and its standard error."""
        assert alphas.tolist() == [0.0]  # there is no penalty
        scores, weights = [], []
        for i in self._sets():
            out = self._take(i)
            values, total = self._scores(out, *self._without(out)), out.weight.sum(1)
            scores.append((out.weight * values).sum(1) / total)
            weights.append(total)
        score, weight = torch.cat(scores), torch.cat(weights)
        mean = weight @ score
        spread = (score - mean).square() @ weight.square()
        return mean[None].cpu().numpy(), spread.sqrt()[None].cpu().numpy()

    # --- the solution -----------------------------------------------------------------

    def solution(self, alpha: float) -> tuple[Tensor, Tensor, float]:
        """Return coefficients, their covariance and the objective; see `Objective`."""
        del alpha
        local = self.inverse @ self.force
        along, across = local[:1], local[None, 1:]
        everything = self._take(torch.arange(len(self.points))[None])
        loss = float(self.data.weight @ self._scores(everything, along, across)[0])
        gradients = []
        for i in self._sets() if self.data.label is None else [None]:
            if i is None:
                rows = Turned(*(part[0][:, None] for part in everything))
            else:
                rows = self._take(i)
                along, across = self._without(rows)
            gradients.append(self._gradients(rows, along, across))
        middle = self._sandwich(torch.cat(gradients), self.inverse)
        return self.basis @ local, self.basis @ middle @ self.basis.T, loss

    def _gradients(self, rows: Turned, along: Tensor, across: Tensor) -> Tensor:
        """Return the gradients of single rows at a solution for each, (n, d)."""
        c, z = rows.c[:, 0], rows.z[:, 0]
        t = (z * across).sum(-1)
        one = along * z.square().sum(-1) - c * t - self.slope * c
        rest = across - (c * along + t + self.slope)[:, None] * z
        return torch.cat([one[:, None], rest], -1)
