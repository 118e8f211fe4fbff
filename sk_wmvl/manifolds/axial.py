"""Axes: directions without a sign, as of crystals, fractures or bedding planes."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._border import unit_rows
from sk_wmvl.manifolds._unit_vectors import (
    UnitVectorsOfAnyDimension,
    folded_quadrature,
    half_sides,
    nearer_sign,
)

__all__ = ["AxialSphere"]


class AxialSphere(UnitVectorsOfAnyDimension):
    r"""Axes of :math:`\mathbb{R}^{m+1}`: the sphere :math:`S^m` with x and -x identified.

    Rows are unit vectors of m + 1 columns and of either sign. Densities are with respect
    to the surface measure of half a sphere: the uniform log density on axes in space is
    :math:`-\log 2\pi`. Distances are angles of at most :math:`\pi/2`. The network sees
    the products :math:`x_i x_j`, so its energy is exactly even.

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
    >>> from sk_wmvl.manifolds import AxialSphere
    >>> x, y = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]])
    >>> AxialSphere(2).dist(x, y)
    tensor([0.])
    """

    columns_hint: ClassVar[str] = (
        "an axis of the m-sphere is a unit vector of m + 1 columns, at least 2"
    )

    def __init__(self, dim: int | None = None, *, project: bool = False):
        self.dim = dim
        self.project = project

    def from_user(self, x: Tensor) -> Tensor:
        """Return unit vectors; see `BaseManifold.from_user`."""
        return unit_rows(self, x, project=self.project)

    def _signs(self, x: Tensor, y: Tensor) -> Tensor:
        return nearer_sign(x, y)

    def log_volume(self) -> float:
        """Return the log of half the surface area."""
        return self._log_area() - math.log(2)

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a rule on half the sphere for m up to 3; see `BaseManifold`."""
        if self._known_dim() > 3:
            return super().quadrature(n_nodes)
        nodes, weights = folded_quadrature(self._known_dim(), n_nodes, orthant=False)
        return torch.from_numpy(nodes), torch.from_numpy(np.log(weights))

    def _sides(self) -> list[float]:
        return half_sides(self._known_dim())

    @property
    def n_features(self) -> int:
        """The number of products, d (d + 1) / 2."""
        return self.ambient_dim * (self.ambient_dim + 1) // 2

    def features(self, x: Tensor) -> Tensor:
        r"""Return :math:`x_i^2` and :math:`\sqrt2\,x_ix_j`; see `BaseManifold.features`.

        The factor √2 makes a change of the axes' basis a rotation of the features.
        """
        i, j = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
        return torch.cat([x.square(), math.sqrt(2) * x[:, i] * x[:, j]], -1)
