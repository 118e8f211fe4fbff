"""What all displays share: evaluate on a grid, make axes, draw.

A display holds arrays, and `plot` draws them. `from_estimator` of each final class checks
the rows, has a `BaseGrid` say where the density is to be evaluated, and plots the result.
matplotlib is imported only when something is drawn.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

__all__ = [
    "BaseDisplay",
    "BaseFieldDisplay",
    "BaseGrid",
    "BasePanelsDisplay",
    "Nodes",
    "check_columns",
    "compress",
    "feature_labels",
    "shading",
]

# Six nats below the top the density is 0.25 % of it: the rest is white.
DEPTH = 6.0
CMAP = "Blues"


# --- from an estimator to arrays ------------------------------------------------------


def check_columns(X, allowed, rule):
    """Return X as floats, after a check of its number of columns.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_columns)
        Rows.
    allowed : tuple of int
        Numbers of columns that the display can show.
    rule : str
        The start of the error: what rows have to be.

    Returns
    -------
    X : ndarray of shape (n_samples, n_columns)

    Raises
    ------
    ValueError
        If X is not a table with one of these numbers of columns.
    """
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or X.shape[1] not in allowed:
        raise ValueError(f"{rule}; got an array of shape {X.shape}.")
    return X


def feature_labels(estimator, columns, prefix):
    """Return the names of some columns: the estimator's, or prefix and number."""
    names = getattr(estimator, "feature_names_in_", None)
    return tuple(f"{prefix}{k}" if names is None else str(names[k]) for k in columns)


class Nodes(NamedTuple):
    """Points at which a density is evaluated, and where they are in the picture.

    `axes` are the coordinates of the picture's cells, as the display's constructor takes
    them, and `inside`, boolean and of the picture's shape, says which cells have a node.
    The m nodes are `rows`, of shape (m, n_features), as the estimator takes them, and
    `places`, of shape (m, 2) or (m, 3), as the display holds the feet of arrows.
    """

    axes: tuple[np.ndarray, ...]
    inside: np.ndarray
    rows: np.ndarray
    places: np.ndarray


class BaseGrid(ABC):
    """A part of a space, at any resolution."""

    @abstractmethod
    def nodes(self, n):
        """Return the `Nodes` with n cells along a side of the picture."""

    @abstractmethod
    def arrows(self, nodes, score):
        """Return the scores at nodes, (m, n_features), as the display holds them."""

    def evaluate(self, estimator, n_grid, n_arrows=0):
        """Evaluate a fitted density, and its score on a coarser grid.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `score_samples`, and `score_fn` for arrows.
        n_grid : int
            Cells along a side of the picture.
        n_arrows : int, default=0
            Arrows along a side; 0 for none.

        Returns
        -------
        axes : tuple of ndarray
            Coordinates of the cells.
        log_density : ndarray of the picture's shape
            In nats, NaN in cells without a node.
        score : tuple of ndarray or None
            Feet and vectors of the arrows, each of shape (m, 2) or (m, 3).
        """
        fine = self.nodes(n_grid)
        log_density = np.full(fine.inside.shape, np.nan)
        log_density[fine.inside] = estimator.score_samples(fine.rows)
        score = None
        if n_arrows:
            coarse = self.nodes(n_arrows)
            score = coarse.places, self.arrows(coarse, estimator.score_fn(coarse.rows))
        return fine.axes, log_density, score


# --- from arrays to a picture ---------------------------------------------------------


def shading(log_density):
    """Return keywords that shade a log density from its top down to DEPTH below.

    Values that are not finite, as outside a globe, are left white.
    """
    finite = log_density[np.isfinite(log_density)]
    if not finite.size:
        raise ValueError("The log density is nowhere finite on the grid.")
    top = float(finite.max())
    return {"vmin": top - DEPTH, "vmax": top, "cmap": CMAP}


def compress(vectors):
    """Return vectors with lengths r turned into log(1 + r), so that all can be seen."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12) * np.log1p(length)


class BaseDisplay(ABC):
    """A picture in one pair of axes."""

    # The projection that the axes must have; None for plain ones, which go unchecked.
    _axes_projection: str | None = None

    @abstractmethod
    def _draw(self, ax):
        """Draw what the display holds into axes of the right projection."""

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure. Axes need the display's projection, if it
            has one.

        Returns
        -------
        self : object
            The display, with the attributes `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If the axes have another projection.
        """
        import matplotlib.pyplot as plt

        needed = self._axes_projection
        if ax is None:
            ax = plt.subplots(subplot_kw={"projection": needed})[1]
        elif needed is not None and ax.name != needed:
            raise ValueError(
                f"The axes have the projection {ax.name!r}; make them with "
                f"plt.subplots(subplot_kw={{'projection': {needed!r}}})."
            )
        self._draw(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class BaseFieldDisplay(BaseDisplay):
    """A shaded log density under the data and the score field.

    Final classes hold `log_density`, `points` and `score`, of which the last two may be
    None.
    """

    _marker: ClassVar = {"color": "0.2", "markersize": 1.5, "alpha": 0.4}

    @abstractmethod
    def _draw_density(self, ax):
        """Draw the log density and what lies under the data."""

    @abstractmethod
    def _place_points(self):
        """Return where the data are in the picture, of shape (n, 2)."""

    @abstractmethod
    def _place_arrows(self):
        """Return feet and arrows in the picture, of shape (m, 2) each."""

    @abstractmethod
    def _frame(self, ax):
        """Set limits, ticks and labels."""

    def _draw(self, ax):
        self._draw_density(ax)
        if self.points is not None:
            ax.plot(*self._place_points().T, ".", **self._marker)
        if self.score is not None:
            feet, arrows = self._place_arrows()
            style = {"angles": "xy", "color": "C3", "alpha": 0.6, "width": 0.003}
            ax.quiver(*feet.T, *arrows.T, **style)
        self._frame(ax)

    def _draw_mesh(self, ax, x, y):
        """Shade cells with centers x and y."""
        values = np.asarray(self.log_density)
        ax.pcolormesh(x, y, values, rasterized=True, **shading(values))


class BasePanelsDisplay(ABC):
    """A picture in several axes side by side."""

    @abstractmethod
    def _make_axes(self):
        """Return the axes of a new figure, one per panel."""

    @abstractmethod
    def _draw(self, axes):
        """Draw what the display holds, one panel into each of the axes."""

    def plot(self, axes=None):
        """Draw.

        Parameters
        ----------
        axes : sequence of matplotlib Axes or None, default=None
            Where to draw, one per panel; None makes a figure.

        Returns
        -------
        self : object
            The display, with the attributes `axes_`, `ax_` and `figure_`.
        """
        axes = np.ravel(self._make_axes() if axes is None else axes)
        self._draw(axes)
        self.axes_ = axes
        self.ax_, self.figure_ = axes[0], axes[0].figure
        return self
