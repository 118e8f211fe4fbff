"""Mixture components on manifolds: families with a centre and a spread, fitted by EM."""

import math
from abc import ABC, abstractmethod
from functools import singledispatch

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from sk_wmvl.manifolds import BaseManifold, Euclidean, Product
from sk_wmvl.manifolds._sphere import UnitVectors
from sk_wmvl.manifolds._torus import Angles

__all__ = [
    "AxisNormal",
    "Components",
    "ProductComponents",
    "VonMises",
    "VonMisesFisher",
    "WrappedNormal",
    "component_family",
    "mean_resultant_length",
]

LOG_2PI = math.log(2 * math.pi)
# Beyond, exp(kappa (t - 1)) varies within the rounding of double precision.
SMALLEST, LARGEST = 1e-2, 1e8
N_NEWTON = 5


def mean_resultant_length(kappa: np.ndarray, d: int) -> np.ndarray:
    r"""Return :math:`A_d(\kappa) = I_{d/2}(\kappa)/I_{d/2-1}(\kappa)`."""
    return special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)


def solve_concentration(length: np.ndarray, d: int) -> np.ndarray:
    r"""Return the κ with :math:`A_d(\kappa)` as given, by Newton's method."""
    length = np.clip(length, 1e-9, 1 - 1e-12)
    kappa = np.clip(length * (d - length**2) / (1 - length**2), SMALLEST, LARGEST)
    for _ in range(N_NEWTON):
        a = mean_resultant_length(kappa, d)
        slope = np.maximum(1 - a**2 - (d - 1) / kappa * a, 1e-300)
        step = np.where(np.isfinite(a), (a - length) / slope, 0.0)
        kappa = np.clip(kappa - step, 0.5 * kappa, 2 * kappa)
    return np.clip(kappa, SMALLEST, LARGEST)


def log_cosh_ratio(z: Tensor) -> Tensor:
    r"""Return :math:`\log(2\cosh z) - |z| = \log(1 + e^{-2|z|})`."""
    return torch.log1p((-2 * z.abs()).exp())


