"""Energies of codes, given the row they encode: what the entropy's gradient needs."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.energies import BaseEnergy
from sk_wmvl.energies._network import make_network

__all__ = ["CodeEnergy"]


class CodeEnergy(BaseEnergy):
    r"""The energy :math:`E(z\mid x) = (f, 1)^\top\psi(f, x)` with f the features of z.

    The paper's conditional energy with a constant coordinate, as in `InnerProductEnergy`.
    The first layer is a sum of one part that sees f and one that sees x, so that the
    latter, most of the arithmetic for images, is computed once for all codes of a row.

    Parameters
    ----------
    latent : LatentSpace
        Where codes live.
    n_context : int
        Columns of x; zero for an energy of codes alone.
    hidden_layer_sizes : sequence of int
        Widths, at least one.
    activation : str
        Twice differentiable activation.
    generator : torch.Generator, default=None
        Source of the weights, on the CPU.

    Examples
    --------
    It starts at zero.

    >>> import torch
    >>> from sk_wmvl.autoencoders import CodeEnergy, LatentSpace
    >>> from sk_wmvl.manifolds import Euclidean
    >>> energy = CodeEnergy(LatentSpace(Euclidean(2)), 3, (8,), activation="tanh")
    >>> energy(torch.ones(4, 2), torch.ones(4, 3)).detach()
    tensor([0., 0., 0., 0.])
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
        self.n_code = latent.n_features
        # One network of both, so that its weights start as those of a plain one.
        net = make_network(
            self.n_code + n_context,
            hidden_layer_sizes,
            self.n_code + 1,
            activation=activation,
            generator=generator,
        )
        first = cast(nn.Linear, net[0])
        self.code_weight = nn.Parameter(first.weight[:, : self.n_code].detach().clone())
        self.context_weight = nn.Parameter(
            first.weight[:, self.n_code :].detach().clone()
        )
        self.bias = nn.Parameter(first.bias.detach().clone())
        self.rest = net[1:]

    def at(self, context: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return the energy as a function of codes, r of each row, of shape (r n, d)."""
        if context is None:
            hidden: Tensor = self.bias
        else:
            hidden = torch.addmm(self.bias, context, self.context_weight.T)

        def energy(z: Tensor) -> Tensor:
            shift: Tensor = hidden
            if context is not None and len(z) != len(hidden):
                if len(z) % len(hidden):
                    raise ValueError(
                        f"{len(z)} codes cannot belong to {len(hidden)} rows of context."
                    )
                shift = hidden.repeat(len(z) // len(hidden), 1)
            f = self.latent.features(z)
            psi = self.rest(torch.addmm(shift, f, self.code_weight.T))
            return (f * psi[:, :-1]).sum(-1) + psi[:, -1]

        return energy

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.at(context)(z)
