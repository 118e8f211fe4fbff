"""One-step contrastive divergence: a gradient that follows score matching, not a loss."""

import torch
from torch import Tensor, nn

from sk_wmvl.objectives._base import BaseObjective, warn_below_floor
from sk_wmvl.objectives.minimum_velocity import FLOAT32_FLOOR, make_sampler
from sk_wmvl.samplers import BaseSampler, Langevin, evaluate

__all__ = ["ContrastiveDivergence"]


class ContrastiveDivergence(BaseObjective):
    r"""CD-1: lower the energy at the rows and raise it where the sampler went.

    .. math::

        \ell(x) = \frac1\epsilon\bigl[E(x) - E(\bar x^-) + dE_x(\bar\xi)\bigr],

    where :math:`x^-` is one step of a sampler aimed at `q` itself (not
    :math:`q^{1/2}`) and the bar marks what is held constant. In expectation its gradient
    is that of score matching. Its *value* is not a loss (footnote 5 of the paper), so it
    cannot drive early stopping. Monitor the Hyvärinen score instead, as the estimators do.

    Parameters
    ----------
    sampler : BaseSampler, str or None, default=None
        The sampler; None is ``Langevin()``.
    control_variate : bool, default=True
        Whether to add :math:`dE_x(\bar\xi)`. Without it the variance of the gradient grows
        like :math:`1/\epsilon`.

    Notes
    -----
    In float32 a step below 1e-6 draws a RuntimeWarning.

    References
    ----------
    [Hinton2002]_, [Hyvarinen2007]_, [Wang2020]_

    Examples
    --------
    At the origin a standard normal energy has no drift. Only the noise is left, and its
    first order is removed.

    >>> import torch
    >>> from sk_wmvl.objectives import ContrastiveDivergence
    >>> x, g = torch.zeros(4, 1), torch.Generator().manual_seed(0)
    >>> value = ContrastiveDivergence()(lambda x: 0.5 * (x**2).sum(-1), x, generator=g)
    >>> bool((value <= 0).all())
    True
    """

    def __init__(
        self,
        sampler: BaseSampler | str | None = None,
        *,
        control_variate: bool = True,
    ):
        self.sampler = sampler
        self.control_variate = control_variate

    def couples_rows(self) -> bool:
        """Return whether the sampler's rows act on one another."""
        return make_sampler(self.sampler).couples_rows

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
        """Return the surrogate at each sample; see `BaseObjective.__call__`."""
        sampler = make_sampler(self.sampler)
        warn_below_floor(self, sampler.step_size, x, FLOAT32_FLOOR)
        graph = torch.is_grad_enabled()
        state = evaluate(
            energy,
            x,
            create_graph=graph and self.control_variate,
            retain_graph=graph,
        )
        step = sampler.step(energy, state, beta=1.0, generator=generator)
        difference = state.energy - energy(step.x.detach())
        if self.control_variate and step.noise is not None:
            difference = difference + (state.grad * step.noise.detach()).sum(-1)
        return difference / step.step_size
