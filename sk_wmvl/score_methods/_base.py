r"""Score estimation as an inverse problem, regularised by a function of its spectrum.

With :math:`\hat L f = \sum_i w_i\Gamma(\cdot, x_i) f(x_i)` and
:math:`\hat\zeta = \sum_i w_i\,\nabla_{x_i}\cdot\Gamma(\cdot, x_i)` the score satisfies
:math:`\hat L s \approx -\hat\zeta`, which is ill-posed. A method is a function
:math:`g_\lambda(\sigma)\approx 1/\sigma`,

.. math:: \hat s = -g_\lambda(\hat L)\,\hat\zeta
          = -g_\lambda(0)\,\hat\zeta + \sum_i \Gamma(\cdot, x_i)\,c_i,
          \qquad c = -W^{1/2}\,r_\lambda(\tilde K)\,W^{1/2} h,

with :math:`r_\lambda(\sigma) = (g_\lambda(\sigma)-g_\lambda(0))/\sigma`,
:math:`\tilde K = W^{1/2}KW^{1/2}` the matrix of the kernel at the data, whose non-zero
eigenvalues are those of :math:`\hat L`, and :math:`h_i = \hat\zeta(x_i)` [Zhou2020]_.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._component import BaseComponent
from sk_wmvl.score_methods._matrix_kernel import BaseMatrixKernel
from sk_wmvl.score_methods.field import KernelField

__all__ = ["BaseScoreMethod", "System"]

DENSE = 1500  # side of the largest matrix that is decomposed by default
LARGEST = 20_000  # side of the largest matrix that is decomposed at all: 3 GB
PAIRS = 4_000_000  # pairs of points at a time, where the matrix is not kept


class System:
    r"""The linear system of a sample: :math:`\tilde K` and :math:`W^{1/2}h`.

    Parameters
    ----------
    kernel : BaseMatrixKernel
        The kernel.
    x : Tensor of shape (n, d)
        The sample.
    w : Tensor of shape (n,)
        Positive weights that sum to one.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.score_methods import CurlFreeKernel, System
    >>> x = torch.tensor([[0.0, 0.0]])
    >>> System(CurlFreeKernel(RBF(2.0)), x, torch.ones(1)).matrix()
    tensor([[1., 0.],
            [0., 1.]])
    """

    def __init__(self, kernel: BaseMatrixKernel, x: Tensor, w: Tensor):
        self.kernel = kernel
        self.x = x
        self.w = w
        self.root = w.sqrt().unsqueeze(1)
        step = max(1, PAIRS // len(x))
        self.h = self.root * torch.cat([kernel.source(r, x, w) for r in x.split(step)])

    @property
    def side(self) -> int:
        """The number of rows of the matrix."""
        return len(self.x) * self.kernel.n_blocks(self.x.shape[1])

    def matrix(self) -> Tensor:
        r"""Return :math:`\tilde K` of shape (side, side)."""
        root = self.root.repeat_interleave(self.kernel.n_blocks(self.x.shape[1]), 0)
        return root * self.kernel.gram(self.x, self.x) * root.T

    def matvec(self, c: Tensor) -> Tensor:
        r"""Return :math:`\tilde K c` for c of shape (n, d), without storing the matrix."""
        rc = self.root * c
        step = max(1, PAIRS // len(self.x))
        parts = [self.kernel.apply(rows, self.x, rc) for rows in self.x.split(step)]
        return self.root * torch.cat(parts)

    def stack(self, c: Tensor) -> Tensor:
        """Return a field at the sample in the shape that the matrix multiplies."""
        return c if self.side == len(self.x) else c.reshape(-1, 1)

    def field(self, c: Tensor, at_zero: float) -> KernelField:
        """Return the field with the coefficients r(K)h, given in any shape."""
        c = -self.root * c.reshape(self.x.shape)
        return KernelField(self.kernel, self.x, c, -at_zero * self.w)


class BaseScoreMethod(BaseComponent, ABC):
    """A regularisation method, that is a function g of the spectrum.

    Attributes
    ----------
    default_structure : str
        The name of the matrix-valued kernel that usually goes with it.
    """

    default_structure: ClassVar[str]

    @abstractmethod
    def at_zero(self, regularization: float) -> float:
        r"""Return :math:`g_\lambda(0)`, zero for methods that stay in the data's span."""

    @abstractmethod
    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        r"""Return :math:`(g_\lambda(\sigma)-g_\lambda(0))/\sigma` at eigenvalues."""

    @abstractmethod
    def solve(self, system: System, regularization: float) -> Tensor:
        r"""Return :math:`r_\lambda(\tilde K)\,W^{1/2}h` of shape (n, d) for a large system.

        Raises
        ------
        ValueError
            If the method needs all eigenvectors, and the system is too large for that.
        """

    def path(self, system: System, regularizations: np.ndarray) -> list[KernelField]:
        """Return one field per value from a single eigendecomposition.

        Parameters
        ----------
        system : System
        regularizations : array of shape (k,)

        Returns
        -------
        fields : list of KernelField
        """
        values, vectors = torch.linalg.eigh(system.matrix())
        values = values.clamp(min=0)
        inner = vectors.T @ system.stack(system.h)
        fields = []
        for lam in regularizations:
            slope = self.slope(values, float(lam)).unsqueeze(1)
            fields.append(
                system.field(vectors @ (slope * inner), self.at_zero(float(lam)))
            )
        return fields

    def fit(self, system: System, regularization: float) -> KernelField:
        """Return the field, by an eigendecomposition if the system is small."""
        if system.side <= DENSE:
            return self.path(system, np.array([regularization]))[0]
        return system.field(
            self.solve(system, regularization), self.at_zero(regularization)
        )


def solve_by_eigenvectors(
    method: BaseScoreMethod, system: System, regularization: float
) -> Tensor:
    """Return what `BaseScoreMethod.solve` does, for a method that needs all eigenvectors.

    Raises
    ------
    ValueError
        If the system is too large for a decomposition.
    """
    if system.side > LARGEST:
        raise ValueError(
            f"{type(method).__name__} needs all eigenvectors of a matrix with "
            f"{system.side} rows, and the limit is {LARGEST}. Use fewer rows, a diagonal "
            "kernel, or the methods 'kef', 'landweber' or 'nu', which need products only."
        )
    values, vectors = torch.linalg.eigh(system.matrix())
    slope = method.slope(values, regularization).unsqueeze(1)
    c = vectors @ (slope * (vectors.T @ system.stack(system.h)))
    return c.reshape(system.x.shape)


def recursion(
    matvec: Callable[[Tensor], Tensor],
    h: Tensor,
    n_steps: int,
    weights: Callable[[int], tuple[float, float]],
) -> tuple[Tensor, float]:
    r"""Return :math:`r_t(K)h` and :math:`g_t(0)` of a method with momentum.

    .. math:: g_t = g_{t-1} + u_t(g_{t-1} - g_{t-2}) + \omega_t(1 - \sigma g_{t-1}),
              \qquad r_t = (g_t - g_t(0))/\sigma.

    Parameters
    ----------
    matvec : callable
        Multiplication by K.
    h : Tensor
        The right-hand side.
    n_steps : int
        The number t of steps.
    weights : callable
        Maps a step t to :math:`(u_t, \omega_t)`.
    """
    r, r_old, a, a_old = torch.zeros_like(h), torch.zeros_like(h), 0.0, 0.0
    for t in range(1, n_steps + 1):
        u, omega = weights(t)
        step = r + u * (r - r_old) - omega * (a * h + matvec(r))
        r, r_old = step, r
        a, a_old = a + u * (a - a_old) + omega, a
    return r, a
