"""Hamiltonian Monte Carlo: long moves that almost conserve energy, and a test."""

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_count, check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.samplers._base import BaseSampler, State, Transition, evaluate
from sk_wmvl.samplers.mala import metropolis

__all__ = ["HMC", "check_trajectory", "leapfrog", "random_steps"]


def straight(x: Tensor, p: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Move with constant velocity for a time h: the flow of the kinetic energy."""
    return x + h * p, p


def euclidean_gradient(state: State) -> Tensor:
    """Return the gradient as it is."""
    return state.grad


def leapfrog(
    energy: nn.Module,
    state: State,
    p: Tensor,
    h: Tensor,
    *,
    n_leapfrog: int,
    beta: float,
    flow: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = straight,
    gradient: Callable[[State], Tensor] = euclidean_gradient,
) -> tuple[State, Tensor, Tensor]:
    r"""Follow :math:`\dot x = p,\ \dot p = -\beta\nabla E(x)` by the leapfrog rule.

    On a manifold p is the velocity, the motion without a force follows geodesics, and the
    gradient is that of the metric.

    Parameters
    ----------
    energy : Module
    state : State
        The start.
    p : Tensor of shape (n, d)
        Momenta at the start.
    h : Tensor of shape (n, 1)
        Step of each chain, in units of `x`.
    n_leapfrog : int
        Number of steps.
    beta : float
        Inverse temperature.
    flow : callable
        Maps (x, p, h) to where x and p are after a time h without a force.
    gradient : callable
        Maps a state to the gradient of the energy in the metric, of shape (n, d).

    Returns
    -------
    state : State
        The end.
    p : Tensor of shape (n, d)
        Momenta at the end.
    alive : Tensor of shape (n,) of bool
        Whether every point and gradient on the way was finite. The way back visits the
        same points, so the move stays reversible if the others are rejected.
    """
    start = state.x
    alive = torch.ones(len(start), dtype=torch.bool, device=start.device)
    p = p - 0.5 * h * beta * gradient(state)
    for k in range(n_leapfrog):
        x, p = flow(state.x, p, h)
        alive = alive & torch.isfinite(x).all(-1)
        # Lost chains return to their start, so that no energy ever sees a NaN.
        state = evaluate(energy, torch.where(alive[:, None], x, start))
        alive = alive & torch.isfinite(state.grad).all(-1)
        last = k == n_leapfrog - 1
        p = p - (0.5 if last else 1.0) * h * beta * gradient(state)
    return state, p, alive


def random_steps(
    x: Tensor, step_size: float, jitter: float, generator: torch.Generator | None
) -> Tensor:
    """Return the leapfrog step of each chain, of shape (n, 1)."""
    uniform = torch.rand(len(x), 1, dtype=x.dtype, generator=generator)
    return step_size * (1 + jitter * (2 * uniform - 1)).to(x.device)


class Trajectory(Protocol):
    """A sampler that moves along trajectories."""

    step_size: float
    n_leapfrog: int
    jitter: float


def check_trajectory(sampler: Trajectory) -> None:
    """Raise ValueError unless the parameters of a trajectory make sense."""
    check_positive(sampler, step_size=sampler.step_size)
    check_count(sampler, n_leapfrog=sampler.n_leapfrog)
    if not 0 <= sampler.jitter < 1:
        raise ValueError(
            f"jitter of {type(sampler).__name__} must lie in [0, 1); got "
            f"{sampler.jitter!r}."
        )


class HMC(BaseSampler):
    r"""Leapfrog trajectory with fresh momenta and a Metropolis test.

    With :math:`p \sim N(0, I)` and :math:`H(x, p) = \beta E(x) + \frac12\|p\|^2`, the
    end of `n_leapfrog` steps of length h is accepted with probability
    :math:`\min(1, e^{H(x, p) - H(x', p')})`. One leapfrog step of length h is a step of
    `MALA` with :math:`\epsilon = h^2/2`.

    Parameters
    ----------
    step_size : float, default=0.1
        The leapfrog step h, in units of `x` (not squared).
    n_leapfrog : int, default=5
        Leapfrog steps, each one gradient.
    jitter : float, default=0.2
        In [0, 1). In each move of each chain h is multiplied by a number uniform on
        1 ± jitter. Without it a trajectory as long as a period of the target returns to
        its start.

    See Also
    --------
    MALA : The case of a single leapfrog step.
    GeodesicHMC : The same on a manifold.

    Notes
    -----
    Rejection is not differentiable, so moves carry no graph. A trajectory is rejected if a
    gradient on it is not finite.

    References
    ----------
    [Neal2011]_, [Beskos2013]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.samplers import HMC
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> g = torch.Generator().manual_seed(0)
    >>> start = torch.zeros(1000, 1, dtype=torch.float64)
    >>> chain = HMC(0.3, 5).run(energy, start, n_steps=20, n_burn_in=5, generator=g)
    >>> round(chain.samples.var().item(), 1)
    1.0
    """

    is_differentiable: ClassVar[bool] = False
    # Above the optimum 0.651 for large d (Beskos et al.): a step that is too short costs
    # little, and one that is too long costs much.
    target_accept: ClassVar[float] = 0.8

    def __init__(
        self, step_size: float = 0.1, n_leapfrog: int = 5, *, jitter: float = 0.2
    ):
        self.step_size = step_size
        self.n_leapfrog = n_leapfrog
        self.jitter = jitter

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Make one tested move; see `BaseSampler.step`."""
        del antithetic
        check_trajectory(self)
        old = State(*(t.detach() for t in state))
        h = random_steps(old.x, self.step_size, self.jitter, generator)
        p = randn_like(old.x, generator)
        new, p_new, alive = leapfrog(
            energy, old, p, h, n_leapfrog=self.n_leapfrog, beta=beta
        )
        log_ratio = beta * (old.energy - new.energy) + 0.5 * (p**2 - p_new**2).sum(-1)
        log_ratio = torch.where(alive, log_ratio, -torch.inf)
        moved, accept_prob = metropolis(old, new, log_ratio, generator)
        return Transition(
            moved.x, accept_prob=accept_prob, state=moved, step_size=h[:, 0]
        )
