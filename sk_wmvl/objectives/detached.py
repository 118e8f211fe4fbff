"""Minimum velocity with first derivatives only: the step is held constant."""

import torch
from torch import Tensor, nn

from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.objectives._base import BaseObjective, BaseProblem, warn_below_floor
from sk_wmvl.objectives._points import moves_points
from sk_wmvl.objectives.minimum_velocity import FLOAT32_FLOOR, make_sampler
from sk_wmvl.samplers import BaseSampler, Langevin, evaluate

__all__ = ["DetachedMinimumVelocity"]


class DetachedMinimumVelocity(BaseObjective):
    r"""Minimum velocity whose gradient needs no second derivative of the energy.

    With :math:`x^\pm = x - \epsilon\nabla E(x) \pm \sqrt{2\epsilon}\,z` one step of
    Langevin aimed at `q` itself, and antithetic noise,

    .. math::

        \ell(x) = \frac{1}{\epsilon}
            \Bigl[E(x) - \tfrac12 E(\bar x^+) - \tfrac12 E(\bar x^-)\Bigr]
            - \tfrac12\bigl\|\overline{\nabla E}(x)\bigr\|^2,

    where the bar marks what is held constant in the differentiation. Value and gradient
    both agree with ``MinimumVelocity(antithetic=True)`` up to :math:`O(\epsilon)`.
    Differentiating through the drift of a step aimed at :math:`q^{1/2}` doubles the
    derivative of :math:`\frac12\|\nabla E\|^2`. Aiming at `q` with the step held constant
    doubles it too: one-step contrastive divergence follows score matching for this reason
    (footnote 5 of the paper). The last term makes the value a loss again.

    The cost is one gradient, two more evaluations of the energy in one call, and no double
    backward pass. This is the cheapest form of minimum velocity, and it has the variance of
    antithetic noise.

    Parameters
    ----------
    sampler : BaseSampler, str or None, default=None
        A diffusion with additive noise; None is ``Langevin()``.

    See Also
    --------
    MinimumVelocity : The gradient through the step, for every sampler.
    ContrastiveDivergence : The same gradient without a meaningful value.

    Notes
    -----
    In float32 a step below 1e-6 draws a RuntimeWarning.

    References
    ----------
    [Wang2020]_, [Hyvarinen2007]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.objectives import DetachedMinimumVelocity
    >>> from sk_wmvl.samplers import Langevin
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.full((100_000, 1), 2.0, dtype=torch.float64)
    >>> g = torch.Generator().manual_seed(0)
    >>> loss = DetachedMinimumVelocity(Langevin(1e-4))(energy, x, generator=g)
    >>> round(loss.mean().item(), 1)
    1.0
    """

    def __init__(self, sampler: BaseSampler | str | None = None):
        self.sampler = sampler

    def couples_rows(self) -> bool:
        """Return whether the sampler's rows act on one another."""
        return make_sampler(self.sampler).couples_rows

    def problem(
        self,
        manifold: BaseManifold,
        base: BaseMeasure | None = None,
        proposal: BaseMeasure | None = None,
    ) -> BaseProblem:
        """Return the training problem; see `BaseObjective.problem`."""
        self._checked_sampler()
        return super().problem(manifold, base, proposal)

    def needs_gradient_alone(self) -> bool:
        """Return whether the sampler is Langevin dynamics."""
        return isinstance(make_sampler(self.sampler), Langevin)

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        sampler = self._checked_sampler()
        warn_below_floor(self, sampler.step_size, x, FLOAT32_FLOOR)
        # The graph of E(x) is shared with the loss; the gradient's own graph is not kept.
        state = evaluate(energy, x, retain_graph=torch.is_grad_enabled())
        step = sampler.step(
            energy, state, beta=1.0, generator=generator, antithetic=True
        )
        if step.mirror is None:
            raise ValueError(
                f"DetachedMinimumVelocity needs a sampler with additive noise; "
                f"{sampler!r} offers no mirrored step. Use MinimumVelocity."
            )
        both = energy(torch.cat([step.x, step.mirror]))
        difference = state.energy - both.view(2, -1).mean(0)
        speed = 0.5 * state.grad.square().sum(-1)
        return difference / step.step_size - speed

    def _checked_sampler(self) -> BaseSampler:
        """Return the sampler; raise ValueError if it moves points of a manifold."""
        sampler = make_sampler(self.sampler)
        if moves_points(self):
            # The speed would be measured in ambient coordinates, not in the metric.
            raise ValueError(
                f"DetachedMinimumVelocity measures the gradient in flat space; with "
                f"{sampler!r} use MinimumVelocity. Elsewhere than in an estimator, a "
                "RiemannianObjective with Langevin() takes the manifold."
            )
        return sampler
