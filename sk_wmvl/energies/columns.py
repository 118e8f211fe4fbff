"""Johnson's transformation and its inverse, for tensors."""

import math

import torch
from torch import Tensor, nn

from sk_wmvl._johnson import JohnsonTransform

__all__ = ["InvertedColumns", "JohnsonColumns"]

# Of the log of the largest number: what a hyperbolic sine is taken of, so that squares of
# the sine, and of its slope, stay finite by a wide margin.
FARTHEST = 0.35


class JohnsonColumns(nn.Module):
    r"""The map :math:`y_j = (\operatorname{arcsinh}((x_j - \xi_j)/\lambda_j) - m_j)/s_j`.

    Parameters
    ----------
    transform : JohnsonTransform
        The parameters.

    References
    ----------
    [Johnson1949]_

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.energies import JohnsonColumns, JohnsonTransform
    >>> one = np.ones(1)
    >>> columns = JohnsonColumns(JohnsonTransform(0 * one, one, 0 * one, one))
    >>> columns.inverse(columns(torch.tensor([[5.0]]).double()))
    tensor([[5.0000]], dtype=torch.float64)
    """

    location: Tensor
    scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, transform: JohnsonTransform):
        super().__init__()
        for name, value in transform._asdict().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return y of shape (n, d)."""
        return (torch.asinh((x - self.location) / self.scale) - self.mean) / self.std

    def log_det(self, x: Tensor) -> Tensor:
        """Return the log of the volume of y per volume of x, of shape (n,)."""
        width = torch.hypot(x - self.location, self.scale) * self.std
        return -width.log().sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of shape (n, d); what would overflow ends before."""
        return self.location + self.scale * torch.sinh(self._arcsinh(y))

    def inverse_log_det(self, y: Tensor) -> Tensor:
        """Return the log of the volume of x per volume of y, of shape (n,)."""
        a = self._arcsinh(y).abs()
        log_cosh = a + torch.log1p(torch.exp(-2 * a)) - math.log(2)
        return (log_cosh + (self.scale * self.std).log()).sum(-1)

    def _arcsinh(self, y: Tensor) -> Tensor:
        most = FARTHEST * math.log(torch.finfo(y.dtype).max)
        return (self.mean + self.std * y).clamp(-most, most)


class InvertedColumns(nn.Module):
    """The map from y back to x.

    Parameters
    ----------
    columns : JohnsonColumns
        From x to y.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.energies import InvertedColumns, JohnsonColumns, JohnsonTransform
    >>> one = np.ones(1)
    >>> columns = JohnsonColumns(JohnsonTransform(0 * one, one, 0 * one, one))
    >>> InvertedColumns(columns)(torch.tensor([[1.0]]).double())  # sinh(1)
    tensor([[1.1752]], dtype=torch.float64)
    """

    def __init__(self, columns: JohnsonColumns):
        super().__init__()
        self.columns = columns

    def forward(self, y: Tensor) -> Tensor:
        """Return x of shape (n, d)."""
        return self.columns.inverse(y)

    def log_det(self, y: Tensor) -> Tensor:
        """Return the log of the volume of x per volume of y, of shape (n,)."""
        return self.columns.inverse_log_det(y)

    def inverse(self, x: Tensor) -> Tensor:
        """Return y of shape (n, d)."""
        return self.columns(x)
