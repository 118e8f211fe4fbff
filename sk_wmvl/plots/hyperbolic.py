"""Densities on the hyperbolic plane: the Poincaré disk."""

import numpy as np
import torch

from sk_wmvl.manifolds import Hyperbolic
from sk_wmvl.plots._base import (
    BaseFieldDisplay,
    BaseGrid,
    Nodes,
    check_columns,
    compress,
)

__all__ = ["HyperbolicDisplay"]

MARGIN = 0.3  # of the distance of the farthest row from the center


def to_disk(X):
    """Return points of the disk, (n, 2), from rows of the disk or of the hyperboloid."""
    X = check_columns(
        X,
        (2, 3),
        "The hyperbolic plane has rows of two columns, in the unit disk, or three, on the "
        "hyperboloid",
    )
    return X if X.shape[1] == 2 else X[:, 1:] / (1 + X[:, :1])


class DiskGrid(BaseGrid):
    """The part of the Poincaré disk within a square, up to a distance from the center.

    Parameters
    ----------
    space : Hyperbolic
        Says what rows are.
    radius : float
        The hyperbolic distance.
    """

    def __init__(self, space, radius):
        self.space = space
        self.edge = np.tanh(radius / 2)

    def nodes(self, n):
        """Return the `Nodes` with n points along a side; see `BaseGrid.nodes`."""
        x = np.linspace(-self.edge, self.edge, n)
        square = np.stack(np.meshgrid(x, x), -1)
        inside = (square**2).sum(-1) < self.edge**2
        places = square[inside]
        points = Hyperbolic(2, model="ball").from_user(torch.from_numpy(places))
        return Nodes((x,), inside, self.space.to_user(points).numpy(), places)

    def arrows(self, nodes, score):
        """Return velocities in the disk; see `BaseGrid.arrows`."""
        if score.shape[1] == 2:
            return score
        # The differential of the map s / (1 + x_0) from the hyperboloid to the disk.
        time, space = 1 + nodes.rows[:, :1], nodes.rows[:, 1:]
        return (score[:, 1:] - space * score[:, :1] / time) / time


class HyperbolicDisplay(BaseFieldDisplay):
    """A density on the hyperbolic plane in the Poincaré disk, with data and score field.

    Dotted circles are at whole distances 1, 2, 3 ... from the center.

    Parameters
    ----------
    x : ndarray of shape (n_grid,)
        Grid of the first and of the second coordinate of the disk.
    log_density : ndarray of shape (n_grid, n_grid)
        Log densities per unit of hyperbolic area, first index the second coordinate; NaN
        outside the disk.
    points : ndarray of shape (n_samples, 2) or None, default=None
        Data, in the disk.
    score : tuple of ndarray or None, default=None
        Points of shape (m, 2) and scores of shape (m, 2), in the disk.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import HyperbolicDisplay
    >>> g = np.linspace(-0.7, 0.7, 5)
    >>> display = HyperbolicDisplay(g, np.zeros((5, 5))).plot()
    >>> display.ax_.get_aspect()
    1.0
    """

    _marker = {"color": "0.2", "markersize": 2, "alpha": 0.4}

    def __init__(self, x, log_density, *, points=None, score=None):
        self.x = x
        self.log_density = log_density
        self.points = points
        self.score = score

    @classmethod
    def from_estimator(
        cls, estimator, X=None, *, radius=None, n_grid=160, n_arrows=0, ax=None
    ):
        """Evaluate a fitted density in a part of the disk and plot it.

        Parameters
        ----------
        estimator : RiemannianMVLDensity
            Fitted on `Hyperbolic` of two dimensions: its `manifold_` says what rows are.
        X : array-like of shape (n_samples, 2) or (n_samples, 3) or None, default=None
            Data to draw, as the estimator takes them.
        radius : float or None, default=None
            The hyperbolic distance from the center up to which to draw; None for a little
            more than that of the farthest row, or 3 without X.
        n_grid : int, default=160
            Grid points per axis.
        n_arrows : int, default=0
            Arrows of the score field per axis.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : HyperbolicDisplay
        """
        points = None if X is None else to_disk(X)
        if radius is None:
            radius = 3.0
            if points is not None:
                farthest = np.linalg.norm(points, axis=1).max()
                radius = (1 + MARGIN) * 2 * np.arctanh(farthest)
        disk = DiskGrid(estimator.manifold_, radius)
        (x,), log_density, score = disk.evaluate(estimator, n_grid, n_arrows)
        return cls(x, log_density, points=points, score=score).plot(ax=ax)

    def _draw_density(self, ax):
        self._draw_mesh(ax, self.x, self.x)
        turn = np.linspace(0, 2 * np.pi, 400)
        farthest = 2 * np.arctanh(min(self.x[-1], 1 - 1e-12))
        for distance in range(1, int(farthest) + 1):
            r = np.tanh(distance / 2)
            ax.plot(r * np.cos(turn), r * np.sin(turn), ":", color="0.5", linewidth=0.8)
        ax.plot(np.cos(turn), np.sin(turn), color="0.5", linewidth=0.8)

    def _place_points(self):
        return self.points

    def _place_arrows(self):
        points, velocity = self.score
        gap = 1 - (points**2).sum(1, keepdims=True)
        # Lengths are compressed as the plane has them, then shown as the disk does.
        return points, compress(2 * velocity / gap) * gap / 2

    def _frame(self, ax):
        edge = self.x[-1]
        ax.set_xlim(-edge, edge)
        ax.set_ylim(-edge, edge)
        ax.set_aspect("equal")
        ax.set_axis_off()
