"""Annealed importance sampling: log Z along a path from the proposal to the model."""

import torch
from torch import Tensor, nn

from sk_wmvl._component import resolve
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers._base import BaseNormalizer, CountedEnergy, LogNormalizer
from sk_wmvl.normalizers.importance import summarize_weights
from sk_wmvl.samplers import SAMPLERS, BaseSampler, State, evaluate
from sk_wmvl.samplers.annealing import AnnealedPath, anneal
from sk_wmvl.samplers.geodesic_hmc import make_hmc
from sk_wmvl.samplers.pilot import HalvingStages, plan_path

__all__ = ["AnnealedNormalizer"]

N_PILOT = 128  # chains of the pilot run


class GeometricPath(AnnealedPath):
    r"""The path :math:`E_t = (1 - t) E_0 + t E` from :math:`E_0 = -\log p` to a model.

    Parameters
    ----------
    energy : Module
        The model's energy E.
    proposal : Module
        The density p, with ``log_prob``.
    """

    def __init__(self, energy: nn.Module, proposal: nn.Module):
        super().__init__(proposal)
        self.energy = energy

    def forward(self, x: Tensor) -> Tensor:
        r"""Return :math:`E_t(x)` of shape (n,)."""
        start = self.start(x)
        return start + self.t * (self.energy(x) - start)

    def split(self, x: Tensor, state: State | None = None) -> tuple[State, State]:
        """Evaluate both ends of the path; see `AnnealedPath.split`.

        The model's energy is not recovered from the state on the way: the first stop may be
        at t = 1e-12, where its part would be lost in rounding.
        """
        start = evaluate(self.start, x)
        end = state if state is not None and self.t == 1 else evaluate(self.energy, x)
        return start, State(x, end.energy - start.energy, end.grad - start.grad)


class AnnealedNormalizer(BaseNormalizer):
    r"""Carry draws of the proposal to the model, and average the weights they collect.

    Along :math:`q_t \propto p^{1-t} e^{-tE}` from t = 0 to t = 1 each chain collects

    .. math:: \log w = \sum_k (t_k - t_{k-1})
              \bigl[-E(x_{k-1}) - \log p(x_{k-1})\bigr],

    where :math:`x_0 \sim p` and :math:`x_k` follows from :math:`x_{k-1}` by transitions
    that leave :math:`q_{t_k}` invariant. The mean of w is unbiased for Z.

    A pilot run of 128 draws finds the temperatures. The draws advance by stages that halve
    their effective sample size. At each stage they are resampled and moved, and the step
    size of the sampler is tuned. The temperatures are then placed at equal thermodynamic
    length, and step sizes in between are interpolated. Both are fixed before the real run,
    whose noise is independent of the pilot's, so that the mean stays unbiased.

    Parameters
    ----------
    n_chains : int, default=512
        Number of independent weights, at least 100. The error falls like its inverse
        square root.
    n_temperatures : int, default=None
        Stops on the path. The variance of log w falls like its inverse. None is four times
        the squared thermodynamic length that the pilot measures, from 8 to 1000.
    sampler : {'hmc', 'mala'} or BaseSampler, default=None
        The transition, with a Metropolis test. Its step size is only a first guess. None is
        `HMC` in Euclidean space and `GeodesicHMC` on a manifold, with two leapfrog steps.
        (Of one, two, three, five and ten steps, two gave about the most effective draws per
        gradient on three Gaussian targets.) On a manifold it must be a sampler of that
        manifold.
    n_transitions : int, default=1
        Moves at each temperature.

    See Also
    --------
    ImportanceNormalizer : The same in a single step.

    Notes
    -----
    The error is corrected for the tail of the weights as in importance sampling. Modes that
    no chain enters go unnoticed, as with any sampler.

    References
    ----------
    [Neal2001]_, [Gelman1998]_

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.normalizers import AnnealedNormalizer
    >>> energy = lambda x: 50 * ((x - 1) ** 2).sum(-1)  # standard deviation 0.1
    >>> proposal = GaussianBase(np.zeros(5), np.eye(5))
    >>> g = torch.Generator().manual_seed(0)
    >>> z = AnnealedNormalizer().log_normalizer(energy, proposal, generator=g)
    >>> abs(z.value - 2.5 * math.log(2 * math.pi / 100)) < 4 * z.std_error < 0.5
    True
    """

    def __init__(
        self,
        n_chains: int = 512,
        n_temperatures: int | None = None,
        *,
        sampler: BaseSampler | str | None = None,
        n_transitions: int = 1,
    ):
        self.n_chains = n_chains
        self.n_temperatures = n_temperatures
        self.sampler = sampler
        self.n_transitions = n_transitions

    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z; see `BaseNormalizer.estimate`."""
        self._check()
        counted = CountedEnergy(energy)
        path = GeometricPath(counted, proposal)
        if self.sampler is None:
            sampler: BaseSampler = make_hmc(manifold, n_leapfrog=2)
        else:
            sampler = resolve(self.sampler, SAMPLERS, BaseSampler, name="sampler")
        plan = plan_path(
            path,
            proposal.sample(N_PILOT, generator=generator),
            sampler,
            HalvingStages(),
            n_temperatures=self.n_temperatures,
            generator=generator,
        )
        log_weights, _ = anneal(
            path,
            proposal.sample(self.n_chains, generator=generator),
            plan,
            sampler,
            n_transitions=self.n_transitions,
            generator=generator,
        )
        return summarize_weights(log_weights, counted.n_evaluations, "annealed")

    def _check(self) -> None:
        least = {"n_chains": 100, "n_temperatures": 1, "n_transitions": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None and name == "n_temperatures":
                continue
            if not (isinstance(value, int) and value >= bound):
                raise ValueError(
                    f"{name} of AnnealedNormalizer must be an integer >= {bound}; got "
                    f"{value!r}."
                )
