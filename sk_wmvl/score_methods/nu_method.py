"""The ν-method: accelerated descent, with the square root of Landweber's steps."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._base import BaseScoreMethod, System, recursion

__all__ = ["NuMethod"]


class NuMethod(BaseScoreMethod):
    r"""Brakhage's semi-iterative method of order ν, with t steps.

    It is gradient descent with the momentum that is optimal for solutions of smoothness up
    to ν. The number of steps t is :math:`\lambda^{-1/2}`, rounded to an integer, since t
    steps regularise like :math:`\lambda=t^{-2}`.

    Parameters
    ----------
    nu : float, default=1.0
        The order.

    References
    ----------
    [Engl1996]_, [Zhou2020]_

    Examples
    --------
    >>> from sk_wmvl.score_methods import NuMethod
    >>> NuMethod().n_steps(1e-4)
    100
    """

    default_structure: ClassVar[str] = "curl-free"

    def __init__(self, nu: float = 1.0):
        self.nu = nu

    @staticmethod
    def n_steps(regularization: float) -> int:
        """Return the number of steps."""
        return max(1, round(1 / math.sqrt(regularization)))

    def _weights(self, t: int) -> tuple[float, float]:
        nu = self.nu
        if t == 1:
            return 0.0, (4 * nu + 2) / (4 * nu + 1)
        common = (t + 2 * nu - 1) * (2 * t + 4 * nu - 1)
        u = (t - 1) * (2 * t - 3) * (2 * t + 2 * nu - 1) / common
        omega = 4 * (2 * t + 2 * nu - 1) * (t + nu - 1) / common
        return u / (2 * t + 2 * nu - 3), omega

    def at_zero(self, regularization: float) -> float:
        r"""Return :math:`g_\lambda(0)`."""
        one = torch.zeros(1, dtype=torch.float64)
        steps = self.n_steps(regularization)
        return recursion(lambda r: r, one, steps, self._weights)[1]

    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        """Return the slope of the filter; see `BaseScoreMethod.slope`."""
        ones = torch.ones_like(eigenvalues)
        steps = self.n_steps(regularization)
        return recursion(lambda r: eigenvalues * r, ones, steps, self._weights)[0]

    def solve(self, system: System, regularization: float) -> Tensor:
        """Return the coefficients; see `BaseScoreMethod.solve`."""
        steps = self.n_steps(regularization)
        return recursion(system.matvec, system.h, steps, self._weights)[0]
