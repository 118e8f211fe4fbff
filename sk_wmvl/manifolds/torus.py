"""The flat torus: several angles."""

from typing import ClassVar, Self

from torch import Tensor

from sk_wmvl.manifolds._angles import Angles, wrap
from sk_wmvl.manifolds._border import check_columns, check_finite

__all__ = ["Torus"]


class Torus(Angles):
    r"""The flat torus :math:`T^m`: m angles in radians, with Lebesgue measure.

    Rows hold any real numbers; they are taken modulo 2π.

    Parameters
    ----------
    dim : int or None, default=None
        The number m of angles; None takes it from the data.

    Warns
    -----
    UserWarning
        If the angles span more than four turns, since they may be degrees. Estimators call
        `warn_of_units` once in each fit.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Torus
    >>> Torus(1).dist(torch.tensor([[0.1]]), torch.tensor([[6.2]]))  # 2 pi - 6.1
    tensor([0.1832])
    """

    columns_hint: ClassVar[str] = "it has one column per angle"

    def __init__(self, dim: int | None = None):
        self.dim = dim

    @property
    def n_columns(self) -> int:
        """The number of angles."""
        return self._known_dim()

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(self, n_columns, self.dim in (None, n_columns))
        return self._resized(dim=n_columns)

    def from_user(self, x: Tensor) -> Tensor:
        """Return angles in [-π, π); see `BaseManifold.from_user`."""
        check_finite(self, x)
        return wrap(x)

    def warn_of_units(self, x: Tensor) -> None:
        """Warn of degrees; see `BaseManifold.warn_of_units`."""
        self._warn_of_degrees(x)
