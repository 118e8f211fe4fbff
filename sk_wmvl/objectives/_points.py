"""Objectives whose sampler moves points of a manifold itself, eqs. (17) and (18)."""

from typing import TypeVar

from sklearn.base import clone
from torch import Tensor, nn

from sk_wmvl._component import BaseComponent
from sk_wmvl.energies import BaseEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers import BaseSampler, LocalRiemannianLangevin, RiemannianLangevin

__all__ = ["PointEnergy", "moves_points", "place_sampler"]

T = TypeVar("T", bound=BaseComponent)

MANIFOLD_SAMPLERS = (RiemannianLangevin, LocalRiemannianLangevin)


def moves_points(objective: BaseComponent) -> bool:
    """Return whether the sampler of an objective moves points of a manifold."""
    return isinstance(getattr(objective, "sampler", None), MANIFOLD_SAMPLERS)


def place_sampler(objective: T, manifold: BaseManifold) -> T:
    """Return an objective whose sampler moves points of a manifold.

    Parameters
    ----------
    objective : BaseObjective
    manifold : BaseManifold
        With its dimension known.

    Returns
    -------
    objective : BaseObjective
        A copy with the manifold, or the same object if its sampler needs none.

    Raises
    ------
    ValueError
        If the sampler has another manifold already.
    """
    if not moves_points(objective):
        return objective
    sampler: BaseSampler = objective.sampler
    own = sampler.get_params()["manifold"]
    if own is not None and not _agrees(own, manifold):
        raise ValueError(
            f"The sampler of {objective!r} is for {own!r}, and the rows are on "
            f"{manifold!r}. Leave out the manifold of the sampler, "
            f"{type(sampler).__name__}(step_size={sampler.step_size!r}), or give both the "
            "same."
        )
    return clone(objective).set_params(sampler__manifold=manifold)


def _agrees(own: BaseManifold, manifold: BaseManifold) -> bool:
    """Return whether two manifolds have equal parameters, but for those still unknown."""
    other = manifold.get_params(deep=False)
    return type(own) is type(manifold) and all(
        value is None or repr(value) == repr(other[name])
        for name, value in own.get_params(deep=False).items()
    )


class PointEnergy(BaseEnergy):
    r"""A correction near rows of a manifold, with the base measure as a linear function.

    .. math:: E(y) - \langle\nabla\log q_0(x), u\rangle, \qquad
              y = \mathrm{retract}(x, u),

    for a row x and a point y near it. At y = x it has the derivative of the whole energy,
    and its Laplacian lacks :math:`\Delta\log q_0`, as in `TangentSpaceEnergy`. Here,
    however, the argument is a point, so that any sampler on the manifold can move it.

    Parameters
    ----------
    energy : Module
        The correction. It maps points of shape (n, d) to energies of shape (n,).
    manifold : BaseManifold
        With its dimension known.
    x : Tensor of shape (n, d)
        Rows; held constant.
    base_grad : Tensor of shape (n, d)
        Derivatives of the base measure's log density at the rows.
    """

    def __init__(
        self, energy: nn.Module, manifold: BaseManifold, x: Tensor, base_grad: Tensor
    ):
        super().__init__()
        self.energy = energy
        self.manifold = manifold
        self.x = x.detach()
        self.base_grad = base_grad

    def displacement(self, y: Tensor) -> Tensor:
        """Return the tangent vectors u, of shape (r n, d), up to terms of third order.

        Not the manifold's `log`, which some manifolds lack, and which has period 2π.
        """
        x = self._repeated(self.x, y)
        u = self.manifold.to_tangent(x, y - x)
        # A retraction differs from x + u in the second order; what it misses is added.
        missing = y - self.manifold.retract(x, u)
        return u + self.manifold.to_tangent(x, missing)

    def forward(self, y: Tensor) -> Tensor:
        """Return the energies, of shape (r n,), at r points near each of the n rows."""
        grad = self._repeated(self.base_grad, y)
        return self.energy(y) - (grad * self.displacement(y)).sum(-1)

    def _repeated(self, rows: Tensor, y: Tensor) -> Tensor:
        """Return rows as often as there are points near each."""
        return rows if len(y) == len(rows) else rows.repeat(len(y) // len(rows), 1)
