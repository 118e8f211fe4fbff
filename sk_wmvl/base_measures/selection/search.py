"""The search among candidates: what is more complex must pay on rows held out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from sk_wmvl.base_measures.selection.stacking import stacking_weights

__all__ = ["Candidate", "Choice", "Search"]

# Standard errors by which a gain must exceed zero: to replace the simplest candidate, which
# is the safest, and to go on from there.
NEEDED_AT_FIRST, NEEDED = 1.0, 0.5

Sample = TypeVar("Sample")
Fitted = TypeVar("Fitted")
AnyCandidate = TypeVar("AnyCandidate", bound="Candidate")  # of one space
Step = TypeVar("Step", bound="Candidate")  # of one ladder


@dataclass(frozen=True, eq=False)
class Candidate(ABC, Generic[Sample, Fitted]):
    """A density that was tried, and how to fit it again.

    Parameters
    ----------
    name : str
        For reports.
    values : ndarray of shape (n_held_out,)
        Log densities at the rows held out, of fits that have not seen them.
    """

    name: str
    values: np.ndarray

    @abstractmethod
    def fit(self, rows: Sample) -> Fitted:
        """Fit to rows, which are judged no more: nothing is stopped or chosen by others."""


@dataclass(frozen=True, eq=False)
class Choice(Generic[AnyCandidate]):
    """What a search has chosen: one candidate, or several that are stacked.

    Attributes
    ----------
    parts : tuple of Candidate
    weights : ndarray of shape (len(parts),)
        Of the parts in the stack; they sum to one.
    scores : dict
        Mean log densities at the rows held out, in nats, by the names of all that was
        tried.
    """

    parts: tuple[AnyCandidate, ...]
    weights: np.ndarray
    scores: dict[str, float]

    @property
    def names(self) -> dict[str, float]:
        """The weights of the parts by their names."""
        names = [part.name for part in self.parts]
        return dict(zip(names, self.weights.tolist(), strict=True))


class Search(Generic[AnyCandidate]):
    """The candidates tried so far, and the best of them by held-out log densities.

    A space offers its candidates from the simplest to the most complex one. A candidate
    becomes the best if its mean gain exceeds half a standard error, and a whole one where
    it replaces the first.

    Parameters
    ----------
    weight : ndarray of shape (n_held_out,)
        Of the rows held out; they sum to one.
    units : ndarray of int of shape (n_held_out,) or None, default=None
        Labels of rows that depend on one another: standard errors are those of sums over
        units. None takes all rows for independent.

    Attributes
    ----------
    candidates : list of Candidate
        In the order in which they were offered.
    best : Candidate
    """

    def __init__(self, weight: np.ndarray, units: np.ndarray | None = None):
        self.weight = weight
        self.units = np.arange(len(weight)) if units is None else units
        self.candidates: list[AnyCandidate] = []
        self.best: AnyCandidate | None = None
        self.scores: dict[str, float] = {}

    @property
    def needed(self) -> float:
        """Standard errors by which the next candidate must be better than the best."""
        return NEEDED_AT_FIRST if self.best is self.candidates[0] else NEEDED

    def mean(self, values: np.ndarray) -> float:
        """Return the weighted mean over the rows held out."""
        return float(self.weight @ values)

    def pays(self, values: np.ndarray, other: np.ndarray, needed: float) -> bool:
        """Return whether the mean gain over others exceeds so many standard errors."""
        gain = values - other
        mean = self.mean(gain)
        sums = np.bincount(self.units, self.weight * (gain - mean))
        return bool(mean > needed * np.sqrt(np.square(sums).sum()))

    def offer(self, candidate: AnyCandidate) -> bool:
        """Keep a candidate; return whether it is the best now."""
        self.candidates.append(candidate)
        self.scores[candidate.name] = self.mean(candidate.values)
        if self.best is None or self.pays(
            candidate.values, self.best.values, self.needed
        ):
            self.best = candidate
            return True
        return False

    def climb(self: "Search", ladder: Iterable[Step], patience: int) -> list[Step]:
        """Offer candidates of growing size until none improves on the best of all.

        Parameters
        ----------
        ladder : iterable of Candidate
            Tried one by one, so that what is not reached is never fitted.
        patience : int
            How many in a row may bring no improvement.

        Returns
        -------
        tried : list of Candidate
        """
        tried: list[Step] = []
        n_failed = 0
        for candidate in ladder:
            n_failed = 0 if self.offer(candidate) else n_failed + 1
            tried.append(candidate)
            if n_failed == patience:
                break
        return tried

    def result(
        self,
        stackable: Sequence[AnyCandidate],
        *,
        most: int,
        least_weight: float,
        fewest: int,
    ) -> Choice[AnyCandidate]:
        """Return the best candidate, or a stack if it is better still.

        The stack is the mixture with the weights that make held-out rows likeliest
        [Smyth1999]_.

        Parameters
        ----------
        stackable : sequence of Candidate
            What may be in the stack; the best alone is returned where there is nothing.
        most : int
            The most parts, the heaviest.
        least_weight : float
            Lighter parts are left out.
        fewest : int
            A stack of fewer parts is not tried.

        Returns
        -------
        choice : Choice

        References
        ----------
        [Smyth1999]_
        """
        assert self.best is not None
        alone = Choice((self.best,), np.ones(1), self.scores)
        if not stackable:
            return alone
        values = np.stack([candidate.values for candidate in stackable], 1)
        weights = stacking_weights(values, self.weight)
        kept = np.argsort(-weights)[:most]
        kept = kept[weights[kept] >= least_weight]
        if len(kept) < fewest:
            return alone
        weights = stacking_weights(values[:, kept], self.weight)
        stacked = np.logaddexp.reduce(values[:, kept] + np.log(weights), axis=1)
        self.scores["stack"] = self.mean(stacked)
        if not self.pays(stacked, self.best.values, self.needed):
            return alone
        return Choice(tuple(stackable[i] for i in kept), weights, self.scores)
