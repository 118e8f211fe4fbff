"""The decoder: the distribution of a row given its code."""

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseLikelihood
from sk_wmvl.autoencoders.latent import LatentSpace

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """A network of the features of a code, and a likelihood of its outputs.

    Parameters
    ----------
    network : Module
        Maps features of shape (n, latent.n_features) to outputs (n, n_features).
    likelihood : BaseLikelihood
        The distribution of a row given the outputs.
    latent : LatentSpace
        Where codes live.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import BernoulliLikelihood, Decoder, LatentSpace
    >>> from sk_wmvl.manifolds import Euclidean
    >>> net = torch.nn.Linear(2, 5)
    >>> decoder = Decoder(net, BernoulliLikelihood(), LatentSpace(Euclidean(2)))
    >>> decoder.log_prob(torch.zeros(3, 5), torch.zeros(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self, network: nn.Module, likelihood: BaseLikelihood, latent: LatentSpace
    ):
        super().__init__()
        self.network = network
        self.likelihood = likelihood
        self.latent = latent

    def forward(self, z: Tensor) -> Tensor:
        """Return the outputs, of shape (n, n_features), at codes (n, d)."""
        return self.network(self.latent.features(z))

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z), of shape (n,)."""
        return self.likelihood.log_prob(x, self(z))

    def mean(self, z: Tensor) -> Tensor:
        """Return the mean rows, of shape (n, n_features)."""
        return self.likelihood.mean(self(z))

    def sample(self, z: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return a draw of a row for each code."""
        return self.likelihood.sample(self(z), generator=generator)
