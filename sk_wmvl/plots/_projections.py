"""Maps of the sphere: the whole in equal areas, and the globe seen from afar."""

from abc import abstractmethod

import numpy as np

from sk_wmvl.plots._base import BaseGrid, Nodes

__all__ = ["PROJECTIONS", "BaseProjection", "Mollweide", "Orthographic"]

EDGE = np.pi / 2 - 1e-3  # latitudes of a map stop short of its poles
RIM = 1.02  # limits of the axes around a globe of radius one


def to_vectors(longitude, latitude):
    """Return unit vectors of shape (..., 3) from radians."""
    r = np.cos(latitude)
    return np.stack(
        np.broadcast_arrays(
            r * np.cos(longitude), r * np.sin(longitude), np.sin(latitude)
        ),
        -1,
    )


def east_and_north(X):
    """Return the two unit tangent vectors at unit vectors of shape (n, 3)."""
    longitude = np.arctan2(X[:, 1], X[:, 0])
    zero = np.zeros(len(X))
    east = np.stack([-np.sin(longitude), np.cos(longitude), zero], -1)
    return east, np.cross(X, east)


class BaseProjection(BaseGrid):
    """A map of the sphere, or of the part of it that can be seen.

    Parameters
    ----------
    center : tuple of two float
        Latitude and longitude of the center of the map, in degrees.
    """

    # What matplotlib calls the axes that the map needs; None for plain ones.
    axes_projection: str | None = None

    def __init__(self, center):
        self.latitude, self.longitude = np.deg2rad(center)

    @abstractmethod
    def project(self, X):
        """Return map coordinates (n, 2) of unit vectors (n, 3), NaN if out of sight."""

    @abstractmethod
    def project_tangent(self, X, v):
        """Return arrows on the map, (n, 2), of tangent vectors v at X, (n, 3) each."""

    @abstractmethod
    def frame(self, ax):
        """Draw the outline and set limits and ticks."""

    def arrows(self, nodes, score):
        """Return tangent scores as they are; see `BaseGrid.arrows`."""
        del nodes
        return score


class Mollweide(BaseProjection):
    """The equal-area map of the whole sphere, its center on the equator.

    Map coordinates are longitude and latitude in radians: matplotlib's axes do the rest.
    """

    axes_projection = "mollweide"

    def nodes(self, n):
        """Return the `Nodes` of n latitudes and 2 n longitudes."""
        longitude = (np.arange(2 * n) + 0.5) * np.pi / n - np.pi
        latitude = (2 * (np.arange(n) + 0.5) / n - 1) * EDGE
        x, y = np.meshgrid(longitude, latitude)
        rows = to_vectors(x + self.longitude, y).reshape(-1, 3)
        return Nodes((x, y), np.ones(x.shape, dtype=bool), rows, rows)

    def project(self, X):
        """Return longitude and latitude; see `BaseProjection.project`."""
        turned = np.arctan2(X[:, 1], X[:, 0]) - self.longitude
        longitude = (turned + np.pi) % (2 * np.pi) - np.pi
        return np.c_[longitude, np.arctan2(X[:, 2], np.hypot(X[:, 0], X[:, 1]))]

    def project_tangent(self, X, v):
        """Return changes of longitude and latitude."""
        east, north = east_and_north(X)
        per_east = 1 / np.maximum(np.hypot(X[:, 0], X[:, 1]), 1e-3)
        return np.c_[(v * east).sum(1) * per_east, (v * north).sum(1)]

    def frame(self, ax):
        """Draw meridians and parallels, without the names of longitudes."""
        ax.grid(alpha=0.3)
        ax.set_xticklabels([])


class Orthographic(BaseProjection):
    """The half of the sphere around the center, seen from infinitely far away."""

    def _directions(self):
        """Return the directions right, up and towards the eye, as rows."""
        return np.stack(
            [
                to_vectors(self.longitude + np.pi / 2, 0.0),
                to_vectors(self.longitude, self.latitude + np.pi / 2),
                to_vectors(self.longitude, self.latitude),
            ]
        )

    def nodes(self, n):
        """Return the `Nodes` of n by n cells of which those on the globe have one."""
        step = 2 * (np.arange(n) + 0.5) / n - 1
        x, y = np.meshgrid(step, step)
        square = x**2 + y**2
        inside = square < 1
        depth = np.sqrt(1 - square[inside])
        rows = np.stack([x[inside], y[inside], depth], -1) @ self._directions()
        return Nodes((x, y), inside, rows, rows)

    def project(self, X):
        """Return coordinates on a globe of radius one; see `BaseProjection.project`."""
        right, up, depth = self._directions() @ X.T
        xy = np.c_[right, up]
        xy[depth < 0] = np.nan
        # Rounding of the order of 1e-17 would print as -0.
        return np.where(np.abs(xy) < 1e-15, 0.0, xy)

    def project_tangent(self, X, v):
        """Return the components to the right and up."""
        del X
        return v @ self._directions()[:2].T

    def frame(self, ax):
        """Draw the rim of the globe."""
        turn = np.linspace(0, 2 * np.pi, 400)
        ax.plot(np.cos(turn), np.sin(turn), color="0.5", linewidth=0.8)
        ax.set_xlim(-RIM, RIM)
        ax.set_ylim(-RIM, RIM)
        ax.set_aspect("equal")
        ax.set_axis_off()


PROJECTIONS = {"mollweide": Mollweide, "orthographic": Orthographic}
