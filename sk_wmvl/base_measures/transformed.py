"""The density of columns whose transforms have a known density."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl.base_measures._base import BaseMeasure, InflatedCopy
from sk_wmvl.coordinates.johnson import InvertedColumns, JohnsonColumns

__all__ = ["TransformedBase"]


class TransformedBase(BaseMeasure):
    r"""The density of points whose transformed columns have a given density.

    With :math:`z = a + A u` and :math:`y_j = f_j(z_j)`, a map of every column,

    .. math:: \log q(u) = \log q_y(y) + \textstyle\sum_j \log f_j'(z_j) + \log|\det A|.

    Parameters
    ----------
    base : BaseMeasure
        The density :math:`q_y`.
    columns : JohnsonColumns or InvertedColumns
        The map f from z to y.
    shift : array of shape (d,)
        The vector a.
    matrix : array of shape (d, d)
        The matrix A, invertible.

    References
    ----------
    [Johnson1949]_

    Examples
    --------
    A lognormal density, nearly: y is the logarithm of twice z where z is large.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase, TransformedBase
    >>> from sk_wmvl.coordinates import JohnsonColumns, JohnsonTransform
    >>> arcsinh = JohnsonTransform(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1))
    >>> normal = GaussianBase(np.zeros(1), np.eye(1))
    >>> q = TransformedBase(normal, JohnsonColumns(arcsinh), np.zeros(1), np.eye(1))
    >>> q.log_prob(torch.zeros(1, 1).double())  # as that of y: the slope is one
    tensor([-0.9189], dtype=torch.float64)
    """

    shift: Tensor
    matrix: Tensor
    inverse: Tensor

    def __init__(
        self,
        base: BaseMeasure,
        columns: JohnsonColumns | InvertedColumns,
        shift: np.ndarray,
        matrix: np.ndarray,
    ):
        super().__init__()
        self.base = base
        self.columns = columns
        to = torch.float64
        self.register_buffer("shift", torch.tensor(shift, dtype=to))
        self.register_buffer("matrix", torch.tensor(matrix, dtype=to))
        self.register_buffer("inverse", torch.tensor(np.linalg.inv(matrix), dtype=to))
        self.log_constant = float(np.linalg.slogdet(matrix)[1])

    @property
    def n_components(self) -> int:
        """The number of components of the density of transformed columns."""
        return self.base.n_components

    @property
    def work(self) -> int:
        """The time that a point takes, in components of a normal mixture."""
        return self.base.work

    def log_probs(self, x: Tensor, copies: Sequence[InflatedCopy]) -> Tensor:
        """Return log densities of this and of inflated copies; see `BaseMeasure`."""
        z = nn.functional.linear(x, self.matrix, self.shift)
        own = [
            InflatedCopy(cast(TransformedBase, copy.base).base, copy.factor)
            for copy in copies
        ]
        values = self.base.log_probs(self.columns(z), own)
        return values + (self.columns.log_det(z) + self.log_constant)[:, None]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        z = nn.functional.linear(x, self.matrix, self.shift)
        value = self.base.log_prob(self.columns(z))
        return value + self.columns.log_det(z) + self.log_constant

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        y = self.base.sample(n_samples, generator=generator)
        return nn.functional.linear(self.columns.inverse(y) - self.shift, self.inverse)

    def inflated(self, factor: float) -> "TransformedBase":
        """Return the density of points whose transformed columns are inflated."""
        wider = TransformedBase(
            self.base.inflated(factor),
            self.columns,
            self.shift.double().cpu().numpy(),
            self.matrix.double().cpu().numpy(),
        )
        return wider.to(self.matrix)
