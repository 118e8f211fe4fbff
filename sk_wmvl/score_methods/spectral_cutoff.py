"""Spectral cut-off: the spectral Stein gradient estimator."""

from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._base import (
    BaseScoreMethod,
    System,
    solve_by_eigenvectors,
)

__all__ = ["SpectralCutoff"]


class SpectralCutoff(BaseScoreMethod):
    r"""Keep the large eigenvalues, :math:`g_\lambda(\sigma)=\sigma^{-1}1_{\sigma>\lambda}`.

    With a diagonal kernel it is the spectral Stein gradient estimator [Shi2018]_, an
    expansion in the kernel's eigenfunctions by the Nyström formula.

    References
    ----------
    [Shi2018]_, [Zhou2020]_

    Examples
    --------
    >>> from sk_wmvl.score_methods import SpectralCutoff
    >>> SpectralCutoff().at_zero(0.1)
    0.0
    """

    default_structure: ClassVar[str] = "diagonal"

    def at_zero(self, regularization: float) -> float:
        """Return zero."""
        del regularization
        return 0.0

    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        """Return the inverse squares of large eigenvalues, zero for the others."""
        kept = eigenvalues > regularization
        return kept / torch.where(kept, eigenvalues, 1.0).square()

    def solve(self, system: System, regularization: float) -> Tensor:
        """Return the coefficients; see `BaseScoreMethod.solve`."""
        return solve_by_eigenvectors(self, system, regularization)
