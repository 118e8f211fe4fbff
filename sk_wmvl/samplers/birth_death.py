"""Birth-death Langevin dynamics: mass moves between modes and finds their weights."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.samplers._base import BaseSampler, State, Transition
from sk_wmvl.samplers._particles import check_particles
from sk_wmvl.samplers.leave_one_out import LeaveOneOutDensity

__all__ = ["BirthDeath"]


class BirthDeath(BaseSampler):
    r"""One step of Langevin dynamics accelerated by births and deaths.

    Particles move as those of `Langevin`. They also die where the target is less dense than
    they are, and multiply where it is denser, at the rate

    .. math::

        r_i = -\lambda\Bigl[b_i - \frac{1}{n-1}\sum_{j \ne i} b_j\Bigr],
        \qquad b = \log\hat p + \beta E,

    where :math:`\hat p` is an estimate of the density of the particles. The rates sum to
    zero, so that mass is moved and not created. With :math:`\beta = 1/2` the births and
    deaths of one step, from data with density p, change the mean energy at the rate
    :math:`-\lambda\operatorname{Cov}_p(\log\hat p + \frac12 E,\, E)`, and
    `MinimumVelocity` becomes

    .. math::

        \tfrac12\,\mathbb{E}_p\|\nabla\log p - \nabla\log q\|^2
        + \tfrac\lambda2 \operatorname{Var}_p \log\frac pq,

    up to a constant. This is the squared velocity in the Wasserstein-Fisher-Rao geometry.
    The second term sees the relative weights of modes at any distance.

    Parameters
    ----------
    step_size : float, default=1e-3
        The step :math:`\epsilon`.
    rate : float, default=1.0
        The rate :math:`\lambda`, in inverse squared units of `x`.
    log_density : callable or None, default=None
        The log density of the particles, up to a constant. Maps points of shape (n, d) to
        values of shape (n,). Its points are those of the energy, which inside an estimator
        are standardised, and perhaps transformed, unless ``standardize=False``. None is
        `LeaveOneOutDensity`.

    See Also
    --------
    LeaveOneOutDensity : The default estimate.
    Langevin : The same without births and deaths.

    Notes
    -----
    No particle dies or multiplies within a step. The transition returns the expected change
    of each particle's mass, `log_weight` :math:`= \epsilon r`. It has no resampling noise
    and can be differentiated. `BaseSampler.run` resamples by it, so that a population finds
    the weights of modes between which no particle travels.

    The objective is only as good as :math:`\hat p`, because :math:`\hat p` itself minimises
    the second term. The loss of a row depends on its batch. Batches of one raise.

    References
    ----------
    [Lu2019]_, [Wang2020]_

    Examples
    --------
    Nine of ten particles are at 0, one is at 9, and the energy is flat. Mass must move from
    the dense place to the other.

    >>> import torch
    >>> from sk_wmvl.samplers import BirthDeath, LeaveOneOutDensity, evaluate
    >>> x = torch.zeros(10, 1)
    >>> x[9] = 9.0
    >>> state = evaluate(lambda x: 0 * x.sum(-1), x)
    >>> def log_density(x):
    ...     return torch.log(0.9 - 0.8 * (x[:, 0] > 0))
    >>> sampler = BirthDeath(0.01, log_density=log_density)
    >>> sampler.step(None, state).log_weight[[0, 9]]  # log(9) / 900 x (-1, 9)
    tensor([-0.0024,  0.0220])
    """

    couples_rows: ClassVar[bool] = True

    def __init__(
        self,
        step_size: float = 1e-3,
        *,
        rate: float = 1.0,
        log_density: Callable[[Tensor], Tensor] | None = None,
    ):
        self.step_size = step_size
        self.rate = rate
        self.log_density = log_density

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
        check_positive(self, step_size=self.step_size, rate=self.rate)
        x = state.x.detach()
        check_particles(self, x)
        n = len(x)
        surplus = self._log_density(x) + beta * state.energy
        # b_i less the mean of the others is n / (n - 1) times b_i less the mean of all. The
        # covariance of the rates with the energy is then unbiased.
        rate = -self.rate * n / (n - 1) * (surplus - surplus.mean())
        noise = (2 * self.step_size) ** 0.5 * randn_like(x, generator)
        mean = x - (self.step_size * beta) * state.grad
        return Transition(
            mean + noise,
            noise=noise,
            mirror=mean - noise if antithetic else None,
            step_size=float(self.step_size),
            log_weight=self.step_size * rate,
        )

    def _log_density(self, x: Tensor) -> Tensor:
        if self.log_density is None:
            return LeaveOneOutDensity()(x)
        with torch.no_grad():
            values = self.log_density(x)
        if not isinstance(values, Tensor) or values.shape != (len(x),):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values)
            raise ValueError(
                f"log_density of BirthDeath must map a tensor of shape {tuple(x.shape)} to "
                f"one of shape ({len(x)},); got {got}."
            )
        if not torch.isfinite(values).all():
            bad = int(torch.nonzero(~torch.isfinite(values))[0])
            raise ValueError(
                f"log_density of BirthDeath is {float(values[bad])} at row {bad} of the "
                "batch. It must be finite at every particle; use an estimate with tails."
            )
        return values.to(x)
