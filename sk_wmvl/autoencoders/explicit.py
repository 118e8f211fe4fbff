"""Explicit encoders: the distribution of the code has a density."""

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseEncoder, BasePosterior

__all__ = ["ExplicitEncoder"]


class ExplicitEncoder(BaseEncoder):
    """A network whose outputs are the parameters of a known distribution.

    Parameters
    ----------
    network : Module
        Maps rows of shape (n, n_features) to (n, n_raw).
    posterior_class : type
        The class of the distribution, a `BasePosterior`.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import ExplicitEncoder, NormalPosterior
    >>> encoder = ExplicitEncoder(torch.nn.Linear(3, 4), NormalPosterior)
    >>> encoder.sample(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, posterior_class: type[BasePosterior]):
        super().__init__()
        self.network = network
        self.posterior_class = posterior_class

    def posterior(self, x: Tensor) -> BasePosterior:
        """Return the distribution of the code of each row."""
        return self.posterior_class.from_raw(self.network(x))

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one code per row; see `BaseEncoder.sample`."""
        return self.posterior(x).sample(generator=generator)

    def code(self, x: Tensor) -> Tensor:
        """Return the means, or mean directions."""
        return self.posterior(x).mean()

    def center(self, x: Tensor) -> Tensor:
        """Return the expectations of the codes.

        That of unit vectors is inside the sphere. In many dimensions it is much shorter
        than one, so that a decoder has never seen so long a vector in that direction.
        """
        return self.posterior(x).expectation()
