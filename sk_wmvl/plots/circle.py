"""Densities on the circle: a rose histogram and a curve around it."""

import numpy as np

from sk_wmvl.plots._base import BaseDisplay, check_columns

__all__ = ["CircleDisplay"]


def to_angles(X):
    """Return angles of shape (n,) from rows of one angle, or of a unit vector."""
    X = check_columns(
        X,
        (1, 2),
        "A circle has rows of one angle in radians or of two coordinates of a unit vector",
    )
    return X[:, 0] if X.shape[1] == 1 else np.arctan2(X[:, 1], X[:, 0])


class CircleDisplay(BaseDisplay):
    """A density on the circle in polar axes, over a rose histogram of the data.

    Radii are densities per radian, for the curve and for the histogram alike.

    Parameters
    ----------
    theta : ndarray of shape (n_grid,)
        Angles in radians, increasing.
    density : ndarray of shape (n_grid,)
        Densities per radian.
    points : ndarray of shape (n_samples,) or None, default=None
        Data, as angles in radians.
    n_bins : int, default=36
        Sectors of the histogram.
    compass : bool, default=False
        Whether angles are bearings, clockwise from north.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import CircleDisplay
    >>> theta = np.linspace(0, 2 * np.pi, 10)
    >>> display = CircleDisplay(theta, np.full(10, 1 / (2 * np.pi))).plot()
    >>> display.ax_.name
    'polar'
    """

    _axes_projection = "polar"

    def __init__(self, theta, density, *, points=None, n_bins=36, compass=False):
        self.theta = theta
        self.density = density
        self.points = points
        self.n_bins = n_bins
        self.compass = compass

    @classmethod
    def from_estimator(
        cls, estimator, X, *, n_grid=720, n_bins=36, compass=False, ax=None
    ):
        """Evaluate a fitted density around the circle and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `score_samples`.
        X : array-like of shape (n_samples, 1) or (n_samples, 2)
            Data as the estimator takes them: angles in radians, or unit vectors.
        n_grid : int, default=720
            Intervals between points of the curve.
        n_bins : int, default=36
            Sectors of the histogram; 0 for none.
        compass : bool, default=False
            Whether angles are bearings, clockwise from north.
        ax : matplotlib polar Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : CircleDisplay
        """
        X = np.asarray(X, dtype=float)
        points = to_angles(X)
        theta = np.linspace(0, 2 * np.pi, n_grid + 1)
        rows = (
            theta[:, None] if X.shape[1] == 1 else np.c_[np.cos(theta), np.sin(theta)]
        )
        density = np.exp(estimator.score_samples(rows))
        display = cls(theta, density, points=points, n_bins=n_bins, compass=compass)
        return display.plot(ax=ax)

    def _draw(self, ax):
        if self.points is not None and self.n_bins:
            edges = np.linspace(0, 2 * np.pi, self.n_bins + 1)
            # Python's % sends -1e-17 to 2 pi itself, which the last bin includes.
            heights, _ = np.histogram(self.points % (2 * np.pi), edges, density=True)
            width = 2 * np.pi / self.n_bins
            ax.bar(edges[:-1], heights, width, align="edge", color="0.8", edgecolor="w")
        ax.plot(self.theta, self.density, color="C0")
        if self.compass:
            ax.set_theta_zero_location("N")
            ax.set_theta_direction(-1)
        ax.set_ylim(bottom=0)
        ax.set_rlabel_position(90)
