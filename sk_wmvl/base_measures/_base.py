"""Base measures: normalised densities that an energy corrects, and that give it tails."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["LOG_2PI", "BaseMeasure", "InflatedCopy"]

LOG_2PI = math.log(2 * math.pi)


class BaseMeasure(nn.Module, ABC):
    """A normalised density that can be evaluated and sampled; never trained.

    Built in float64; a copy in float32 serves training.
    """

    @property
    def n_components(self) -> int:
        """How many components the density sums."""
        return 1

    @property
    def work(self) -> int:
        """The time that a point takes, in components of a normal mixture."""
        return self.n_components

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,), in nats, at points of shape (n, d)."""

    @abstractmethod
    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""

    @abstractmethod
    def inflated(self, factor: float) -> "BaseMeasure":
        """Return a wider density of the same kind.

        Every component is inflated about its own center, not all about one. In many
        dimensions the latter would reach no place that is near some component.

        Parameters
        ----------
        factor : float
            By which lengths grow, above one.

        Returns
        -------
        wider : BaseMeasure
        """

    def log_probs(self, x: Tensor, copies: Sequence["InflatedCopy"]) -> Tensor:
        """Return log densities of this and of inflated copies, of shape (n, 1 + k).

        A density whose copies have most of the work in common does it once.
        """
        values = [self.log_prob(x), *(copy.base.log_prob(x) for copy in copies)]
        return torch.stack(values, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `log_prob`."""
        return self.log_prob(x)


class InflatedCopy(NamedTuple):
    """A wider copy of a base measure, and by how much it is wider; see `inflated`."""

    base: BaseMeasure
    factor: float
