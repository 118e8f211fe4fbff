"""The Stein gradient estimator: Tikhonov regularisation in the span of the data."""

from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._base import (
    BaseScoreMethod,
    System,
    solve_by_eigenvectors,
)

__all__ = ["Stein"]

ROUNDING = 1e-13  # of the largest eigenvalue: smaller eigenvalues count as zero


class Stein(BaseScoreMethod):
    r"""Invert Stein's identity, :math:`g_\lambda(\sigma) = 1_{\sigma>0}/(\sigma+\lambda)`.

    With a diagonal kernel its values at the data are
    :math:`-(K + n\lambda I)^{-1}\langle\nabla, K\rangle` [Li2018]_. Elsewhere the field is
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
        """Return the coefficients; see `BaseScoreMethod.solve`."""
        return solve_by_eigenvectors(self, system, regularization)
