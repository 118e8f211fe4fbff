"""Tikhonov regularisation: the score of the kernel exponential family."""

from typing import ClassVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sk_wmvl._component import check_positive
from sk_wmvl._warnings import warn
from sk_wmvl.score_methods._base import DENSE, BaseScoreMethod, System
from sk_wmvl.score_methods.field import KernelField

__all__ = ["KernelExponential"]

SOLVERS = ("auto", "direct", "cg", "nystrom")
JITTER = 1e-12  # of the largest entry: makes a singular matrix invertible


class KernelExponential(BaseScoreMethod):
    r"""Tikhonov regularisation, :math:`g_\lambda(\sigma) = 1/(\sigma+\lambda)`.

    The field minimises over the kernel's space

    .. math:: \sum_i w_i\bigl[\tfrac12\|f(x_i)\|^2 + \nabla\cdot f(x_i)\bigr]
              + \tfrac\lambda2\|f\|^2.

    With a curl-free kernel it is the score of a kernel exponential family.

    Parameters
    ----------
    solver : {'auto', 'direct', 'cg', 'nystrom'}, default='auto'
        ``'direct'`` factorises the matrix. ``'cg'`` uses conjugate gradients and never
        stores it. ``'nystrom'`` has coefficients at a random subset of the points only.
        ``'auto'`` is direct for a matrix of up to 1500 rows, and ``'cg'`` otherwise.
    n_inducing : int, default=300
        The number of points in the subset.
    tol : float, default=1e-8
        The relative residual at which conjugate gradients stop.
    max_iter : int, default=1000
        The largest number of iterations of conjugate gradients.
    seed : int, default=0
        The seed of the subset.

    References
    ----------
    [Sriperumbudur2017]_, [Sutherland2018]_, [Zhou2020]_

    Examples
    --------
    >>> from sk_wmvl.score_methods import KernelExponential
    >>> KernelExponential().at_zero(0.1)
    10.0
    """

    default_structure: ClassVar[str] = "curl-free"

    def __init__(
        self,
        solver: str = "auto",
        *,
        n_inducing: int = 300,
        tol: float = 1e-8,
        max_iter: int = 1000,
        seed: int = 0,
    ):
        self.solver = solver
        self.n_inducing = n_inducing
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed

    def at_zero(self, regularization: float) -> float:
        """Return 1/λ."""
        return 1 / regularization

    def slope(self, eigenvalues: Tensor, regularization: float) -> Tensor:
        """Return -1/(λ(σ + λ))."""
        return -1 / (regularization * (eigenvalues + regularization))

    def fit(self, system: System, regularization: float) -> KernelField:
        """Return the field; see `BaseScoreMethod.fit`."""
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}; got {self.solver!r}.")
        if self.solver == "nystrom":
            return self._nystrom(system, regularization)
        small = system.side <= DENSE
        if self.solver == "direct" or (self.solver == "auto" and small):
            r = self._direct(system, regularization)
        else:
            r = self.solve(system, regularization)
        return system.field(r, self.at_zero(regularization))

    def _direct(self, system: System, lam: float) -> Tensor:
        matrix = system.matrix()
        matrix.diagonal().add_(lam)
        factor = torch.linalg.cholesky(matrix)
        return -torch.cholesky_solve(system.stack(system.h), factor) / lam

    def solve(self, system: System, regularization: float) -> Tensor:
        """Return the coefficients by conjugate gradients; see `BaseScoreMethod.solve`."""
        check_positive(self, tol=self.tol, max_iter=self.max_iter)
        lam = regularization
        target = -system.h / lam
        c = torch.zeros_like(target)
        residual = target.clone()
        direction, square = residual, residual.square().sum()
        goal = self.tol**2 * square
        for _ in range(self.max_iter):
            if square <= goal:
                return c
            image = system.matvec(direction) + lam * direction
            step = square / (direction * image).sum()
            c = c + step * direction
            residual = residual - step * image
            square, old = residual.square().sum(), square
            direction = residual + square / old * direction
        if square > goal:
            warn(
                f"Conjugate gradients did not reach tol={self.tol:g} in "
                f"{self.max_iter} iterations: the relative residual is "
                f"{float((square / goal).sqrt()) * self.tol:.1e}. Use a larger "
                "regularization or max_iter.",
                ConvergenceWarning,
            )
        return c

    def _nystrom(self, system: System, lam: float) -> KernelField:
        r"""Minimise over :math:`-\hat\zeta/\lambda + \sum_j\Gamma(\cdot, z_j)\beta_j`."""
        check_positive(self, n_inducing=self.n_inducing)
        n, kernel, x = len(system.x), system.kernel, system.x
        rng = np.random.default_rng(self.seed)
        chosen = np.sort(rng.choice(n, min(n, self.n_inducing), replace=False))
        z = x[torch.from_numpy(chosen)]
        b = kernel.n_blocks(x.shape[1])
        # normal equations (K_zx W K_xz + λ K_zz) β = K_zx W h / λ, summed over rows of x
        inner = kernel.gram(z, z)
        cross = torch.zeros_like(inner)
        right = torch.zeros_like(z if b == 1 else z.reshape(-1, 1))
        for rows in torch.arange(n).split(max(1, 8_000_000 // (len(z) * b * b))):
            root = system.root[rows]
            part = kernel.gram(x[rows], z) * root.repeat_interleave(b, 0)
            cross = cross + part.T @ part
            h = system.h[rows]
            right = right + part.T @ (h if b == 1 else h.reshape(-1, 1))
        matrix = cross + lam * inner
        matrix.diagonal().add_(JITTER * float(matrix.diagonal().max()))
        beta = torch.linalg.solve(matrix, right / lam).reshape(z.shape)
        # the source has all points; the coefficients are zero off the subset
        c = torch.zeros_like(x)
        c[torch.from_numpy(chosen)] = beta
        return KernelField(kernel, x, c, -self.at_zero(lam) * system.w)
