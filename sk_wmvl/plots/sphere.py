"""Densities on the sphere: maps of the whole, and the globe from outside."""

import numpy as np

from sk_wmvl.plots._common import (
    compressed,
    draw_arrows,
    plain_axes,
    projected_axes,
    shade,
)

__all__ = ["SphereDisplay"]

PROJECTIONS = ("mollweide", "orthographic")
EDGE = np.pi / 2 - 1e-3  # latitudes of a map stop short of its poles


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


class SphereDisplay:
    """A density on the sphere as a map, with the data and the score field.

    Latitude is the angle above the plane of the first two coordinates, longitude the
    angle within it.

    Parameters
    ----------
    x : ndarray of shape (n_y, n_x)
        First coordinates in the map of the grid's points.
    y : ndarray of shape (n_y, n_x)
        Second coordinates.
    log_density : ndarray of shape (n_y, n_x)
        Log densities per unit of solid angle, NaN outside the map.
    points : ndarray of shape (n_samples, 3) or None, default=None
        Data, as unit vectors.
    score : tuple of ndarray or None, default=None
        Unit vectors of shape (m, 3) and tangent scores of shape (m, 3) there.
    projection : {'mollweide', 'orthographic'}, default='mollweide'
        An equal-area map of the whole, or the globe seen from afar.
    center : tuple of two float, default=(0, 0)
        Latitude and longitude in degrees of the center of the map. A Mollweide map uses
        the longitude only.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes; coastlines can be added with `project`.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    The center of a globe is in the middle, and its antipode is out of sight.

    >>> import numpy as np
    >>> from sk_wmvl.plots import SphereDisplay
    >>> none = np.zeros((1, 1))
    >>> display = SphereDisplay(
    ...     none, none, none, projection="orthographic", center=(90, 0)
    ... )
    >>> display.project([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    array([[ 0.,  0.],
           [nan, nan]])
    """

    def __init__(
        self,
        x,
        y,
        log_density,
        *,
        points=None,
        score=None,
        projection="mollweide",
        center=(0, 0),
    ):
        if projection not in PROJECTIONS:
            raise ValueError(
                f"projection must be one of {PROJECTIONS}; got {projection!r}."
            )
        self.x = x
        self.y = y
        self.log_density = log_density
        self.points = points
        self.score = score
        self.projection = projection
        self.center = center

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        projection="mollweide",
        center=(0, 0),
        n_grid=180,
        n_arrows=0,
        ax=None,
    ):
        """Evaluate a fitted density on a map and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted to unit vectors, with `score_samples`, and `score_fn` for arrows.
        X : array-like of shape (n_samples, 3) or None, default=None
            Unit vectors to draw.
        projection : {'mollweide', 'orthographic'}, default='mollweide'
            An equal-area map of the whole, or the globe seen from afar.
        center : tuple of two float, default=(0, 0)
            Latitude and longitude in degrees of the center of the map. A Mollweide map
            uses the longitude only.
        n_grid : int, default=180
            Grid points from bottom to top.
        n_arrows : int, default=0
            Arrows of the score field from bottom to top.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure. For a Mollweide map it must have that
            projection.

        Returns
        -------
        display : SphereDisplay
        """
        display = cls(None, None, None, projection=projection, center=center)
        return display.evaluate(estimator, X, n_grid=n_grid, n_arrows=n_arrows).plot(ax)

    def evaluate(self, estimator, X=None, *, n_grid=180, n_arrows=0):
        """Fill the map with a density, without drawing it; see `from_estimator`.

        Parameters
        ----------
        estimator : estimator
            Fitted to unit vectors.
        X : array-like of shape (n_samples, 3) or None, default=None
            Unit vectors to draw.
        n_grid : int, default=180
            Grid points from bottom to top.
        n_arrows : int, default=0
            Arrows of the score field from bottom to top.

        Returns
        -------
        self : SphereDisplay
        """
        if X is not None:
            self.points = np.asarray(X, dtype=float)
        self.x, self.y, nodes = self._grid(n_grid)
        inside = np.isfinite(nodes).all(-1)
        self.log_density = np.full(inside.shape, np.nan)
        self.log_density[inside] = estimator.score_samples(nodes[inside])
        if n_arrows:
            nodes = self._grid(n_arrows)[2].reshape(-1, 3)
            nodes = nodes[np.isfinite(nodes).all(-1)]
            self.score = nodes, estimator.score_fn(nodes)
        return self

    def _grid(self, n):
        """Return map coordinates of shape (n_y, n_x), and unit vectors, NaN outside."""
        step = (np.arange(n) + 0.5) / n
        if self.projection == "mollweide":
            longitude = (np.arange(2 * n) + 0.5) * np.pi / n - np.pi
            x, y = np.meshgrid(longitude, (2 * step - 1) * EDGE)
            return x, y, to_vectors(x + np.deg2rad(self.center[1]), y)
        x, y = np.meshgrid(2 * step - 1, 2 * step - 1)
        square = x**2 + y**2
        depth = np.sqrt(np.where(square < 1, 1 - square, np.nan))
        return x, y, np.stack([x, y, depth], -1) @ self._frame()

    def _frame(self):
        """Return the directions right, up and towards the eye, as rows."""
        latitude, longitude = np.deg2rad(self.center)
        return np.stack(
            [
                to_vectors(longitude + np.pi / 2, 0.0),
                to_vectors(longitude, latitude + np.pi / 2),
                to_vectors(longitude, latitude),
            ]
        )

    def project(self, X):
        """Return map coordinates of unit vectors, for what is drawn on top.

        Parameters
        ----------
        X : array-like of shape (n_samples, 3)
            Unit vectors, such as those of a coastline.

        Returns
        -------
        xy : ndarray of shape (n_samples, 2)
            NaN for points on the far side of the globe.
        """
        X = np.asarray(X, dtype=float)
        if self.projection == "mollweide":
            turned = np.arctan2(X[:, 1], X[:, 0]) - np.deg2rad(self.center[1])
            longitude = (turned + np.pi) % (2 * np.pi) - np.pi
            return np.c_[longitude, np.arctan2(X[:, 2], np.hypot(X[:, 0], X[:, 1]))]
        right, up, depth = self._frame() @ X.T
        xy = np.c_[right, up]
        xy[depth < 0] = np.nan
        # Rounding of the order of 1e-17 would print as -0.
        return np.where(np.abs(xy) < 1e-15, 0.0, xy)

    def _arrows(self):
        X, score = self.score
        arrows = compressed(score)
        if self.projection == "orthographic":
            return self.project(X), arrows @ self._frame()[:2].T
        east, north = east_and_north(X)
        stretch = 1 / np.maximum(np.hypot(X[:, 0], X[:, 1]), 1e-3)
        return self.project(X), np.c_[
            (arrows * east).sum(1) * stretch, (arrows * north).sum(1)
        ]

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure. For a Mollweide map it must have that
            projection.

        Returns
        -------
        self : SphereDisplay
        """
        whole = self.projection == "mollweide"
        ax = projected_axes(ax, "mollweide") if whole else plain_axes(ax)
        values = np.asarray(self.log_density)
        ax.pcolormesh(self.x, self.y, values, rasterized=True, **shade(values))
        if self.points is not None:
            xy = self.project(self.points)
            ax.plot(*xy.T, ".", color="0.2", markersize=1.5, alpha=0.4)
        if self.score is not None:
            draw_arrows(ax, *self._arrows())
        if whole:
            ax.grid(alpha=0.3)
            ax.set_xticklabels([])
        else:
            turn = np.linspace(0, 2 * np.pi, 400)
            ax.plot(np.cos(turn), np.sin(turn), color="0.5", linewidth=0.8)
            ax.set_xlim(-1.02, 1.02)
            ax.set_ylim(-1.02, 1.02)
            ax.set_aspect("equal")
            ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        return self
