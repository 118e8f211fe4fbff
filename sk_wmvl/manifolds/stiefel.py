"""Orthonormal frames: the Stiefel manifold, with the metric of the space of matrices."""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold
from sk_wmvl.manifolds._border import check_columns, check_defect, check_finite
from sk_wmvl.manifolds._symmetric import inverse_sqrt_of_shifted

__all__ = ["Stiefel"]

TOLERANCE = 1e-6  # of X'X - I: matrices are often printed with seven digits
SINGULAR = 1e-6  # ratio of singular values below which no frame is nearest


def polar(Y: Tensor) -> Tensor:
    r"""Return :math:`Y(Y^\top Y)^{-1/2}` of well-conditioned Y, with derivatives."""
    eye = torch.eye(Y.shape[-1], dtype=Y.dtype, device=Y.device)
    return Y @ inverse_sqrt_of_shifted(Y.mT @ Y - eye)


def symmetric(S: Tensor) -> Tensor:
    """Return the symmetric parts of square matrices."""
    return (S + S.mT) / 2


class Stiefel(BaseManifold):
    r"""Orthonormal frames of p vectors in :math:`\mathbb{R}^n`, with the embedded metric.

    Points are n x p matrices with :math:`X^\top X=I`; the vectors are the columns of X.
    Rows hold X row by row (``X.reshape(-1, n * p)``), n p columns. Lengths and volume are
    those of the Euclidean space of matrices, so that ``Stiefel(n, 1)`` is a sphere. The
    network sees the entries.

    Parameters
    ----------
    n : int
        The dimension of the space that the frames are in, at least 2.
    p : int
        The number of vectors of a frame, from 1 to n.
    project : bool, default=False
        Whether to replace rows by their polar factor, the nearest frame. Matrices of
        dependent columns have none and are an error in any case.

    Notes
    -----
    The volume is :math:`2^{p(p-1)/4}\prod_{k=n-p+1}^{n} 2\pi^{k/2}/\Gamma(k/2)`. Books
    that use the canonical metric leave out the power of two: in the embedded metric a
    rotation within the frame counts twice. Log densities with respect to the uniform
    distribution are larger by ``log_volume()``.

    The shortest geodesic between two frames has no closed form, so there is no `log` and
    no `dist`. A `RiemannianMVLDensity` needs ``base="uniform"``, since mixtures need
    distances. For p = n the manifold has two components, of determinant 1 and -1, and no
    continuous path joins them. The cost of `retract` grows like n p², that of `geodesic`
    like n³.

    References
    ----------
    [Edelman1998]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Stiefel
    >>> x = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]])  # e_1, e_2
    >>> u = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, torch.pi / 2]])  # e_2 towards e_3
    >>> Stiefel(3, 2).exp(x, u).reshape(3, 2).round(decimals=4).abs()  # e_1, e_3
    tensor([[1., 0.],
            [0., 0.],
            [0., 1.]])
    >>> round(Stiefel(3, 2).log_volume(), 4)  # log(8 sqrt(2) pi^2)
    4.7155
    """

    columns_hint: ClassVar[str] = (
        "p orthonormal vectors of n entries have n p columns, the n x p matrix row by row"
    )

    def __init__(self, n: int, p: int, *, project: bool = False):
        self.n = n
        self.p = p
        self.project = project

    # --- shape ------------------------------------------------------------------------

    def _sizes(self) -> tuple[int, int]:
        """Return n and p, checked."""
        n, p = self.n, self.p
        if not (isinstance(n, int) and isinstance(p, int) and n >= 2 and 1 <= p <= n):
            raise ValueError(
                "Stiefel(n, p) has p vectors in R^n: n must be an integer, at least 2, "
                f"and p one from 1 to n; got n={n!r}, p={p!r}."
            )
        return n, p

    @property
    def dim(self) -> int | None:  # type: ignore[override]  # an attribute in the base
        """The number n p - p (p + 1) / 2."""
        n, p = self._sizes()
        return n * p - p * (p + 1) // 2

    @property
    def n_columns(self) -> int:
        """The number n p."""
        return self.ambient_dim

    @property
    def ambient_dim(self) -> int:
        """The number n p."""
        n, p = self._sizes()
        return n * p

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy for rows of a given width; see `BaseManifold.with_columns`."""
        check_columns(self, n_columns, n_columns == self.n_columns)
        return self._resized()

    def _matrix(self, x: Tensor) -> Tensor:
        """Return matrices of shape (k, n, p)."""
        return x.reshape(-1, *self._sizes())

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return frames; see `BaseManifold.from_user`."""
        check_finite(self, x)
        X = self._matrix(x)
        # in units of the largest entry, squares neither overflow nor vanish
        largest = X.abs().amax((1, 2), keepdim=True)
        U, S, Vh = torch.linalg.svd(
            X / torch.where(largest > 0, largest, 1.0), full_matrices=False
        )
        if self.project:
            check_defect(
                self,
                1 - S[:, -1] / torch.where(S[:, 0] > 0, S[:, 0], 1.0),
                1 - SINGULAR,
                what="1 - (smallest / largest singular value)",
                remedy="No frame is nearest to a matrix of dependent columns: remove "
                "these rows.",
            )
        else:
            eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
            check_defect(
                self,
                (X.mT @ X - eye).abs().amax((1, 2)),
                TOLERANCE,
                what="max |X'X - I|",
                remedy=f"Rows are {self.n} x {self.p} matrices row by row, their columns "
                "orthonormal: correct them, or use Stiefel(n, p, project=True), which "
                "takes the polar factor, the nearest frame.",
            )
        return (U @ Vh).flatten(1)

    # --- tangent vectors --------------------------------------------------------------

    def projection(self, x: Tensor) -> Tensor:
        """Return polar factors, the nearest frames, of matrices of full rank."""
        # the factor does not depend on the scale, which may be taken as constant
        scale = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True)
        return polar(self._matrix(x / scale * math.sqrt(self.p))).flatten(1)

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return :math:`U-X\,\mathrm{sym}(X^\top U)`."""
        X, U = self._matrix(x), self._matrix(u)
        return u - (X @ symmetric(X.mT @ U)).flatten(1)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return Euclidean inner products, of shape (k,)."""
        del x
        return (u * v).sum(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the tangent part of `v`."""
        return self.to_tangent(x, v)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the tangent part of `g`."""
        return self.to_tangent(x, g)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return the polar factor :math:`(X+U)(I+U^\top U)^{-1/2}`.

        It is the frame nearest to X + U, of second order for the embedded metric.
        """
        return polar(self._matrix(x + u)).flatten(1)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`e^W X e^{-A}` and :math:`e^W U e^{-A}`.

        Here :math:`W=UX^\top-XU^\top` and :math:`A=X^\top U`. Since
        :math:`W\,(X\ U)=(X\ U)\begin{pmatrix}A&-U^\top U\\I&A\end{pmatrix}`, this is the
        formula of Edelman, Arias and Smith. Its factors are orthogonal here, so they do
        not enlarge errors of X.
        """
        X, U = self._matrix(x), self._matrix(u)
        half = U @ X.mT
        turn = torch.linalg.matrix_exp(half - half.mT)
        A = X.mT @ U
        within = torch.linalg.matrix_exp((A.mT - A) / 2)
        # the polar factor removes rounding errors
        return polar(turn @ X @ within).flatten(1), (turn @ U @ within).flatten(1)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Raise NotImplementedError: the velocity has no closed form."""
        raise NotImplementedError(
            "Stiefel offers no log: the shortest geodesic between two frames has no "
            "closed form."
        )

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Raise NotImplementedError: the distance has no closed form."""
        raise NotImplementedError(
            "Stiefel offers no dist: the shortest geodesic between two frames has no "
            "closed form."
        )

    # --- volume -----------------------------------------------------------------------

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return uniform frames: Q of a Gaussian matrix QR where diag(R) is positive."""
        shape = n_samples, self.ambient_dim
        Z = self._matrix(torch.randn(shape, generator=generator, dtype=dtype))
        Q, R = torch.linalg.qr(Z)
        diagonal = R.diagonal(dim1=-2, dim2=-1)
        return torch.where(diagonal[:, None, :] < 0, -Q, Q).flatten(1)

    def log_volume(self) -> float:
        """Return the log of the volume in the embedded metric; see the class."""
        n, p = self._sizes()
        spheres = [
            math.log(2) + k / 2 * math.log(math.pi) - math.lgamma(k / 2)
            for k in range(n - p + 1, n + 1)
        ]
        return sum(spheres) + p * (p - 1) / 4 * math.log(2)
