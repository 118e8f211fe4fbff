"""Objectives on a manifold: the Euclidean ones, in the tangent spaces of the rows."""

import torch
from torch import Tensor, nn

from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives._base import (
    BaseObjective,
    check_tangent_space,
    on_manifold,
)
from sk_wmvl.objectives._points import place_sampler
from sk_wmvl.objectives._proposal_based import BaseProposalObjective

__all__ = ["RiemannianObjective"]


class RiemannianObjective(BaseObjective):
    r"""Any objective for Euclidean space, in its Riemannian form.

    The objective is evaluated at the origin of the tangent space of each row, on the
    energy seen from there (`TangentSpaceEnergy`). If its sampler moves points of the
    manifold, it is evaluated at the rows themselves. In expectation, up to terms that
    vanish with its step and a constant free of the parameters, it is Riemannian score
    matching,

    .. math:: \tfrac12\|\mathrm{grad}\,E\|_g^2 - \Delta E,

    with the gradient and the Laplace-Beltrami operator of the metric; the density
    is with respect to the Riemannian volume. Euclidean space changes nothing.

    Parameters
    ----------
    objective : BaseObjective
        The Euclidean objective: minimum velocity with `Langevin`, (sliced,
        finite-difference, denoising) score matching, contrastive divergence or minimum
        probability flow.
    manifold : BaseManifold
        The manifold, with its dimension known.

    See Also
    --------
    sk_wmvl.samplers.RiemannianLangevin : The step that `Langevin` becomes.
    sk_wmvl.samplers.LocalRiemannianLangevin : The step in local coordinates, eq. (18).

    Notes
    -----
    `sigma` is in units of geodesic length and `step_size` in squared ones. A frame of k
    coordinates on a manifold of dimension m < k ignores what is normal to it. Some
    objectives count dimensions: the exact Laplacian, and denoising without its control
    variate, whose constant is :math:`m/2\sigma^2`. They use the m coordinates of
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

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
        base_grad: Tensor | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`.

        With `base_grad` the energy is the correction of a base measure; see
        `TangentSpaceEnergy`.
        """
        objective = place_sampler(self.objective, self.manifold)
        if isinstance(self.manifold, Euclidean) and base_grad is None:
            return objective(energy, x, generator=generator)
        if isinstance(self.objective, BaseProposalObjective):
            raise ValueError(
                f"{self.objective!r} compares densities at points, on every manifold, and "
                "has no other Riemannian form. Call it as it is, with the manifold."
            )
        check_tangent_space(self.objective)
        return on_manifold(
            objective,
            energy,
            x,
            self.manifold,
            base_grad=base_grad,
            generator=generator,
        )
