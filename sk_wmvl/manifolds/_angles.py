"""Angles: the flat and periodic geometry that the circle and the torus share."""

import math

import torch
from torch import Tensor

from sk_wmvl._warnings import warn
from sk_wmvl.manifolds._flat import FlatManifold

__all__ = ["TWO_PI", "Angles", "wrap"]

TWO_PI = 2 * math.pi
N_HARMONICS = 2


def wrap(x: Tensor) -> Tensor:
    """Return angles in [-π, π); the multiples of 2π added carry no gradient."""
    turns = torch.floor((x.detach() + math.pi) / TWO_PI)
    return x - TWO_PI * turns


class Angles(FlatManifold):
    r"""Angles in radians, with the flat metric and period 2π in each coordinate.

    The network sees cosines and sines of the angle and of twice the angle. It is
    therefore exactly periodic.
    """

    def _warn_of_degrees(self, x: Tensor) -> None:
        """Warn if angles spread over many turns, as degrees taken for radians do."""
        if len(x) and float(x.max() - x.min()) > 4 * TWO_PI:
            warn(
                f"{self!r} takes radians, but the angles span "
                f"{float(x.max() - x.min()):.4g}: are they degrees? Convert them with "
                "numpy.deg2rad.",
                UserWarning,
            )

    def projection(self, x: Tensor) -> Tensor:
        """Return `x` in [-π, π)."""
        return wrap(x)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x + u`` in [-π, π), and `u`."""
        return wrap(x + u), u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x`` in [-π, π)."""
        return wrap(y - x)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return geodesic distances of shape (n,)."""
        return torch.linalg.vector_norm(wrap(y - x), dim=-1)

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
        """Return angles from fractions of a turn; see `BaseManifold.from_cube`."""
        return TWO_PI * u - math.pi, torch.full_like(u[:, 0], self.log_volume())

    def to_cube(self, x: Tensor) -> Tensor:
        """Return fractions of a turn, of shape (n, m)."""
        return (wrap(x) + math.pi) / TWO_PI

    @property
    def n_features(self) -> int:
        """The number of cosines and sines, four for each angle."""
        return 2 * N_HARMONICS * self.ambient_dim

    def features(self, x: Tensor) -> Tensor:
        """Return cosines and sines of two harmonics; see `BaseManifold.features`."""
        multiples = torch.cat([k * x for k in range(1, N_HARMONICS + 1)], -1)
        return torch.cat([multiples.cos(), multiples.sin()], -1)
