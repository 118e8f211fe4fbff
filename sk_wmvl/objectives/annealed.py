"""Score matching in space and noise level together: it sees the weights of modes."""

import copy
import math
from collections.abc import Callable

import torch
from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl._autodiff import joint_grad
from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.energies import AnnealedEnergy, LevelEnergy
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives._base import (
    BaseObjective,
    BaseProblem,
    Batch,
    TrainableEnergy,
)
from sk_wmvl.objectives._noise import add_noise

__all__ = ["AnnealedScoreMatching"]

# To choose weights by: fixed noise levels of a held-out row, and rows at a time.
LEVELS_PER_ROW, MONITOR_CHUNK = 8, 64

FORMS = ("conditional", "implicit")


class AnnealedScoreMatching(BaseObjective):
    r"""Score matching of a path of densities, in the point and the noise level.

    Let :math:`x_t` be a row with noise :math:`\sigma(t) = \sigma_0^{1-t}\sigma_1^t` and
    t uniform on [0, 1]. One energy :math:`E(x, t)` is fitted to the joint density
    :math:`p_t(x)` of both, by the Fisher divergence. In its metric a step of
    :math:`\sigma` in space and a step of :math:`1/\log(\sigma_1/\sigma_0) = 1/\ell` in
    the noise level t have unit length,

    .. math:: \tfrac12\,\mathbb{E}\Bigl[\sigma^2\|\nabla(E + \log p_t)\|^2
        + c\,\ell^{-2}\,\bigl(\partial_t(E + \log p_t)\bigr)^2\Bigr].

    The model is :math:`E(\cdot, 0)`: the data, blurred by :math:`\sigma_0`. Score matching
    at one noise level cannot see the weights of separated modes. Here the modes meet at
    high noise levels, and the derivative in t carries their weights to lower ones. It
    carries the normalising constant too: :math:`\int e^{-E(x,t)}dx` is the same for all t,
    and easy to compute at t = 1.

    Two forms have the same minimum. In the *conditional* form the noise has a known
    transition density: Gaussian, von Mises, von Mises-Fisher or wrapped normal. The
    derivatives of E are regressed on those of its log, which needs no second derivative
    [Vincent2011]_, [Choi2022]_. The *implicit* form takes any diffusion of the points. Its
    objective is minimum velocity [Wang2020]_ of the Langevin dynamics in (x, t). The
    diffusion matrix is :math:`\mathrm{diag}(\sigma^2, c\,\ell^{-2} w)` with
    :math:`w = 4t(1-t)`, which vanishes at both ends, so that no boundary terms arise.

    Parameters
    ----------
    sigma_min, sigma_max : float, default=0.05, 3.0
        The noise at the noise levels 0 and 1, in internal (whitened) units of Euclidean
        columns and in geodesic lengths elsewhere. The model is blurred by `sigma_min`. At
        `sigma_max` the data should have one mode.
    level_weight : float, default=1.0
        The weight c of the derivative in the noise level.
    form : {'conditional', 'implicit'}, default='conditional'
        See above.
    pooled : bool, default=True
        Whether the conditional form regresses on the mean over all rows of the batch that
        a noised point can have come from, given where it is. The expectation is the same
        and the variance is less. The rows of a batch are then coupled, and `sample_weight`
        is refused.
    epsilon : float, default=1e-4
        The step of the implicit form.
    manifold : BaseManifold or None, default=None
        Where the points live; None is Euclidean space. An estimator sets it.

    See Also
    --------
    sk_wmvl.energies.LevelEnergy : The energy it trains.

    References
    ----------
    [Wang2020]_, [Vincent2011]_, [Choi2022]_

    Examples
    --------
    The exact energy of a standard normal with noise; one value for each row.

    >>> import torch
    >>> from sk_wmvl.objectives import AnnealedScoreMatching
    >>> objective = AnnealedScoreMatching()
    >>> def energy(x, t):
    ...     variance = 1 + objective.sigma(t) ** 2
    ...     return 0.5 * (x**2).sum(1) / variance + 0.5 * variance.log()
    >>> g = torch.Generator().manual_seed(0)
    >>> objective(energy, torch.randn(1000, 1, generator=g), generator=g).shape
    torch.Size([1000])
    """

    def __init__(
        self,
        sigma_min: float = 0.05,
        sigma_max: float = 3.0,
        *,
        level_weight: float = 1.0,
        form: str = "conditional",
        pooled: bool = True,
        epsilon: float = 1e-4,
        manifold: BaseManifold | None = None,
    ):
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.level_weight = level_weight
        self.form = form
        self.pooled = pooled
        self.epsilon = epsilon
        self.manifold = manifold

    def couples_rows(self) -> bool:
        """Return whether the value of a row depends on the others."""
        return self.pooled and self.form == "conditional"

    def problem(
        self,
        manifold: BaseManifold,
        base: BaseMeasure | None = None,
        proposal: BaseMeasure | None = None,
    ) -> BaseProblem:
        """Return the training problem; see `BaseObjective.problem`."""
        here = clone(self).set_params(manifold=manifold)
        return NoiseLevelProblem(here, manifold, base, proposal)

    @property
    def sigmas(self) -> tuple[float, float]:
        """The noise at the noise levels 0 and 1, checked."""
        check_positive(self, sigma_min=self.sigma_min)
        if not self.sigma_max > self.sigma_min:
            raise ValueError(
                f"AnnealedScoreMatching: sigma_max must exceed sigma_min; got "
                f"{self.sigma_max!r} and {self.sigma_min!r}."
            )
        return self.sigma_min, self.sigma_max

    def sigma(self, t: Tensor) -> Tensor:
        """Return the noise at noise levels t, of their shape."""
        low, high = self.sigmas
        return low * (high / low) ** t

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) and noise levels of shape (n,) to energies (n,).
        x : Tensor of shape (n, d)
            Rows.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.

        Returns
        -------
        loss : Tensor of shape (n,)
        """
        check_positive(self, epsilon=self.epsilon, level_weight=self.level_weight)
        if self.form not in FORMS:
            raise ValueError(
                f"AnnealedScoreMatching: form must be one of {FORMS}; got {self.form!r}."
            )
        manifold = self.manifold or Euclidean(x.shape[1])
        n = len(x)
        # Stratified: each batch has all noise levels.
        jitter = torch.rand(n, generator=generator)
        order = torch.randperm(n, generator=generator)
        t = ((order + jitter) / n).to(x)
        form = self._conditional if self.form == "conditional" else self._implicit
        return form(energy, manifold, x.detach(), t, generator)

    def _conditional(self, energy, manifold, x, t, generator) -> Tensor:
        noised = add_noise(manifold, x, self.sigma(t), generator, pooled=self.pooled)
        t = t.repeat(2)
        _, grad, slope = joint_grad(
            energy, noised.x, t, create_graph=torch.is_grad_enabled()
        )
        off = manifold.egrad2rgrad(noised.x, grad + noised.grad)
        space = self.sigma(t).square() * manifold.inner(noised.x, off, off)
        span = math.log(self.sigma_max / self.sigma_min)
        level = (slope / span + noised.level).square()
        value = 0.5 * (space + self.level_weight * level)
        return value.view(2, -1).mean(0)

    def _implicit(self, energy, manifold, x, t, generator) -> Tensor:
        sigma, epsilon = self.sigma(t), self.epsilon
        x = manifold.diffuse(x, sigma, generator=generator).detach()
        value, grad, slope = joint_grad(
            energy, x, t, retain_graph=torch.is_grad_enabled()
        )
        # One antithetic step of the dynamics in the point and the noise level, aimed at q
        # itself and held constant, as in DetachedMinimumVelocity.
        rate = self.level_weight / math.log(self.sigma_max / self.sigma_min) ** 2
        w, dw = rate * 4 * t * (1 - t), rate * 4 * (1 - 2 * t)
        u = manifold.egrad2rgrad(x, grad)
        speed = 0.5 * (sigma.square() * manifold.inner(x, u, u) + w * slope.square())
        drift = -epsilon * sigma.square()[:, None] * u
        scale = (2 * epsilon) ** 0.5
        noise = manifold.random_tangent(x, generator=generator)
        noise = scale * sigma[:, None] * noise
        t_drift = epsilon * (dw - w * slope)
        t_noise = scale * w.clamp(min=0).sqrt() * randn_like(t, generator)
        both = energy(
            manifold.retract(
                x.repeat(2, 1), torch.cat([drift + noise, drift - noise])
            ).detach(),
            torch.cat([t + t_drift + t_noise, t + t_drift - t_noise]).detach(),
        )
        difference = value - both.view(2, -1).mean(0)
        return difference / epsilon - speed


class NoiseLevelProblem(BaseProblem):
    """An energy of points and noise levels.

    Weights are chosen by the objective itself, on the same noise at each epoch. The score
    at one noise level does not show how good the energy is at the others.
    """

    objective: AnnealedScoreMatching

    def make_correction(
        self,
        make_network: Callable[[int, float | None], nn.Module],
        *,
        radius: float | None,
        generator: torch.Generator,
    ) -> nn.Module:
        """Return the untrained correction, which clips its features by itself."""
        network = make_network(LevelEnergy.n_inputs(self.manifold), None)
        return LevelEnergy(
            network,
            self.manifold,
            self.objective.sigmas,
            radius=radius,
            generator=generator,
        )

    def make_energy(self, correction: nn.Module) -> TrainableEnergy:
        """Return the energy to train: a correction of the base at all noise levels."""
        return AnnealedEnergy(correction, copy.deepcopy(self.base))

    def loss(
        self, energy: TrainableEnergy, batch: Batch, *, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of each row of a batch, (n,)."""
        return self.objective(energy, batch.x, generator=generator)

    @torch.no_grad()
    def monitor(self, energy: TrainableEnergy, rows: Batch, *, seed: int) -> Tensor:
        """Return the objective on fixed noise, (n,), averaged over eight noise levels."""
        generator = torch.Generator().manual_seed(seed)
        values = []
        for x in rows.x.split(MONITOR_CHUNK):
            repeated = x.repeat(LEVELS_PER_ROW, 1)
            value = self.objective(energy, repeated, generator=generator)
            values.append(value.view(LEVELS_PER_ROW, -1).mean(0))
        return torch.cat(values)
