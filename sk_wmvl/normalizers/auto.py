"""Choice of a normalizer: the cheapest that reaches a stated error."""

import math

import torch
from torch import nn

from sk_wmvl._component import check_positive
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers._base import BaseNormalizer, LogNormalizer, is_expensive
from sk_wmvl.normalizers.annealed import AnnealedNormalizer
from sk_wmvl.normalizers.importance import ImportanceNormalizer
from sk_wmvl.normalizers.quadrature import QuadratureNormalizer, has_quadrature

__all__ = ["AutoNormalizer"]

FIRST_SAMPLES = 4096
FIRST_CHAINS = 256
MAX_ROUNDS = 4
# No round does more than this many times the work of the one before, because a small run
# knows little of the variance.
MAX_FACTOR = 8.0


class AutoNormalizer(BaseNormalizer):
    """Take the first method, from cheap to expensive, that is accurate enough.

    1. `QuadratureNormalizer` in one dimension, and in two if the proposal has at most 1000
       components. Its verdict that an energy is not normalisable is final.
    2. `ImportanceNormalizer` with 4096 draws. If its weights are well behaved but the error
       is too large, it runs again with the number of draws that the error calls for.
    3. `QuadratureNormalizer` in up to three dimensions, if it has not been tried.
    4. `AnnealedNormalizer` with 256 chains, then with as many as the error calls for. Each
       chain makes more moves if the weights are heavy-tailed.

    Parameters
    ----------
    target_std_error : float, default=0.02
        The standard error of log Z to reach, in nats.
    max_evaluations : int, default=1_000_000
        Evaluations of the energy in all. A run that is expected to need more is not begun.
        The error then stays above the target, and is reported.

    Notes
    -----
    The `method` of the result is the one that was used. Its `n_evaluations` counts those
    of all methods that were tried.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.normalizers import AutoNormalizer
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> g = torch.Generator().manual_seed(0)
    >>> for d in (2, 8):
    ...     proposal = GaussianBase(np.zeros(d), np.eye(d))
    ...     z = AutoNormalizer().log_normalizer(energy, proposal, generator=g)
    ...     print(z.method, round(z.value, 4))  # d/2 log(2 pi)
    quadrature 1.8379
    importance 7.3515
    """

    def __init__(
        self, target_std_error: float = 0.02, *, max_evaluations: int = 1_000_000
    ):
        self.target_std_error = target_std_error
        self.max_evaluations = max_evaluations

    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z; see `BaseNormalizer.estimate`."""
        check_positive(
            self,
            target_std_error=self.target_std_error,
            max_evaluations=self.max_evaluations,
        )
        if manifold is None or manifold.dim is None:
            d = proposal.sample(1, generator=generator).shape[1]
        else:
            d = manifold.dim
        used = 0

        def run(normalizer: BaseNormalizer) -> LogNormalizer:
            nonlocal used
            result = normalizer.estimate(
                energy, proposal, generator=generator, manifold=manifold
            )
            used += result.n_evaluations
            if result.method == "quadrature" and self._is_accurate(result):
                result = result._replace(problem="")  # `tol` was not needed
            return result._replace(n_evaluations=used)

        has_rule = has_quadrature(manifold)
        tried = has_rule and (d == 1 or (d == 2 and not is_expensive(proposal)))
        if tried:
            result = run(QuadratureNormalizer())
            if self._is_accurate(result) or result.value == math.inf:
                return result

        result = run(ImportanceNormalizer(FIRST_SAMPLES))
        if not math.isfinite(result.value):  # a path could not begin there either
            return result
        n = math.ceil(1.2 * FIRST_SAMPLES * self._work_factor(result))
        if not result.problem and FIRST_SAMPLES < n <= self.max_evaluations // 4:
            result = run(ImportanceNormalizer(n))
        if not result.problem and self._is_accurate(result):
            return result

        if d <= 3 and has_rule and not tried:
            result = run(QuadratureNormalizer())
            if self._is_accurate(result) or result.value == math.inf:
                return result

        chains, transitions = FIRST_CHAINS, 1
        for _ in range(MAX_ROUNDS):
            before = used
            result = run(AnnealedNormalizer(chains, n_transitions=transitions))
            if not result.problem and self._is_accurate(result):
                break
            factor = min(1.2 * self._work_factor(result), MAX_FACTOR)
            if result.problem:  # heavy weights: the chains lag behind the path
                factor = max(factor, 2.0)
                transitions *= 2
                chains = math.ceil(chains * factor / 2)
            else:
                chains = math.ceil(chains * factor)
            if used + (used - before) * factor > self.max_evaluations:
                break
        return result

    def _is_accurate(self, result: LogNormalizer) -> bool:
        return math.isfinite(result.value) and (
            result.std_error <= self.target_std_error
        )

    def _work_factor(self, result: LogNormalizer) -> float:
        """Return by how much work must grow for the error to fall to the target."""
        factor = (result.std_error / self.target_std_error) ** 2
        return factor if math.isfinite(factor) else MAX_FACTOR
