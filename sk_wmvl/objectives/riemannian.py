"""Objectives on a manifold: the Euclidean ones, on the lifted energy."""

import torch
from torch import Tensor, nn

from sk_wmvl.energies import LiftedEnergy, tangent_basis
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives._base import BaseObjective
from sk_wmvl.objectives._proposal_based import BaseGlobalObjective
from sk_wmvl.objectives.denoising import DenoisingScoreMatching
from sk_wmvl.objectives.score_matching import ScoreMatching
from sk_wmvl.samplers import Langevin

__all__ = ["RiemannianObjective"]


class RiemannianObjective(BaseObjective):
    r"""Any objective for Euclidean space, in its Riemannian form.

    The objective is evaluated at the origin of the tangent space of each datum, on the
    energy seen from there (`LiftedEnergy`). In expectation, up to terms that vanish with
    its step and a constant free of the parameters, it is Riemannian score matching,

    .. math:: \tfrac12\|\mathrm{grad}\,E\|_g^2 - \Delta E,

    with the gradient and the Laplace-Beltrami operator of the metric; the density
    is with respect to the Riemannian volume. Euclidean space changes nothing.

    Parameters
    ----------
    objective : BaseObjective
        What is evaluated: minimum velocity with `Langevin`, (sliced, finite-difference,
        denoising) score matching, contrastive divergence, minimum probability flow.
    manifold : BaseManifold
        The manifold, with its dimension known.

    See Also
    --------
    sk_wmvl.samplers.RiemannianLangevin : The step that `Langevin` becomes.
    sk_wmvl.samplers.LocalRiemannianLangevin : The step in local coordinates, eq. (18).

    Notes
    -----
    `step_size` and `sigma` are in (squared) units of geodesic length. A frame of k
    coordinates on a manifold of dimension m < k ignores what is normal to it. Where
    dimensions are counted - the exact Laplacian, and denoising without its control
    variate, whose constant is :math:`m/2\sigma^2` - the coordinates are those of
    `tangent_basis`.

    References
    ----------
    [Wang2020]_, [Mardia2016]_

    Examples
    --------
    A von Mises-Fisher energy on the sphere, :math:`E = -\kappa\mu^\top x`, has
    :math:`\frac12\kappa^2(1-t^2) - 2\kappa t` with :math:`t=\mu^\top x`.

    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.objectives import RiemannianObjective, ScoreMatching
    >>> energy = lambda x: -5 * x[:, 2]
    >>> x = torch.tensor([[0.6, 0.0, 0.8]])
    >>> RiemannianObjective(ScoreMatching(), Sphere(2))(energy, x).detach()  # 4.5 - 8
    tensor([-3.5000])
    """

    def __init__(self, objective: BaseObjective, manifold: BaseManifold):
        self.objective = objective
        self.manifold = manifold

    # computed here, a plain attribute in the base class
    @property
    def is_monitorable(self) -> bool:  # type: ignore[override]  # an attribute in the base
        """Whether the value of the objective inside is a loss."""
        return self.objective.is_monitorable

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
        base_grad: Tensor | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`.

        With `base_grad` the energy is the correction of a base measure; see `LiftedEnergy`.
        """
        if isinstance(self.manifold, Euclidean) and base_grad is None:
            return self.objective(energy, x, generator=generator)
        check_liftable(self.objective)
        basis = None
        if counts_dimensions(self.objective):
            basis = tangent_basis(self.manifold, x)
        lifted = LiftedEnergy(
            energy, self.manifold, x, basis=basis, base_grad=base_grad
        )
        return self.objective(lifted, lifted.origin(), generator=generator)


def counts_dimensions(objective: BaseObjective) -> bool:
    """Return whether an objective's cost or value depends on the number of coordinates."""
    if isinstance(objective, DenoisingScoreMatching):
        return not objective.control_variate
    return isinstance(objective, ScoreMatching)


def check_liftable(objective: BaseObjective) -> None:
    """Raise ValueError if an objective means nothing in the tangent space of one datum."""
    if isinstance(objective, BaseGlobalObjective):
        raise ValueError(
            f"{objective!r} compares densities at points, on a manifold as anywhere, and "
            "has no other Riemannian form. Call it as it is, with the manifold."
        )
    sampler = getattr(objective, "sampler", None)
    if sampler not in (None, "langevin") and not isinstance(sampler, Langevin):
        raise ValueError(
            f"sampler={sampler!r} cannot serve in a RiemannianObjective: every datum moves "
            "in a tangent space of its own, where Langevin() is the one sampler that "
            "knows all it needs. For a sampler of the manifold itself, such as "
            "RiemannianLangevin(manifold), use MinimumVelocity(sampler) as it is."
        )
    if objective.couples_rows:
        raise ValueError(
            f"{objective!r} cannot serve in a RiemannianObjective: its rows act on one "
            "another, and every datum has a tangent space of its own. Use "
            "DenoisingScoreMatching (objective='dsm'), which has the same expectation."
        )
