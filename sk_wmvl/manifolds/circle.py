"""The circle: one angle, or a unit vector of the plane."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._angles import Angles, wrap
from sk_wmvl.manifolds._border import (
    check_columns,
    check_finite,
    form_of_width,
    unit_rows,
    width_of_form,
)

__all__ = ["Circle"]

FORMS = {"angle": 1, "vector": 2}


class Circle(Angles):
    r"""The circle :math:`S^1`, with the arc length in radians as its measure.

    Rows are angles in radians (any real numbers) or unit vectors of two columns. Points
    are angles in :math:`[-\pi, \pi)` either way, and results are returned in the form of
    the rows.

    Parameters
    ----------
    coordinates : {"angle", "vector"} or None, default=None
        The form of the rows; None infers it from the number of columns.
    project : bool, default=False
        Whether to scale vectors to unit length. A zero vector has no direction and is an
        error in any case.

    Warns
    -----
    UserWarning
        If the angles span more than four turns, since they may be degrees. Estimators call
        `warn_of_units` once in each fit.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Circle
    >>> north = Circle("vector").from_user(torch.tensor([[0.0, 1.0]]))
    >>> north  # pi / 2
    tensor([[1.5708]])
    >>> Circle("vector").dist(north, torch.tensor([[-1.5708]])).round(decimals=3)
    tensor([3.1420])
    """

    dim: int | None = 1
    columns_hint: ClassVar[str] = (
        "a point of the circle has one column, its angle in radians, or two, a unit vector"
    )

    def __init__(self, coordinates: str | None = None, *, project: bool = False):
        self.coordinates = coordinates
        self.project = project

    @property
    def n_columns(self) -> int:
        """One for angles, two for vectors."""
        return width_of_form(self, FORMS, self.coordinates)

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        form = form_of_width(self, FORMS, self.coordinates, n_columns)
        return self._resized(coordinates=form)

    def from_user(self, x: Tensor) -> Tensor:
        """Return angles in [-π, π), of shape (n, 1); see `BaseManifold.from_user`."""
        check_columns(self, x.shape[1], x.shape[1] == self.n_columns)
        if self.n_columns == 1:
            check_finite(self, x)
            return wrap(x)
        rows = unit_rows(self, x, project=self.project)
        return wrap(torch.atan2(rows[:, 1:], rows[:, :1]))

    def warn_of_units(self, x: Tensor) -> None:
        """Warn of degrees; see `BaseManifold.warn_of_units`."""
        if self.n_columns == 1:
            self._warn_of_degrees(x)

    def to_user(self, x: Tensor) -> Tensor:
        """Return angles, or unit vectors of shape (n, 2)."""
        return x if self.n_columns == 1 else torch.cat([x.cos(), x.sin()], -1)

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return velocities of the angles, or of the unit vectors."""
        return u if self.n_columns == 1 else u * torch.cat([-x.sin(), x.cos()], -1)
