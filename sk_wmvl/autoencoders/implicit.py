"""Implicit encoders: the code is a function of the row and of noise."""

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseEncoder
from sk_wmvl.autoencoders.latent import LatentSpace

__all__ = ["ImplicitEncoder"]


class ImplicitEncoder(BaseEncoder):
    r"""The distribution of :math:`f(x, \epsilon)` with :math:`\epsilon\sim N(0, I)`.

    It can have any shape that a network can give it, but its density cannot be evaluated.
    Without noise, each row has one code, as in a Wasserstein auto-encoder.

    Parameters
    ----------
    network : Module
        Maps rows, with `noise_dim` columns of noise appended, to (n, latent.n_raw).
    latent : LatentSpace
        Where codes live.
    noise_dim : int
        The dimension of the noise.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import ImplicitEncoder, LatentSpace
    >>> from sk_wmvl.manifolds import Sphere
    >>> encoder = ImplicitEncoder(torch.nn.Linear(5, 3), LatentSpace(Sphere(2)), 2)
    >>> z = encoder.sample(torch.zeros(1, 3))
    >>> torch.allclose(z.norm(dim=1), torch.ones(1))
    True
    """

    def __init__(self, network: nn.Module, latent: LatentSpace, noise_dim: int):
        super().__init__()
        self.network = network
        self.latent = latent
        self.noise_dim = noise_dim

    def _encode(self, x: Tensor, noise: Tensor) -> Tensor:
        if self.noise_dim:
            x = torch.cat([x, noise], -1)
        return self.latent.from_raw(self.network(x))

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one code per row; see `BaseEncoder.sample`."""
        shape = len(x), self.noise_dim
        noise = torch.randn(shape, dtype=x.dtype, generator=generator).to(x.device)
        return self._encode(x, noise)

    def code(self, x: Tensor) -> Tensor:
        """Return the codes at zero noise, the center of its distribution."""
        return self._encode(x, x.new_zeros(len(x), self.noise_dim))
