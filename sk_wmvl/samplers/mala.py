"""Metropolis-adjusted Langevin: the Langevin step, and a test that removes its bias."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.samplers._base import BaseSampler, State, Transition, evaluate

__all__ = ["MALA", "metropolis"]


def metropolis(
    old: State, new: State, log_ratio: Tensor, generator: torch.Generator | None
) -> tuple[State, Tensor]:
    r"""Move each chain to its proposal with probability :math:`\min(1, e^r)`.

    A proposal with any non-finite number is rejected, so a finite state stays finite.

    Parameters
    ----------
    old, new : State
        Where the chains stand and where they were proposed to go.
    log_ratio : Tensor of shape (n,)
        The log of the Metropolis-Hastings ratio, r.
    generator : torch.Generator or None
        Source of noise, on the CPU.

    Returns
    -------
    state : State
        Detached from any graph.
    accept_prob : Tensor of shape (n,)
    """
    finite = torch.isfinite(new.energy) & torch.isfinite(log_ratio)
    finite &= torch.isfinite(new.x).all(-1) & torch.isfinite(new.grad).all(-1)
    accept_prob = torch.where(finite, log_ratio.clamp(max=0).exp(), 0.0)
    uniform = torch.rand(len(old.x), dtype=old.x.dtype, generator=generator)
    accept = uniform.to(old.x.device) < accept_prob
    state = State(
        torch.where(accept[:, None], new.x, old.x),
        torch.where(accept, new.energy, old.energy),
        torch.where(accept[:, None], new.grad, old.grad),
    )
    return state, accept_prob


class MALA(BaseSampler):
    r"""Langevin proposal with a Metropolis test.

    .. math:: x' = x - \epsilon\beta\nabla E(x) + \sqrt{2\epsilon}\,z,
              \qquad z \sim N(0, I),

    is accepted with probability :math:`\min(1, e^r)`,

    .. math:: r = \beta[E(x) - E(x')] + \tfrac12\|z\|^2 - \tfrac12\|z'\|^2,

    where :math:`z'` is the noise that would lead back from :math:`x'` to `x`. This leaves
    :math:`\exp(-\beta E)` invariant for every step size. `adapt_step_size` finds a good
    one.

    Parameters
    ----------
    step_size : float, default=0.1
        The step :math:`\epsilon`, in squared units of `x`.

    See Also
    --------
    HMC : Longer moves, better from about ten dimensions on.

    Notes
    -----
    Rejection is not differentiable, so steps carry no graph. A proposal is rejected if the
    energy or its gradient is not finite there.

    References
    ----------
    [Roberts1996]_, [Roberts1998]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.samplers import MALA
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> g = torch.Generator().manual_seed(0)
    >>> start = torch.zeros(1000, 1, dtype=torch.float64)
    >>> chain = MALA(0.8).run(energy, start, n_steps=50, n_burn_in=20, generator=g)
    >>> round(chain.samples.var().item(), 1)
    1.0
    """

    is_differentiable: ClassVar[bool] = False
    # The rate at which diffusion is fastest as d grows (Roberts & Rosenthal).
    target_accept: ClassVar[float] = 0.574

    def __init__(self, step_size: float = 0.1):
        self.step_size = step_size

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Take one tested step; see `BaseSampler.step`."""
        del antithetic
        check_positive(self, step_size=self.step_size)
        old = State(*(t.detach() for t in state))
        root = (2 * self.step_size) ** 0.5
        drift = self.step_size * beta
        z = randn_like(old.x, generator)
        new = evaluate(energy, old.x - drift * old.grad + root * z)
        z_back = (old.x - new.x + drift * new.grad) / root
        log_ratio = beta * (old.energy - new.energy) + 0.5 * (z**2 - z_back**2).sum(-1)
        moved, accept_prob = metropolis(old, new, log_ratio, generator)
        return Transition(
            moved.x,
            accept_prob=accept_prob,
            state=moved,
            step_size=float(self.step_size),
        )
