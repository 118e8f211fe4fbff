"""Johnson's transformation, which makes skewed and heavy-tailed columns nearly normal."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

__all__ = ["InvertedColumns", "JohnsonColumns", "JohnsonTransform", "fit_johnson"]

# In a column's own spread. A narrower scale would make a spike at one value, and a wider
# one makes a straight line.
LEAST_SCALE, MOST_SCALE = 0.02, 50.0
FARTHEST = 3.0  # spreads of a location from the nearest value
START_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
START_SCALES = (0.1, 0.3, 1.0, 3.0, 10.0)
SHRINKAGE = 0.01  # of correlations: relations between columns are not made exact
MOST_STEPS, MOST_ROWS = 200, 10_000
ENOUGH = 1e-7  # of the objective, relatively
NO_SPREAD = 1e-9
# The largest argument of a hyperbolic sine, as a part of the log of the largest number:
# squares of the sine and of its slope stay finite by a wide margin.
MOST_ARCSINH = 0.35


class JohnsonTransform(NamedTuple):
    r"""Columns as functions of nearly normal ones, :math:`x = \xi + \lambda\sinh(m + s y)`.

    For normal y these are the S_U curves of [Johnson1949]_: among them normal ones
    (:math:`\lambda\to\infty`), lognormal ones (:math:`\xi` below the data and
    :math:`\lambda\to 0`) and such with heavy tails on both sides.

    Attributes
    ----------
    location, scale : ndarray of shape (d,)
        Where the slope of the map is largest, :math:`\xi`, and over what width,
        :math:`\lambda`, in its units.
    mean, std : ndarray of shape (d,)
        Of :math:`\operatorname{arcsinh}((x - \xi)/\lambda)`, m and s; in the usual
        parameters :math:`-\gamma/\delta` and :math:`1/\delta`.

    References
    ----------
    [Johnson1949]_
    """

    location: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return y of shape (n, d)."""
        arcsinh = np.arcsinh((x - self.location) / self.scale)
        return (arcsinh - self.mean) / self.std

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives dy/dx, of shape (n, d)."""
        return 1 / (np.hypot(x - self.location, self.scale) * self.std)

    def log_det(self, x: np.ndarray) -> np.ndarray:
        """Return the log of the volume of y per volume of x, of shape (n,)."""
        return np.log(self.slopes(x)).sum(1)

    def in_units(self, center: np.ndarray, std: np.ndarray) -> "JohnsonTransform":
        """Return the same map of center + std x, which gives the same y."""
        return self._replace(
            location=center + std * self.location, scale=std * self.scale
        )


def fit_johnson(
    x: np.ndarray, weight: np.ndarray, *, least_scale: np.ndarray | float = 0.0
) -> JohnsonTransform:
    r"""Return the transformation under which the rows are likeliest to be normal.

    It maximises the likelihood of one multivariate normal density of y, with its mean and
    covariance profiled out. [Andrews1971]_ do the same for powers. Correlations are shrunk:

    .. math:: -\tfrac12\log\det\bigl((1-\rho) C + \rho I\bigr)
        + \overline{\textstyle\sum_j \log dy_j/dx_j},

    where C are the correlations of y and :math:`\rho = 0.01`. Monotone relations between
    columns become more nearly linear, too. If there are more than 10 000 rows, 10 000 at
    equal distances are used.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, in columns of unit variance.
    weight : ndarray of shape (n,)
        Not negative; only ratios matter.
    least_scale : ndarray of shape (d,) or float, default=0.0
        Lower bounds of the scales: what columns are rounded to. No bound is below 0.02.

    Returns
    -------
    transform : JohnsonTransform

    References
    ----------
    [Johnson1949]_, [Andrews1971]_

    Examples
    --------
    A lognormal column has a normal logarithm.

    >>> import numpy as np
    >>> from scipy import stats
    >>> from sk_wmvl.coordinates import fit_johnson
    >>> x = np.exp(np.random.default_rng(0).normal(size=(500, 1)))
    >>> y = fit_johnson(x, np.ones(500)).forward(x)
    >>> bool(abs(stats.skew(x)[0]) > 3), bool(abs(stats.skew(y)[0]) < 0.1)
    (True, True)
    """
    if len(x) > MOST_ROWS:
        some = np.linspace(0, len(x) - 1, MOST_ROWS).astype(int)
        x, weight = x[some], weight[some]
    weight = weight / weight.sum()
    least = np.maximum(least_scale, LEAST_SCALE) * np.ones(x.shape[1])
    bounds = np.stack(
        [
            [x.min(0) - FARTHEST, x.max(0) + FARTHEST],
            np.log([least, np.maximum(least, MOST_SCALE)]),
        ]
    )
    low, high = bounds.swapaxes(0, 1)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _loss(x, weight, flat.reshape(low.shape))
        return value, gradient.ravel()

    found = minimize(
        loss,
        _start(x, weight).clip(low, high).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low.ravel(), high.ravel(), strict=True)),
        options={"maxiter": MOST_STEPS, "ftol": ENOUGH},
    )
    location, scale = found.x.reshape(low.shape)
    scale = np.exp(scale)
    mean, std = _moments(np.arcsinh((x - location) / scale), weight)
    return JohnsonTransform(location, scale, mean, np.where(std > NO_SPREAD, std, 1.0))


def _moments(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard deviations of columns; these are never zero."""
    mean = weight @ x
    return mean, np.sqrt(weight @ (x - mean) ** 2).clip(NO_SPREAD)


