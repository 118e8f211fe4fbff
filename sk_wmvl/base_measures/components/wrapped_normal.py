"""Normal densities of tangent spaces, where exp is a bijection."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sk_wmvl.base_measures.components._base import (
    Components,
    chunk_size,
    component_family,
    per_component,
)
from sk_wmvl.manifolds import SPD, BaseManifold, Hyperbolic

__all__ = ["WrappedNormal"]

LOG_2PI = math.log(2 * math.pi)
WORK = 20  # about what a logarithm costs, in evaluations of a normal density


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
    variance : float or Tensor
        The variance to start from.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures.components import WrappedNormal
    >>> from sk_wmvl.manifolds import Euclidean
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> WrappedNormal(Euclidean(2), zero, 1.0).log_prob(zero)  # -log(2 pi)
    tensor([[-1.8379]], dtype=torch.float64)
    """

    mu: Tensor
    variance: Tensor

    def __init__(
        self, manifold: BaseManifold, centers: Tensor, variance: float | Tensor
    ):
        super().__init__(manifold, centers, variance)
        self.register_buffer("mu", centers)
        self.register_buffer("variance", per_component(centers, variance)[:, 0])

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and points, of shape (n K, d) each."""
        k = len(self.mu)
        return self.mu.repeat(len(x), 1), x.repeat_interleave(k, 0)

    @property
    def centers(self) -> Tensor:
        """The centers of the components, of shape (K, d)."""
        return self.mu

    @property
    def variances(self) -> Tensor:
        """Their variances per dimension, of shape (K, n_units)."""
        return self.variance[:, None]

    @property
    def work(self) -> int:
        """The time that a component takes at a point, in that of a normal density."""
        return WORK

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n, K)."""
        return self.log_probs(x, [])[0]

    def log_probs(self, x: Tensor, others: Sequence[Components]) -> list[Tensor]:
        """Return what `log_prob` does of this and of others that have the same centers.

        Logarithms of points, which take nearly all of the time, are in common.
        """
        variances = [each.variances[:, 0] for each in (self, *others)]
        size = chunk_size(self.mu.numel())
        parts = [self._log_probs(rows, variances) for rows in x.split(size)]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _log_probs(self, x: Tensor, variances: Sequence[Tensor]) -> list[Tensor]:
        mu, points = self._pairs(x)
        u = self.manifold.log(mu, points)
        square = self.manifold.inner(mu, u, u).view(len(x), -1)
        jacobian = self.manifold.log_det_exp(mu, u).view(len(x), -1)
        return [
            -0.5 * (square / v + self.manifold.dim * (v.log() + LOG_2PI)) - jacobian
            for v in variances
        ]

    def sample(
        self, which: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws of shape (n, d)."""
        which = which.to(self.mu.device)
        sigma = self.variance[which].sqrt()
        return self.manifold.diffuse(self.mu[which], sigma, generator=generator)

    def update(self, x: Tensor, responsibility: Tensor, prior: Tensor) -> None:
        r"""Fit centres, by a step to the Fréchet means, and variances.

        Where curvature is at least :math:`-c^2`, the Hessian of half the squared distance
        r is at most :math:`cr\coth cr`. The step is that of Newton's method with the mean
        of this bound: a whole step overshoots if the points are far from the centre.
        """
        n, size = responsibility.sum(0), chunk_size(self.mu.numel())
        parts = list(zip(x.split(size), responsibility.split(size), strict=True))
        step, bound = torch.zeros_like(self.mu), torch.zeros_like(n)
        c = math.sqrt(-self.manifold.least_curvature)
        for rows, part in parts:
            mu, points = self._pairs(rows)
            u = self.manifold.log(mu, points)
            r = c * self.manifold.norm(mu, u).view(part.shape)
            stiffness = torch.where(r > 0, r / torch.where(r > 0, r, 1.0).tanh(), 1.0)
            step += torch.einsum("nk,nkd->kd", part, u.view(*part.shape, -1))
            bound += (part * stiffness).sum(0)
        step = step / bound[:, None].clamp(min=1e-300)
        self.mu = self.manifold.projection(self.manifold.exp(self.mu, step))
        total = torch.zeros_like(n)
        for rows, part in parts:
            square = self.manifold.dist(*self._pairs(rows)).square().view(part.shape)
            total += (part * square).sum(0)
        total = total / (self.manifold.dim or 1)
        self.variance = (total + prior) / (n + 1)


@component_family.register(Hyperbolic)
@component_family.register(SPD)
def _(manifold: BaseManifold) -> type[Components]:
    del manifold
    return WrappedNormal
