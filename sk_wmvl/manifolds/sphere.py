"""The sphere: directions, as unit vectors."""

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._base import (
    BaseManifold,
    check_columns,
    check_defect,
    check_finite,
)
from sk_wmvl.manifolds._sphere import UnitVectors, sphere_quadrature

__all__ = ["Sphere", "unit_rows"]

TOLERANCE = 1e-6  # of the norm: rows printed with seven digits


def unit_rows(owner: BaseManifold, x: Tensor, *, scale: bool, remedy: str) -> Tensor:
    """Return rows at unit length, after a check that they have it or may be scaled.

    Raises
    ------
    ValueError
        If a row is zero, or, unless `scale`, not of unit length.
    """
    check_finite(owner, x)
    # In units of the largest entry: squares can neither overflow nor vanish.
    largest = x.abs().amax(-1, keepdim=True)
    zero = (largest == 0).squeeze(-1)
    if bool(zero.any()):
        row = int(zero.nonzero()[0])
        raise ValueError(
            f"Row {row} given to {owner!r} is zero and has no direction. Remove it, or "
            "model the length beside the direction with a Product."
        )
    norm = largest * torch.linalg.vector_norm(x / largest, dim=-1, keepdim=True)
    if not scale:
        defect = (norm.squeeze(-1) - 1).abs()
        check_defect(owner, defect, TOLERANCE, what="| |x| - 1 |", remedy=remedy)
    return x / norm


class Sphere(UnitVectors):
    r"""The unit sphere :math:`S^m` in :math:`\mathbb{R}^{m+1}`, with its surface measure.

    Rows are unit vectors of m + 1 columns.

    Parameters
    ----------
    dim : int or None, default=None
        The dimension m, at least 1; None takes it from the data.
    project : bool, default=False
        Whether rows that are not of unit length are scaled. A zero row has no direction
        and stays an error.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> x, y = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    >>> Sphere(2).dist(x, y)  # pi / 2
    tensor([1.5708])
    """

    columns_hint: ClassVar[str] = (
        "a unit vector of the m-sphere has m + 1 columns, at least 2"
    )

    def __init__(self, dim: int | None = None, *, project: bool = False):
        self.dim = dim
        self.project = project

    @property
    def n_columns(self) -> int:
        """Columns of the users' rows."""
        return self.ambient_dim

    @property
    def ambient_dim(self) -> int:
        """The number m + 1."""
        return self._known_dim() + 1

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(
            self, n_columns, n_columns >= 2 and self.dim in (None, n_columns - 1)
        )
        return self._resized(dim=n_columns - 1)

    def from_user(self, x: Tensor) -> Tensor:
        """Return unit vectors; see `BaseManifold.from_user`."""
        return unit_rows(
            self,
            x,
            scale=self.project,
            remedy="Divide rows by their norm, or use Sphere(project=True), which does.",
        )

    def log_volume(self) -> float:
        """Return the log of the surface area."""
        return self._log_area()

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a product rule, for m up to 3; see `BaseManifold.quadrature`."""
        if self._known_dim() > 3:
            return super().quadrature(n_nodes)
        nodes, weights = sphere_quadrature(self._known_dim(), n_nodes)
        return torch.from_numpy(nodes), torch.from_numpy(np.log(weights))
