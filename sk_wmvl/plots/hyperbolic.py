"""Densities on the hyperbolic plane: the Poincaré disk."""

import numpy as np
import torch

from sk_wmvl.plots._common import compressed, draw_arrows, plain_axes, shade

__all__ = ["HyperbolicDisplay"]

MARGIN = 0.3  # of the distance of the farthest row from the center


def to_disk(X):
    """Return points of the disk, (n, 2), from rows of the disk or of the hyperboloid."""
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or X.shape[1] not in (2, 3):
        raise ValueError(
            "The hyperbolic plane has rows of two columns, in the unit disk, or three, on "
            f"the hyperboloid; got an array of shape {X.shape}."
        )
    return X if X.shape[1] == 2 else X[:, 1:] / (1 + X[:, :1])


class HyperbolicDisplay:
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
        space, edge = estimator.manifold_, np.tanh(radius / 2)

        def nodes(n):
            x = np.linspace(-edge, edge, n)
            square = np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
            inside = (square**2).sum(1) < edge**2
            y = torch.from_numpy(square[inside])
            gap = 1 - y.square().sum(1, keepdim=True)
            hyperboloid = torch.cat([2 / gap - 1, 2 * y / gap], -1)
            return x, square, inside, space.to_user(hyperboloid).numpy()

        x, square, inside, rows = nodes(n_grid)
        log_density = np.full(len(square), np.nan)
        log_density[inside] = estimator.score_samples(rows)
        score = None
        if n_arrows:
            _, square, inside, rows = nodes(n_arrows)
            velocity = estimator.score_fn(rows)
            if velocity.shape[1] == 3:  # the differential of s / (1 + x_0)
                time = 1 + rows[:, :1]
                velocity = velocity[:, 1:] - rows[:, 1:] * velocity[:, :1] / time
                velocity = velocity / time
            score = square[inside], velocity
        shape = n_grid, n_grid
        display = cls(x, log_density.reshape(shape), points=points, score=score)
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : HyperbolicDisplay
        """
        ax = plain_axes(ax)
        values = np.asarray(self.log_density)
        ax.pcolormesh(self.x, self.x, values, rasterized=True, **shade(values))
        edge = self.x[-1]
        turn = np.linspace(0, 2 * np.pi, 400)
        for distance in range(1, int(2 * np.arctanh(min(edge, 1 - 1e-12))) + 1):
            r = np.tanh(distance / 2)
            ax.plot(r * np.cos(turn), r * np.sin(turn), ":", color="0.5", linewidth=0.8)
        ax.plot(np.cos(turn), np.sin(turn), color="0.5", linewidth=0.8)
        if self.points is not None:
            ax.plot(*self.points.T, ".", color="0.2", markersize=2, alpha=0.4)
        if self.score is not None:
            points, velocity = self.score
            gap = 1 - (points**2).sum(1, keepdims=True)
            # lengths as the plane has them, then as the disk shows them
            draw_arrows(ax, points, compressed(2 * velocity / gap) * gap / 2)
        ax.set_xlim(-edge, edge)
        ax.set_ylim(-edge, edge)
        ax.set_aspect("equal")
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        return self
