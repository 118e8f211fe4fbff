"""Rotation matrices as quadratic functions of unit quaternions, and back."""

import torch
from torch import Tensor

from sk_wmvl.manifolds._sphere import unit

__all__ = ["matrices", "matrices_along", "quaternions"]


def outer(p: Tensor, q: Tensor) -> Tensor:
    """Return products of shape (n, 4, 4)."""
    return p[:, :, None] * q[:, None, :]


def entries(P: Tensor) -> Tensor:
    """Return the row-major matrix, (n, 9), linear in ``P = outer(q, q)``, scalar last."""
    x, y, z, w = range(4)
    diagonal = P[:, w, w] - P[:, x, x] - P[:, y, y] - P[:, z, z]

    def place(i: int, j: int, k: int | None = None, sign: int = 1) -> Tensor:
        twice = P[:, i, j] + P[:, j, i]
        if k is None:
            return diagonal + twice
        return twice + sign * (P[:, k, w] + P[:, w, k])

    rows = [
        place(x, x),
        place(x, y, z, -1),
        place(x, z, y),
        place(x, y, z),
        place(y, y),
        place(y, z, x, -1),
        place(x, z, y, -1),
        place(y, z, x),
        place(z, z),
    ]
    return torch.stack(rows, -1)


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
