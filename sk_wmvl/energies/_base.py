"""What an energy must offer: points in, one number per point out."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["BaseEnergy"]


class BaseEnergy(nn.Module, ABC):
    r"""An unnormalised model :math:`q(x) \propto \exp(-E(x))`.

    Any `nn.Module` that maps (n, d) to (n,) can stand in its place.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,), at points of shape (n, d)."""
