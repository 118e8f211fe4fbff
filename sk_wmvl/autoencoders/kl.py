"""Kullback-Leibler divergence by score estimation, as in the paper."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from sk_wmvl._component import resolve
from sk_wmvl.autoencoders._base import BaseDivergence
from sk_wmvl.autoencoders.code_energy import CodeEnergy
from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.energies._network import ACTIVATIONS
from sk_wmvl.entropy import entropy_surrogate
from sk_wmvl.objectives import OBJECTIVES, BaseObjective, RiemannianObjective

__all__ = ["KullbackLeibler"]

USELESS = 100.0  # the loss per dimension above which an energy is worse than none


class KullbackLeibler(BaseDivergence):
    r"""The divergence :math:`KL(q\,\|\,p) = -H[q] - E_q\log p` of codes from the prior.

    The critic is an energy E that learns the codes by (Riemannian) minimum velocity. By
    eq. (19) the entropy's gradient is that of :math:`E_q[E(z)]` with the energy held
    constant. The value, -E - log p, has the right gradient, but its constant is arbitrary.

    Parameters
    ----------
    epsilon : float, default=1e-3
        The step of the sampler in the objective.
    alpha : float, default=0.1
        Weight of the mean square of the energy, at codes and after the step, on the
        objective's scale, :math:`\frac12\|\nabla E\|^2-\Delta E`. The authors' code has
        1e-4 on a loss of the thousandth of it (its step), so 0.1 here.
    objective : str or BaseObjective, default='mvl'
        What the energy minimises.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    >>> from sk_wmvl.autoencoders import KullbackLeibler
    >>> KullbackLeibler(alpha=0.01)
    KullbackLeibler(alpha=0.01)
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        alpha: float = 0.1,
        *,
        objective: str | BaseObjective = "mvl",
    ):
        self.epsilon = epsilon
        self.alpha = alpha
        self.objective = objective

    def make_critic(
        self,
        latent: LatentSpace,
        n_context: int,
        *,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        generator: torch.Generator,
    ) -> nn.Module:
        """Return an energy of zero; see `BaseDivergence.make_critic`."""
        return CodeEnergy(
            latent,
            n_context,
            hidden_layer_sizes,
            # an energy must be twice differentiable
            activation=activation if activation in ACTIVATIONS else "tanh",
            generator=generator,
        )

    def bind(self, critic: nn.Module, x: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return the energy given the rows; see `BaseDivergence.bind`."""
        return critic.at(x)

    def penalty(
        self,
        critic: Callable[[Tensor], Tensor] | None,
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the mean of -E - log p; see `BaseDivergence.penalty`."""
        del generator
        assert critic is not None
        entropy = entropy_surrogate(cast(nn.Module, critic), z)
        return -entropy - latent.log_prob(z).mean()

    def critic_loss(
        self,
        critic: Callable[[Tensor], Tensor],
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the regularised objective; see `BaseDivergence.critic_loss`."""
        energies = []

        def recorded(z: Tensor) -> Tensor:
            value = critic(z)
            energies.append(value)
            return value

        objective = RiemannianObjective(self._make_objective(), latent.manifold)
        loss = objective(cast(nn.Module, recorded), z, generator=generator).mean()
        if self.alpha:
            square = torch.stack([e.square().mean() for e in energies]).sum()
            loss = loss + self.alpha * square
        return loss

    def _make_objective(self) -> BaseObjective:
        if isinstance(self.objective, str) and self.objective in OBJECTIVES:
            return OBJECTIVES[self.objective](self.epsilon)
        return resolve(self.objective, OBJECTIVES, BaseObjective, name="objective")

    def has_diverged(self, critic_loss: float, latent: LatentSpace) -> bool:
        """Return whether the energy is far worse than the zero it started from."""
        return not critic_loss < USELESS * latent.dim
