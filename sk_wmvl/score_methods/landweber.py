"""Landweber iteration: gradient descent with early stopping."""

from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._base import BaseScoreMethod, System, recursion

__all__ = ["Landweber"]


def _weights(t: int) -> tuple[float, float]:
    del t
    return 0.0, 1.0  # the operator has norm at most one


class Landweber(BaseScoreMethod):
    r"""Gradient descent with t steps, :math:`g_\lambda(\sigma)=(1-(1-\sigma)^t)/\sigma`.

    The number of steps t is 1/λ, rounded to an integer.

    References
    ----------
    [Zhou2020]_

    Examples
    --------
    >>> from sk_wmvl.score_methods import Landweber
    >>> Landweber().at_zero(0.01)
    100.0
    """

    default_structure: ClassVar[str] = "curl-free"

    @staticmethod
    def n_steps(regularization: float) -> int:
        """Return the number of steps."""
        return max(1, round(1 / regularization))

    def at_zero(self, regularization: float) -> float:
        """Return t."""
        return float(self.n_steps(regularization))

    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        """Return the slope of the filter; see `BaseScoreMethod.slope`."""
        ones = torch.ones_like(eigenvalues)
        steps = self.n_steps(regularization)
        return recursion(lambda r: eigenvalues * r, ones, steps, _weights)[0]

    def solve(self, system: System, regularization: float) -> Tensor:
        """Return the coefficients; see `BaseScoreMethod.solve`."""
        steps = self.n_steps(regularization)
        return recursion(system.matvec, system.h, steps, _weights)[0]
