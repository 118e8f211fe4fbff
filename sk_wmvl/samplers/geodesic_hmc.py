"""Hamiltonian Monte Carlo on a manifold: free motion is along geodesics."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.samplers._base import BaseSampler, State, Transition
from sk_wmvl.samplers.hmc import HMC, check_trajectory, leapfrog, random_steps
from sk_wmvl.samplers.mala import MALA, metropolis

__all__ = ["GeodesicHMC", "make_hmc"]


class GeodesicHMC(BaseSampler):
    r"""Leapfrog trajectory along geodesics, with a Metropolis test.

    Velocities are drawn from :math:`N(0, G^{-1})` on the tangent space, and with
    :math:`H(x, u) = \beta E(x) + \frac12\|u\|_g^2` each of `n_leapfrog` steps is

    .. math::

        u \leftarrow u - \tfrac h2\beta\,\mathrm{grad}\,E(x), \qquad
        (x, u) \leftarrow \text{geodesic flow for a time } h, \qquad
        u \leftarrow u - \tfrac h2\beta\,\mathrm{grad}\,E(x).

    The end is accepted with probability :math:`\min(1, e^{H(x, u) - H(x', u')})`. Each part
    preserves volume and is undone by its reverse, so :math:`e^{-\beta E}`, with respect to
    the Riemannian volume, is invariant for every step size.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold, with its dimension known and with geodesics in closed form.
    step_size : float, default=0.1
        The leapfrog step h, a geodesic length (not squared).
    n_leapfrog : int, default=5
        Leapfrog steps, each one gradient. One step is the Riemannian `MALA`, with
        :math:`\epsilon = h^2/2`.
    jitter : float, default=0.2
        As in `HMC`. On a compact manifold, too, trajectories can return to their start.

    See Also
    --------
    HMC : Its case in Euclidean space.
    RiemannianLangevin : Without the test, and differentiable.

    Notes
    -----
    Rejection is not differentiable, so moves carry no graph. Every geodesic ends on the
    manifold, so that rounding errors do not add up. On folded spheres (compositions) chains
    run on the whole sphere, where the energy is even.

    Compare chains by ``rhat`` and ``ess_bulk`` of ``manifold.features(samples)``, which are
    functions of the *point*, and not by coordinates, which may jump. The sampler needs a
    manifold, so it has no name in `SAMPLERS`.

    References
    ----------
    [Byrne2013]_, [Neal2011]_

    Examples
    --------
    On the sphere the von Mises-Fisher distribution has mean resultant length
    :math:`\coth\kappa - 1/\kappa`, which is 0.672 for κ = 3.

    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.samplers import GeodesicHMC
    >>> energy = lambda x: -3 * x[:, 2]
    >>> g = torch.Generator().manual_seed(0)
    >>> start = Sphere(2).random_point(1000, generator=g)
    >>> sampler = GeodesicHMC(Sphere(2), 0.5)
    >>> chain = sampler.run(energy, start, n_steps=20, n_burn_in=5, generator=g)
    >>> round(chain.samples[:, :, 2].mean().item(), 1)
    0.7
    """

    is_differentiable: ClassVar[bool] = False

    def __init__(
        self,
        manifold: BaseManifold,
        step_size: float = 0.1,
        n_leapfrog: int = 5,
        *,
        jitter: float = 0.2,
    ):
        self.manifold = manifold
        self.step_size = step_size
        self.n_leapfrog = n_leapfrog
        self.jitter = jitter

    @property
    def target_accept(self) -> float:
        """The acceptance to aim for: of `MALA` for one leapfrog step, else of `HMC`."""
        return MALA.target_accept if self.n_leapfrog == 1 else HMC.target_accept

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Make one tested move; see `BaseSampler.step`."""
        del antithetic
        check_trajectory(self)
        manifold = self.manifold
        old = State(*(t.detach() for t in state))
        h = random_steps(old.x, self.step_size, self.jitter, generator)
        u = manifold.random_tangent(old.x, generator=generator)
        new, u_new, alive = leapfrog(
            energy,
            old,
            u,
            h,
            n_leapfrog=self.n_leapfrog,
            beta=beta,
            flow=self._flow,
            gradient=lambda state: manifold.egrad2rgrad(state.x, state.grad),
        )
        kinetic = 0.5 * manifold.inner(old.x, u, u)
        kinetic_new = 0.5 * manifold.inner(new.x, u_new, u_new)
        log_ratio = beta * (old.energy - new.energy) + kinetic - kinetic_new
        log_ratio = torch.where(alive, log_ratio, -torch.inf)
        moved, accept_prob = metropolis(old, new, log_ratio, generator)
        return Transition(
            moved.x, accept_prob=accept_prob, state=moved, step_size=h[:, 0]
        )

    def _flow(self, x: Tensor, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Follow the geodesics for a time h."""
        try:
            end, velocity = self.manifold.geodesic(x, h * u)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"GeodesicHMC follows geodesics, which {self.manifold!r} does not offer. "
                "Use RiemannianLangevin or LocalRiemannianLangevin with a small step."
            ) from error
        # Not `projection`: it may fold the point, and would leave the velocity unfolded.
        return end, self.manifold.to_tangent(end, velocity / h)


def make_hmc(manifold: BaseManifold | None, n_leapfrog: int = 5) -> HMC | GeodesicHMC:
    """Return Hamiltonian Monte Carlo for a manifold; None is Euclidean space."""
    if manifold is None or isinstance(manifold, Euclidean):
        return HMC(n_leapfrog=n_leapfrog)
    return GeodesicHMC(manifold, n_leapfrog=n_leapfrog)
