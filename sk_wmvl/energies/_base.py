"""What an energy must offer: points in, one number per point out."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["CHUNK", "BaseEnergy", "check_energy", "evaluate_in_chunks"]

# Points per call of an energy: a layer of 128 units then takes 4 MB in float64, about a
# processor's cache (measured on one core: chunks four times as large are slower).
CHUNK = 4096


class BaseEnergy(nn.Module, ABC):
    r"""An unnormalised model :math:`q(x) \propto \exp(-E(x))`.

    Any `nn.Module` that maps (n, d) to (n,) can stand in its place.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,), at points of shape (n, d)."""


def check_energy(module: nn.Module, x: Tensor, name: object) -> None:
    """Raise ValueError unless a module gives one number per point of `x`."""
    shape = tuple(module(x).shape)
    if shape != (len(x),):
        raise ValueError(
            f"energy={name!r} maps points of shape {tuple(x.shape)} to {shape}; it must "
            f"return one number per point, shape ({len(x)},)."
        )


def evaluate_in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return values of shape (n,), a chunk of points at a time to bound the memory."""
    return torch.cat([function(part) for part in x.split(CHUNK)])
