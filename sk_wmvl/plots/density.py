"""Densities in the plane, and slices through densities of more features."""

import numpy as np

from sk_wmvl.plots._base import BaseFieldDisplay, compress, feature_labels, shading
from sk_wmvl.plots._plane import PlaneGrid, densest_row

__all__ = ["DensityDisplay"]

MARGIN = 0.08  # of the data's range, on each side
N_LEVELS = 13  # of the contours


class DensityDisplay(BaseFieldDisplay):
    """A density over two features: a filled contour, the data and the score field.

    With more than two features it shows the conditional slice with the other features
    held at `at`.

    Parameters
    ----------
    x : ndarray of shape (n_grid,)
        Grid of the first feature.
    y : ndarray of shape (n_grid,)
        Grid of the second feature.
    log_density : ndarray of shape (n_grid, n_grid)
        Log densities, first index y.
    points : ndarray of shape (n_samples, 2) or None, default=None
        Data to draw.
    score : tuple of ndarray or None, default=None
        Points of shape (m, 2) and scores of shape (m, 2) there.
    labels : tuple of str, default=('x0', 'x1')
        Names of the features.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import DensityDisplay
    >>> g = np.linspace(-3, 3, 10)
    >>> display = DensityDisplay(g, g, -0.5 * (g[:, None] ** 2 + g**2))
    >>> display.plot().ax_.get_xlabel()
    'x0'
    """

    _marker = {"color": "0.25", "markersize": 2, "alpha": 0.5}

    def __init__(
        self, x, y, log_density, *, points=None, score=None, labels=("x0", "x1")
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
        n_grid=120,
        n_arrows=18,
        labels=None,
        ax=None,
    ):
        """Evaluate a fitted density on a grid around the data and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `score_samples` and `score_fn`.
        X : array-like of shape (n_samples, n_features)
            Data that set the ranges and, if there are two columns, are drawn.
        features : tuple of two int, default=(0, 1)
            Which columns to show.
        at : array-like of shape (n_features,) or None, default=None
            Where the other features are held; None for the row of X with the highest
            density, so that the slice goes through the bulk of the data.
        n_grid : int, default=120
            Grid points per axis.
        n_arrows : int, default=18
            Arrows of the score field per axis; 0 for none.
        labels : tuple of str or None, default=None
            Names of the two features; None for the estimator's, or x0, x1.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : DensityDisplay
        """
        X = np.asarray(X, dtype=float)
        at = densest_row(estimator, X) if at is None else at
        shown = X[:, list(features)]
        pad = MARGIN * np.ptp(shown, axis=0)
        low, high = shown.min(0) - pad, shown.max(0) + pad
        plane = PlaneGrid(at, features, lambda n: np.linspace(low, high, n, axis=1))
        (x, y), log_density, score = plane.evaluate(estimator, n_grid, n_arrows)
        if labels is None:
            labels = feature_labels(estimator, features, "x")
        # In a slice the projected rows would not lie where the density is shown.
        points = shown if X.shape[1] == 2 else None
        display = cls(x, y, log_density, points=points, score=score, labels=labels)
        return display.plot(ax=ax)

    def _draw_density(self, ax):
        shades = shading(self.log_density)
        levels = np.linspace(shades["vmin"], shades["vmax"], N_LEVELS)
        cmap = shades["cmap"]
        ax.contourf(self.x, self.y, self.log_density, levels=levels, cmap=cmap)

    def _place_points(self):
        return self.points

    def _place_arrows(self):
        points, score = self.score
        span = np.array([np.ptp(self.x), np.ptp(self.y)])
        return points, compress(score * span) * span

    def _frame(self, ax):
        ax.set_xlim(self.x[0], self.x[-1])
        ax.set_ylim(self.y[0], self.y[-1])
        ax.set_xlabel(self.labels[0])
        ax.set_ylabel(self.labels[1])
