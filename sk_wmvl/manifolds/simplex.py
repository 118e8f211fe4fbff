"""Compositions: parts of a whole, zeros allowed, as points of a folded sphere."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._border import check_defect, check_finite
from sk_wmvl.manifolds._unit_vectors import (
    UnitVectorsOfAnyDimension,
    folded_quadrature,
    orthant_sides,
)

__all__ = ["Simplex"]

TOLERANCE = 1e-6  # of the sum: parts are often printed with seven digits
ROUNDING = 1e-12  # a part this little below zero is a rounding error, as 1 - 0.9 - 0.1
TRACE = 0.05  # a small part: the features resolve parts above and below it


class Simplex(UnitVectorsOfAnyDimension):
    r"""Compositions of p parts, :math:`y_i\ge0` and :math:`\sum_i y_i=1`.

    Points are the square roots :math:`x_i=\sqrt{y_i}`, on the positive orthant of the unit
    sphere :math:`S^{p-1}`. A density of compositions is a density on the whole sphere that
    no change of sign alters: the sphere is folded along the coordinate planes. The
    boundary, where a part is zero, therefore needs no special treatment; it reflects.
    Geodesics are those of the sphere and may leave the orthant; `projection` folds them
    back.

    Densities are with respect to the sphere's surface measure, whose total is
    :math:`2^{-p}` times the sphere's area. `log_jacobian` converts log densities to
    Lebesgue measure on the first p - 1 parts.

    Parameters
    ----------
    dim : int or None, default=None
        The dimension p - 1, at least 1; None takes it from the data.
    close : bool, default=False
        Whether to divide rows by their sum. If False, a row that does not sum to one is
        an error. A row of zeros or with a negative part is an error in any case.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Simplex
    >>> sand = Simplex(2, close=True)
    >>> x = sand.from_user(torch.tensor([[64.0, 36.0, 0.0]]))
    >>> x
    tensor([[0.8000, 0.6000, 0.0000]])
    >>> sand.to_user(x)
    tensor([[0.6400, 0.3600, 0.0000]])
    """

    columns_hint: ClassVar[str] = "a composition has one column per part, at least 2"

    def __init__(self, dim: int | None = None, *, close: bool = False):
        self.dim = dim
        self.close = close

    def from_user(self, x: Tensor) -> Tensor:
        """Return the square roots of the parts; see `BaseManifold.from_user`."""
        check_finite(self, x)
        # in units of the largest part, sums neither overflow nor vanish
        largest = x.abs().amax(-1, keepdim=True)
        empty = (largest == 0).squeeze(-1)
        if bool(empty.any()):
            row = int(empty.nonzero()[0])
            raise ValueError(
                f"Row {row} given to {self!r} has only zero parts and is not a "
                "composition. Remove it."
            )
        parts = x / largest
        check_defect(
            self,
            (-parts.amin(-1)).clamp(min=0),
            ROUNDING,
            what="-(smallest part) / |largest part|",
            remedy="Parts of a whole cannot be negative: correct or remove these rows.",
        )
        total = parts.sum(-1, keepdim=True)
        if not self.close:
            check_defect(
                self,
                (x.sum(-1) - 1).abs(),
                TOLERANCE,
                what="| sum of parts - 1 |",
                remedy=(
                    "Divide rows by their sum, or use Simplex(close=True), which does "
                    "(percentages too)."
                ),
            )
        return (parts.clamp(min=0) / total).sqrt()

    def to_user(self, x: Tensor) -> Tensor:
        """Return the parts, the squares of `x`."""
        return x.square()

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the velocities of the parts."""
        return 2 * x * u

    def _signs(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.where(x * y < 0, -1.0, 1.0).to(x.dtype)

    def _representative(self, x: Tensor) -> Tensor:
        return x.abs()

    def log_jacobian(self, x: Tensor) -> Tensor:
        r"""Return the log of the sphere's surface measure per Lebesgue measure of parts.

        For the first p - 1 parts it is :math:`-(p-1)\log2-\frac12\sum_i\log y_i`, infinite
        where a part is zero. Add it to a log density with respect to the surface measure
        to get one with respect to Lebesgue measure.

        Parameters
        ----------
        x : Tensor of shape (n, p)
            Points, which are square roots of parts.

        Returns
        -------
        log_jacobian : Tensor of shape (n,)
        """
        return -(x.shape[1] - 1) * math.log(2) - x.abs().log().sum(-1)

    def log_volume(self) -> float:
        """Return the log of the area of the orthant."""
        return self._log_area() - self.ambient_dim * math.log(2)

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a rule on the orthant for up to four parts; see `BaseManifold`."""
        if self._known_dim() > 3:
            return super().quadrature(n_nodes)
        nodes, weights = folded_quadrature(self._known_dim(), n_nodes, orthant=True)
        return torch.from_numpy(nodes), torch.from_numpy(np.log(weights))

    def _sides(self) -> list[float]:
        return orthant_sides(self._known_dim())

    @property
    def n_features(self) -> int:
        """Two for each part."""
        return 2 * self.ambient_dim

    def features(self, x: Tensor) -> Tensor:
        r"""Return the parts, and :math:`\log(1+y_i/0.05)`; see `BaseManifold.features`.

        The logarithms resolve small parts.
        """
        parts = x.square()
        return torch.cat([parts, (parts / TRACE).log1p()], -1)
