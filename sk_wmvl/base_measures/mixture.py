"""Mixtures of multivariate normal and Student densities."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from sk_wmvl.base_measures._base import LOG_2PI, BaseMeasure, InflatedCopy

__all__ = ["MixtureBase", "from_mixture", "log_student_constant"]

# From so many points and components on, squared distances are quadratic forms in products
# of columns, all of them in one matrix product, which is several times as fast. Rounding
# grows with the ratio of a mean to the least standard deviation, squared; up to such a
# ratio it is below 1e-6 nats near the components, and a part in 1e9 far from them.
LEAST_POINTS, LEAST_COMPONENTS, MOST_COLUMNS = 512, 8, 32
MOST_RATIO = 1e9
MOST_POINTS = 8192  # at a time
# Deviations of some points at a time stay in the cache.
LEAST_CHUNK, MOST_ENTRIES = 64, 2**18


class MixtureBase(BaseMeasure):
    r"""A mixture of multivariate normal or Student densities.

    With :math:`\delta = (x - \mu)^\top \Sigma^{-1} (x - \mu)` a component with
    :math:`\nu` degrees of freedom is proportional to
    :math:`(1 + \delta/\nu)^{-(\nu + d)/2}`, and to :math:`e^{-\delta/2}` where they are
    infinite.

    Parameters
    ----------
    weights : array of shape (k,)
        Positive, summing to one.
    means : array of shape (k, d)
    covariances : array of shape (k, d, d)
        Positive definite; of a Student density the scale matrix, which is its covariance
        times :math:`(\nu - 2)/\nu`.
    degrees_of_freedom : array of shape (k,) or None, default=None
        Positive or infinite; None stands for normal densities.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import MixtureBase
    >>> q = MixtureBase(np.array([1.0]), np.zeros((1, 2)), np.eye(2)[None])
    >>> q.log_prob(torch.zeros(1, 2).double())
    tensor([-1.8379], dtype=torch.float64)
    """

    weights: Tensor
    means: Tensor
    chol: Tensor
    whiten: Tensor
    bias: Tensor
    log_constant: Tensor
    degrees_of_freedom: Tensor

    def __init__(
        self,
        weights: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        degrees_of_freedom: np.ndarray | None = None,
    ):
        super().__init__()
        chol = np.linalg.cholesky(covariances)
        precision_chol = np.linalg.inv(chol)
        k, d = means.shape
        log_det = np.log(np.diagonal(chol, axis1=1, axis2=2)).sum(-1)
        to = torch.float64
        # One matrix product whitens a point for all components at once.
        bias = -np.einsum("kij,kj->ki", precision_chol, means)
        self.register_buffer(
            "whiten", torch.tensor(precision_chol.reshape(k * d, d), dtype=to)
        )
        self.register_buffer("bias", torch.tensor(bias.reshape(k * d), dtype=to))
        nu = np.full(k, np.inf)
        if degrees_of_freedom is not None:
            nu = np.asarray(degrees_of_freedom, dtype=np.float64)
        log_constant = np.log(weights) - log_det + log_student_constant(nu, d)
        self.register_buffer("log_constant", torch.tensor(log_constant, dtype=to))
        self.register_buffer("degrees_of_freedom", torch.tensor(nu, dtype=to))
        self.is_normal = bool(np.isinf(nu).all())
        self.is_heavy = bool(np.isfinite(nu).all())
        self.register_buffer("weights", torch.tensor(weights, dtype=to))
        self.register_buffer("means", torch.tensor(means, dtype=to))
        self.register_buffer("chol", torch.tensor(chol, dtype=to))
        far = np.square(means).sum(1) + np.trace(covariances, axis1=1, axis2=2)
        ratio = far * np.square(precision_chol).sum((1, 2))
        self.has_products = bool(
            max(LEAST_COMPONENTS, d / 2) <= k
            and d <= MOST_COLUMNS
            and ratio.max() < MOST_RATIO
        )

    @property
    def n_components(self) -> int:
        """The number of components."""
        return len(self.weights)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self._log_prob(self._squares(x), x.shape[1])

    def log_probs(self, x: Tensor, copies: Sequence[InflatedCopy]) -> Tensor:
        """Return log densities of this and of inflated copies; see `BaseMeasure`."""
        squares, d = self._squares(x), x.shape[1]
        values = [self._log_prob(squares, d)]
        for copy in copies:
            value = self._log_prob(squares / copy.factor**2, d)
            values.append(value - d * math.log(copy.factor))
        return torch.stack(values, 1)

    def _squares(self, x: Tensor) -> Tensor:
        """Return squared Mahalanobis distances, of shape (n, k)."""
        if self.has_products and len(x) >= LEAST_POINTS and not x.requires_grad:
            return self._squares_by_products(x)
        size = max(LEAST_CHUNK, MOST_ENTRIES // len(self.whiten))
        parts = []
        for rows in x.split(size):
            r = nn.functional.linear(rows, self.whiten, self.bias)
            parts.append((r * r).view(len(rows), len(self.weights), -1).sum(-1))
        return torch.cat(parts)

    def _squares_by_products(self, x: Tensor) -> Tensor:
        """Return the same, by one product with the products of columns.

        It is made in float64: large terms cancel. The coefficients are made anew each time,
        as a copy in float32 must not round them.
        """
        k, d = self.means.shape
        white, bias = self.whiten.double().view(k, d, d), self.bias.double().view(k, d)
        i, j = torch.triu_indices(d, d, device=x.device)
        precision = (white.mT @ white)[:, i, j]
        precision = torch.where(i == j, precision, 2 * precision)
        linear = 2 * (white.mT @ bias[:, :, None])[:, :, 0]
        coefficients = torch.cat([precision, linear], 1).T
        constant = bias.square().sum(1)
        parts = []
        for rows in x.split(MOST_POINTS):
            wide = rows.double()
            products = torch.cat([wide[:, i] * wide[:, j], wide], 1)
            squares = torch.addmm(constant, products, coefficients)
            parts.append(squares.clamp_(min=0).to(x.dtype))
        return torch.cat(parts)

    def _log_prob(self, squares: Tensor, d: int) -> Tensor:
        exponent = -0.5 * squares
        if not self.is_normal:
            heavy = torch.isfinite(self.degrees_of_freedom)
            nu = torch.where(heavy, self.degrees_of_freedom, 1.0)
            student = -0.5 * (nu + d) * torch.log1p(squares / nu)
            exponent = (
                student if self.is_heavy else torch.where(heavy, student, exponent)
            )
        return torch.logsumexp(self.log_constant + exponent, dim=1)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        k = torch.multinomial(
            self.weights.cpu(), n_samples, replacement=True, generator=generator
        ).to(self.means.device)
        z = torch.randn(
            n_samples, self.means.shape[1], generator=generator, dtype=self.means.dtype
        ).to(self.means.device)
        if not self.is_normal:
            # a normal vector over an independent root mean square: a Student vector
            heavy = torch.isfinite(self.degrees_of_freedom)
            nu = torch.where(heavy, self.degrees_of_freedom, 1.0)[k].cpu()
            mean_square = 2 * torch._standard_gamma(nu / 2, generator=generator) / nu
            heavy = heavy[k]
            scale = mean_square.clamp(min=1e-300).rsqrt().to(z.device)
            z = torch.where(heavy, scale, 1.0)[:, None] * z
        return self.means[k] + torch.einsum("nij,nj->ni", self.chol[k], z)

    def inflated(self, factor: float) -> "MixtureBase":
        """Return the mixture of inflated components."""
        chol = factor * self.chol.double().cpu().numpy()
        wider = MixtureBase(
            self.weights.double().cpu().numpy(),
            self.means.double().cpu().numpy(),
            chol @ chol.swapaxes(1, 2),
            self.degrees_of_freedom.double().cpu().numpy(),
        )
        return wider.to(self.means)


def log_student_constant(nu: np.ndarray, d: int) -> np.ndarray:
    """Return the log density at its mean of a Student vector of unit scale."""
    normal = np.isinf(nu)
    finite = np.where(normal, 1.0, nu)
    value = (
        special.gammaln((finite + d) / 2)
        - special.gammaln(finite / 2)
        - 0.5 * d * np.log(finite * math.pi)
    )
    return np.where(normal, -0.5 * d * LOG_2PI, value)


def from_mixture(mixture, mean: np.ndarray, scale: np.ndarray) -> MixtureBase:
    r"""Convert a fitted scikit-learn mixture, in coordinates u with x = mean + scale u.

    Parameters
    ----------
    mixture : GaussianMixture or BayesianGaussianMixture
        Fitted; of any covariance type.
    mean : array of shape (d,)
    scale : array of shape (d, d)
        The affine map from the network's coordinates to the mixture's.

    Returns
    -------
    base : MixtureBase
        The density of u.
    """
    means = np.asarray(mixture.means_, dtype=np.float64)
    k, d = means.shape
    covariances = {
        "full": lambda c: c,
        "tied": lambda c: np.broadcast_to(c, (k, d, d)),
        "diag": lambda c: c[:, :, None] * np.eye(d),
        "spherical": lambda c: c[:, None, None] * np.eye(d),
    }[mixture.covariance_type](np.asarray(mixture.covariances_, dtype=np.float64))
    inverse = np.linalg.inv(scale)
    moved = inverse @ covariances @ inverse.T
    weights = np.asarray(mixture.weights_, dtype=np.float64)
    kept = weights > 0  # a Bayesian mixture may have emptied components
    return MixtureBase(
        weights[kept] / weights[kept].sum(),
        ((means - mean) @ inverse.T)[kept],
        0.5 * (moved + moved.swapaxes(1, 2))[kept],
    )
