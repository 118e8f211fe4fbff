r"""Matrix-valued kernels, whose reproducing spaces contain vector fields.

They are built from a radial kernel :math:`k(x, y) = F(s)`, :math:`s = \|x - y\|^2`, and
scaled so that :math:`\Gamma(x, x) = I`. The empirical operator
:math:`\hat L f = \sum_i w_i\,\Gamma(\cdot, x_i) f(x_i)` then has norm at most one, and a
regularisation parameter means the same for every length scale.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from sk_wmvl.kernels import BaseKernel

__all__ = ["BaseMatrixKernel"]


class BaseMatrixKernel(ABC):
    r"""A matrix-valued kernel :math:`\Gamma(x, y)` of shape (d, d).

    Sums over pairs never need an array of shape (n, m, d, d).

    Parameters
    ----------
    kernel : BaseKernel
        A radial kernel whose length scale is known.

    Attributes
    ----------
    is_gradient : bool
        Whether every field of its space is the gradient of a function.
    """

    is_gradient: ClassVar[bool]

    def __init__(self, kernel: BaseKernel):
        self.kernel = kernel

    def _profile(self, x: Tensor, y: Tensor, order: int) -> tuple[Tensor, list[Tensor]]:
        """Return squared distances s, and F and its derivatives in s, all (n, m)."""
        assert self.kernel.length_scale is not None
        square = self.kernel.length_scale**2
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        s = distance.square()
        t = s / square
        orders = range(order + 1)
        return s, [self.kernel.derivative(t, k) / square**k for k in orders]

    @abstractmethod
    def n_blocks(self, d: int) -> int:
        """Return the side of a block of `gram`, 1 if the kernel is a multiple of I."""

    @abstractmethod
    def gram(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Return :math:`\Gamma` at all pairs as a matrix.

        The shape is (n b, m b), with b from `n_blocks`. A diagonal kernel has b = 1, and
        its matrix multiplies each column of a field. Otherwise the block of the pair
        (i, j) starts at row i b and column j b.
        """

    @abstractmethod
    def apply(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        r"""Return :math:`\sum_j\Gamma(x_i, y_j)\,c_j` of shape (n, d)."""

    @abstractmethod
    def apply_divergence(self, x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        r"""Return :math:`\nabla_x\cdot\sum_j\Gamma(x_i, y_j)\,c_j` of shape (n,)."""

    @abstractmethod
    def source(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        r"""Return :math:`\zeta(x_i) = \sum_j w_j\,\nabla_{y_j}\cdot\Gamma(x_i, y_j)`.

        The shape is (n, d). By integration by parts it estimates
        :math:`-\hat L\,\nabla\log p` without knowing the score.
        """

    @abstractmethod
    def source_divergence(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        r"""Return :math:`\nabla\cdot\zeta` at x, of shape (n,)."""

    @abstractmethod
    def potential(self, x: Tensor, y: Tensor, c: Tensor, w: Tensor) -> Tensor:
        r"""Return u of shape (n,) with :math:`\nabla u = \sum_j\Gamma(x, y_j)c_j + \zeta`.

        ζ has the weights `w`. Raises NotImplementedError unless `is_gradient`.
        """
