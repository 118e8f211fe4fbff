"""Densities of compositions of three parts: the ternary plot."""

import numpy as np

from sk_wmvl.plots._base import BaseDisplay, check_columns, feature_labels, shading

__all__ = ["SimplexDisplay"]

# Lower left, lower right, top: a triangle with sides of length one.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def inner_points(n):
    """Return compositions of shape (n (n + 1) / 2, 3), evenly spaced in the triangle.

    They are a third of a cell away from the edges, where densities may be infinite.
    """
    i, j = np.meshgrid(np.arange(n), np.arange(n))
    i, j = i[i + j < n], j[i + j < n]
    return (np.stack([i, j, n - 1 - i - j], -1) + 1 / 3) / n


class SimplexDisplay(BaseDisplay):
    """A density of three parts that sum to one, in a triangle, with the data.

    Parameters
    ----------
    parts : ndarray of shape (n_grid, 3)
        Compositions, at the grid's points.
    log_density : ndarray of shape (n_grid,)
        Log densities there.
    points : ndarray of shape (n_samples, 3) or None, default=None
        Data.
    labels : tuple of str, default=('x0', 'x1', 'x2')
        Names of the parts, at the corners where they are one: lower left, lower right,
        top.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    Equal parts lie in the middle.

    >>> import numpy as np
    >>> from sk_wmvl.plots import SimplexDisplay
    >>> SimplexDisplay.project([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]).round(3)
    array([[0.   , 0.   ],
           [0.5  , 0.289]])
    """

    def __init__(self, parts, log_density, *, points=None, labels=("x0", "x1", "x2")):
        self.parts = parts
        self.log_density = log_density
        self.points = points
        self.labels = labels

    @classmethod
    def from_estimator(cls, estimator, X, *, n_grid=100, labels=None, ax=None):
        """Evaluate a fitted density inside the triangle and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted to compositions, with `score_samples`. The density is shown with respect
            to the measure that it uses.
        X : array-like of shape (n_samples, 3)
            Compositions to draw.
        n_grid : int, default=100
            Grid points along a side.
        labels : tuple of str or None, default=None
            Names of the parts; None for the estimator's, or x0, x1, x2.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : SimplexDisplay
        """
        X = check_columns(
            X,
            (3,),
            "A ternary plot shows three parts (of more, show a subcomposition of three "
            "columns, scaled to sum to one)",
        )
        if labels is None:
            labels = feature_labels(estimator, range(3), "x")
        parts = inner_points(n_grid)
        log_density = estimator.score_samples(parts)
        return cls(parts, log_density, points=X, labels=labels).plot(ax=ax)

    @staticmethod
    def project(X):
        """Return coordinates in the triangle, for what is drawn on top.

        Parameters
        ----------
        X : array-like of shape (n_samples, 3)
            Compositions.

        Returns
        -------
        xy : ndarray of shape (n_samples, 2)
        """
        return np.asarray(X, dtype=float) @ CORNERS

    def _draw(self, ax):
        values = np.asarray(self.log_density)
        ax.tripcolor(
            *self.project(self.parts).T,
            values,
            shading="gouraud",
            rasterized=True,
            **shading(values),
        )
        ax.plot(*CORNERS[[0, 1, 2, 0]].T, color="0.4", linewidth=0.8)
        if self.points is not None:
            xy = self.project(self.points)
            # Rows with zeros lie on the edge and are drawn whole.
            ax.plot(*xy.T, ".", color="0.2", markersize=3, alpha=0.6, clip_on=False)
        offsets = [(0, -6), (0, -6), (0, 4)]
        for corner, label, offset in zip(CORNERS, self.labels, offsets, strict=True):
            ax.annotate(
                label,
                corner,
                offset,
                textcoords="offset points",
                ha="center",
                va="top" if offset[1] < 0 else "bottom",
                annotation_clip=False,
            )
        ax.set_xlim(-0.02, 1.02)
        ax.set_ylim(-0.02, 0.96)  # room for the label above the top
        ax.set_aspect("equal")
        ax.set_axis_off()