def _start(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the best of a few locations and log scales for each column alone, (2, d)."""
    tried = [
        np.stack([location, np.full(x.shape[1], np.log(scale))])
        for location in np.quantile(x, START_QUANTILES, axis=0)
        for scale in START_SCALES
    ]
    losses = []
    for location, scale in tried:
        r = (x - location) / np.exp(scale)
        _, std = _moments(np.arcsinh(r), weight)
        losses.append(np.log(std) + 0.5 * (weight @ np.log1p(r * r)) + scale)
    best = np.argmin(losses, axis=0)
    return np.stack(tried)[best, :, np.arange(x.shape[1])].T


def _loss(
    x: np.ndarray, weight: np.ndarray, parameters: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return minus the log profile likelihood per row, less a constant, and its gradient.

    The gradient is of shape (2, d).
    """
    location, scale = parameters[0], np.exp(parameters[1])
    r = (x - location) / scale
    square = 1 + r * r
    arcsinh = np.arcsinh(r)
    mean, std = _moments(arcsinh, weight)
    y = np.where(std > NO_SPREAD, (arcsinh - mean) / std, 0.0)
    weighted = weight[:, None] * y
    shrunk = (1 - SHRINKAGE) * (y.T @ weighted)
    np.fill_diagonal(shrunk, 1.0)
    value = 0.5 * np.linalg.slogdet(shrunk)[1] + np.log(std).sum()
    value += 0.5 * (weight @ np.log(square)).sum() + parameters[1].sum()
    # through the correlations to y, and through mean and deviation to the arcsinh
    push = (1 - SHRINKAGE) * weighted @ np.linalg.inv(shrunk)
    push -= weighted * (push * y).sum(0) + weight[:, None] * push.sum(0)
    push = np.where(std > NO_SPREAD, (push + weighted) / std, 0.0)
    by_r = push / np.sqrt(square) + weight[:, None] * r / square
    return value, np.stack([-by_r.sum(0) / scale, 1 - (by_r * r).sum(0)])


class JohnsonColumns(nn.Module):
    r"""The map :math:`y_j = (\operatorname{arcsinh}((x_j - \xi_j)/\lambda_j) - m_j)/s_j`.

    Parameters
    ----------
    transform : JohnsonTransform
        The parameters.

    References
    ----------
    [Johnson1949]_

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.coordinates import JohnsonColumns, JohnsonTransform
    >>> one = np.ones(1)
    >>> columns = JohnsonColumns(JohnsonTransform(0 * one, one, 0 * one, one))
    >>> columns.inverse(columns(torch.tensor([[5.0]]).double()))
    tensor([[5.0000]], dtype=torch.float64)
    """

    location: Tensor
    scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, transform: JohnsonTransform):
        super().__init__()
        for name, value in transform._asdict().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return y of shape (n, d)."""
        return (torch.asinh((x - self.location) / self.scale) - self.mean) / self.std

    def log_det(self, x: Tensor) -> Tensor:
        """Return the log of the volume of y per volume of x, of shape (n,)."""
        width = torch.hypot(x - self.location, self.scale) * self.std
        return -width.log().sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of shape (n, d), clipped where it would overflow."""
        return self.location + self.scale * torch.sinh(self._arcsinh(y))

    def inverse_log_det(self, y: Tensor) -> Tensor:
        """Return the log of the volume of x per volume of y, of shape (n,)."""
        a = self._arcsinh(y).abs()
        log_cosh = a + torch.log1p(torch.exp(-2 * a)) - math.log(2)
        return (log_cosh + (self.scale * self.std).log()).sum(-1)

    def _arcsinh(self, y: Tensor) -> Tensor:
        most = MOST_ARCSINH * math.log(torch.finfo(y.dtype).max)
        return (self.mean + self.std * y).clamp(-most, most)


class InvertedColumns(nn.Module):
    """The map from y back to x.

    Parameters
    ----------
    columns : JohnsonColumns
        From x to y.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.coordinates import (
    ...     InvertedColumns,
    ...     JohnsonColumns,
    ...     JohnsonTransform,
    ... )
    >>> one = np.ones(1)
    >>> columns = JohnsonColumns(JohnsonTransform(0 * one, one, 0 * one, one))
    >>> InvertedColumns(columns)(torch.tensor([[1.0]]).double())  # sinh(1)
    tensor([[1.1752]], dtype=torch.float64)
    """

    def __init__(self, columns: JohnsonColumns):
        super().__init__()
        self.columns = columns

    def forward(self, y: Tensor) -> Tensor:
        """Return x of shape (n, d)."""
        return self.columns.inverse(y)

    def log_det(self, y: Tensor) -> Tensor:
        """Return the log of the volume of x per volume of y, of shape (n,)."""
        return self.columns.inverse_log_det(y)

    def inverse(self, x: Tensor) -> Tensor:
        """Return y of shape (n, d)."""
        return self.columns(x)
