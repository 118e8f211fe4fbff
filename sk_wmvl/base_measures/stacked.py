"""Several base measures as one: their mixture."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl.base_measures._base import BaseMeasure, InflatedCopy

__all__ = ["StackedBase"]


class StackedBase(BaseMeasure):
    r"""A mixture of base measures, :math:`\sum_k w_k q_k`.

    Parameters
    ----------
    bases : sequence of BaseMeasure
        The densities :math:`q_k`, on one space.
    weights : array of shape (k,)
        Positive, summing to one.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase, StackedBase
    >>> narrow, wide = (GaussianBase(np.zeros(1), v * np.eye(1)) for v in (0.01, 1.0))
    >>> q = StackedBase([narrow, wide], np.array([0.5, 0.5]))
    >>> q.log_prob(torch.zeros(1, 1).double()).exp()  # (3.989 + 0.399) / 2
    tensor([2.1942], dtype=torch.float64)
    """

    weights: Tensor

    def __init__(self, bases: Sequence[BaseMeasure], weights: np.ndarray):
        super().__init__()
        self.bases = nn.ModuleList(bases)
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))

    @property
    def n_components(self) -> int:
        """The number of components of all densities."""
        return sum(cast(BaseMeasure, base).n_components for base in self.bases)

    @property
    def work(self) -> int:
        """The time that a point takes, in components of a normal mixture."""
        return sum(cast(BaseMeasure, base).work for base in self.bases)

    def log_probs(self, x: Tensor, copies: Sequence[InflatedCopy]) -> Tensor:
        """Return log densities of this and of inflated copies; see `BaseMeasure`."""
        values = []
        for i in range(len(self.bases)):
            own = [
                InflatedCopy(cast(StackedBase, copy.base)._part(i), copy.factor)
                for copy in copies
            ]
            values.append(self._part(i).log_probs(x, own))
        log_weights = self.weights.log()[None, :, None]
        return torch.logsumexp(torch.stack(values, 1) + log_weights, 1)

    def _part(self, i: int) -> BaseMeasure:
        return cast(BaseMeasure, self.bases[i])

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        values = torch.stack([base(x) for base in self.bases], 1)
        return torch.logsumexp(values + self.weights.log(), dim=1)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        which = torch.multinomial(
            self.weights.cpu(), n_samples, replacement=True, generator=generator
        )
        counts = torch.bincount(which, minlength=len(self.bases)).tolist()
        draws = [
            cast(BaseMeasure, base).sample(count, generator=generator)
            for base, count in zip(self.bases, counts, strict=True)
            if count
        ]
        # sorted by base so far: back to where each was drawn
        places = torch.argsort(torch.argsort(which, stable=True))
        return torch.cat(draws)[places.to(self.weights.device)]

    def inflated(self, factor: float) -> "StackedBase":
        """Return the mixture of inflated densities."""
        bases = [cast(BaseMeasure, base).inflated(factor) for base in self.bases]
        wider = StackedBase(bases, self.weights.double().cpu().numpy())
        return wider.to(self.weights)
