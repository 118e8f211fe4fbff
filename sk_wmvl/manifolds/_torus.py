"""The geometry of angles: flat, with a period."""

import math

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart

__all__ = ["Angles", "wrap"]

TWO_PI = 2 * math.pi
N_HARMONICS = 2


def wrap(x: Tensor) -> Tensor:
    """Return angles in [-π, π), by adding multiples of 2π that carry no gradient."""
    turns = torch.floor((x.detach() + math.pi) / TWO_PI)
    return x - TWO_PI * turns


class Angles(BaseManifold):
    r"""Angles in radians, with the flat metric and period 2π in each coordinate.

    The network sees cosines and sines of the angle and of twice the angle, so that it is
    exactly periodic.
    """

    @property
    def ambient_dim(self) -> int:
        """The number of angles."""
        return self._known_dim()

    def projection(self, x: Tensor) -> Tensor:
        """Return `x` in [-π, π)."""
        return wrap(x)

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return `u`."""
        del x
        return u

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return inner products, of shape (n,)."""
        del x
        return (u * v).sum(-1)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return `v`."""
        del x
        return v

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return `g`."""
        del x
        return g

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``, not reduced: what follows is periodic."""
        return x + u

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x + u``, reduced, and `u`."""
        return wrap(x + u), u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``, reduced."""
        return wrap(y - x)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return geodesic distances of shape (n,)."""
        return torch.linalg.vector_norm(wrap(y - x), dim=-1)

    def transport(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        """Return `u`: the metric is flat."""
        del x, y
        return u

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return zero: the metric is flat."""
        del x
        return torch.zeros_like(u[:, 0])

    def chart(self, x: Tensor) -> LocalChart:
        """Return the angles themselves."""

        def metric(y: Tensor) -> Tensor:
            return torch.eye(y.shape[1], dtype=y.dtype, device=y.device).expand(
                len(y), -1, -1
            )

        return LocalChart(x, lambda y: y, metric)

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return uniform angles of shape (n_samples, d)."""
        shape = n_samples, self.ambient_dim
        return math.pi * (2 * torch.rand(shape, generator=generator, dtype=dtype) - 1)

    def log_volume(self) -> float:
        r"""Return :math:`d\log 2\pi`."""
        return self.ambient_dim * math.log(TWO_PI)

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return equally spaced nodes, for up to three angles."""
        d = self.ambient_dim
        if d > 3:
            return super().quadrature(n_nodes)
        axis = TWO_PI * (torch.arange(n_nodes, dtype=torch.float64) + 0.5) / n_nodes
        grid = torch.meshgrid(*[axis - math.pi] * d, indexing="ij")
        nodes = torch.stack(grid, -1).flatten(0, -2)
        return nodes, torch.full_like(nodes[:, 0], d * math.log(TWO_PI / n_nodes))

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return angles by their fraction of a turn; see `BaseManifold.from_cube`."""
        return TWO_PI * u - math.pi, torch.full_like(u[:, 0], self.log_volume())

    def to_cube(self, x: Tensor) -> Tensor:
        """Return fractions of a turn, (n, m)."""
        return (wrap(x) + math.pi) / TWO_PI

    @property
    def n_features(self) -> int:
        """Cosines and sines of the first harmonics of each angle."""
        return 2 * N_HARMONICS * self.ambient_dim

    def features(self, x: Tensor) -> Tensor:
        """Return cosines and sines; see `BaseManifold.features`."""
        multiples = torch.cat([k * x for k in range(1, N_HARMONICS + 1)], -1)
        return torch.cat([multiples.cos(), multiples.sin()], -1)