class Components(nn.Module, ABC):
    r"""K densities of one family on one manifold, with respect to its volume.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold.
    centers : Tensor of shape (K, d)
        Points, in float64.
    variance : float
        The variance per dimension to start from, a squared geodesic length.
    """

    @abstractmethod
    def __init__(self, manifold: BaseManifold, centers: Tensor, variance: float):
        super().__init__()

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K) at points of shape (n, d)."""

    @abstractmethod
    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a draw of the component named in each row, shape (n, d)."""

    @abstractmethod
    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit to points of shape (n, d) with shares of shape (n, K), in place.

        As if each component had seen one more point, of the variance `prior`: one that
        is alone with its point keeps a width.
        """


class VonMisesFisher(Components):
    r"""Von Mises-Fisher densities, folded where points are identified.

    .. math:: f(x) = C_d(\kappa)\,e^{\kappa\mu^\top x}

    on the sphere; summed over both signs of x for axes and rotations, and over all signs
    of its coordinates for compositions. The folded density keeps the constant
    :math:`C_d(\kappa) = \kappa^{d/2-1} / ((2\pi)^{d/2} I_{d/2-1}(\kappa))`.

    Parameters
    ----------
    manifold : UnitVectors
        A sphere, or a quotient of one.
    centers : Tensor of shape (K, d)
        Mean directions.
    variance : float
        The variance per dimension to start from.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import VonMisesFisher
    >>> from sk_wmvl.manifolds import Sphere
    >>> pole = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> f = VonMisesFisher(Sphere(2), pole, 0.5)  # kappa = 2
    >>> f.log_prob(pole)  # log(2 / (2 pi (1 - exp(-4))))
    tensor([[-1.1262]], dtype=torch.float64)
    """

    mu: Tensor
    kappa: Tensor
    log_constant: Tensor

    def __init__(self, manifold: UnitVectors, centers: Tensor, variance: float):
        super().__init__(manifold, centers, variance)
        self.manifold = manifold
        self.d = manifold.ambient_dim
        signs = manifold._signs(centers[:1], centers[:1])
        self.n_signs = 0 if signs is None else signs.shape[1]
        kappa = np.full(len(centers), manifold.radius**2 / variance)
        self.register_buffer("mu", centers)
        self._set_concentration(np.clip(kappa, SMALLEST, LARGEST))

    def _set_concentration(self, kappa: np.ndarray) -> None:
        order = self.d / 2 - 1
        with np.errstate(divide="ignore"):
            bessel = np.log(special.ive(order, kappa))
        # where the Bessel function underflows its leading term is exact
        lead = order * np.log(kappa / 2) - special.gammaln(order + 1) - kappa
        bessel = np.where(np.isfinite(bessel), bessel, lead)
        constant = order * np.log(kappa) - self.d / 2 * LOG_2PI - bessel
        constant -= (self.d - 1) * math.log(self.manifold.radius)
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        # of exp(kappa (t - 1)), which does not overflow
        self.register_buffer("log_constant", torch.tensor(constant, device=device))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        if self.n_signs > 1:
            z = self.kappa[:, None] * x[:, None, :] * self.mu
            value = z.abs().sum(-1) + log_cosh_ratio(z).sum(-1) - self.kappa
            return self.log_constant + value
        t = x @ self.mu.T
        if self.n_signs == 0:
            return self.log_constant + self.kappa * (t - 1)
        folded = log_cosh_ratio(self.kappa * t)
        return self.log_constant + self.kappa * (t.abs() - 1) + folded

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d), by the tangent-normal decomposition."""
        which = which.to(self.mu.device)
        mu, kappa = self.mu[which], self.kappa[which, None]
        t = _sample_cosine(kappa.cpu(), self.d, generator).to(mu.device)
        z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        u = z - (z * mu).sum(-1, keepdim=True) * mu
        u = u / torch.linalg.vector_norm(u, dim=-1, keepdim=True)
        x = t * mu + (1 - t * t).clamp(min=0).sqrt() * u
        return self.manifold.projection(x)

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit mean directions and concentrations; see `Components.update`."""
        if self.n_signs > 1:
            sign = (self.kappa[:, None] * x[:, None, :] * self.mu).tanh()
            total = torch.einsum("nk,nkd,nd->kd", share, sign, x)
        elif self.n_signs == 1:
            sign = (self.kappa * (x @ self.mu.T)).tanh()
            total = (share * sign).T @ x
        else:
            total = share.T @ x
        length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
        self.mu = torch.where(length > 0, total / length, self.mu)
        pseudo = mean_resultant_length(
            np.clip(self.manifold.radius**2 / prior, SMALLEST, LARGEST), self.d
        )
        length = (length[:, 0] + float(pseudo)) / (share.sum(0) + 1)
        self._set_concentration(solve_concentration(length.cpu().numpy(), self.d))


def _sample_cosine(kappa: Tensor, d: int, generator: torch.Generator | None) -> Tensor:
    """Return cosines of the angle to the mean, (n, 1), by Wood's rejection sampler.

    In float64 whatever the dtype: at a large concentration the cosine is close to one.
    """
    dtype, kappa = kappa.dtype, kappa.double()
    b = (d - 1) / (2 * kappa + (4 * kappa**2 + (d - 1) ** 2).sqrt())
    x0 = (1 - b) / (1 + b)
    # 1 - x0^2 without cancellation
    c = kappa * x0 + (d - 1) * (4 * b / (1 + b) ** 2).log()
    out, left = torch.empty_like(kappa), torch.arange(len(kappa))
    shape = torch.full((1,), (d - 1) / 2, dtype=kappa.dtype)
    while len(left):
        n = len(left)
        # a symmetric beta variable, from two gamma variables
        g = torch._standard_gamma(shape.expand(2 * n), generator=generator)
        z = (g[:n] / (g[:n] + g[n:]))[:, None]
        bl = b[left]
        w = (1 - (1 + bl) * z) / (1 - (1 - bl) * z)
        u = torch.rand(n, 1, generator=generator, dtype=kappa.dtype)
        good = kappa[left] * w + (d - 1) * (1 - x0[left] * w).log() - c[left]
        accept = (good >= u.log()).squeeze(1)
        out[left[accept]] = w[accept]
        left = left[~accept]
    return out.clamp(-1, 1).to(dtype)


class VonMises(Components):
    r"""Products of von Mises densities, one for each angle.

    .. math:: f(x) = \prod_j \frac{e^{\kappa_j\cos(x_j-\mu_j)}}{2\pi I_0(\kappa_j)}

    Parameters
    ----------
    manifold : Angles
        A circle or torus.
    centers : Tensor of shape (K, d)
        Mean angles.
    variance : float
        The variance per dimension to start from.

    References
    ----------
    [Mardia2000]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> zero = torch.zeros(1, 1, dtype=torch.float64)
    >>> VonMises(Torus(1), zero, 1.0).log_prob(zero)  # 1 - log(2 pi I0(1))
    tensor([[-1.0738]], dtype=torch.float64)
    """

    mu: Tensor
    kappa: Tensor
    log_constant: Tensor

    def __init__(self, manifold: Angles, centers: Tensor, variance: float):
        super().__init__(manifold, centers, variance)
        self.manifold = manifold
        self.register_buffer("mu", centers)
        self._set_concentration(np.full(centers.shape, 1 / variance))

    def _set_concentration(self, kappa: np.ndarray) -> None:
        kappa = np.clip(kappa, SMALLEST, LARGEST)
        constant = -np.log(special.ive(0, kappa)).sum(1) - kappa.shape[1] * LOG_2PI
        device = self.mu.device
        self.register_buffer("kappa", torch.tensor(kappa, device=device))
        self.register_buffer("log_constant", torch.tensor(constant, device=device))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        moments = torch.cat([x.cos(), x.sin()], -1)
        at = torch.cat([self.kappa * self.mu.cos(), self.kappa * self.mu.sin()], -1)
        return self.log_constant + moments @ at.T - self.kappa.sum(-1)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        kappa = self.kappa[which].cpu()
        c = _sample_cosine(kappa.reshape(-1, 1), 2, generator).reshape(kappa.shape)
        sign = 2.0 * torch.randint(0, 2, kappa.shape, generator=generator) - 1
        angle = sign * torch.atan2((1 - c * c).clamp(min=0).sqrt(), c)
        return self.manifold.projection(self.mu[which] + angle.to(self.mu.device))

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit mean angles and concentrations; see `Components.update`."""
        c, s = share.T @ x.cos(), share.T @ x.sin()
        self.mu = torch.atan2(s, c)
        pseudo = mean_resultant_length(np.clip(1 / prior, SMALLEST, LARGEST), 2)
        n = share.sum(0)[:, None] + 1
        length = ((c * c + s * s).sqrt() + float(pseudo)) / n
        self._set_concentration(solve_concentration(length.cpu().numpy(), 2))


