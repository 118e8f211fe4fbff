"""Minimum velocity: the speed with which a sampler, started at the data, leaves it."""

import torch
from torch import Tensor, nn

from sk_wmvl._component import resolve
from sk_wmvl.objectives._base import BaseObjective, warn_below_floor
from sk_wmvl.objectives._points import moves_points
from sk_wmvl.samplers import (
    SAMPLERS,
    SPOS,
    BaseSampler,
    BirthDeath,
    Langevin,
    evaluate,
)

__all__ = ["MinimumVelocity"]

# E(x) - E(x-) is of order step; float32 resolves it to 6e-8 |E| / step (measured: sound
# at 1e-6, noisy at 1e-7, biased at 1e-8 for energies of order one).
FLOAT32_FLOOR = 1e-6


class MinimumVelocity(BaseObjective):
    r"""The first step of a sampler aimed at :math:`q^{1/2}`, as an objective.

    .. math::

        \ell(x) = \frac{1}{\epsilon}\bigl[E(x) - E(x^-) + dE_x(\xi)\bigr],

    where :math:`x^-` is one step of the sampler from the row `x` and :math:`\xi` the
    martingale increment (the noise) of that step. This is eqs. (10)-(11) of the paper
    with 1/ε in place of its 2/ε, so that with `Langevin` the expectation is
    :math:`\frac12\|\nabla E\|^2 - \Delta E + O(\epsilon)`. The gradient flows through
    :math:`x^-`.

    A step that also moves mass between samples (`BirthDeath`), at rates :math:`r_i` with
    sum zero, changes the mean energy by that too. Then
    :math:`-r_i\,[E(x_i) - \bar E]` is added, the expected change. No mass is drawn at
    random.

    Parameters
    ----------
    sampler : BaseSampler, str or None, default=None
        The sampler; None is ``Langevin()``. Another sampler is another objective.
    control_variate : bool, default=True
        Whether to add :math:`dE_x(\xi)`. Its mean is zero; without it the standard
        deviation grows like :math:`\epsilon^{-1/2}`.
    antithetic : bool, default=False
        Whether to average over the noise and its mirror image. All odd terms cancel, so
        that no control variate is needed. The variance is lower still, at the cost of one
        more evaluation of the energy. It has no effect on deterministic samplers.

    See Also
    --------
    DetachedMinimumVelocity : The same to first order in ε, without a second derivative.

    Notes
    -----
    In float32 a step below 1e-6 draws a RuntimeWarning.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    For a standard normal model the value at `x` tends to :math:`\frac12\|x\|^2 - d`.

    >>> import torch
    >>> from sk_wmvl.objectives import MinimumVelocity
    >>> from sk_wmvl.samplers import Langevin
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.full((100_000, 1), 2.0, dtype=torch.float64)
    >>> g = torch.Generator().manual_seed(0)
    >>> loss = MinimumVelocity(Langevin(1e-4), antithetic=True)(energy, x, generator=g)
    >>> round(loss.mean().item(), 1)
    1.0
    """

    def __init__(
        self,
        sampler: BaseSampler | str | None = None,
        *,
        control_variate: bool = True,
        antithetic: bool = False,
    ):
        self.sampler = sampler
        self.control_variate = control_variate
        self.antithetic = antithetic

    def couples_rows(self) -> bool:
        """Return whether the sampler's rows act on one another."""
        return make_sampler(self.sampler, differentiate_step=True).couples_rows

    def needs_gradient_alone(self) -> bool:
        """Return whether the sampler is Langevin dynamics, in flat or curved space."""
        sampler = make_sampler(self.sampler, differentiate_step=True)
        return isinstance(sampler, Langevin) or moves_points(self)

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        sampler = make_sampler(self.sampler, differentiate_step=True)
        warn_below_floor(self, sampler.step_size, x, FLOAT32_FLOOR)
        state = evaluate(energy, x, create_graph=torch.is_grad_enabled())
        step = sampler.step(
            energy, state, beta=0.5, generator=generator, antithetic=self.antithetic
        )
        if step.mirror is not None:
            both = energy(torch.cat([step.x, step.mirror]))
            difference = state.energy - both.view(2, -1).mean(0)
        else:
            difference = state.energy - energy(step.x)
            if self.control_variate and step.noise is not None:
                difference = difference + (state.grad * step.noise).sum(-1)
        if step.log_weight is not None:
            # The weights sum to zero, so the energy may be counted from its mean. Then a
            # constant added to the energy changes no sample's value.
            centered = state.energy - state.energy.mean()
            difference = difference - step.log_weight * centered
        return difference / step.step_size


# Held constant, a part of their step would be lost or counted twice.
DIFFERENTIATED_ONLY = (SPOS, BirthDeath)


def make_sampler(
    sampler: BaseSampler | str | None, *, differentiate_step: bool = False
) -> BaseSampler:
    """Return the sampler an objective was given; `Langevin` if none.

    An objective sets `differentiate_step` if it differentiates through the step and uses
    its weights. The others refuse samplers that need that.
    """
    if sampler is None:
        return Langevin()
    if not isinstance(sampler, BaseSampler):
        sampler = resolve(sampler, SAMPLERS, BaseSampler, name="sampler")
    if not sampler.is_differentiable:
        raise ValueError(
            f"sampler={sampler!r} accepts or rejects its moves, so its step has no "
            "derivative. Use a diffusion such as Langevin()."
        )
    if isinstance(sampler, DIFFERENTIATED_ONLY) and not differentiate_step:
        raise ValueError(
            f"sampler={sampler!r} is not just a drift and a noise, and this objective "
            "would overlook the rest. Use MinimumVelocity with it, or Langevin() here."
        )
    return sampler
