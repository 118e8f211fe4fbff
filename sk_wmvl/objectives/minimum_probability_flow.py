"""Minimum probability flow: how fast probability flows from the rows to neighbors."""

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.objectives._base import BaseObjective, warn_below_floor

__all__ = ["MinimumProbabilityFlow"]

# The flows to opposite neighbors nearly cancel. The rest is of order step, as in minimum
# velocity.
FLOAT32_FLOOR = 1e-6


class MinimumProbabilityFlow(BaseObjective):
    r"""The flow of probability from a row to Gaussian neighbors.

    A jump process that leads from x to x' at the rate
    :math:`g(x, x')\,e^{\frac12[E(x) - E(x')]}`, with g symmetric, leaves the model
    invariant. Start the process at the data. The divergence of Kullback and Leibler between
    the data and the distribution of the process then grows at the rate of the flow out of
    the rows. With Gaussian neighbors at
    :math:`\pm\sqrt{2\epsilon}\,z`,

    .. math::

        \ell(x) = \frac2\epsilon\Bigl[
            \tfrac12 e^{\frac12[E(x) - E(x + \sqrt{2\epsilon}z)]}
            + \tfrac12 e^{\frac12[E(x) - E(x - \sqrt{2\epsilon}z)]} - 1\Bigr],
        \qquad z \sim N(0, I).

    With this constant it tends to score matching,
    :math:`\frac12\|\nabla E\|^2 - \Delta E + O(\epsilon)`, for a small step. At a finite
    step its minimum is still the true model, unlike that of a blurred or truncated loss. It
    compares energies at points :math:`\sqrt{2\epsilon}` apart. The pair of opposite
    neighbors takes the place of a control variate. No derivative in x is needed.

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`, in squared units of `x`: half the variance of the
        neighbors.

    Notes
    -----
    In float32 a step below 1e-6 draws a RuntimeWarning. The loss explodes where the energy
    falls by many nats within a step.

    References
    ----------
    [SohlDickstein2011]_, [Wang2020]_

    Examples
    --------
    For a standard normal model the value at `x` tends to :math:`\frac12\|x\|^2 - d`.

    >>> import torch
    >>> from sk_wmvl.objectives import MinimumProbabilityFlow
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.full((100_000, 1), 2.0, dtype=torch.float64)
    >>> g = torch.Generator().manual_seed(0)
    >>> round(MinimumProbabilityFlow(1e-4)(energy, x, generator=g).mean().item(), 1)
    1.0
    """

    def __init__(self, step_size: float = 1e-3):
        self.step_size = step_size

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
        x = x.detach()
        move = (2 * self.step_size) ** 0.5 * randn_like(x, generator)
        here, forth, back = energy(torch.cat([x, x + move, x - move])).view(3, -1)
        # expm1 keeps the digits that a difference to one would lose.
        flow = torch.expm1(0.5 * (here - forth)) + torch.expm1(0.5 * (here - back))
        return flow / self.step_size
