"""Energies of codes given the row they encode, for the gradient of the entropy."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.energies import BaseEnergy, ConditionalEnergy, InnerProductEnergy

__all__ = ["CodeEnergy"]


class CodeEnergy(BaseEnergy):
    r"""The energy :math:`E(z\mid x) = -\log p(z) + (f, 1)^\top\psi(f, x)` over the prior p.

    A `ConditionalEnergy`, or without context an `InnerProductEnergy`, of the statistics f
    of a code (`LatentSpace.statistics`).

    Parameters
    ----------
    latent : LatentSpace
        Where codes live.
    n_context : int
        Columns of x; zero for an energy of codes alone.
    hidden_layer_sizes : sequence of int
        Widths.
    activation : str
        Twice differentiable activation.
    generator : torch.Generator, default=None
        Source of the weights, on the CPU.

    Examples
    --------
    It starts as that of the prior.

    >>> import torch
    >>> from sk_wmvl.autoencoders import CodeEnergy, LatentSpace
    >>> from sk_wmvl.manifolds import Euclidean
    >>> energy = CodeEnergy(LatentSpace(Euclidean(2)), 3, (8,), activation="tanh")
    >>> energy(torch.ones(1, 2), torch.ones(1, 3)).detach()  # 1 + log(2 pi)
    tensor([2.8379])
    """

    def __init__(
        self,
        latent: LatentSpace,
        n_context: int,
        hidden_layer_sizes: Sequence[int],
        *,
        activation: str,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.latent = latent
        self.energy: ConditionalEnergy | InnerProductEnergy
        if n_context:
            self.energy = ConditionalEnergy(
                latent.n_statistics,
                n_context,
                hidden_layer_sizes,
                activation=activation,
                generator=generator,
            )
        else:
            self.energy = InnerProductEnergy(
                latent.n_statistics,
                hidden_layer_sizes,
                activation=activation,
                generator=generator,
            )

    def at(self, context: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return the energy as a function of codes, r of each row, of shape (r n, d).

        What the context adds to the first layer is computed here, once. For images this is
        most of the arithmetic.
        """
        if isinstance(self.energy, ConditionalEnergy):
            if context is None:
                raise ValueError("This energy of codes needs the rows they encode.")
            given = self.energy.given(context)
        else:
            given = self.energy
        latent = self.latent
        return lambda z: given(latent.statistics(z)) - latent.log_prob(z)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.at(context)(z)
