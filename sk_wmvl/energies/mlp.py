"""The plain energy: a network with one output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.energies._network import make_network, soft_clip

__all__ = ["MLPEnergy"]


class MLPEnergy(BaseEnergy):
    r"""A feed-forward network with one output as the energy.

    Parameters
    ----------
    n_features : int
        The dimension d.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Widths of the hidden layers.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Twice differentiable activation.
    spectral_norm : bool, default=False
        Whether hidden weights are divided by their spectral norm.
    radius : float or None, default=None
        If a number R, the energy sees :math:`x\,(1 + \|x\|^4/R^4)^{-1/4}` and is bounded.
    generator : torch.Generator, default=None
        Source of the initial weights, on the CPU.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import MLPEnergy
    >>> MLPEnergy(2)(torch.ones(3, 2)).detach()
    tensor([0., 0., 0.])
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        *,
        activation: str = "silu",
        spectral_norm: bool = False,
        radius: float | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.radius = radius
        self.network = make_network(
            n_features,
            hidden_layer_sizes,
            1,
            activation=activation,
            spectral_norm=spectral_norm,
            generator=generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.network(soft_clip(x, self.radius)).squeeze(-1)
