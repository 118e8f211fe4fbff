"""The Stein gradient estimator: Tikhonov regularisation in the span of the data."""

from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._base import BaseScoreMethod, System, needs_eigenvectors

__all__ = ["Stein"]

LIMIT = 20_000  # rows: a matrix of 3 GB
ROUNDING = 1e-13  # of the largest eigenvalue: below, an eigenvalue is zero


class Stein(BaseScoreMethod):
    r"""Invert Stein's identity, :math:`g_\lambda(\sigma) = 1_{\sigma>0}/(\sigma+\lambda)`.

    With a diagonal kernel its values at the data are
    :math:`-(K + n\lambda I)^{-1}\langle\nabla, K\rangle` [Li2018]_; elsewhere it is
    interpolated in the span of the kernel at the data [Zhou2020]_.

    References
    ----------
    [Li2018]_, [Zhou2020]_

    Examples
    --------
    >>> from sk_wmvl.score_methods import Stein
    >>> Stein().at_zero(0.1)
    0.0
    """

    default_structure: ClassVar[str] = "diagonal"

    def at_zero(self, regularization: float) -> float:
        """Return zero."""
        del regularization
        return 0.0

    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        """Return 1/(σ(σ + λ)) where σ is not zero; see `BaseScoreMethod.slope`."""
        kept = eigenvalues > ROUNDING * eigenvalues.max()
        at = torch.where(kept, eigenvalues, 1.0)
        return kept / (at * (at + regularization))

    def solve(self, system: System, regularization: float) -> Tensor:
        """Return the coefficients, by all eigenvectors; see `BaseScoreMethod.solve`."""
        needs_eigenvectors(self, system, LIMIT)
        values, vectors = torch.linalg.eigh(system.matrix())
        slope = self.slope(values, regularization).unsqueeze(1)
        c = vectors @ (slope * (vectors.T @ system.stack(system.h)))
        return c.reshape(system.x.shape)
