"""Symmetric positive definite matrices with the affine-invariant metric."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite
from sk_wmvl.manifolds._series import log_sinh_over, safe_norm
from sk_wmvl.manifolds._symmetric import log_of_shifted, pack, unpack

__all__ = ["SPD"]

TOLERANCE = 1e-6  # of symmetry, relative to the largest entry
FORMS = ("triangle", "matrix")


class SPD(BaseManifold):
    r"""Symmetric positive definite matrices, with the affine-invariant metric.

    The metric is :math:`\langle U,V\rangle_X = \mathrm{tr}(X^{-1}UX^{-1}V)`, for which
    :math:`X\mapsto AXA^\top` is an isometry. Rows are upper triangles, row by row, or whole
    matrices, flattened. Points are triangles with off-diagonal entries times √2. The
    network sees the factors of :math:`X=LDL^\top`: half of log D, and L below the
    diagonal.

    Parameters
    ----------
    size : int or None, default=None
        The number s of rows and columns of a matrix; None takes it from the data.
    coordinates : {"triangle", "matrix"} or None, default=None
        The form of the rows: s (s + 1) / 2 or s² columns. None infers it from the number
        of columns.

    Notes
    -----
    Second derivatives of `log_det_exp` cannot be computed where two eigenvalues of the
    tangent vector coincide.

    References
    ----------
    [Pennec2006]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import SPD
    >>> rows = torch.tensor([[1.0, 0.0, 1.0], [2.0, 0.0, 2.0]])  # I and 2 I
    >>> x = SPD(2).from_user(rows)
    >>> SPD(2).dist(x[:1], x[1:])  # sqrt(2) log 2
    tensor([0.9803])
    """

    columns_hint: ClassVar[str] = (
        "a symmetric matrix of s rows has s (s + 1) / 2 columns, its upper triangle, or "
        "s squared"
    )

    def __init__(self, size: int | None = None, *, coordinates: str | None = None):
        self.size = size
        self.coordinates = coordinates

    # --- shape ------------------------------------------------------------------------

    def _known_size(self) -> int:
        """Return `size`, which must be known."""
        if self.size is None:
            raise ValueError(
                f"The size of {self!r} is not known yet: give it, or call with_columns."
            )
        return self.size

    @property
    def dim(self) -> int | None:  # type: ignore[override]  # an attribute in the base
        """The number s (s + 1) / 2."""
        return None if self.size is None else self.size * (self.size + 1) // 2

    @property
    def n_columns(self) -> int:
        """Columns of the users' rows, which are triangles unless known as matrices."""
        if self.coordinates == "matrix":
            return self._known_size() ** 2
        return self.ambient_dim

    @property
    def ambient_dim(self) -> int:
        """The number s (s + 1) / 2."""
        return self._known_size() * (self._known_size() + 1) // 2

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        if self.coordinates not in (None, *FORMS):
            raise ValueError(
                f"coordinates={self.coordinates!r} of SPD is not known. Choose one of "
                f"{list(FORMS)}, or None to tell them by the number of columns."
            )
        sizes = {
            "triangle": (math.isqrt(8 * n_columns + 1) - 1) // 2,
            "matrix": math.isqrt(n_columns),
        }
        widths = {"triangle": lambda s: s * (s + 1) // 2, "matrix": lambda s: s**2}
        fits = {
            form: size
            for form, size in sizes.items()
            if size >= 1
            and widths[form](size) == n_columns
            and self.coordinates in (None, form)
            and self.size in (None, size)
        }
        check_columns(self, n_columns, bool(fits))
        if len(set(fits.values())) > 1:
            raise ValueError(
                f"{n_columns} columns can be triangles of {fits['triangle']} rows or "
                f"matrices of {fits['matrix']}: choose SPD(coordinates='triangle') or "
                "SPD(coordinates='matrix')."
            )
        form, size = next(iter(fits.items()))
        return self._resized(size=size, coordinates=form)

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return scaled triangles; see `BaseManifold.from_user`."""
        check_finite(self, x)
        size = self._known_size()
        if self.coordinates == "matrix":
            X = x.reshape(-1, size, size)
            largest = X.abs().flatten(1).amax(-1)
            defect = (X - X.mT).abs().flatten(1).amax(-1)
            check_defect(
                self,
                defect / torch.where(largest == 0, 1.0, largest),
                TOLERANCE,
                what="max |X - X'| / max |X|",
                remedy="Rows are whole symmetric matrices: average X with its "
                "transpose, or pass upper triangles.",
            )
            points = pack((X + X.mT) / 2)
        else:
            points = x * pack(torch.ones(1, size, size).to(x))
        values = torch.linalg.eigvalsh(unpack(points, size))
        # rounding moves eigenvalues by this much: below it a Cholesky factor may fail
        floor = size * torch.finfo(x.dtype).eps * values.abs().amax(-1)
        bad = ~(values[:, 0] > floor)
        if bool(bad.any()):
            row = int((values[:, 0] - floor).argmin())
            raise ValueError(
                f"X has rows that are not points of {self!r}: {int(bad.sum())} of "
                f"{len(bad)} are not positive definite, the worst is row {row} with "
                f"smallest eigenvalue {float(values[row, 0]):.3g}, which must exceed "
                f"{float(floor[row]):.3g}. Estimate covariances from more observations "
                "than variables, shrink them, or add a small multiple of the identity."
            )
        return points

    def _entries(self, x: Tensor) -> Tensor:
        """Return symmetric matrices as users' entries; a linear map."""
        size = self._known_size()
        if self.coordinates == "matrix":
            return unpack(x, size).flatten(-2)
        return x / pack(torch.ones(1, size, size).to(x))

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns)."""
        return self._entries(x)

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        del x
        return self._entries(u)

    # --- tangent vectors --------------------------------------------------------------

    def _matrix(self, x: Tensor) -> Tensor:
        """Return symmetric matrices of shape (n, s, s)."""
        return unpack(x, self._known_size())

    def _root(self, x: Tensor) -> Tensor:
        """Return Cholesky factors, of shape (n, s, s)."""
        return torch.linalg.cholesky(self._matrix(x))

    def _whiten(self, L: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`L^{-1}UL^{-\top}`, exactly symmetric."""
        W = torch.linalg.solve_triangular(L, self._matrix(u), upper=False)
        W = torch.linalg.solve_triangular(L, W.mT, upper=False)
        return (W + W.mT) / 2

    def projection(self, x: Tensor) -> Tensor:
        """Return `x` with its eigenvalues raised to a small positive number at least."""
        with torch.no_grad():
            values, V = torch.linalg.eigh(self._matrix(x))
            least = 1e-3 if x.dtype == torch.float32 else 1e-8
            floor = least * values.abs().amax(-1, keepdim=True)
            raised = (floor - values).clamp(min=0)
            shift = pack((V * raised[:, None, :]) @ V.mT)
        return x + shift

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`: every symmetric matrix is tangent."""
        del x
        return u

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        L = self._root(x)
        return (self._whiten(L, u) * self._whiten(L, v)).sum((-2, -1))

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Return :math:`LVL^\top` with the Cholesky factor of `x`."""
        L = self._root(x)
        return pack(L @ self._matrix(v) @ L.mT)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients :math:`XGX`, of shape (n, d)."""
        X = self._matrix(x)
        return pack(X @ self._matrix(g) @ X)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`X+U+\frac12UX^{-1}U`, positive definite for every U."""
        L = self._root(x)
        half = L @ self._whiten(L, u)
        return x + u + pack(half @ half.mT) / 2

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`L e^W L^\top` and :math:`L We^W L^\top`, U = LWLᵀ."""
        L = self._root(x)
        W = self._whiten(L, u)
        half = torch.linalg.matrix_exp(W / 2)  # its square e^W is positive definite
        left = L @ half
        return pack(left @ left.mT), pack(left @ W @ left.mT)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity that leads to `y`."""
        L = self._root(x)
        return pack(L @ log_of_shifted(self._whiten(L, y - x)) @ L.mT)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the root of the sum of squared logs of the eigenvalues of X⁻¹Y."""
        W = log_of_shifted(self._whiten(self._root(x), y - x))
        return safe_norm(W.flatten(1)).squeeze(-1)

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`\sum\log(\sinh t/t)`, where 2t is the gap of two eigenvalues."""
        values = torch.linalg.eigvalsh(self._whiten(self._root(x), u))
        i, j = torch.triu_indices(self._known_size(), self._known_size(), 1)
        gaps = values[:, j] - values[:, i]
        return log_sinh_over(gaps.square() / 4).sum(-1)

    def chart(self, x: Tensor) -> LocalChart:
        """Return the features as coordinates; one chart covers all matrices."""
        size = self._known_size()
        i, j = torch.tril_indices(size, size, -1)
        k = torch.arange(size)

        def root(y: Tensor) -> Tensor:
            unit = torch.eye(size, dtype=y.dtype, device=y.device).repeat(len(y), 1, 1)
            unit = unit.index_put((torch.arange(len(y))[:, None], i, j), y[:, size:])
            return unit * y[:, None, :size].exp()

        def to_manifold(y: Tensor) -> Tensor:
            L = root(y)
            return pack(L @ L.mT)

        def metric(y: Tensor) -> Tensor:
            L = root(y)
            dL = y.new_zeros(len(y), y.shape[1], size, size)  # one per coordinate
            dL[:, k, :, k] = L.permute(2, 0, 1)
            dL[:, size + torch.arange(len(i)), i, j] = y[:, j].exp()
            B = torch.linalg.solve_triangular(L[:, None], dL, upper=False)
            W = (B + B.mT).flatten(-2)  # dX, whitened
            return W @ W.mT

        return LocalChart(self.features(x), to_manifold, metric)

    # --- volume and features ----------------------------------------------------------

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return draws of the wrapped standard normal at the identity."""
        shape = n_samples, self.ambient_dim
        W = self._matrix(torch.randn(shape, generator=generator, dtype=dtype))
        half = torch.linalg.matrix_exp(W / 2)
        return pack(half @ half.mT)

    def features(self, x: Tensor) -> Tensor:
        """Return half of log D, and L below the diagonal, for X = L D Lᵀ."""
        L = self._root(x)
        root = L.diagonal(dim1=-2, dim2=-1)
        i, j = torch.tril_indices(self._known_size(), self._known_size(), -1)
        return torch.cat([root.log(), (L / root[:, None, :])[:, i, j]], -1)
