r"""Radial kernels of reproducing-kernel Hilbert spaces, and their length scales.

A radial kernel is :math:`k(x, y) = f(t)` with :math:`t = \|x - y\|^2 / \ell^2`. A value and
a slope per pair therefore give all gradients, and sums of gradients need no array of shape
(n, n, d):

.. math:: \nabla_x k(x, y) = \frac{2 f'(t)}{\ell^2}\,(x - y).
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sk_wmvl._component import BaseComponent, check_positive

__all__ = ["IMQ", "KERNELS", "RBF", "BaseKernel", "Gram", "median_length_scale"]

# Below this ratio of the largest distance to the length scale the kernel is constant to
# within rounding: 1 - k is at most a few units of float32 rounding.
LEAST_RATIO = 1e-3


class Gram(NamedTuple):
    r"""A kernel at every pair.

    Attributes
    ----------
    value : Tensor of shape (n, m)
        :math:`k(x_i, y_j)`.
    slope : Tensor of shape (n, m)
        :math:`\partial k / \partial \|x_i - y_j\|^2`.
    """

    value: Tensor
    slope: Tensor


def median_length_scale(x: Tensor) -> float:
    """Return the median distance between two points, or a positive substitute.

    The median is zero if more than half of the pairs coincide. The result is then the root
    mean square of the distances above zero, or one if there are none.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        At least two points.

    Returns
    -------
    length_scale : float

    References
    ----------
    [Garreau2017]_
    """
    distances = torch.pdist(x.detach())
    median = float(distances.median())
    if median > 0:
        return median
    apart = distances[distances > 0]
    return float(apart.square().mean().sqrt()) if len(apart) else 1.0


class BaseKernel(BaseComponent, ABC):
    r"""A radial kernel.

    Attributes
    ----------
    length_scale : float or None
        The length :math:`\ell`; None takes the median distance between the given points.
    reach : float
        The distance, in length scales, beyond which the kernel is negligible.
    """

    length_scale: float | None
    reach: ClassVar[float]

    @abstractmethod
    def profile(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`f(t)` and :math:`f'(t)` of the same shape as `t`."""

    def derivative(self, t: Tensor, order: int) -> Tensor:
        r"""Return the derivative :math:`f^{(k)}(t)` of order k, in the shape of `t`."""
        raise NotImplementedError(
            f"{type(self).__name__} offers no higher derivatives."
        )

    def gram(self, x: Tensor, y: Tensor | None = None) -> Gram:
        """Return values and slopes at every pair of points.

        Points are taken as constants: no gradient flows through them, nor through a length
        scale computed from them.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Points.
        y : Tensor of shape (m, d), default=None
            Other points; None is `x`.

        Returns
        -------
        gram : Gram

        Raises
        ------
        ValueError
            If `length_scale` is not a positive number, or if it is so small or so large
            that the kernel is constant on these points.
        """
        x = x.detach()
        y = x if y is None else y.detach()
        # the expanded square would not give equal points the distance zero exactly
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        if self.length_scale is None:
            length_scale = median_length_scale(x)
        else:
            check_positive(self, length_scale=self.length_scale)
            length_scale = float(self.length_scale)
            self._check_length_scale(distance, length_scale)
        value, derivative = self.profile((distance / length_scale).square())
        return Gram(value, derivative / length_scale**2)

    def _check_length_scale(self, distance: Tensor, length_scale: float) -> None:
        """Raise ValueError if the kernel is 0 at most pairs, or 1 at all, to rounding."""
        most = float(distance.max())
        if most == 0:  # all points are equal: every length scale is as good
            return
        apart = distance.masked_fill(distance == 0, torch.inf)
        neighbor = float(apart.min(1).values.median())
        name = type(self).__name__
        advice = (
            f"neighbors lie {neighbor:.2g} apart, the farthest points {most:.2g}. Choose a "
            "length scale between these, or length_scale=None for the median distance."
        )
        if neighbor > self.reach * length_scale:
            raise ValueError(
                f"length_scale={length_scale:.3g} of {name} is too small: half of the "
                f"points have no other within {self.reach:g} length scales, where the "
                "kernel is not zero; " + advice
            )
        if most < LEAST_RATIO * length_scale:
            raise ValueError(
                f"length_scale={length_scale:.3g} of {name} is too large: the kernel is "
                "the same at all pairs to within rounding, so only the mean of a "
                "difference of scores would count; " + advice
            )


class RBF(BaseKernel):
    r"""Gaussian kernel :math:`k(x, y) = \exp(-\|x - y\|^2 / 2\ell^2)`.

    Parameters
    ----------
    length_scale : float or None, default=None
        The length :math:`\ell`, in units of `x`; None takes the median distance between two
        points of the batch.

    See Also
    --------
    IMQ : A kernel with heavier tails.

    References
    ----------
    [Liu2016b]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import RBF
    >>> RBF(2.0).gram(torch.tensor([[0.0], [2.0]])).value[0]  # 1 and exp(-1/2)
    tensor([1.0000, 0.6065])
    """

    reach: ClassVar[float] = 30.0  # exp(-450) is zero in float32, negligible in float64

    def __init__(self, length_scale: float | None = None):
        self.length_scale = length_scale

    def profile(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return value and derivative; see `BaseKernel.profile`."""
        value = torch.exp(-0.5 * t)
        return value, -0.5 * value

    def derivative(self, t: Tensor, order: int) -> Tensor:
        """Return a derivative of any order; see `BaseKernel.derivative`."""
        return (-0.5) ** order * torch.exp(-0.5 * t)


class IMQ(BaseKernel):
    r"""Inverse multiquadric kernel :math:`k(x, y) = (1 + \|x - y\|^2 / \ell^2)^b`.

    Its Stein discrepancy controls weak convergence. That of a Gaussian kernel does not in
    three or more dimensions [Gorham2017]_.

    Parameters
    ----------
    length_scale : float or None, default=None
        The length :math:`\ell`, in units of `x`; None takes the median distance between two
        points of the batch.
    exponent : float, default=-0.5
        The exponent `b`, between -1 and 0.

    See Also
    --------
    RBF : The Gaussian kernel.

    References
    ----------
    [Gorham2017]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.kernels import IMQ
    >>> IMQ(2.0).gram(torch.tensor([[0.0], [2.0]])).value[0]  # 1 and 2 ** -0.5
    tensor([1.0000, 0.7071])
    """

    reach: ClassVar[float] = 1e6  # the tail is a power: k = 1e-6 there for b = -1/2

    def __init__(self, length_scale: float | None = None, *, exponent: float = -0.5):
        self.length_scale = length_scale
        self.exponent = exponent

    def profile(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return value and derivative; see `BaseKernel.profile`."""
        b = self._check_exponent()
        base = 1 + t
        return base**b, b * base ** (b - 1)

    def derivative(self, t: Tensor, order: int) -> Tensor:
        """Return a derivative of any order; see `BaseKernel.derivative`."""
        b = self._check_exponent()
        return math.prod(b - k for k in range(order)) * (1 + t) ** (b - order)

    def _check_exponent(self) -> float:
        b = self.exponent
        if not (isinstance(b, int | float) and -1 < b < 0):
            raise ValueError(f"exponent of IMQ must lie in (-1, 0); got {b!r}.")
        return b


KERNELS = {"rbf": RBF, "imq": IMQ}
