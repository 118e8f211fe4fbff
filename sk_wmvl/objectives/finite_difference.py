"""Finite-difference sliced score matching: three evaluations and no input gradient."""

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import rademacher
from sk_wmvl.objectives._base import BaseObjective, warn_below_floor

__all__ = ["FiniteDifferenceScoreMatching"]

# The second difference is of order h^2 = 2 step: the same floor as minimum velocity.
FLOAT32_FLOOR = 1e-6


class FiniteDifferenceScoreMatching(BaseObjective):
    r"""Sliced score matching with central differences for both derivatives.

    .. math::

        \ell(x) = \tfrac12\Bigl[\frac{E(x+hv) - E(x-hv)}{2h}\Bigr]^2
            - \frac{E(x+hv) - 2E(x) + E(x-hv)}{h^2},

    with `v` random signs and :math:`h = \sqrt{2\epsilon}`, the displacement of a
    Langevin step of size ε. The bias is :math:`O(\epsilon)`.

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`, in squared units of `x`.

    Notes
    -----
    In float32 a step below 1e-6 draws a RuntimeWarning.

    References
    ----------
    [Pang2020]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.objectives import FiniteDifferenceScoreMatching
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.tensor([[2.0]], dtype=torch.float64)
    >>> FiniteDifferenceScoreMatching()(energy, x).round(decimals=6)
    tensor([1.], dtype=torch.float64)
    """

    def __init__(self, step_size: float = 1e-3):
        self.step_size = step_size

    def needs_gradient_alone(self) -> bool:
        """Return True: the rest of a base measure is a constant."""
        return True

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        check_positive(self, step_size=self.step_size)
        warn_below_floor(self, self.step_size, x, FLOAT32_FLOOR)
        square = 2 * self.step_size
        hv = square**0.5 * rademacher(tuple(x.shape), x, generator)
        centre, right, left = energy(torch.cat([x, x + hv, x - hv])).view(3, -1)
        slope = (right - left).square() / (4 * square)
        return 0.5 * slope - (right - 2 * centre + left) / square
