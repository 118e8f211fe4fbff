"""Rotation matrices as quadratic functions of unit quaternions, and back."""

import torch
from torch import Tensor

from sk_wmvl.manifolds._sphere import unit

__all__ = ["matrices", "matrices_along", "quaternions"]


def outer(p: Tensor, q: Tensor) -> Tensor:
    """Return products of shape (n, 16)."""
    return (p[:, :, None] * q[:, None, :]).flatten(1)


def coefficients() -> Tensor:
    """Return what takes ``outer(q, q)``, scalar last, to the row-major matrix, (16, 9)."""
    C = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    x, y, z, w = range(4)
    for i in (x, y, z):
        for k, sign in ((w, 1), (x, -1), (y, -1), (z, -1)):
            C[k, k, i, i] += sign
        for j in (x, y, z):
            C[i, j, i, j] += 1
            C[j, i, i, j] += 1
    for k, i, j in ((x, z, y), (y, x, z), (z, y, x)):  # of k w, in places (i, j)
        for place, sign in (((i, j), 1), ((j, i), -1)):
            C[(k, w, *place)] += sign
            C[(w, k, *place)] += sign
    return C.reshape(16, 9)


# One product with this is a third of the time of sums of single entries.
COEFFICIENTS = coefficients()


def entries(P: Tensor) -> Tensor:
    """Return the row-major matrix, (n, 9), linear in ``P = outer(q, q)``."""
    return P @ COEFFICIENTS.to(P)


def matrices(q: Tensor) -> Tensor:
    """Return rotation matrices of shape (n, 9), row-major, of quaternions (x, y, z, w)."""
    return entries(outer(q, q))


def matrices_along(q: Tensor, u: Tensor) -> Tensor:
    """Return the derivative of `matrices` along `u`."""
    return entries(outer(q, u) + outer(u, q))


def quaternions(R: Tensor) -> Tensor:
    """Return unit quaternions (x, y, z, w) of rotation matrices of shape (n, 3, 3)."""
    trace = R.diagonal(dim1=1, dim2=2).sum(-1)
    # K = 4 q q^T: its column with the largest diagonal entry, at least one, is 4 q_k q,
    # so that nothing cancels
    K = R.new_empty(len(R), 4, 4)
    eye = torch.eye(3, dtype=R.dtype, device=R.device)
    K[:, :3, :3] = R + R.mT + (1 - trace)[:, None, None] * eye
    K[:, 3, 3] = 1 + trace
    w = torch.stack(
        [R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], -1
    )
    K[:, :3, 3] = K[:, 3, :3] = w
    best = K.diagonal(dim1=1, dim2=2).argmax(-1)
    return unit(K[torch.arange(len(R), device=R.device), :, best])
