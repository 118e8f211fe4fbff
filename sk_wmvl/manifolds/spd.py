"""Symmetric positive definite matrices with the affine-invariant metric."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite
from sk_wmvl.manifolds._series import log_sinh_over, safe_norm
from sk_wmvl.manifolds._symmetric import ROOT_2, log_of_shifted, pack, unpack

__all__ = ["SPD"]

TOLERANCE = 1e-6  # of symmetry, relative to the largest entry
FORMS = ("triangle", "matrix")


class SPD(BaseManifold):
    r"""Symmetric positive definite matrices, with the affine-invariant metric.

    The metric is :math:`\langle U,V\rangle_X = \mathrm{tr}(X^{-1}UX^{-1}V)`, for which
    :math:`X\mapsto AXA^\top` is an isometry. Rows are upper triangles, row by row, or whole
    matrices, flattened. Points are the factors of :math:`X=TDT^\top`: half of log D, and
    the unit triangular T below the diagonal. These are any numbers, without a constraint,
    and keep their digits where X is nearly singular. Factors are computed once, in double
    precision. The network sees the same numbers.

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

    least_curvature: ClassVar[float] = -0.5
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
        return self._factors(unpack(points, size))

    def _factors(self, X: Tensor) -> Tensor:
        """Return the points of symmetric matrices, of shape (n, s, s), after a check.

        Rows and columns are scaled to a unit diagonal: units, however different, make no
        matrix singular. What remains is limited by rounding of the entries.
        """
        size, dtype = self._known_size(), X.dtype
        rounding = size * torch.finfo(dtype).eps
        X = X.double()
        diagonal = X.diagonal(dim1=-2, dim2=-1)
        scale = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
        R = X / scale[:, :, None] / scale[:, None, :]
        values = torch.linalg.eigvalsh(R)
        floor = rounding * values.abs().amax(-1)
        bad = ~(values[:, 0] > floor)
        if bool(bad.any()):
            row = int((values[:, 0] - floor).argmin())
            raise ValueError(
                f"X has rows that are not points of {self!r}: {int(bad.sum())} of "
                f"{len(bad)} are not positive definite, the worst is row {row} with "
                f"smallest eigenvalue {float(values[row, 0]):.3g}, when scaled to a unit "
                f"diagonal, which must exceed {float(floor[row]):.3g}: condition numbers "
                f"up to {1 / rounding:.1g} keep a digit. Estimate covariances from more "
                "observations than variables, shrink them, or add a small multiple of "
                "the identity. Leave out a variable that is a sum of others, such as one "
                "channel of an average reference."
            )
        root, T = split_factor(torch.linalg.cholesky(R))
        T = T * scale[:, :, None] / scale[:, None, :]
        return self._join((root * scale).log(), T).to(dtype)

    def _entries(self, X: Tensor) -> Tensor:
        """Return symmetric matrices, (n, s, s), as users' entries."""
        if self.coordinates == "matrix":
            return X.flatten(-2)
        i, j = torch.triu_indices(X.shape[-1], X.shape[-1])
        return X[:, i, j]

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns)."""
        L = self._lower(x)
        return self._entries(L @ L.mT)

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        L = self._lower(x)
        return self._entries(L @ self._whiten(x, u) @ L.mT)

    # --- factors ----------------------------------------------------------------------

    def _join(self, logs: Tensor, T: Tensor) -> Tensor:
        """Return coordinates from logs of roots, (n, s), and unit triangles, (n, s, s)."""
        i, j = torch.tril_indices(T.shape[-1], T.shape[-1], -1)
        return torch.cat([logs, T[:, i, j]], -1)

    def _below(self, x: Tensor) -> Tensor:
        """Return the coordinates below the diagonal as matrices of shape (n, s, s)."""
        size = self._known_size()
        i, j = torch.tril_indices(size, size, -1)
        empty = x.new_zeros(len(x), size, size)
        rows = torch.arange(len(x), device=x.device)[:, None]
        return empty.index_put((rows, i.to(x.device), j.to(x.device)), x[:, size:])

    def _unit(self, x: Tensor) -> Tensor:
        """Return the unit triangular factors T, of shape (n, s, s)."""
        size = self._known_size()
        return self._below(x) + torch.eye(size, dtype=x.dtype, device=x.device)

    def _ratios(self, x: Tensor) -> Tensor:
        """Return the ratios of the roots of D, row by column, of shape (n, s, s)."""
        logs = x[:, : self._known_size()]
        return (logs[:, :, None] - logs[:, None, :]).exp()

    def _lower(self, x: Tensor) -> Tensor:
        """Return Cholesky factors, of shape (n, s, s)."""
        return self._unit(x) * x[:, None, : self._known_size()].exp()

    def _times(self, x: Tensor, C: Tensor) -> Tensor:
        r"""Return the points :math:`(LC)(LC)^\top`, for lower triangles C."""
        root, N = split_factor(C)
        T = self._unit(x) @ (N * self._ratios(x))
        return self._join(x[:, : self._known_size()] + root.log(), T)

    # --- tangent vectors --------------------------------------------------------------

    def _matrix(self, v: Tensor) -> Tensor:
        """Return symmetric matrices of shape (n, s, s) from scaled triangles."""
        return unpack(v, self._known_size())

    def _whiten(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`L^{-1}\,dX\,L^{-\top}` of tangent vectors, exactly symmetric."""
        below = torch.linalg.solve_triangular(
            self._unit(x), self._below(u), upper=False, unitriangular=True
        )
        below = below / self._ratios(x)
        return below + below.mT + 2 * torch.diag_embed(u[:, : self._known_size()])

    def _color(self, x: Tensor, W: Tensor) -> Tensor:
        """Return the tangent vectors that `_whiten` takes to W."""
        below = W.tril(-1) * self._ratios(x)
        return self._join(W.diagonal(dim1=-2, dim2=-1) / 2, self._unit(x) @ below)

    def projection(self, x: Tensor) -> Tensor:
        """Return `x`: all coordinates are those of a point."""
        return x

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`: every vector is tangent."""
        del x
        return u

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        return (self._whiten(x, u) * self._whiten(x, v)).sum((-2, -1))

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Return the vectors whose change of X is :math:`LVL^\top`."""
        return self._color(x, self._matrix(v))

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients: the frame times its transpose, (n, d)."""
        below = (self._unit(x).mT @ self._below(g)).tril(-1) * self._ratios(x)
        half = torch.diag_embed(g[:, : self._known_size()] / 2)
        # an entry off the diagonal counts twice in the square, and once here
        return self._color(x, half + below / 2 + below.mT / 2)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`X+U+\frac12UX^{-1}U`, positive definite for every U."""
        W = self._whiten(x, u)
        eye = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device).expand_as(W)
        # I + W + W²/2 = (I + (I + W)²)/2, a square even where rounding would spoil the sum
        C, _ = lower_root(torch.cat([eye, eye + W], -1) / ROOT_2)
        return self._times(x, C)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`L e^W L^\top` and :math:`L We^W L^\top`, U = LWLᵀ."""
        W = self._whiten(x, u)
        C, turn = lower_root(torch.linalg.matrix_exp(W / 2))
        y = self._times(x, C)
        return y, self._color(y, turn @ W @ turn.mT)

    def _log(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Return the logs of :math:`L^{-1}YL^{-\top}`, of shape (n, s, s)."""
        size = self._known_size()
        below = torch.linalg.solve_triangular(
            self._unit(x), self._below(y - x), upper=False, unitriangular=True
        )
        logs = y[:, None, :size] - x[:, :size, None]
        shift = torch.diag_embed(torch.expm1(y[:, :size] - x[:, :size]))
        A = below * logs.exp() + shift  # the factor of the quotient, less I
        return log_of_shifted(A + A.mT + A @ A.mT)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the velocity that leads to `y`."""
        return self._color(x, self._log(x, y))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the root of the sum of squared logs of the eigenvalues of X⁻¹Y."""
        return safe_norm(self._log(x, y).flatten(1)).squeeze(-1)

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`\sum\log(\sinh t/t)`, where 2t is the gap of two eigenvalues."""
        values = torch.linalg.eigvalsh(self._whiten(x, u))
        i, j = torch.triu_indices(self._known_size(), self._known_size(), 1)
        gaps = values[:, j] - values[:, i]
        return log_sinh_over(gaps.square() / 4).sum(-1)

    def chart(self, x: Tensor) -> LocalChart:
        """Return the coordinates themselves; one chart covers all matrices."""
        d = x.shape[1]

        def metric(y: Tensor) -> Tensor:
            eye = torch.eye(d, dtype=y.dtype, device=y.device)
            W = self._whiten(y.repeat_interleave(d, 0), eye.repeat(len(y), 1))
            W = W.reshape(len(y), d, -1)
            return W @ W.mT

        return LocalChart(x, lambda y: y, metric)

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
        C, _ = lower_root(torch.linalg.matrix_exp(W / 2))
        return self._times(W.new_zeros(shape), C)


def split_factor(C: Tensor) -> tuple[Tensor, Tensor]:
    """Return the diagonals, (n, s), and the unit triangles of lower triangles C."""
    diagonal = C.diagonal(dim1=-2, dim2=-1)
    return diagonal, C / diagonal[:, None, :]


def lower_root(half: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return C and O with ``half = C O``: C lower triangular, O of orthonormal rows.

    C is the Cholesky factor of :math:`HH^\top`, without the loss of digits of the product.
    """
    Q, R = torch.linalg.qr(half.mT)
    sign = torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(R)
    return R.mT * sign[:, None, :], Q.mT * sign[:, :, None]
