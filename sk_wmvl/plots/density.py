"""Densities in the plane, and slices through densities of more features."""

import numpy as np

from sk_wmvl.plots._common import DEPTH, compressed, draw_arrows, plain_axes

__all__ = ["DensityDisplay"]

MARGIN = 0.08  # of the data's range, on each side


class DensityDisplay:
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
        i, j = features
        if at is None:
            at = X[np.argmax(estimator.score_samples(X))]
        if labels is None:
            names = getattr(estimator, "feature_names_in_", None)
            names = [f"x{k}" for k in range(X.shape[1])] if names is None else names
            labels = (str(names[i]), str(names[j]))
        low, high = X[:, [i, j]].min(0), X[:, [i, j]].max(0)
        pad = MARGIN * (high - low)
        (x, y), (u, v) = (
            [np.linspace(low[k] - pad[k], high[k] + pad[k], n) for k in (0, 1)]
            for n in (n_grid, n_arrows)
        )

        def plane(first, second):
            grid = np.tile(np.asarray(at, dtype=float), (len(first) * len(second), 1))
            grid[:, [i, j]] = np.stack(np.meshgrid(first, second), -1).reshape(-1, 2)
            return grid

        log_density = estimator.score_samples(plane(x, y)).reshape(n_grid, n_grid)
        score = None
        if n_arrows:
            arrows = plane(u, v)
            score = arrows[:, [i, j]], estimator.score_fn(arrows)[:, [i, j]]
        # In a slice the projected rows would not lie where the density is shown.
        points = X[:, [i, j]] if X.shape[1] == 2 else None
        display = cls(x, y, log_density, points=points, score=score, labels=labels)
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : DensityDisplay
        """
        ax = plain_axes(ax)
        top = self.log_density.max()
        levels = np.linspace(top - DEPTH, top, 13)
        ax.contourf(self.x, self.y, self.log_density, levels=levels, cmap="Blues")
        if self.points is not None:
            ax.plot(*self.points.T, ".", color="0.25", markersize=2, alpha=0.5)
            ax.set_xlim(self.x[0], self.x[-1])
            ax.set_ylim(self.y[0], self.y[-1])
        if self.score is not None:
            points, score = self.score
            span = np.array([np.ptp(self.x), np.ptp(self.y)])
            draw_arrows(ax, points, compressed(score * span) * span)
        ax.set_xlabel(self.labels[0])
        ax.set_ylabel(self.labels[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self
