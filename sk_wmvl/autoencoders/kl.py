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
from sk_wmvl.objectives._base import LocalProblem

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
        Weight of the mean square of :math:`E+\log p`, at codes and after the step, on the
        objective's scale, :math:`\frac12\|\nabla E\|^2-\Delta E`. The authors' code has
        1e-4 on a loss of the thousandth of it (its step), so 0.1 here.
    objective : str or BaseObjective, default='mvl'
        What the energy minimises: any objective that looks at the energy at the codes or
        near them. If codes are given rows, it must take each code by itself.

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
        """Return the prior's energy; see `BaseDivergence.make_critic`.

        Raises
        ------
        ValueError
            If the objective is not one of codes as they are, each by itself.
        """
        objective = self._make_objective()
        if not isinstance(objective.problem(latent.manifold), LocalProblem):
            raise ValueError(
                f"objective={self.objective!r} needs draws of a proposal or noise levels, "
                "which an energy of codes has not. Use 'mvl', 'ssm-vr', 'dsm' or another "
                "that looks at the energy at the codes."
            )
        if n_context and objective.couples_rows():
            raise ValueError(
                f"objective={self.objective!r} lets codes act on one another, but each has "
                "a distribution of its own, given its row. Use 'mvl', 'ssm-vr' or 'dsm'."
            )
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
            # The prior's part is not penalised, so that a poor energy says that codes are
            # distributed like the prior, and not that they have no entropy to gain.
            energies.append(value + latent.log_prob(z))
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
        """Return whether the energy is far worse than one of zero."""
        return not critic_loss < USELESS * latent.dim
