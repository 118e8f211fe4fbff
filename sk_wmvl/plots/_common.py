"""What the displays share: axes, depth of shading, arrows. matplotlib is imported late."""

import numpy as np

__all__ = [
    "DEPTH",
    "compressed",
    "draw_arrows",
    "plain_axes",
    "projected_axes",
    "shade",
]

# Six nats below the top the density is 0.25 % of it: the rest is white.
DEPTH = 6.0
CMAP = "Blues"


def plain_axes(ax):
    """Return `ax`, or the axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots()[1] if ax is None else ax


def projected_axes(ax, projection):
    """Return `ax` after a check of its projection, or axes of a new figure."""
    import matplotlib.pyplot as plt

    if ax is None:
        return plt.subplots(subplot_kw={"projection": projection})[1]
    if ax.name != projection:
        raise ValueError(
            f"The axes have the projection {ax.name!r}; make them with "
            f"plt.subplots(subplot_kw={{'projection': {projection!r}}})."
        )
    return ax


def compressed(vectors):
    """Return vectors with lengths r turned into log(1 + r), so that all can be seen."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12) * np.log1p(length)


def draw_arrows(ax, points, arrows):
    """Draw arrows of shape (m, 2) at points of shape (m, 2)."""
    style = {"angles": "xy", "color": "C3", "alpha": 0.6, "width": 0.003}
    ax.quiver(*points.T, *arrows.T, **style)


def shade(log_density):
    """Return keywords that shade a log density from its top down to DEPTH below.

    Values that are not finite, as outside a globe, are left white.
    """
    finite = log_density[np.isfinite(log_density)]
    if not finite.size:
        raise ValueError("The log density is nowhere finite on the grid.")
    top = float(finite.max())
    return {"vmin": top - DEPTH, "vmax": top, "cmap": CMAP}
