"""The matrix-valued kernel whose fields are gradients, as scores are."""

from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel

__all__ = ["CurlFreeKernel"]


class CurlFreeKernel(BaseMatrixKernel):
    r"""The matrix-valued kernel :math:`\Gamma = \nabla_x\nabla_y^\top k`, scaled.

    With :math:`k = F(s)`, :math:`s = \|\delta\|^2`, :math:`\delta = x - y`,

    .. math:: \Gamma(x, y) = \frac{F'(s)\,I + 2F''(s)\,\delta\delta^\top}{F'(0)}.

    Every field is the gradient of a function, so the estimate is the score of a density.
    With Tikhonov regularisation this density is in the kernel exponential family. Linear
    systems have size n d.

    Parameters
    ----------
    kernel : BaseKernel
        A radial kernel whose length scale is known.

    References
    ----------
    [Zhou2020]_, [Sriperumbudur2017]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.score_methods import CurlFreeKernel
    >>> x = torch.tensor([[0.0, 0.0]])
    >>> CurlFreeKernel(RBF(2.0)).gram(x, x)
    tensor([[1., 0.],
            [0., 1.]])
    """

    is_gradient: ClassVar[bool] = True

    def n_blocks(self, d: int) -> int:
        """Return d."""
        return d

    def _pairs(self, x: Tensor, y: Tensor, order: int) -> tuple[Tensor, list[Tensor]]:
        """Return squared distances and derivatives of F, divided by F'(0)."""
        s, values = self._profile(x, y, order)
        at_zero = self._profile(x[:1], x[:1], 1)[1][1]
        return s, [value / at_zero for value in values]

    def gram(self, x: Tensor, y: Tensor) -> Tensor:
        """Return all blocks; see `BaseMatrixKernel.gram`."""
        n, m, d = len(x), len(y), x.shape[1]
        _, (_, f1, f2) = self._pairs(x, y, 2)
        delta = x.unsqueeze(1) - y
        blocks = (2 * f2)[:, :, None, None] * delta.unsqueeze(3) * delta.unsqueeze(2)
        blocks = blocks + f1[:, :, None, None] * torch.eye(d).to(x)
        return blocks.transpose(1, 2).reshape(n * d, m * d)

    def apply(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        """Return a field; see `BaseMatrixKernel.apply`."""
        _, (_, f1, f2) = self._pairs(x, y, 2)
        along = 2 * f2 * _inner(x, y, c)
        return f1 @ c + along.sum(1, keepdim=True) * x - along @ y

    def apply_divergence(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        """Return its divergence; see `BaseMatrixKernel.apply_divergence`."""
        s, (_, _, f2, f3) = self._pairs(x, y, 3)
        return (_inner(x, y, c) * self._third(s, f2, f3, x.shape[1])).sum(1)

    @staticmethod
    def _third(s: Tensor, f2: Tensor, f3: Tensor, d: int) -> Tensor:
        """Return g of shape (n, m), where the gradient of Δk in x is 2F'(0) g δ."""
        return (4 + 2 * d) * f2 + 4 * s * f3

    def source(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Return ζ; see `BaseMatrixKernel.source`."""
        s, (_, _, f2, f3) = self._pairs(x, y, 3)
        along = -self._third(s, f2, f3, x.shape[1]) * w
        return along.sum(1, keepdim=True) * x - along @ y

    def source_divergence(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Return its divergence; see `BaseMatrixKernel.source_divergence`."""
        d = x.shape[1]
        s, (_, _, f2, f3, f4) = self._pairs(x, y, 4)
        third = self._third(s, f2, f3, d)
        # the divergence of g(s) δ is d g + 2 s g'
        derivative = (8 + 2 * d) * f3 + 4 * s * f4
        return -(d * third + 2 * s * derivative) @ w

    def potential(self, x: Tensor, y: Tensor, c: Tensor, w: Tensor) -> Tensor:
        """Return the potential; see `BaseMatrixKernel.potential`."""
        s, (_, f1, f2) = self._pairs(x, y, 2)
        laplacian = x.shape[1] * f1 + 2 * s * f2
        return (f1 * _inner(x, y, c)).sum(1) - laplacian @ w


def _inner(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Return (x_i - y_j) . c_j at all pairs, without an array of shape (n, m, d)."""
    return x @ c.T - (y * c).sum(1)
