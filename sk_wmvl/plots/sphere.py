"""Densities on the sphere: maps of the whole, and the globe from outside."""

import numpy as np

from sk_wmvl.plots._base import BaseFieldDisplay, compress
from sk_wmvl.plots._projections import PROJECTIONS

__all__ = ["SphereDisplay"]


class SphereDisplay(BaseFieldDisplay):
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
                f"projection must be one of {tuple(PROJECTIONS)}; got {projection!r}."
            )
        self.x = x
        self.y = y
        self.log_density = log_density
        self.points = points
        self.score = score
        self.projection = projection
        self.center = center
        self._axes_projection = PROJECTIONS[projection].axes_projection

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
        result = self._map().evaluate(estimator, n_grid, n_arrows)
        (self.x, self.y), self.log_density, self.score = result
        return self

    def _map(self):
        return PROJECTIONS[self.projection](self.center)

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
        return self._map().project(np.asarray(X, dtype=float))

    def _draw_density(self, ax):
        self._draw_mesh(ax, self.x, self.y)

    def _place_points(self):
        return self.project(self.points)

    def _place_arrows(self):
        X, score = self.score
        return self.project(X), self._map().project_tangent(X, compress(score))

    def _frame(self, ax):
        self._map().frame(ax)
