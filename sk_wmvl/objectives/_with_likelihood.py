r"""A local objective and the likelihood in one loss, over weighted draws of the base.

Minimum velocity sees the gradients of a correction at the rows, and nothing where there are
no rows. The likelihood sees how much mass is where, and is noisy where rows are few. The
sum

.. math:: \overline{E(x)} + \log\frac1m\sum_j w_j e^{-E(y_j)}
          + \omega\,\overline{\ell_{\text{local}}(x)}

has both. The draws come from a pool that was weighted beforehand, so that a step evaluates
the network alone.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._random import make_generator
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.energies._base import evaluate_in_chunks
from sk_wmvl.likelihood import Cover, Pool, affordable, audit, best_gain
from sk_wmvl.objectives._base import (
    BaseProblem,
    Batch,
    LocalProblem,
    RowFacts,
    TrainableEnergy,
)

__all__ = ["LikelihoodProblem"]

MONITOR, SEARCH = 1001, 1002  # streams of the seed that nothing else uses
# Of a draw, on average, before a pool is drawn anew: more where it is expensive to weigh,
# so that this takes no more than a tenth of the time of training.
N_USES, MOST_USES, COMPONENTS_PER_USE = 16, 64, 16
N_JUDGED = 16_384  # draws that monitor


class LikelihoodProblem(BaseProblem):
    """The likelihood, by draws of the base measure, beside a local objective.

    Weights are chosen by the gain in likelihood over the base measure at the best scale of
    the correction.

    Parameters
    ----------
    local : LocalProblem
        The objective of derivatives at the rows, over the base measure.
    weight : float
        Of the local objective; that of the likelihood is one.
    cover : Cover
        What is drawn from, over the same base measure, in float32.
    pool_size : int
        Draws in memory.
    draws_per_step : int
        Of these in a step, no more than a pool has.
    """

    def __init__(
        self,
        local: LocalProblem,
        *,
        weight: float,
        cover: Cover,
        pool_size: int,
        draws_per_step: int,
    ):
        super().__init__(local.objective, local.manifold, local.base, local.proposal)
        self.local = local
        self.weight = weight
        self.pool_size = pool_size
        self.draws_per_step = min(draws_per_step, pool_size)
        self.cover = cover

    @property
    def cover(self) -> Cover:
        """The density that is drawn from; a new one empties the pools."""
        return self._cover

    @cover.setter
    def cover(self, cover: Cover) -> None:
        self._cover = cover
        self._pool: Pool | None = None
        self._judged: Pool | None = None
        self._n_used = 0

    def facts(self, points: np.ndarray) -> RowFacts:
        """Return what the local objective needs."""
        return self.local.facts(points)

    def start(
        self, energy: TrainableEnergy, x: Tensor, generator: torch.Generator
    ) -> None:
        """Draw where the rows are, and start the local objective."""
        self.cover = self._cover.to(x.device)
        self.local.start(energy, x, generator)

    def loss(
        self, energy: TrainableEnergy, batch: Batch, *, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of each row of a batch, (n,)."""
        draws = self._next(generator)
        n = len(batch.x)
        at = energy.correction(torch.cat([batch.x, draws.x]))
        log_z = torch.logsumexp(draws.log_weight - at[n:], 0) - math.log(len(draws))
        value = at[:n] + log_z
        self._scale = (at[:n], at[n:], draws.log_weight)
        if self.weight == 0:
            return value
        return value + self.weight * self.local.loss(energy, batch, generator=generator)

    def mean_square(
        self,
        energy: TrainableEnergy,
        batch: Batch,
        energies: Sequence[Tensor],
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the mean square of the correction over the rows and over the base."""
        del energy, energies, generator
        at_rows, at_draws, log_weight = self._scale
        over_base = (log_weight.exp() * at_draws.square()).mean()
        return (batch.weight * at_rows.square()).mean() + over_base

    @torch.no_grad()
    def monitor(self, energy: TrainableEnergy, rows: Batch, *, seed: int) -> Tensor:
        """Return minus the gain in log-likelihood, (n,), at the best scale."""
        if self._judged is None:
            generator = make_generator(seed, MONITOR)
            n_draws = affordable(N_JUDGED, self._cover.base)
            self._judged = self._cover.draw(n_draws, generator=generator)
        at_rows = evaluate_in_chunks(energy.correction, rows.x)
        at_draws = evaluate_in_chunks(energy.correction, self._judged.x)
        best = best_gain(at_rows, rows.weight, at_draws, self._judged.log_weight)
        return best.scale * at_rows + best.log_z

    @torch.no_grad()
    def finds_missed_mass(
        self, energy: TrainableEnergy, rows: Batch, *, seed: int
    ) -> bool:
        """Search for modes at the best scale; those that draws miss join the cover.

        Parameters
        ----------
        energy : TrainableEnergy
        rows : Batch
            By which the best scale is chosen.
        seed : int
            Of the draws.

        Returns
        -------
        found : bool
        """
        generator = make_generator(seed, SEARCH)
        n_draws = affordable(N_JUDGED, self._cover.base)
        pool = self._cover.draw(n_draws, generator=generator)
        at_rows = evaluate_in_chunks(energy.correction, rows.x)
        at_draws = evaluate_in_chunks(energy.correction, pool.x)
        best = best_gain(at_rows, rows.weight, at_draws, pool.log_weight)
        if best.scale == 0:
            return False
        scaled = CorrectedEnergy(energy.correction, self._cover.base, scale=best.scale)
        found = audit(scaled, self._cover, pool, self.manifold, generator=generator)
        if found.missed:
            self.cover = found.cover
        return bool(found.missed)

    def _next(self, generator: torch.Generator) -> Pool:
        """Return the draws of the next step: a part of the pool, without a copy."""
        n_uses = self._cover.base.work // COMPONENTS_PER_USE
        n_uses = min(max(n_uses, N_USES), MOST_USES)
        most_used = n_uses * self.pool_size
        if self._pool is None or self._n_used >= most_used:
            self._pool = self._cover.draw(self.pool_size, generator=generator)
            self._n_used = 0
        # The pool is in random order, so that any part of it will do.
        last = self.pool_size - self.draws_per_step
        start = int(torch.randint(last + 1, (), generator=generator))
        self._n_used += self.draws_per_step
        return self._pool.slice(start, self.draws_per_step)
