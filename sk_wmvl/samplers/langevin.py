"""Unadjusted Langevin dynamics: its first step from the data is score matching."""

import torch
from torch import nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.samplers._base import BaseSampler, State, Transition

__all__ = ["Langevin"]


class Langevin(BaseSampler):
    r"""Euler step of the overdamped Langevin diffusion.

    .. math:: x^- = x - \epsilon\beta\nabla E(x) + \sqrt{2\epsilon}\,z,
              \qquad z \sim N(0, I).

    With :math:`\beta = 1/2` this is the step of the paper's eq. (10), aimed at
    :math:`q^{1/2}`. Without a Metropolis test the chain's distribution has a bias of
    :math:`O(\epsilon)`. `MALA` and `HMC` have none.

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`, in squared units of `x`.
    max_drift : float or None, default=None
        If a number m, the step of each sample is shortened to
        :math:`\epsilon_i = \epsilon / \max(1, \|\beta\nabla E(x_i)\|^2 / m^2)`, as the
        authors' released code does with m = 1. This limits large gradients early in
        training. Once a model has become too stiff for its step, a loss with a finite step
        decreases as the model stiffens further; a loss with the shortened step does not.
        The loss of a sample is divided by its own :math:`\epsilon_i`, so that the objective
        is unchanged to first order. No gradient flows through :math:`\epsilon_i`. The
        *shortened* step must stay above 1e-6 in float32. With m = :math:`\epsilon^{-1/2}`,
        as in the ``'mvl'`` of the estimators, the drift never exceeds :math:`1/\sqrt2` of
        the noise, and small steps are unchanged.

    References
    ----------
    [Roberts1996]_, [Wang2020]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.samplers import Langevin, evaluate
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> state = evaluate(energy, torch.ones(1, 1))
    >>> step = Langevin(0.1).step(energy, state, beta=0.5)
    >>> torch.allclose(step.x - step.noise, torch.tensor([[0.95]]))
    True
    """

    def __init__(self, step_size: float = 1e-3, *, max_drift: float | None = None):
        self.step_size = step_size
        self.max_drift = max_drift

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Take one Euler step; see `BaseSampler.step`."""
        del energy
        check_positive(self, step_size=self.step_size)
        x, grad = state.x.detach(), state.grad
        step: float | torch.Tensor = float(self.step_size)
        scale = step
        if self.max_drift is not None:
            check_positive(self, max_drift=self.max_drift)
            drift = (beta * grad.detach()).square().sum(-1)
            step = self.step_size / (drift / self.max_drift**2).clamp(min=1)
            scale = step.unsqueeze(1)
        noise = (2 * scale) ** 0.5 * randn_like(x, generator)
        mean = x - (scale * beta) * grad
        return Transition(
            mean + noise,
            noise=noise,
            mirror=mean - noise if antithetic else None,
            step_size=step,
        )
