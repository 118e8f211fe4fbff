"""What an energy must offer: points in, one number per point out."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["BaseEnergy", "check_energy"]


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
