"""Stochastic particle optimisation: Langevin and Stein dynamics in any proportion."""

from typing import ClassVar

import torch
from torch import nn

from sk_wmvl._component import check_positive, check_unit_interval
from sk_wmvl._random import randn_like
from sk_wmvl.kernels import BaseKernel
from sk_wmvl.samplers._base import BaseSampler, State, Transition
from sk_wmvl.samplers._particles import stein_direction

__all__ = ["SPOS"]


class SPOS(BaseSampler):
    r"""One step of stochastic particle-optimisation sampling.

    .. math::

        x_i^- = x_i - \epsilon(1 - \alpha)\beta\nabla E(x_i) + \epsilon\alpha\,\phi(x_i)
                + \sqrt{2\epsilon(1 - \alpha)}\,z_i,

    with :math:`\phi` the direction of `SVGD`. `MinimumVelocity` makes of it
    :math:`(1-\alpha)` times the Fisher divergence plus :math:`\alpha` times half the
    kernelised Stein discrepancy, up to a constant (appendix B.2 of the paper).

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`.
    alpha : float, default=0.5
        The proportion :math:`\alpha` of SVGD, in [0, 1]: 0 is `Langevin`, 1 is `SVGD`.
    kernel : {'rbf', 'imq'} or BaseKernel, default='rbf'
        The kernel.
    statistic : {'u', 'v'}, default='u'
        Whether the pairs i = j are left out or kept, as in `SVGD`.

    Notes
    -----
    The variance of the noise, not its standard deviation, is proportional to
    :math:`1-\alpha`, because only then is :math:`e^{-\beta E}` invariant. The authors'
    released code has noise :math:`(1-\alpha)\sqrt{2\epsilon}\,z`. In the appendix of the
    paper :math:`\alpha` multiplies the Langevin part, without a bound of one.

    The loss of a row depends on its batch. Batches of one raise, whatever `alpha`.

    References
    ----------
    [Zhang2018]_, [Wang2020]_

    Examples
    --------
    A quarter of Langevin dynamics: the variance of the noise is a quarter of 2ε.

    >>> import torch
    >>> from sk_wmvl.samplers import SPOS, evaluate
    >>> state = evaluate(lambda x: 0 * x.sum(-1), torch.zeros(500, 20))
    >>> generator = torch.Generator().manual_seed(0)
    >>> step = SPOS(2.0, alpha=0.75).step(None, state, generator=generator)
    >>> round(step.noise.var().item(), 1)
    1.0
    """

    couples_rows: ClassVar[bool] = True

    def __init__(
        self,
        step_size: float = 1e-3,
        *,
        alpha: float = 0.5,
        kernel: BaseKernel | str = "rbf",
        statistic: str = "u",
    ):
        self.step_size = step_size
        self.alpha = alpha
        self.kernel = kernel
        self.statistic = statistic

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Move all particles at once; see `BaseSampler.step`."""
        del energy
        check_positive(self, step_size=self.step_size)
        check_unit_interval(self, alpha=self.alpha)
        x, score = state.x.detach(), -beta * state.grad
        direction = stein_direction(
            self, self.kernel, x, score, statistic=self.statistic
        )
        drift = (1 - self.alpha) * score + self.alpha * direction
        mean = x + self.step_size * drift
        variance = 2 * self.step_size * (1 - self.alpha)
        noise = variance**0.5 * randn_like(x, generator)
        return Transition(
            mean + noise,
            noise=noise,
            mirror=mean - noise if antithetic else None,
            step_size=float(self.step_size),
        )
