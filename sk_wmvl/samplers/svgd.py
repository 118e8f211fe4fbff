"""Stein variational gradient descent: its first step is the kernelised discrepancy."""

from typing import ClassVar

import torch
from torch import nn

from sk_wmvl._component import check_positive
from sk_wmvl.kernels import BaseKernel
from sk_wmvl.samplers._base import BaseSampler, State, Transition
from sk_wmvl.samplers._particles import stein_direction

__all__ = ["SVGD"]


class SVGD(BaseSampler):
    r"""One step of Stein variational gradient descent.

    .. math::

        x_i^- = x_i + \frac\epsilon m \sum_j \bigl[-k(x_j, x_i)\,\beta\nabla E(x_j)
                + \nabla_{x_j} k(x_j, x_i)\bigr].

    The rows of a batch are the particles; there is no noise. With :math:`\beta = 1/2`,
    `MinimumVelocity` makes of it half the kernelised Stein discrepancy,

    .. math::

        \tfrac12\,\mathbb{E}_{x, x' \sim p}\, k(x, x')\,\delta(x)^\top\delta(x'),
        \qquad \delta = \nabla\log p - \nabla\log q,

    up to a constant free of the model (section 3.4 and appendix B.2 of the paper). With
    a narrower and narrower kernel, scaled to mass one, this tends to the Fisher
    divergence weighted by p.

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`.
    kernel : {'rbf', 'imq'} or BaseKernel, default='rbf'
        The kernel. Its length scale carries no gradient.
    statistic : {'u', 'v'}, default='u'
        ``'u'`` leaves out the pairs i = j (m = n - 1). The objective is then unbiased, but
        not bounded below for a model that can give every row its own score, so a network
        needs early stopping. ``'v'`` keeps the pairs (m = n). The objective is then bounded
        below, and biased towards flat models by
        :math:`\mathbb{E}\,\|\nabla E\|^2 / 2n`.

    See Also
    --------
    SPOS : The same with Langevin dynamics mixed in.

    Notes
    -----
    The loss of a row depends on the rest of its batch. Batches of one raise, and small ones
    give a noisy estimate. The cost of a step is that of the n × n kernel matrix.

    The objective does not see differences of scores finer than the kernel's length scale.
    Like all that compare scores at the data, it does not see the weights of well-separated
    modes.

    References
    ----------
    [Liu2016]_, [Liu2016b]_, [Liu2017]_, [Wang2020]_

    Examples
    --------
    Two particles, one apart, in a flat energy: each moves by :math:`\epsilon` times the
    slope :math:`e^{-1/2}` of the kernel, away from the other.

    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.samplers import SVGD, evaluate
    >>> state = evaluate(lambda x: 0 * x.sum(-1), torch.tensor([[0.0], [1.0]]))
    >>> SVGD(0.1, kernel=RBF(1.0)).step(None, state).x.flatten()
    tensor([-0.0607,  1.0607])
    """

    couples_rows: ClassVar[bool] = True

    def __init__(
        self,
        step_size: float = 1e-3,
        *,
        kernel: BaseKernel | str = "rbf",
        statistic: str = "u",
    ):
        self.step_size = step_size
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
        del energy, generator, antithetic
        check_positive(self, step_size=self.step_size)
        x = state.x.detach()
        direction = stein_direction(
            self, self.kernel, x, -beta * state.grad, statistic=self.statistic
        )
        return Transition(
            x + self.step_size * direction, step_size=float(self.step_size)
        )
