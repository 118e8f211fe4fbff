r"""What an exponential family must offer: statistics, and what its parameters mean.

Its energy :math:`E(x) = -\theta^\top T(x)` is linear in the parameters, so that score
matching is least squares: solved, not descended.
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

# Weights of the penalty to choose from, a third of a decade apart.
ALPHAS = tuple(10 ** (k / 3) for k in range(-24, 4))


def embed(manifold: BaseManifold, x: Tensor) -> Tensor:
    """Return coordinates of a Euclidean space in which the manifold lies.

    The features of the manifold, but of angles the first cosine and sine alone.
    """
    if isinstance(manifold, Circle | Torus):
        return torch.cat([x.cos(), x.sin()], -1)
    return manifold.features(x)


class LinearEnergy(BaseEnergy, ABC):
    r"""An energy :math:`E(x) = -\theta^\top T(x)`, in float64.

    Attributes
    ----------
    coefficients : Tensor of shape (k,)
        The natural parameters :math:`\theta`; zero until they are solved for.
    """

    coefficients: Tensor

    def __init__(self, n_statistics: int):
        super().__init__()
        zeros = torch.zeros(n_statistics, dtype=torch.float64)
        self.register_buffer("coefficients", zeros)

    @abstractmethod
    def statistics(self, x: Tensor) -> Tensor:
        """Return T at points of shape (n, d): a tensor of shape (n, k)."""

    def derivatives(self, manifold: BaseManifold, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tangent gradients (n, m, k) and Laplacians (n, k) of T, without graph.

        See `tangent_derivatives`.
        """
        return tangent_derivatives(self.statistics, manifold, x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return -(self.statistics(x) @ self.coefficients)


class Candidate(NamedTuple):
    r"""Statistics to try, and how to measure their combinations.

    Attributes
    ----------
    energy : LinearEnergy
        Of k statistics.
    penalty : Tensor of shape (k, k) or None
        The matrix R of the penalty :math:`\frac12\alpha\,\theta^\top R\theta`, positive
        semidefinite: its null vectors are functions that are zero. None for no penalty.
    """

    energy: LinearEnergy
    penalty: Tensor | None


class ExponentialFamily(BaseComponent, ABC):
    r"""A family of densities :math:`q(x) \propto q_0(x)\,e^{\theta^\top T(x)}`.

    A parameter object: what is fitted is the `LinearEnergy` that it makes for the data.

    Attributes
    ----------
    takes_base : bool
        Whether it corrects a base measure :math:`q_0`. If not, densities are with respect
        to the volume, and the estimator's base measure only proposes draws.
    robustness : float
        The power c of Windham's weights; zero for none. Families of densities have it as
        a parameter.
    """

    takes_base: ClassVar[bool] = False
    robustness: float = 0.0

    @abstractmethod
    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> Iterable[Candidate]:
        """Return statistics to choose from by leaving rows out.

        Parameters
        ----------
        manifold : BaseManifold
            With its dimension known.
        x : Tensor of shape (n, d)
            Distinct points, in internal coordinates.
        weight : Tensor of shape (n,)
            Positive, summing to one.
        seed : int
            Seed of what is drawn.

        Raises
        ------
        ValueError
            If the family is not defined on the manifold.
        """

    def alphas(self) -> tuple[float, ...]:
        """Return weights of the penalty to choose from; zero alone for none."""
        return (0.0,)

    def check(self, theta: Tensor) -> None:
        """Raise ValueError if parameters of shape (k,) belong to no density."""

    def law(self, theta: Tensor) -> BaseMeasure | None:
        """Return the density of parameters of shape (k,), where it is known in closed form.

        It is what the normalizer draws from then, and finds log Z without an error.
        """
        del theta
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
            Where the family lives.
        coordinates : Coordinates
            The map from internal coordinates to the users'.

        Returns
        -------
        parameters : dict of str to Tensor of shape (n, ...)
            In the users' units where that has a meaning; empty if nothing has a name.
        """
        del theta, manifold, coordinates
        return {}


def check_robustness(family: ExponentialFamily) -> None:
    """Raise ValueError unless the power of the weights is a number of at least zero."""
    c = family.robustness
    number = isinstance(c, Real) and not isinstance(c, bool)
    if not (number and 0 <= c < math.inf):
        raise ValueError(
            f"robustness of {type(family).__name__} must be a number >= 0, the power of "
            f"the density by which rows are weighted; got {c!r}."
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
