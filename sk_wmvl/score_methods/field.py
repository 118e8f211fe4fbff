"""A score field: what a kernel method leaves behind."""

import torch
from torch import Tensor, nn

from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel

__all__ = ["KernelField"]

PAIRS = 4_000_000  # at a time, so that memory does not grow with the number of points


class KernelField(nn.Module):
    r"""A field of the kernel's space, with the divergence of the kernel at the data.

    .. math:: s(x) = \sum_i\Gamma(x, x_i)\,c_i
              + \sum_i w_i\,\nabla_{x_i}\cdot\Gamma(x, x_i).

    Parameters
    ----------
    kernel : BaseMatrixKernel
        The kernel.
    x : Tensor of shape (n, d)
        Its centers.
    c : Tensor of shape (n, d)
        Coefficients.
    w : Tensor of shape (n,)
        Weights of the second sum.
    """

    x: Tensor
    c: Tensor
    w: Tensor

    def __init__(self, kernel: BaseMatrixKernel, x: Tensor, c: Tensor, w: Tensor):
        super().__init__()
        self.kernel = kernel
        self.register_buffer("x", x)
        self.register_buffer("c", c)
        self.register_buffer("w", w)
        self.has_source = bool((w != 0).any())

    def _chunks(self, x: Tensor):
        return x.split(max(1, PAIRS // len(self.x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of shape (n, d)."""
        parts = []
        for rows in self._chunks(x):
            part = self.kernel.apply(rows, self.x, self.c)
            if self.has_source:
                part = part + self.kernel.source(rows, self.x, self.w)
            parts.append(part)
        return torch.cat(parts)

    def divergence(self, x: Tensor) -> Tensor:
        """Return the divergence of the score, of shape (n,)."""
        parts = []
        for rows in self._chunks(x):
            part = self.kernel.apply_divergence(rows, self.x, self.c)
            if self.has_source:
                part = part + self.kernel.source_divergence(rows, self.x, self.w)
            parts.append(part)
        return torch.cat(parts)

    def log_density(self, x: Tensor) -> Tensor:
        """Return a log density whose gradient the score is, up to a constant: (n,).

        Raises
        ------
        NotImplementedError
            If the kernel's fields are not gradients.
        """
        parts = [
            self.kernel.potential(rows, self.x, self.c, self.w)
            for rows in self._chunks(x)
        ]
        return torch.cat(parts)

    def hyvarinen_values(self, x: Tensor) -> Tensor:
        r"""Return :math:`\frac12\|s\|^2 + \nabla\cdot s`, of shape (n,)."""
        return 0.5 * self(x).square().sum(1) + self.divergence(x)