class AxisNormal(Components):
    """Normal densities with independent coordinates, for Euclidean blocks.

    Parameters
    ----------
    manifold : Euclidean
        Euclidean space.
    centers : Tensor of shape (K, d)
        Means.
    variance : float
        The variance to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import AxisNormal
    >>> from sk_wmvl.manifolds import Euclidean
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> AxisNormal(Euclidean(2), zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    mu: Tensor
    variance: Tensor

    def __init__(self, manifold: Euclidean, centers: Tensor, variance: float):
        super().__init__(manifold, centers, variance)
        self.register_buffer("mu", centers)
        self.register_buffer("variance", torch.full_like(centers, variance))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        squares = (x[:, None, :] - self.mu).square() / self.variance
        return -0.5 * (squares + self.variance.log() + LOG_2PI).sum(-1)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        mu, std = self.mu[which], self.variance[which].sqrt()
        z = torch.randn(mu.shape, generator=generator, dtype=mu.dtype).to(mu.device)
        return mu + std * z

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit means and variances; see `Components.update`."""
        n = share.sum(0)[:, None]
        self.mu = share.T @ x / n.clamp(min=1e-300)
        squares = torch.einsum("nk,nkd->kd", share, (x[:, None, :] - self.mu).square())
        self.variance = (squares + prior) / (n + 1)


