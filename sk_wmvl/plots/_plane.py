"""Planes through the space of rows: two features vary, the others are held."""

import numpy as np

from sk_wmvl.plots._base import BaseGrid, Nodes

__all__ = ["PlaneGrid", "densest_row"]


def densest_row(estimator, X):
    """Return the row of X with the highest density, of shape (n_features,).

    Two features span the whole plane: there any row will do.
    """
    return X[0] if X.shape[1] == 2 else X[np.argmax(estimator.score_samples(X))]


class PlaneGrid(BaseGrid):
    """A rectangle in the plane of two features through a point.

    Parameters
    ----------
    at : array-like of shape (n_features,)
        The point, in the estimator's units.
    features : tuple of two int
        The columns that vary.
    ticks : callable
        Returns the first and the second coordinates of n cells per side, each of shape
        (n,), in the picture's units.
    unit : float, default=1.0
        The picture's unit in the estimator's.
    """

    def __init__(self, at, features, ticks, unit=1.0):
        self.at = np.asarray(at, dtype=float)
        self.features = list(features)
        self.ticks = ticks
        self.unit = unit

    def nodes(self, n):
        """Return the `Nodes` with n cells along a side; see `BaseGrid.nodes`."""
        x, y = self.ticks(n)
        places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        rows = np.tile(self.at, (len(places), 1))
        rows[:, self.features] = places * self.unit
        return Nodes((x, y), np.ones((n, n), dtype=bool), rows, places)

    def arrows(self, nodes, score):
        """Return the two components in the plane; see `BaseGrid.arrows`."""
        del nodes
        return score[:, self.features]
