"""Densities of rotations: where the three axes of a turned body point."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation as Turn

from sk_wmvl.plots._base import BasePanelsDisplay, check_columns
from sk_wmvl.plots._projections import PROJECTIONS
from sk_wmvl.plots.sphere import SphereDisplay

__all__ = ["RotationDisplay"]

CHUNK = 20_000  # rotations at a time


def to_matrices(X, scalar_first=False):
    """Return matrices of shape (n, 3, 3) from rows of quaternions or matrices."""
    X = check_columns(
        X,
        (4, 9),
        "Rotations have rows of four columns, a unit quaternion, or nine, a matrix row by "
        "row",
    )
    if X.shape[1] == 9:
        return X.reshape(-1, 3, 3)
    # SciPy has an argument for the order only since 1.14.
    return Turn.from_quat(np.roll(X, -1, 1) if scalar_first else X).as_matrix()


def turns_to(directions, axis, n_turns):
    """Return quaternions (n, n_turns, 4) of rotations that take an axis to directions.

    The shortest rotation there, after each of `n_turns` equally spaced turns about the
    axis.
    """
    e = np.eye(3)[axis]
    half = np.c_[np.cross(e, directions), 1 + directions @ e]
    norm = np.linalg.norm(half, axis=1, keepdims=True)
    # Any half turn across the axis takes it to its opposite: one of them is chosen.
    across = np.r_[np.eye(3)[(axis + 1) % 3], 0.0]
    shortest = np.where(norm < 1e-9, across, half / np.maximum(norm, 1e-9))
    angle = 2 * np.pi * (np.arange(n_turns) + 0.5) / n_turns
    about = Turn.from_rotvec(angle[:, None] * e)
    products = [(Turn.from_quat(shortest) * turn).as_quat() for turn in about]
    return np.stack(products, 1)


class RotationDisplay(BasePanelsDisplay):
    r"""A density of rotations, as three maps: where each axis of a turned body points.

    The j-th map shows the density, per unit of solid angle, of the j-th column of the
    matrix: the density of rotations integrated over the turns about that axis. The
    rotations have the volume :math:`4\pi\cdot2\pi`, of all directions times a turn.

    Parameters
    ----------
    spheres : list of three SphereDisplay
        The maps.
    labels : tuple of str, default=('x axis', 'y axis', 'z axis')
        Their titles.

    Attributes
    ----------
    axes_ : ndarray of three matplotlib Axes
        The axes.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import RotationDisplay, SphereDisplay
    >>> x, y = np.meshgrid(np.linspace(-3, 3, 4), np.linspace(-1.5, 1.5, 4))
    >>> maps = [SphereDisplay(x, y, np.zeros((4, 4))) for _ in range(3)]
    >>> RotationDisplay(maps).plot().ax_.get_title()
    'x axis'
    """

    def __init__(self, spheres, *, labels=("x axis", "y axis", "z axis")):
        self.spheres = spheres
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        projection="mollweide",
        center=None,
        n_grid=45,
        n_turns=36,
        labels=("x axis", "y axis", "z axis"),
        axes=None,
    ):
        """Evaluate a fitted density of rotations on three maps and plot it.

        Parameters
        ----------
        estimator : RiemannianMVLDensity
            Fitted on `Rotation`: its `manifold_` says what rows are.
        X : array-like of shape (n_samples, 4) or (n_samples, 9) or None, default=None
            Rotations to draw, as the estimator takes them.
        projection : {'mollweide', 'orthographic'}, default='mollweide'
            See `SphereDisplay`.
        center : list of three (float, float) or None, default=None
            Latitude and longitude in degrees of the center of each map; None for the mean
            direction of the axis in X, or 0, 0 without X.
        n_grid : int, default=45
            Grid points of a map from bottom to top.
        n_turns : int, default=36
            Turns about the axis at each of them.
        labels : tuple of str, default=('x axis', 'y axis', 'z axis')
            Titles of the maps.
        axes : sequence of three matplotlib Axes or None, default=None
            Where to draw; None makes a figure. For Mollweide maps they must have that
            projection.

        Returns
        -------
        display : RotationDisplay
        """
        space = estimator.manifold_
        columns = None
        if X is not None:
            columns = to_matrices(X, scalar_first=space.scalar_first)
        spheres = []
        for axis in range(3):
            points = None if columns is None else columns[:, :, axis]
            here = (0.0, 0.0)
            if center is not None:
                here = center[axis]
            elif points is not None:
                here = mean_place(points)
            marginal = _Marginal(estimator, axis, n_turns)
            sphere = SphereDisplay(None, None, None, projection=projection, center=here)
            spheres.append(sphere.evaluate(marginal, points, n_grid=n_grid))
        return cls(spheres, labels=labels).plot(axes=axes)

    def _make_axes(self):
        import matplotlib.pyplot as plt

        projection = PROJECTIONS[self.spheres[0].projection].axes_projection
        style = {"projection": projection}
        return plt.subplots(1, 3, figsize=(11, 3), subplot_kw=style)[1]

    def _draw(self, axes):
        for sphere, ax, label in zip(self.spheres, axes, self.labels, strict=True):
            sphere.plot(ax=ax)
            ax.set_title(label)
            ax.set_yticklabels([])


def mean_place(X):
    """Return latitude and longitude in degrees of the mean of unit vectors."""
    x, y, z = X.mean(0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


class _Marginal:
    """The density of the direction of one axis, as displays of spheres see estimators."""

    def __init__(self, estimator, axis, n_turns):
        self.estimator, self.axis, self.n_turns = estimator, axis, n_turns

    def score_samples(self, X):
        """Return log densities of shape (n,) at unit vectors of shape (n, 3)."""
        space, parts = self.estimator.manifold_, []
        for chunk in np.array_split(X, 1 + len(X) * self.n_turns // CHUNK):
            q = torch.from_numpy(turns_to(chunk, self.axis, self.n_turns)).flatten(0, 1)
            value = self.estimator.score_samples(space.to_user(q).numpy())
            parts.append(
                np.logaddexp.reduce(value.reshape(len(chunk), self.n_turns), axis=1)
            )
        return np.concatenate(parts) + np.log(2 * np.pi / self.n_turns)
