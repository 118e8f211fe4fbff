"""The matrix-valued kernel that treats each coordinate of a field separately."""

from typing import ClassVar

from torch import Tensor

from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel

__all__ = ["DiagonalKernel"]


class DiagonalKernel(BaseMatrixKernel):
    r"""The matrix-valued kernel :math:`\Gamma(x, y) = k(x, y)\,I`.

    Linear systems have size n in every dimension. Fields are in general not gradients.

    Parameters
    ----------
    kernel : BaseKernel
        A radial kernel whose length scale is known.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.score_methods import DiagonalKernel
    >>> x = torch.tensor([[0.0], [2.0]])
    >>> DiagonalKernel(RBF(2.0)).gram(x, x)[0]
    tensor([1.0000, 0.6065])
    """

    is_gradient: ClassVar[bool] = False

    def n_blocks(self, d: int) -> int:
        """Return 1."""
        del d
        return 1

    def gram(self, x: Tensor, y: Tensor) -> Tensor:
        """Return k at all pairs; see `BaseMatrixKernel.gram`."""
        return self._profile(x, y, 0)[1][0]

    def apply(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        """Return a field; see `BaseMatrixKernel.apply`."""
        return self.gram(x, y) @ c

    def apply_divergence(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        """Return its divergence; see `BaseMatrixKernel.apply_divergence`."""
        slope = 2 * self._profile(x, y, 1)[1][1]  # slope (x - y) is the gradient in x
        return (x * (slope @ c)).sum(1) - slope @ (y * c).sum(1)

    def source(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Return ζ; see `BaseMatrixKernel.source`."""
        slope = -2 * self._profile(x, y, 1)[1][1] * w
        return slope.sum(1, keepdim=True) * x - slope @ y

    def source_divergence(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Return its divergence; see `BaseMatrixKernel.source_divergence`."""
        s, (_, f1, f2) = self._profile(x, y, 2)
        return -(2 * x.shape[1] * f1 + 4 * s * f2) @ w

    def potential(self, x: Tensor, y: Tensor, c: Tensor, w: Tensor) -> Tensor:
        """Raise NotImplementedError; see `BaseMatrixKernel.potential`."""
        raise NotImplementedError("Fields of a diagonal kernel are not gradients.")
