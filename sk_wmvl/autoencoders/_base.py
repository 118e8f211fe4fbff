"""What posteriors, encoders, likelihoods and divergences must offer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from sk_wmvl._component import BaseComponent
from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.manifolds import BaseManifold

__all__ = [
    "BaseDivergence",
    "BaseEncoder",
    "BaseLikelihood",
    "BasePosterior",
]


class BasePosterior(ABC):
    """A distribution of the code of each row, with a density, reparameterised.

    Attributes
    ----------
    manifold_class : type
        The manifold it lives on.
    """

    manifold_class: ClassVar[type[BaseManifold]]

    @staticmethod
    @abstractmethod
    def n_raw(d: int) -> int:
        """Return how many outputs a network needs for codes of d coordinates."""

    @classmethod
    @abstractmethod
    def from_raw(cls, raw: Tensor) -> Self:
        """Return the distributions given by a network's outputs, of shape (n, n_raw)."""

    @abstractmethod
    def sample(self, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one code per row, of shape (n, d), differentiable in the parameters."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return log densities, of shape (n,), at codes of shape (n, d)."""

    @abstractmethod
    def kl(self) -> Tensor:
        """Return the divergence from the prior, of shape (n,)."""

    @abstractmethod
    def mean(self) -> Tensor:
        """Return the mean, or the mean direction, of shape (n, d)."""

    @abstractmethod
    def expectation(self) -> Tensor:
        """Return E z in the ambient space, of shape (n, d), on or off the manifold."""


class BaseEncoder(nn.Module, ABC):
    """Maps rows to distributions of codes."""

    @abstractmethod
    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one code per row, of shape (n, d), differentiable in the weights."""

    @abstractmethod
    def code(self, x: Tensor) -> Tensor:
        """Return one code for each row, without noise."""

    def center(self, x: Tensor) -> Tensor:
        """Return what a decoder reconstructs a row from: `code`, or the codes' mean."""
        return self.code(x)

    def posterior(self, x: Tensor) -> BasePosterior:
        """Return the distribution of the code of each row, where it has a density."""
        raise NotImplementedError(f"{type(self).__name__} has no density.")


class BaseLikelihood(nn.Module, ABC):
    """The distribution of a row given the decoder's outputs, in the decoder's units."""

    @abstractmethod
    def prepare(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the rows to learn from, perhaps drawn anew in each epoch."""

    @abstractmethod
    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """Return log densities of shape (n,); both arguments have shape (n, d)."""

    @abstractmethod
    def mean(self, out: Tensor) -> Tensor:
        """Return the means, of shape (n, d)."""

    @abstractmethod
    def curvature(self, out: Tensor) -> Tensor:
        """Return the Fisher information in each output, of shape (n, d)."""

    @abstractmethod
    def sample(
        self, out: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""


class BaseDivergence(BaseComponent, ABC):
    """How far codes are from the prior, perhaps estimated by a network, the critic.

    The critic and the auto-encoder are trained in turns.

    Attributes
    ----------
    default_weight : float
        The weight λ in the loss of a Wasserstein auto-encoder, unless it is given.
    """

    default_weight: ClassVar[float] = 10.0

    @abstractmethod
    def make_critic(
        self,
        latent: LatentSpace,
        n_context: int,
        *,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        generator: torch.Generator,
    ) -> nn.Module | None:
        """Return an untrained critic, or None if there is none.

        Parameters
        ----------
        latent : LatentSpace
            Where codes live.
        n_context : int
            Columns of the rows that codes are given; zero if codes are taken together.
        hidden_layer_sizes : tuple of int
            Widths.
        activation : str
            Activation.
        generator : torch.Generator
            Source of the weights.
        """

    def bind(self, critic: nn.Module, x: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return the critic as a function of codes (n, d) alone, for given rows.

        What depends on the rows only is computed once, and carries the graph in the
        critic's weights. Called without gradients, it is constant in them.
        """
        del x
        return critic

    @abstractmethod
    def penalty(
        self,
        critic: Callable[[Tensor], Tensor] | None,
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what is added to the auto-encoder's loss, of shape (n,) or ().

        Differentiable in `z`; nothing reaches the critic's weights.
        """

    def critic_loss(
        self,
        critic: Callable[[Tensor], Tensor],
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the critic's loss, of shape (), at codes without a graph."""
        raise NotImplementedError(f"{type(self).__name__} trains no critic.")

    def has_diverged(self, critic_loss: float, latent: LatentSpace) -> bool:
        """Return whether the critic's mean loss shows that it has diverged."""
        del latent
        return not math.isfinite(critic_loss)
