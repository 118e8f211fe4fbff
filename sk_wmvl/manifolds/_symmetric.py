"""Functions of symmetric matrices, differentiable also where eigenvalues coincide."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sk_wmvl.manifolds._series import sinh_over

__all__ = [
    "inverse_sqrt_of_shifted",
    "log_of_shifted",
    "pack",
    "unpack",
]

ROOT_2 = math.sqrt(2)
NEAR = 1e-3  # relative gap below which a series replaces a second divided difference


def pack(S: Tensor) -> Tensor:
    r"""Return the upper triangles of (n, s, s), row by row, off-diagonals times √2.

    The Euclidean inner product of triangles is the Frobenius product of matrices.
    """
    i, j = torch.triu_indices(S.shape[-1], S.shape[-1])
    scale = torch.where(i == j, 1.0, torch.tensor(ROOT_2, dtype=S.dtype)).to(S)
    return scale * S[..., i, j]


def unpack(x: Tensor, size: int) -> Tensor:
    """Return symmetric matrices (n, s, s) from scaled triangles: the inverse of `pack`."""
    i, j = torch.triu_indices(size, size)
    index = torch.zeros(size, size, dtype=torch.long)
    index[i, j] = index[j, i] = torch.arange(len(i))
    scale = torch.full((size, size), 1 / ROOT_2, dtype=x.dtype).fill_diagonal_(1)
    return x[..., index] * scale.to(x.device)


def log_first(a: Tensor, b: Tensor) -> Tensor:
    r"""Return :math:`(\log a-\log b)/(a-b)`, smooth where a = b."""
    t = (a / b).log() / 2
    return 1 / ((a * b).sqrt() * sinh_over(t.square()))


def log_second(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the second divided difference of the logarithm at three arguments."""
    a, b, c = torch.stack(torch.broadcast_tensors(a, b, c)).sort(0, descending=True)[0]
    mean = (a + b + c) / 3
    near = a - c < NEAR * mean
    # Taylor's series at the mean, whose cubic term has the factor a + b + c - 3 mean = 0
    spread = ((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / (2 * mean**2)
    series = -(0.5 + spread / 4) / mean**2
    gap = torch.where(near, 1.0, a - c)
    return torch.where(near, series, (log_first(a, b) - log_first(b, c)) / gap)


def inverse_sqrt_first(a: Tensor, b: Tensor) -> Tensor:
    r"""Return :math:`(1/\sqrt a-1/\sqrt b)/(a-b)`."""
    a, b = a.sqrt(), b.sqrt()
    return -1 / (a * b * (a + b))


def inverse_sqrt_second(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the second divided difference of one over the square root."""
    a, b, c = a.sqrt(), b.sqrt(), c.sqrt()
    return (a + b + c) / (a * b * c * (a + b) * (b + c) * (c + a))


def of_symmetric(
    D: Tensor, value: Callable, first: Callable, second: Callable
) -> Tensor:
    r"""Return f(I + D), of shape (n, s, s), with first and second derivatives.

    Derivatives of f(I + D) exist where eigenvalues coincide, but those of eigenvectors do
    not. Therefore the eigenvectors V and the eigenvalues Λ are constants here, and
    :math:`\delta = V^\top (I+D)V - \Lambda`, whose value is zero, carries the derivatives.
    The expansion of f to second order in δ has divided differences as its coefficients
    (Daleckii and Krein).
    """
    with torch.no_grad():
        shifts, V = torch.linalg.eigh(D)
        shifts = shifts.clamp(min=torch.finfo(D.dtype).eps - 1)
        a = 1 + shifts
    f = torch.diag_embed(value(shifts))
    if D.requires_grad:
        delta = V.mT @ D @ V
        delta = delta - delta.detach()
        i, j = a[:, :, None], a[:, None, :]
        f = f + first(i, j) * delta
        f2 = second(i[..., None], j[..., None], a[:, None, None, :])  # i, k, j
        f = f + torch.einsum("nikj,nik,nkj->nij", f2, delta, delta)
    return V @ f @ V.mT


def log_of_shifted(D: Tensor) -> Tensor:
    """Return log(I + D), exactly zero where D is."""
    return of_symmetric(D, torch.log1p, log_first, log_second)


def inverse_sqrt_of_shifted(D: Tensor) -> Tensor:
    r"""Return :math:`(I+D)^{-1/2}`."""
    first, second = inverse_sqrt_first, inverse_sqrt_second
    return of_symmetric(D, lambda s: (1 + s).rsqrt(), first, second)
