"""Rotations of space: unit quaternions up to sign, or rotation matrices."""

import math
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from sk_wmvl.manifolds._border import (
    check_columns,
    check_defect,
    check_finite,
    form_of_width,
    unit_rows,
    width_of_form,
)
from sk_wmvl.manifolds._unit_vectors import (
    UnitVectors,
    folded_quadrature,
    half_sides,
    nearer_sign,
    unit,
)

__all__ = ["Rotation"]

FORMS = {"quaternion": 4, "matrix": 9}
TOLERANCE = 1e-6  # of R R^T - I: matrices are often printed with seven digits
SINGULAR = 1e-6  # ratio of singular values below which no rotation is nearest


def outer(p: Tensor, q: Tensor) -> Tensor:
    """Return the products of all entries of p and q, of shape (n, 16)."""
    return (p[:, :, None] * q[:, None, :]).flatten(1)


def coefficients() -> Tensor:
    """Return the linear map from ``outer(q, q)`` to the row-major matrix, (16, 9)."""
    C = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    x, y, z, w = range(4)
    for i in (x, y, z):
        for k, sign in ((w, 1), (x, -1), (y, -1), (z, -1)):
            C[k, k, i, i] += sign
        for j in (x, y, z):
            C[i, j, i, j] += 1
            C[j, i, i, j] += 1
    for k, i, j in ((x, z, y), (y, x, z), (z, y, x)):  # the product k w at (i, j)
        for place, sign in (((i, j), 1), ((j, i), -1)):
            C[(k, w, *place)] += sign
            C[(w, k, *place)] += sign
    return C.reshape(16, 9)


# One product with this matrix takes a third of the time of sums of single entries.
COEFFICIENTS = coefficients()


def entries(P: Tensor) -> Tensor:
    """Return row-major matrices of shape (n, 9) from ``P = outer(q, q)``."""
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
    # K = 4 q q^T has the columns 4 q_k q: the one with the largest diagonal entry, which
    # is at least one, loses no digits
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


class Rotation(UnitVectors):
    r"""The rotations of space, :math:`SO(3)`, with the angle of rotation as its distance.

    Rows are unit quaternions :math:`(x, y, z, w)` of either sign, with the scalar last as
    in `scipy.spatial.transform.Rotation`, or matrices of nine columns, row by row
    (``R.reshape(-1, 9)``). Points are quaternions with the scalar last, on a sphere of
    radius 2: distances are angles in radians of at most :math:`\pi`, and the volume is
    :math:`8\pi^2`. A log density with respect to the normalized Haar measure is larger by
    :math:`\log 8\pi^2 = 4.369`. The network sees the matrix, so q and -q are exactly one
    rotation.

    Parameters
    ----------
    coordinates : {"quaternion", "matrix"} or None, default=None
        The form of the rows; None infers it from the number of columns.
    scalar_first : bool, default=False
        Whether users' quaternions are :math:`(w, x, y, z)`.
    project : bool, default=False
        Whether to move rows to the nearest rotation: quaternions are scaled, matrices are
        replaced by their orthogonal polar factor. Zero quaternions, reflections and
        singular matrices are errors in any case.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Rotation
    >>> identity = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    >>> quarter_turn = torch.tensor([[0.0, 0.0, -0.5**0.5, -0.5**0.5]])
    >>> Rotation().dist(identity, quarter_turn)  # pi / 2
    tensor([1.5708])
    """

    radius: float = 2.0
    dim: int | None = 3
    columns_hint: ClassVar[str] = (
        "a rotation has four columns, a unit quaternion, or nine, its matrix row by row"
    )

    def __init__(
        self,
        coordinates: str | None = None,
        *,
        scalar_first: bool = False,
        project: bool = False,
    ):
        self.coordinates = coordinates
        self.scalar_first = scalar_first
        self.project = project

    @property
    def n_columns(self) -> int:
        """Four for quaternions, nine for matrices."""
        return width_of_form(self, FORMS, self.coordinates)

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        form = form_of_width(self, FORMS, self.coordinates, n_columns)
        return self._resized(coordinates=form)

    def from_user(self, x: Tensor) -> Tensor:
        """Return unit quaternions, scalar last; see `BaseManifold.from_user`."""
        check_columns(self, x.shape[1], x.shape[1] == self.n_columns)
        if self.n_columns == 9:
            return quaternions(self._rotation_matrices(x).reshape(-1, 3, 3))
        q = unit_rows(self, x, project=self.project)
        return q.roll(-1, 1) if self.scalar_first else q

    def _rotation_matrices(self, x: Tensor) -> Tensor:
        """Return rotation matrices of shape (n, 3, 3), after checks."""
        check_finite(self, x)
        R = x.reshape(-1, 3, 3)
        # in units of the largest entry, squares neither overflow nor vanish
        largest = R.abs().amax((1, 2), keepdim=True)
        U, S, Vh = torch.linalg.svd(R / torch.where(largest > 0, largest, 1.0))
        if self.project:
            check_defect(
                self,
                1 - S[:, 2] / torch.where(S[:, 0] > 0, S[:, 0], 1.0),
                1 - SINGULAR,
                what="1 - (smallest / largest singular value)",
                remedy="No rotation is nearest to a singular matrix: remove these rows.",
            )
        else:
            eye = torch.eye(3, dtype=R.dtype, device=R.device)
            check_defect(
                self,
                (R @ R.mT - eye).abs().amax((1, 2)),
                TOLERANCE,
                what="max |R R^T - I|",
                remedy=(
                    "Correct them, or use Rotation(project=True), which takes the "
                    "nearest rotation. Columns are the entries row by row."
                ),
            )
        check_defect(
            self,
            -(torch.linalg.det(U) * torch.linalg.det(Vh)),
            0.0,
            what="minus the sign of the determinant",
            remedy=(
                "A matrix of negative determinant is a reflection, not a rotation: give "
                "both frames the same handedness, as by negating one axis."
            ),
        )
        return U @ Vh if self.project else R

    def to_user(self, x: Tensor) -> Tensor:
        """Return quaternions or matrices, as the user's rows were."""
        if self.n_columns == 9:
            return matrices(x)
        return x.roll(1, 1) if self.scalar_first else x

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return velocities of the quaternions or the matrices."""
        if self.n_columns == 9:
            return matrices_along(x, u)
        return u.roll(1, 1) if self.scalar_first else u

    def _signs(self, x: Tensor, y: Tensor) -> Tensor:
        return nearer_sign(x, y)

    def log_volume(self) -> float:
        r"""Return :math:`\log 8\pi^2`."""
        return self._log_area() - math.log(2)

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return a rule on half the sphere of quaternions; see `BaseManifold`."""
        nodes, weights = folded_quadrature(3, n_nodes, orthant=False)
        log_weights = np.log(weights) + 3 * math.log(self.radius)
        return torch.from_numpy(nodes), torch.from_numpy(log_weights)

    def _sides(self) -> list[float]:
        return half_sides(3)

    @property
    def n_features(self) -> int:
        """Nine."""
        return 9

    def features(self, x: Tensor) -> Tensor:
        """Return the entries of the matrix; see `BaseManifold.features`."""
        return matrices(x)
