"""Diffusions of your own, from a drift and a diffusion coefficient."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.samplers._base import BaseSampler, State, Transition

__all__ = ["ItoSampler"]


class ItoSampler(BaseSampler):
    r"""Euler-Maruyama step of a diffusion of your own.

    .. math:: x^- = x + \epsilon\,b(x, \beta\nabla E(x)) + \sqrt\epsilon\,\sigma(x)\,z,
              \qquad z \sim N(0, I).

    A diffusion aimed at :math:`e^{-\beta E}` has, for some positive semi-definite
    :math:`D(x)` and antisymmetric :math:`Q(x)` [Ma2015]_,

    .. math:: b(x, g) = -(D + Q)\,g + \nabla\cdot(D + Q), \qquad \sigma\sigma^\top = 2D.

    `MinimumVelocity` makes of it :math:`\frac12\mathbb{E}_p\|\nabla\log p - \nabla\log
    q\|_D^2`, up to a constant, when Q is constant.

    Parameters
    ----------
    drift : callable
        The drift b. Maps points of shape (n, d) and the gradients
        :math:`\beta\nabla E` of the *target's* energy there, of shape (n, d), to drifts of
        shape (n, d). It must be differentiable in the gradients.
    diffusion : float, Tensor or callable
        The coefficient :math:`\sigma`: a number, a tensor, or a map from points of shape
        (n, d) to either. A tensor broadcasts to (n, d), a coefficient per feature, or has
        the shape (n, d, k), a matrix per point.
    step_size : float, default=1e-3
        The step :math:`\epsilon`.

    See Also
    --------
    Langevin : D = I and Q = 0.

    Notes
    -----
    Such an objective does not see directions without diffusion. Underdamped Langevin
    dynamics has D = 0 in the positions. Started from data with fresh Gaussian velocities,
    its first step leaves the density unchanged to first order, and the objective does not
    depend on the energy of the positions at all; see the user guide.

    The sampler can be pickled if the functions are defined in a module.

    References
    ----------
    [Ma2015]_

    Examples
    --------
    Langevin dynamics with a step per feature. For a standard normal model at x = (1, 1) and
    D = diag(1, 3) the objective is :math:`\frac12(1 + 3) - (1 + 3) = -2`.

    >>> import torch
    >>> from sk_wmvl.objectives import MinimumVelocity
    >>> from sk_wmvl.samplers import ItoSampler
    >>> D = torch.tensor([1.0, 3.0], dtype=torch.float64)
    >>> sampler = ItoSampler(lambda x, g: -D * g, (2 * D).sqrt(), step_size=1e-4)
    >>> objective = MinimumVelocity(sampler, antithetic=True)
    >>> x = torch.ones(200_000, 2, dtype=torch.float64)
    >>> generator = torch.Generator().manual_seed(0)
    >>> loss = objective(lambda x: 0.5 * (x**2).sum(-1), x, generator=generator)
    >>> round(loss.mean().item(), 1)
    -2.0
    """

    def __init__(
        self,
        drift: Callable[[Tensor, Tensor], Tensor],
        diffusion: float | Tensor | Callable[[Tensor], float | Tensor],
        step_size: float = 1e-3,
    ):
        self.drift = drift
        self.diffusion = diffusion
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
        """Take one Euler-Maruyama step; see `BaseSampler.step`."""
        del energy
        check_positive(self, step_size=self.step_size)
        x = state.x.detach()
        drift = self.drift(x, beta * state.grad)
        if drift.shape != x.shape:
            raise ValueError(
                f"drift of ItoSampler must return a tensor of shape {tuple(x.shape)}, as "
                f"the points; got {tuple(drift.shape)}."
            )
        noise = self.step_size**0.5 * self._increment(x, generator)
        mean = x + self.step_size * drift
        return Transition(
            mean + noise,
            noise=noise,
            mirror=mean - noise if antithetic else None,
            step_size=float(self.step_size),
        )

    def _increment(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        sigma = self.diffusion(x) if callable(self.diffusion) else self.diffusion
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        if sigma.ndim == 3 and sigma.shape[:2] == x.shape:
            z = randn_like(x.new_empty(len(x), sigma.shape[2]), generator)
            return (sigma @ z.unsqueeze(-1)).squeeze(-1)
        try:
            return sigma.expand_as(x) * randn_like(x, generator)
        except RuntimeError as error:
            raise ValueError(
                f"diffusion of ItoSampler must broadcast to {tuple(x.shape)}, as the "
                f"points, or have shape ({len(x)}, {x.shape[1]}, k); got "
                f"{tuple(sigma.shape)}."
            ) from error
