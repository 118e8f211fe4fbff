"""Densities of two angles: the Ramachandran plot."""

import numpy as np

from sk_wmvl.plots._base import BaseFieldDisplay, compress, feature_labels
from sk_wmvl.plots._plane import PlaneGrid, densest_row

__all__ = ["TorusDisplay"]

TURN = 360.0


def in_degrees(X):
    """Return angles in degrees within [-180, 180), from radians."""
    return (np.rad2deg(X) + TURN / 2) % TURN - TURN / 2


def cells(n):
    """Return the centers of n cells per side, so that no point is shown twice."""
    x = (np.arange(n) + 0.5) * TURN / n - TURN / 2
    return x, x


class TorusDisplay(BaseFieldDisplay):
    """A density of two angles on a square of degrees, with data and score field.

    With more than two angles it shows the slice with the others held at `at`.

    Parameters
    ----------
    x : ndarray of shape (n_grid,)
        Grid of the first angle, in degrees.
    y : ndarray of shape (n_grid,)
        Grid of the second angle, in degrees.
    log_density : ndarray of shape (n_grid, n_grid)
        Log densities per square *radian*, first index y.
    points : ndarray of shape (n_samples, 2) or None, default=None
        Data, in degrees.
    score : tuple of ndarray or None, default=None
        Points in degrees of shape (m, 2) and scores of shape (m, 2) there.
    labels : tuple of str, default=('angle 0', 'angle 1')
        Names of the angles.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import TorusDisplay
    >>> g = np.linspace(-180, 180, 10)
    >>> display = TorusDisplay(g, g, np.zeros((10, 10)), labels=("phi", "psi")).plot()
    >>> display.ax_.get_xlabel()
    'phi (degrees)'
    """

    def __init__(
        self,
        x,
        y,
        log_density,
        *,
        points=None,
        score=None,
        labels=("angle 0", "angle 1"),
    ):
        self.x = x
        self.y = y
        self.log_density = log_density
        self.points = points
        self.score = score
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        features=(0, 1),
        at=None,
        n_grid=180,
        n_arrows=0,
        labels=None,
        ax=None,
    ):
        """Evaluate a fitted density over a full turn of two angles and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted to angles in radians, with `score_samples`, and `score_fn` for arrows.
        X : array-like of shape (n_samples, n_angles)
            Angles in radians, drawn if there are two.
        features : tuple of two int, default=(0, 1)
            Which angles to show.
        at : array-like of shape (n_angles,) or None, default=None
            Where the other angles are held; None for the row of X with the highest
            density.
        n_grid : int, default=180
            Grid points per angle.
        n_arrows : int, default=0
            Arrows of the score field per angle.
        labels : tuple of str or None, default=None
            Names of the two angles; None for the estimator's, or angle 0, angle 1.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TorusDisplay
        """
        X = np.asarray(X, dtype=float)
        at = densest_row(estimator, X) if at is None else at
        plane = PlaneGrid(at, features, cells, unit=np.deg2rad(1.0))
        (x, y), log_density, score = plane.evaluate(estimator, n_grid, n_arrows)
        if labels is None:
            labels = feature_labels(estimator, features, "angle ")
        # In a slice the projected rows would not lie where the density is shown.
        points = in_degrees(X[:, list(features)]) if X.shape[1] == 2 else None
        display = cls(x, y, log_density, points=points, score=score, labels=labels)
        return display.plot(ax=ax)

    def _draw_density(self, ax):
        self._draw_mesh(ax, self.x, self.y)

    def _place_points(self):
        return self.points

    def _place_arrows(self):
        points, score = self.score
        return points, compress(score)

    def _frame(self, ax):
        ax.set_xlim(-TURN / 2, TURN / 2)
        ax.set_ylim(-TURN / 2, TURN / 2)
        ax.set_xticks(np.arange(-180, 181, 90))
        ax.set_yticks(np.arange(-180, 181, 90))
        ax.set_aspect("equal")
        ax.set_xlabel(f"{self.labels[0]} (degrees)")
        ax.set_ylabel(f"{self.labels[1]} (degrees)")
