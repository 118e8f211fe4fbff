"""Langevin dynamics on a manifold, intrinsically: tangent noise and a retraction."""

import torch
from torch import nn

from sk_wmvl._component import check_positive
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers._base import BaseSampler, State, Transition

__all__ = ["RiemannianLangevin"]


class RiemannianLangevin(BaseSampler):
    r"""Euler step of the Langevin diffusion on a manifold.

    .. math:: x^- = \mathrm{retract}_x\bigl(-\epsilon\beta\,\mathrm{grad}\,E(x)
              + \sqrt{2\epsilon}\,u\bigr), \qquad u \sim N(0, G^{-1}(x)),

    with the Riemannian gradient and tangent Gaussian noise. It targets
    :math:`e^{-\beta E}` with respect to the Riemannian volume. The retraction agrees with
    exp to second order, so the mean of a function f changes at the rate
    :math:`\Delta f - \beta\langle\mathrm{grad}\,E, \mathrm{grad}\,f\rangle` up to
    :math:`O(\epsilon)`, with the Laplace-Beltrami operator :math:`\Delta`. Neither a chart
    nor a derivative of the metric is needed.

    Parameters
    ----------
    manifold : BaseManifold or None, default=None
        The manifold, with its dimension known. None is that of the estimator in whose
        objective the sampler serves; elsewhere a manifold is needed.
    step_size : float, default=1e-3
        The step :math:`\epsilon`, a squared geodesic length.
    max_drift : float or None, default=None
        As in `Langevin`, with the Riemannian length of the gradient.

    See Also
    --------
    LocalRiemannianLangevin : The same in local coordinates, eq. (18) of the paper.
    sk_wmvl.objectives.RiemannianObjective : Gives every Langevin objective this step.

    Notes
    -----
    The noise returned is the tangent vector :math:`\sqrt{2\epsilon}\,u` in ambient
    coordinates. Its product with the gradient of the state, in ambient coordinates too, is
    the martingale part of the step. The sampler moves points of a manifold, so it has no
    name in `SAMPLERS`.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    From the pole of the sphere, where the mean of :math:`x_3` must fall like
    :math:`1 - 2\epsilon`:

    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.samplers import RiemannianLangevin, evaluate
    >>> x = torch.tensor([[0.0, 0.0, 1.0]]).repeat(10_000, 1)
    >>> flat = lambda x: 0 * x.sum(-1)
    >>> g = torch.Generator().manual_seed(0)
    >>> sampler = RiemannianLangevin(Sphere(2), 0.01)
    >>> step = sampler.step(flat, evaluate(flat, x), generator=g)
    >>> round(step.x[:, 2].mean().item(), 2)
    0.98
    """

    def __init__(
        self,
        manifold: BaseManifold | None = None,
        step_size: float = 1e-3,
        *,
        max_drift: float | None = None,
    ):
        self.manifold = manifold
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
        """Take one step; see `BaseSampler.step`."""
        del energy
        check_positive(self, step_size=self.step_size)
        manifold = known_manifold(self, self.manifold)
        x = state.x.detach()
        grad = manifold.egrad2rgrad(x, state.grad)
        step: float | torch.Tensor = float(self.step_size)
        scale = step
        if self.max_drift is not None:
            check_positive(self, max_drift=self.max_drift)
            fixed = beta * grad.detach()
            speed = manifold.inner(x, fixed, fixed)
            step = self.step_size / (speed / self.max_drift**2).clamp(min=1)
            scale = step.unsqueeze(1)
        noise = (2 * scale) ** 0.5 * manifold.random_tangent(x, generator=generator)
        drift = (-scale * beta) * grad
        return Transition(
            manifold.retract(x, drift + noise),
            noise=noise,
            mirror=manifold.retract(x, drift - noise) if antithetic else None,
            step_size=step,
        )


def known_manifold(sampler: BaseSampler, manifold: BaseManifold | None) -> BaseManifold:
    """Return the manifold of a sampler; raise ValueError if it has none."""
    if manifold is None:
        name = type(sampler).__name__
        raise ValueError(
            f"{sampler!r} has no manifold. Give it one, such as {name}(Sphere(2)). Only "
            "in the objective of an estimator it may be left out."
        )
    return manifold
