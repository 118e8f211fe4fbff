"""Draws that cover a base measure and more, weighted back to it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.base_measures._base import InflatedCopy

__all__ = ["Cover", "Pool", "affordable"]

CHUNK = 2048  # points at a time: what the components take fits the cache
# Factors by which components are inflated, and parts of what is drawn without places. The
# widest copy has few draws near a model, and shows where else a correction is low.
INFLATIONS = (1.0, 1.5, 3.0)
PARTS = (0.5, 0.35, 0.15)
PLACES_PART = 0.2  # of all, once there are places
MOST_WORK = 4e7  # draws times components of a base measure
LEAST_DRAWS = 4096


@dataclass(frozen=True, eq=False)
class Pool:
    r"""Weighted draws, of which means estimate means under a base measure.

    :math:`\frac1n\sum_j w_j f(y_j)` estimates :math:`\mathbb{E}_{q_0} f`.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Draws, in random order.
    log_weight : Tensor of shape (n,)
        Logs of the ratios of the base measure to the density drawn from.
    """

    x: Tensor
    log_weight: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def slice(self, start: int, size: int) -> "Pool":
        """Return some of the draws, which share the memory."""
        end = start + size
        return Pool(self.x[start:end], self.log_weight[start:end])

    def to(self, dtype: torch.dtype) -> "Pool":
        """Return the draws in another dtype."""
        return Pool(self.x.to(dtype), self.log_weight.to(dtype))


class Cover(nn.Module):
    r"""The density that pools are drawn from: a base measure, wider copies, and places.

    Where the model has mass, this density must not be small. The wider copies have every
    component inflated about its own center, 1.5 and 3 times. Places are Gaussians at modes
    that a search has found (`find_modes`).

    Parameters
    ----------
    base : BaseMeasure
        The density :math:`q_0`.
    places : sequence of BaseMeasure, default=()
        Found one after another; they share a fifth of the draws.

    Notes
    -----
    A pool of n draws in d dimensions takes 8 (d + 1) n bytes in float64, and half in
    float32.

    Examples
    --------
    The mean of the weights is one, that of the squares of x the variance.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.likelihood import Cover
    >>> cover = Cover(GaussianBase(np.zeros(1), 4 * np.eye(1)))
    >>> pool = cover.draw(100_000, generator=torch.Generator().manual_seed(0))
    >>> weight = pool.log_weight.exp()
    >>> bool(abs(weight.mean() - 1) < 0.01)
    True
    >>> bool(abs((weight * pool.x[:, 0] ** 2).mean() - 4) < 0.1)
    True
    """

    def __init__(self, base: BaseMeasure, places: Sequence[nn.Module] = ()):
        super().__init__()
        wider = [base.inflated(factor) for factor in INFLATIONS[1:]]
        self.parts = nn.ModuleList([base, *wider, *places])
        rest = 1 - PLACES_PART if places else 1.0
        each = [PLACES_PART / len(places)] * len(places) if places else []
        weights = [*(rest * part for part in PARTS), *each]
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))

    weights: Tensor

    @property
    def base(self) -> BaseMeasure:
        """The base measure."""
        base = self.parts[0]
        assert isinstance(base, BaseMeasure)
        return base

    @property
    def places(self) -> list[nn.Module]:
        """The places that are among what is drawn from."""
        return list(self.parts)[len(INFLATIONS) :]

    def with_places(self, places: BaseMeasure) -> "Cover":
        """Return the cover with more places, in the dtype of this one."""
        like = next(self.base.buffers())
        return Cover(self.base, [*self.places, places.to(like)])

    def with_base(self, base: BaseMeasure) -> "Cover":
        """Return a cover of another base measure, with the same places."""
        like = next(base.buffers())
        return Cover(base, [copy.deepcopy(part).to(like) for part in self.places])

    @torch.no_grad()
    def draw(self, n: int, *, generator: torch.Generator | None = None) -> Pool:
        """Return n draws, with as many from each part as its weight says."""
        x = self.sample(n, generator=generator)
        return Pool(x, self.log_ratio(x))

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the points of `draw`, (n, d), which are weighted equally."""
        shares = np.diff(np.round(np.cumsum([0, *self.weights.tolist()]) * n))
        x = torch.cat(
            [
                part.sample(int(k), generator=generator)
                for part, k in zip(self.parts, shares, strict=True)
                if k
            ]
        )
        return x[torch.randperm(len(x), generator=generator).to(x.device)]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density that is drawn from, of shape (n,)."""
        return self.base.log_prob(x) - self.log_ratio(x)

    @torch.no_grad()
    def log_ratio(self, x: Tensor) -> Tensor:
        """Return log of the base measure over this density, of shape (n,)."""
        wider = list(self.parts)[1 : len(INFLATIONS)]
        copies = [
            InflatedCopy(cast(BaseMeasure, base), factor)
            for base, factor in zip(wider, INFLATIONS[1:], strict=True)
        ]
        ratios = []
        for rows in x.split(CHUNK):
            log_p = self.base.log_probs(rows, copies)
            others = [part.log_prob(rows) for part in self.places]
            log_p = torch.cat([log_p, *(value[:, None] for value in others)], 1)
            log_r = torch.logsumexp(log_p + self.weights.log().to(log_p), 1)
            ratios.append(log_p[:, 0] - log_r)
        return torch.cat(ratios)


def affordable(n_draws: int, base: BaseMeasure) -> int:
    """Return how many draws to take where so many are wanted: fewer of expensive bases."""
    most = int(MOST_WORK / base.work)
    return min(n_draws, max(LEAST_DRAWS, most))
