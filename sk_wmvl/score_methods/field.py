"""A score field: the result of a kernel method."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel

__all__ = ["KernelField", "SpanField"]

PAIRS = 4_000_000  # pairs of points at a time, which bounds the memory


class KernelField(nn.Module):
    r"""A field of the kernel's space, plus divergences of the kernel at the data.

    .. math:: s(x) = \sum_i\Gamma(x, x_i)\,c_i
              + \sum_i w_i\,\nabla_{x_i}\cdot\Gamma(x, x_i).

    Parameters
    ----------
    kernel : BaseMatrixKernel
        The kernel.
    x : Tensor of shape (n, d)
        The data.
    c : Tensor of shape (n, d)
        Coefficients.
    w : Tensor of shape (n,)
        Weights of the second sum.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.score_methods import CurlFreeKernel, KernelField
    >>> x, c = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 2.0]])
    >>> KernelField(CurlFreeKernel(RBF(2.0)), x, c, torch.zeros(1))(x)
    tensor([[1., 2.]])
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

    def _in_chunks(self, value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return ``value(x)``, computed some rows at a time."""
        chunks = x.split(max(1, PAIRS // len(self.x)))
        return torch.cat([value(rows) for rows in chunks])

    def _score(self, x: Tensor) -> Tensor:
        score = self.kernel.apply(x, self.x, self.c)
        if self.has_source:
            score = score + self.kernel.source(x, self.x, self.w)
        return score

    def _divergence(self, x: Tensor) -> Tensor:
        divergence = self.kernel.apply_divergence(x, self.x, self.c)
        if self.has_source:
            divergence = divergence + self.kernel.source_divergence(x, self.x, self.w)
        return divergence

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of shape (n, d)."""
        return self._in_chunks(self._score, x)

    def divergence(self, x: Tensor) -> Tensor:
        """Return the divergence of the score, of shape (n,)."""
        return self._in_chunks(self._divergence, x)

    def log_density(self, x: Tensor) -> Tensor:
        """Return a log density with this score, up to a constant, of shape (n,).

        Raises
        ------
        NotImplementedError
            If the kernel's fields are not gradients.
        """
        return self._in_chunks(
            lambda rows: self.kernel.potential(rows, self.x, self.c, self.w), x
        )

    def hyvarinen_values(self, x: Tensor) -> Tensor:
        r"""Return :math:`\frac12\|s\|^2 + \nabla\cdot s`, of shape (n,)."""
        return 0.5 * self(x).square().sum(1) + self.divergence(x)


class SpanField(nn.Module):
    r"""A field of points of a subspace, zero across it.

    Where columns are constant, or exact combinations of others, rows have a density on a
    subspace only. With an orthonormal basis P of its directions the field is
    :math:`x\mapsto P\,s(P^\top x)`.

    Parameters
    ----------
    field : KernelField
        The field s of k coordinates.
    basis : Tensor of shape (d, k)
        The basis P.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.score_methods import CurlFreeKernel, KernelField, SpanField
    >>> x, c = torch.tensor([[0.0]]), torch.tensor([[1.0]])
    >>> field = KernelField(CurlFreeKernel(RBF(2.0)), x, c, torch.zeros(1))
    >>> SpanField(field, torch.tensor([[1.0], [0.0]]))(torch.tensor([[0.0, 7.0]]))
    tensor([[1., 0.]])
    """

    basis: Tensor

    def __init__(self, field: KernelField, basis: Tensor):
        super().__init__()
        self.field = field
        self.register_buffer("basis", basis)

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of shape (n, d)."""
        return self.field(x @ self.basis) @ self.basis.T

    def divergence(self, x: Tensor) -> Tensor:
        """Return the divergence of the score, of shape (n,)."""
        return self.field.divergence(x @ self.basis)

    def log_density(self, x: Tensor) -> Tensor:
        """Return a log density with this score; see `KernelField.log_density`."""
        return self.field.log_density(x @ self.basis)
