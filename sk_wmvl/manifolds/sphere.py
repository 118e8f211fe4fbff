"""The sphere: directions, as unit vectors."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._border import unit_rows
from sk_wmvl.manifolds._unit_vectors import UnitVectorsOfAnyDimension, sphere_quadrature

__all__ = ["Sphere"]


class Sphere(UnitVectorsOfAnyDimension):
    r"""The unit sphere :math:`S^m` in :math:`\mathbb{R}^{m+1}`, with its surface measure.

    Rows are unit vectors of m + 1 columns.

    Parameters
    ----------
    dim : int or None, default=None
        The dimension m, at least 1; None takes it from the data.
    project : bool, default=False
        Whether to scale rows to unit length. A zero row has no direction and is an error
        in any case.

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

    def from_user(self, x: Tensor) -> Tensor:
        """Return unit vectors; see `BaseManifold.from_user`."""
        return unit_rows(self, x, project=self.project)

    def log_volume(self) -> float:
        """Return the log of the surface area."""
        return self._log_area()

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a product rule, for m up to 3; see `BaseManifold.quadrature`."""
        if self._known_dim() > 3:
            return super().quadrature(n_nodes)
        nodes, weights = sphere_quadrature(self._known_dim(), n_nodes)
        return torch.from_numpy(nodes), torch.from_numpy(np.log(weights))
