r"""What an exponential family offers: statistics, and the meaning of its parameters.

The energy :math:`E(x) = -\theta^\top T(x)` is linear in the parameters, so score matching
is a least-squares problem with a closed form.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Real
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sk_wmvl._component import BaseComponent
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.energies.tangent_space import tangent_derivatives
from sk_wmvl.manifolds import BaseManifold, Circle, Torus

__all__ = [
    "ALPHAS",
    "Candidate",
    "ExponentialFamily",
    "LinearEnergy",
    "check_alpha",
    "check_robustness",
    "embed",
]

# Weights of the penalty for alpha="auto", a third of a decade apart.
ALPHAS = tuple(10 ** (k / 3) for k in range(-24, 4))


def embed(manifold: BaseManifold, x: Tensor) -> Tensor:
    """Return points as vectors of a Euclidean space that contains the manifold.

    These are the manifold's features. Angles have the first cosine and sine only.
    """
    if isinstance(manifold, Circle | Torus):
        return torch.cat([x.cos(), x.sin()], -1)
    return manifold.features(x)


class LinearEnergy(BaseEnergy, ABC):
    r"""An energy :math:`E(x) = -\theta^\top T(x)`, in float64.

    Attributes
    ----------
    coefficients : Tensor of shape (k,)
        The natural parameters :math:`\theta`, zero before the fit.
    """

    coefficients: Tensor

    def __init__(self, n_statistics: int):
        super().__init__()
        zeros = torch.zeros(n_statistics, dtype=torch.float64)
        self.register_buffer("coefficients", zeros)

    @abstractmethod
    def statistics(self, x: Tensor) -> Tensor:
        """Return T of shape (n, k) at points of shape (n, d)."""

    def derivatives(self, manifold: BaseManifold, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tangent gradients (n, m, k) and Laplacians (n, k) of T, without a graph.

        See `tangent_derivatives`.
        """
        return tangent_derivatives(self.statistics, manifold, x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return -(self.statistics(x) @ self.coefficients)


class Candidate(NamedTuple):
    r"""A set of statistics, with the penalty on their combinations.

    Attributes
    ----------
    energy : LinearEnergy
        The energy of k statistics.
    penalty : Tensor of shape (k, k) or None
        The positive semidefinite matrix R of the penalty
        :math:`\frac12\alpha\,\theta^\top R\theta`. Its null vectors are combinations that
        vanish everywhere. None means no penalty.
    """

    energy: LinearEnergy
    penalty: Tensor | None


class ExponentialFamily(BaseComponent, ABC):
    r"""A family of densities :math:`q(x) \propto q_0(x)\,e^{\theta^\top T(x)}`.

    It is a parameter object. The `LinearEnergy` that it makes for the data is fitted.

    Attributes
    ----------
    takes_base : bool
        Whether the family corrects a base measure :math:`q_0`. If False, densities are
        with respect to the volume, and the estimator's base measure is only a proposal.
    robustness : float
        The power c of Windham's weights; zero means none. It is a parameter of the
        families that take no base measure.
    """

    takes_base: ClassVar[bool] = False
    robustness: float = 0.0

    @abstractmethod
    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> Iterable[Candidate]:
        """Return sets of statistics; the one with the best leave-one-out score is used.

        Parameters
        ----------
        manifold : BaseManifold
            A manifold whose dimension is known.
        x : Tensor of shape (n, d)
            Distinct points, in internal coordinates.
        weight : Tensor of shape (n,)
            Positive weights that sum to one.
        seed : int
            Seed of random choices.

        Raises
        ------
        ValueError
            If the family is not defined on the manifold.
        """

    def alphas(self) -> tuple[float, ...]:
        """Return the weights of the penalty to compare; (0.0,) means no penalty."""
        return (0.0,)

    def check(self, theta: Tensor) -> None:
        """Raise ValueError if no density has these parameters of shape (k,)."""

    def distribution(self, theta: Tensor, manifold: BaseManifold) -> BaseMeasure | None:
        """Return the normalized density of parameters of shape (k,), or None.

        The normalizer takes it as its proposal, so that log Z has no error. None means
        that it has no closed form.
        """
        del theta, manifold
        return None

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return the users' parameters as differentiable functions of the natural ones.

        Parameters
        ----------
        theta : Tensor of shape (n, k)
            Natural parameters in internal coordinates.
        manifold : BaseManifold
            The manifold of the family.
        coordinates : Coordinates
            The map from internal coordinates to the users'.

        Returns
        -------
        parameters : dict of str to Tensor of shape (n, ...)
            Parameters by name, in the users' units where they have units.
        """
        del theta, manifold, coordinates
        return {}


def check_robustness(family: ExponentialFamily) -> None:
    """Raise ValueError unless `robustness` is a finite number of at least zero."""
    c = family.robustness
    number = isinstance(c, Real) and not isinstance(c, bool)
    if not (number and 0 <= c < math.inf):
        raise ValueError(
            f"robustness of {type(family).__name__} must be a number >= 0, the power of "
            f"the density that weights the rows; got {c!r}."
        )


def check_alpha(family: ExponentialFamily, alpha: object, *, least: str) -> None:
    """Raise ValueError unless alpha is 'auto' or a number ``least`` (">= 0", "> 0")."""
    if isinstance(alpha, str) and alpha == "auto":
        return
    number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if not (number and (alpha > 0 or (alpha == 0 and least == ">= 0"))):
        raise ValueError(
            f"alpha of {type(family).__name__} must be a number {least} or 'auto', which "
            f"chooses it by leaving rows out; got {alpha!r}."
        )
