"""What a family of mixture components must offer: densities, draws, and an M-step."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn

from sk_wmvl.manifolds import BaseManifold

__all__ = ["Components", "chunk_size", "component_family", "per_component"]

# Entries of an array at a time, 2 MB in float64. An array that does not fit the cache
# takes several times as long.
MOST_ENTRIES = 2**18


def chunk_size(n_entries: int) -> int:
    """Return how many rows may be taken at a time, if each has so many entries."""
    return max(1, MOST_ENTRIES // max(1, n_entries))


def per_component(
    centers: Tensor, variance: float | Tensor, n_units: int = 1
) -> Tensor:
    """Return a variance for each component and unit, of shape (K, n_units)."""
    value = torch.as_tensor(variance, dtype=centers.dtype, device=centers.device)
    return value.expand(len(centers), n_units).clone()


class Components(nn.Module, ABC):
    r"""K densities of one family on one manifold, with respect to its volume.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold.
    centers : Tensor of shape (K, d)
        Points, in float64.
    variance : float or Tensor of shape (n_units,) or (K, n_units)
        The variance per dimension to start from, a squared geodesic length.
    """

    @staticmethod
    def n_units(manifold: BaseManifold) -> int:
        """Return the number of units: blocks of coordinates, each with its own variance."""
        del manifold
        return 1

    @classmethod
    def alike(cls, manifold: BaseManifold) -> list[int]:
        """Return numbers of successive units of one kind, such as angles."""
        return [cls.n_units(manifold)]

    @staticmethod
    def starting_points(manifold: BaseManifold, centers: Tensor) -> Tensor:
        """Return the points at which components near some rows may start."""
        del manifold
        return centers

    @abstractmethod
    def __init__(
        self, manifold: BaseManifold, centers: Tensor, variance: float | Tensor
    ):
        super().__init__()
        self.manifold = manifold

    @property
    @abstractmethod
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""

    @property
    @abstractmethod
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""

    def join(self, other: "Components") -> "Components":
        """Return these components and then others of the same family and manifold."""
        centers = torch.cat([self.centers, other.centers])
        variances = torch.cat([self.variances, other.variances])
        return type(self)(self.manifold, centers, variances)

    @property
    def work(self) -> int:
        """The time that a component takes at a point, in that of a normal density."""
        return 1

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K) at points of shape (n, d)."""

    def log_probs(self, x: Tensor, others: Sequence["Components"]) -> list[Tensor]:
        """Return what `log_prob` does of this and of others that have the same centers.

        A family does once what they have in common, if that takes most of the time.
        """
        return [each.log_prob(x) for each in (self, *others)]

    @abstractmethod
    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a draw of the component named in each row, shape (n, d)."""

    @abstractmethod
    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        """Fit to points of shape (n, d) with responsibilities of shape (n, K), in place.

        Each component counts one more point, whose variance is `prior`, of shape
        (n_units,): a component at a single point keeps a width.
        """


@singledispatch
def component_family(manifold: BaseManifold) -> type[Components]:
    """Return the family of components for a manifold; each family registers itself.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold.

    Returns
    -------
    family : type
        A subclass of `Components`.
    """
    raise NotImplementedError(f"There are no mixture components for {manifold!r}.")
