"""Jensen-Shannon divergence by a discriminator: the WAE-GAN."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.autoencoders._base import BaseDivergence
from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.autoencoders.networks import make_mlp
from sk_wmvl.entropy import score_surrogate

__all__ = ["Adversarial"]


class Discriminator(nn.Module):
    """A network with one output, of the features of a code."""

    def __init__(self, latent: LatentSpace, network: nn.Module):
        super().__init__()
        self.latent = latent
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """Return log odds of coming from the prior, of shape (n,)."""
        return self.network(self.latent.features(z)).squeeze(-1)


class Adversarial(BaseDivergence):
    r"""A critic D that distinguishes draws from the prior and codes.

    The critic minimises the logistic loss, and the encoder :math:`-\log\sigma(D(z))`.

    Parameters
    ----------
    alpha : float, default=1e-5
        Half the weight of the mean square of the critic at the codes.

    References
    ----------
    [Tolstikhin2018]_, [Goodfellow2014]_

    Examples
    --------
    >>> from sk_wmvl.autoencoders import Adversarial
    >>> Adversarial(alpha=0.0)
    Adversarial(alpha=0.0)
    """

    def __init__(self, alpha: float = 1e-5):
        self.alpha = alpha

    def make_critic(
        self,
        latent: LatentSpace,
        n_context: int,
        *,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        generator: torch.Generator,
    ) -> nn.Module:
        """Return a discriminator; see `BaseDivergence.make_critic`."""
        del n_context
        network = make_mlp(
            latent.n_features,
            hidden_layer_sizes,
            1,
            activation=activation,
            generator=generator,
        )
        return Discriminator(latent, network)

    def penalty(
        self,
        critic: Callable[[Tensor], Tensor] | None,
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the codes' mean loss; see `BaseDivergence.penalty`."""
        del latent, generator
        assert critic is not None

        def loss(z: Tensor) -> Tensor:
            return nn.functional.softplus(-critic(z))

        # The derivative in the code alone: the critic's weights are constants.
        value, grad = energy_and_grad(loss, z)
        return value.mean() + score_surrogate(-grad, z)

    def critic_loss(
        self,
        critic: Callable[[Tensor], Tensor],
        latent: LatentSpace,
        z: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the logistic loss; see `BaseDivergence.critic_loss`."""
        prior = latent.sample(len(z), generator=generator, dtype=z.dtype).to(z.device)
        at_prior, at_codes = critic(torch.cat([prior, z])).split(len(z))
        softplus = nn.functional.softplus
        loss = softplus(-at_prior).mean() + softplus(at_codes).mean()
        return loss + 2 * self.alpha * at_codes.square().mean()