class WrappedNormal(Components):
    r"""Isotropic normals of the tangent space at a centre, carried over by exp.

    .. math:: f(x) = N(\log_\mu x;\,0, \sigma^2 I) / |\det d\exp_\mu(\log_\mu x)|

    where exp is a bijection, as on hyperbolic space and positive definite matrices.

    Parameters
    ----------
    manifold : BaseManifold
        With `log` and `log_det_exp`.
    centers : Tensor of shape (K, d)
        The centres μ.
    variance : float
        The variance to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import WrappedNormal
    >>> from sk_wmvl.manifolds import Euclidean
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> WrappedNormal(Euclidean(2), zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    mu: Tensor
    variance: Tensor

    def __init__(self, manifold: BaseManifold, centers: Tensor, variance: float):
        super().__init__(manifold, centers, variance)
        self.manifold = manifold
        self.register_buffer("mu", centers)
        start = torch.full((len(centers),), variance, dtype=centers.dtype)
        self.register_buffer("variance", start.to(centers.device))

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and points, of shape (n K, d) each."""
        k = len(self.mu)
        return self.mu.repeat(len(x), 1), x.repeat_interleave(k, 0)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        mu, points = self._pairs(x)
        u = self.manifold.log(mu, points)
        square = self.manifold.inner(mu, u, u).view(len(x), -1)
        jacobian = self.manifold.log_det_exp(mu, u).view(len(x), -1)
        scale = self.manifold.dim * (self.variance.log() + LOG_2PI)
        return -0.5 * (square / self.variance + scale) - jacobian

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        sigma = self.variance[which].sqrt()
        return self.manifold.diffuse(self.mu[which], sigma, generator=generator)

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit centres, by a step to the Fréchet means, and variances."""
        n = share.sum(0)
        mu, points = self._pairs(x)
        u = self.manifold.log(mu, points).view(len(x), len(self.mu), -1)
        step = torch.einsum("nk,nkd->kd", share, u) / n[:, None].clamp(min=1e-300)
        self.mu = self.manifold.projection(self.manifold.exp(self.mu, step))
        mu, points = self._pairs(x)
        square = self.manifold.dist(mu, points).square().view(len(x), -1)
        total = (share * square).sum(0) / (self.manifold.dim or 1)
        self.variance = (total + prior) / (n + 1)


class ProductComponents(Components):
    """Products of the factors' components.

    Parameters
    ----------
    manifold : Product
        The product.
    centers : Tensor of shape (K, d)
        Points.
    variance : float
        The variance per dimension to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies.components import ProductComponents
    >>> from sk_wmvl.manifolds import Euclidean, Product
    >>> plane = Product([("x", Euclidean(1)), ("y", Euclidean(1))])
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> ProductComponents(plane, zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    def __init__(self, manifold: Product, centers: Tensor, variance: float):
        super().__init__(manifold, centers, variance)
        members = [factor for _, factor in manifold.factors]
        self.widths = [factor.ambient_dim for factor in members]
        self.blocks = nn.ModuleList(
            component_family(factor)(factor, block, variance)
            for factor, block in zip(
                members, centers.split(self.widths, -1), strict=True
            )
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        parts = zip(self.blocks, x.split(self.widths, -1), strict=True)
        return torch.stack([block.log_prob(part) for block, part in parts]).sum(0)

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        draws = [block.sample(which, generator=generator) for block in self.blocks]
        return torch.cat(draws, -1)

    def update(self, x: Tensor, share: Tensor, prior: float) -> None:
        """Fit each factor; see `Components.update`."""
        parts = zip(self.blocks, x.split(self.widths, -1), strict=True)
        for block, part in parts:
            block.update(part, share, prior)


@singledispatch
def component_family(manifold: BaseManifold) -> type[Components]:
    """Return the family of components for a manifold.

    Parameters
    ----------
    manifold : BaseManifold
        The manifold.

    Returns
    -------
    family : type
        A subclass of `Components`.
    """
    del manifold
    return WrappedNormal


@component_family.register
def _(manifold: UnitVectors) -> type[Components]:
    del manifold
    return VonMisesFisher


@component_family.register
def _(manifold: Angles) -> type[Components]:
    del manifold
    return VonMises


@component_family.register
def _(manifold: Euclidean) -> type[Components]:
    del manifold
    return AxisNormal


@component_family.register
def _(manifold: Product) -> type[Components]:
    del manifold
    return ProductComponents
