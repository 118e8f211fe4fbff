r"""The kernel exponential family: corrections of a log density in an RKHS.

By the representer theorem the solution lies in the span of the kernel's first derivatives
at the rows, :math:`\partial_ik(y_a,\cdot)`, and of one more function,
:math:`\sum_a w_a\Delta k(y_a,\cdot)`. The same functions at fewer rows span the Nyström
approximation.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from sk_wmvl._component import check_positive, resolve
from sk_wmvl.energies.tangent_space import tangent_derivatives, tangent_jets
from sk_wmvl.exponential._base import (
    ALPHAS,
    Candidate,
    ExponentialFamily,
    LinearEnergy,
    check_alpha,
    embed,
)
from sk_wmvl.kernels import KERNELS, BaseKernel, median_length_scale
from sk_wmvl.manifolds import BaseManifold

__all__ = ["KernelFamily", "SectionEnergy"]

MAX_STATISTICS = 600  # functions of the span by default: seconds for 10 000 rows
# length scales to compare, in units of the median distance
FACTORS = (0.15, 0.25, 0.4, 0.7, 1.2, 2.5)


class SectionEnergy(LinearEnergy):
    r"""Derivatives of a kernel at some points, as functions of its other argument.

    The statistics are :math:`\partial_ik(y_a, x)` along an orthonormal tangent basis, point
    by point, followed by :math:`\sum_aw_a\Delta_yk(y_a,x)`. On a manifold k is the
    restriction of a kernel of the Euclidean space that `embed` maps to.

    Parameters
    ----------
    kernel : BaseKernel
        A kernel whose length scale is given, in units of the embedding.
    manifold : BaseManifold
        A manifold whose dimension m is known.
    points : Tensor of shape (p, d)
        The points y, in float64.
    weight : Tensor of shape (p,)
        The weights w.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.exponential import SectionEnergy
    >>> from sk_wmvl.kernels import RBF
    >>> from sk_wmvl.manifolds import Euclidean
    >>> zero, one = torch.zeros(1, 1).double(), torch.ones(1).double()
    >>> energy = SectionEnergy(RBF(1.0), Euclidean(1), zero, one)
    >>> energy.statistics(zero + 2)  # 2 exp(-2) and 3 exp(-2)
    tensor([[0.2707, 0.4060]], dtype=torch.float64)
    """

    points: Tensor
    centers: Tensor
    moves: Tensor
    bends: Tensor
    weight: Tensor

    def __init__(
        self, kernel: BaseKernel, manifold: BaseManifold, points: Tensor, weight: Tensor
    ):
        moves, bends = tangent_derivatives(
            lambda x: embed(manifold, x), manifold, points
        )
        p, m, _ = moves.shape
        super().__init__(p * m + 1)
        self.coefficients = self.coefficients.to(points.device)
        self.kernel = kernel
        self.manifold = manifold
        self.register_buffer("points", points)
        self.register_buffer("centers", embed(manifold, points))
        self.register_buffer("moves", moves)
        self.register_buffer("bends", bends)
        self.register_buffer("weight", weight)

    @property
    def _inverse(self) -> float:
        return float(self.kernel.length_scale or 1.0) ** -2

    def _linear(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return moves . z, (n, p, m), and bends . z, (n, p)."""
        p, m, width = self.moves.shape
        return (z @ self.moves.view(-1, width).T).view(len(z), p, m), z @ self.bends.T

    def _values(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return t, and (center - z) . moves and (center - z) . bends plus |moves|²."""
        centers = self.centers
        square = z.square().sum(-1, keepdim=True) - 2 * z @ centers.T
        t = self._inverse * (square + centers.square().sum(-1))
        along, bend = self._linear(z)
        along = (self.moves * centers[:, None]).sum(-1) - along
        bend = (self.bends * centers).sum(-1) - bend
        return t, along, bend + self.moves.square().sum((1, 2))

    def _join(self, first: Tensor, laplacian: Tensor) -> Tensor:
        return torch.cat(
            [first.flatten(-2), (laplacian @ self.weight).unsqueeze(-1)], -1
        )

    def statistics(self, x: Tensor) -> Tensor:
        """Return T of shape (n, p m + 1)."""
        t, along, bend = self._values(embed(self.manifold, x))
        slope = 2 * self._inverse * self.kernel.derivative(t, 1)
        curvature = 4 * self._inverse**2 * self.kernel.derivative(t, 2)
        laplacian = slope * bend + curvature * along.square().sum(-1)
        return self._join(slope.unsqueeze(-1) * along, laplacian)

    def derivatives(self, manifold: BaseManifold, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients and Laplacians; see `LinearEnergy.derivatives`.

        The product and chain rules give two derivatives along each direction. The digit
        in a name is the order of the derivative.
        """
        z = embed(manifold, x)
        velocities, accelerations = tangent_jets(
            lambda x: embed(manifold, x), manifold, x
        )
        t, a0, g0 = self._values(z)
        f = [self.kernel.derivative(t, order) for order in range(5)]
        c, e = 2 * self._inverse, 4 * self._inverse**2
        p0, q0, b0 = c * f[1], e * f[2], a0.square().sum(-1)
        gradients, laplacians = [], torch.zeros((), device=x.device)
        for v, a in zip(velocities.unbind(1), accelerations.unbind(1), strict=True):
            t1 = c * ((z * v).sum(-1, keepdim=True) - v @ self.centers.T)
            t2 = (v.square() + z * a).sum(-1, keepdim=True) - a @ self.centers.T
            t2 = c * t2
            (a1, g1), (a2, g2) = self._linear(-v), self._linear(-a)
            p1, p2 = c * f[2] * t1, c * (f[3] * t1.square() + f[2] * t2)
            q1, q2 = e * f[3] * t1, e * (f[4] * t1.square() + f[3] * t2)
            b1 = 2 * (a0 * a1).sum(-1)
            b2 = 2 * (a1.square() + a0 * a2).sum(-1)
            one = p1.unsqueeze(-1) * a0 + p0.unsqueeze(-1) * a1
            two = p2.unsqueeze(-1) * a0 + 2 * p1.unsqueeze(-1) * a1
            two = two + p0.unsqueeze(-1) * a2
            last_one = p1 * g0 + p0 * g1 + q1 * b0 + q0 * b1
            last_two = p2 * g0 + 2 * p1 * g1 + p0 * g2 + q2 * b0 + 2 * q1 * b1 + q0 * b2
            gradients.append(self._join(one, last_one))
            laplacians = laplacians + self._join(two, last_two)
        return torch.stack(gradients, 1), laplacians

    def gram(self) -> Tensor:
        """Return the inner products of the statistics in the RKHS, of shape (k, k).

        By the reproducing property, the inner product of a function with a derivative of
        the kernel at a point is the derivative of the function at that point.
        """
        parts = self.points.split(max(1, 2**21 // len(self.coefficients)))
        first, second = [], []
        for rows in parts:
            one, two = self.derivatives(self.manifold, rows)
            first.append(one)
            second.append(two)
        last = self.weight @ torch.cat(second)
        gram = torch.cat([torch.cat(first).flatten(0, 1), last[None]])
        return 0.5 * (gram + gram.T)


class KernelFamily(ExponentialFamily):
    r"""Densities :math:`q(x) \propto q_0(x)\,e^{f(x)}` with f in an RKHS.

    Score matching with the penalty :math:`\frac12\alpha\|f\|^2` has a closed form: over the
    whole RKHS if every row is used [Sriperumbudur2017]_, otherwise over the span of the
    kernel's derivatives at some rows and of the mean of their Laplacians
    [Sutherland2018]_. f vanishes far from the rows, so the tails are those of the base
    measure. On a manifold the kernel is a function of distances in an embedding: chords
    on a sphere, differences of cosines and sines of angles.

    Parameters
    ----------
    kernel : {'rbf', 'imq'} or BaseKernel, default='rbf'
        The kernel. Its length scale is in internal (whitened) units. A `length_scale` of
        None, the default of the named kernels, is chosen among multiples of the median
        distance by the leave-one-out score.
    n_components : int, 'auto' or None, default='auto'
        How many rows the functions are attached to; k-means++ spreads them out. None means
        all rows: the exact solution, at a cost of (n m)³ operations for n rows in m
        dimensions. ``'auto'`` means as many rows as make 600 functions.
    alpha : float or 'auto', default='auto'
        Weight of the penalty. ``'auto'`` takes the one with the best leave-one-out score.

    Notes
    -----
    A row that is left out still carries its functions; only its term in the sum is
    missing.

    References
    ----------
    [Sriperumbudur2017]_, [Sutherland2018]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import MVLDensity
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(300, 1))
    >>> density = MVLDensity(energy="kernel", base="gaussian", random_state=0).fit(X)
    >>> bool(abs(density.score_samples([[0.0]])[0] + np.log(2)) < 0.3)
    True
    """

    takes_base: ClassVar[bool] = True

    def __init__(
        self,
        kernel: str | BaseKernel = "rbf",
        *,
        n_components: int | str | None = "auto",
        alpha: float | str = "auto",
    ):
        self.kernel = kernel
        self.n_components = n_components
        self.alpha = alpha

    def alphas(self) -> tuple[float, ...]:
        """Return weights of the penalty to choose from."""
        check_alpha(self, self.alpha, least="> 0")
        return ALPHAS if isinstance(self.alpha, str) else (float(self.alpha),)

    def _number(self, n: int, m: int) -> int:
        number = self.n_components
        if number is None:
            return n
        if isinstance(number, str) and number == "auto":
            return min(n, max(1, MAX_STATISTICS // m))
        if not (isinstance(number, int) and number >= 1):
            raise ValueError(
                "n_components of KernelFamily must be a positive integer, 'auto' or None; "
                f"got {number!r}."
            )
        return min(n, number)

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> Iterator[Candidate]:
        """Yield statistics for each length scale; see `ExponentialFamily.candidates`."""
        kernel = resolve(self.kernel, KERNELS, BaseKernel, name="kernel")
        number = self._number(len(x), manifold.dim or 1)
        z = embed(manifold, x)
        if number < len(x):
            _, rows = kmeans_plusplus(
                z.cpu().numpy(),
                number,
                sample_weight=weight.cpu().numpy(),
                random_state=np.random.RandomState(seed),
            )
            chosen = torch.from_numpy(np.sort(rows)).to(x.device)
            x, z, weight = x[chosen], z[chosen], weight[chosen]
            weight = weight / weight.sum()
        if kernel.length_scale is None:
            median = median_length_scale(z) if len(z) > 1 else 1.0
            lengths = [factor * median for factor in FACTORS]
        else:
            check_positive(kernel, length_scale=kernel.length_scale)
            lengths = [kernel.length_scale]
        for length in lengths:
            own = clone(kernel).set_params(length_scale=length)
            energy = SectionEnergy(own, manifold, x, weight)
            yield Candidate(energy, energy.gram())
