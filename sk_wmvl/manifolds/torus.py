"""The flat torus: several angles."""

import warnings
from typing import ClassVar, Self

from torch import Tensor

from sk_wmvl.manifolds._base import check_columns, check_finite
from sk_wmvl.manifolds._torus import TWO_PI, Angles, wrap

__all__ = ["Torus", "warn_of_degrees"]


def warn_of_degrees(owner: Angles, x: Tensor) -> None:
    """Warn if angles spread over many turns, as degrees read as radians do."""
    if len(x) and float(x.max() - x.min()) > 4 * TWO_PI:
        warnings.warn(
            f"{owner!r} takes radians, but the angles span {float(x.max() - x.min()):.4g}: "
            "are they degrees? Convert them with numpy.deg2rad.",
            UserWarning,
            stacklevel=2,
        )


class Torus(Angles):
    r"""The flat torus :math:`T^m`: m angles in radians, with Lebesgue measure.

    Rows hold any real numbers, which are taken modulo 2π.

    Parameters
    ----------
    dim : int or None, default=None
        The number m of angles; None takes it from the data.

    Warns
    -----
    UserWarning
        By `warn_of_units`, which estimators call once in each fit: if the angles span more
        than four turns, for they may be degrees.

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
        warn_of_degrees(self, x)
