"""Draw doc/_static/readme.png, the first picture of README.rst.

Run ``python doc/readme_picture.py`` (half a minute). The data are scikit-learn's digits.
Two principal components of an image are a point of the plane, and three, scaled to length
one, are a point of the sphere.
"""

from pathlib import Path

import numpy as np
from matplotlib import patheffects, rc_context
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.plots import DensityDisplay, SphereDisplay

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
LABELS = ("1st component (gray levels)", "2nd component (gray levels)")
CENTER = (0, -40)  # latitude and longitude of the middle of the globe, in degrees
HALO = [patheffects.withStroke(linewidth=2.5, foreground="w")]


def draw_contours(ax, display, depth, step):
    """Draw lines of equal density, `step` nats apart, down to `depth` below the top."""
    ax.contour(
        display.x,
        display.y,
        display.log_density,
        levels=np.nanmax(display.log_density) + np.arange(-depth, 0, step),
        colors="0.15",
        linewidths=0.4,
        linestyles="-",
    )


def means(X, digits):
    """Return the mean row of each of the ten digits."""
    return np.stack([X[digits == digit].mean(0) for digit in range(10)])


def name_digits(ax, places):
    """Write the digits at their places, those that can be seen."""
    for digit, place in enumerate(places):
        if np.isfinite(place).all():
            text = ax.annotate(str(digit), place, ha="center", va="center", fontsize=9)
            text.set(weight="bold", path_effects=HALO)


def main():
    """Fit, draw and save."""
    images, digits = load_digits(return_X_y=True)
    components = PCA(3, random_state=0).fit_transform(images)
    plane = components[:, :2]
    sphere = components / np.linalg.norm(components, axis=1, keepdims=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        data, model, globe = figure.subplots(1, 3)

        density = MVLDensity(random_state=0).fit(plane)
        display = DensityDisplay.from_estimator(
            density, plane, n_grid=160, n_arrows=15, labels=LABELS, ax=model
        )
        model.lines[0].remove()
        draw_contours(model, display, depth=5, step=1)
        model.set(ylabel="", yticklabels=[], title="density and score")

        data.scatter(*plane.T, c=digits, cmap="tab10", s=3, linewidths=0, alpha=0.7)
        name_digits(data, means(plane, digits))
        data.set(xlim=model.get_xlim(), ylim=model.get_ylim())
        data.set(xlabel=LABELS[0], ylabel=LABELS[1], title="1797 handwritten digits")

        density = RiemannianMVLDensity("sphere", base="mixture", random_state=0)
        display = SphereDisplay.from_estimator(
            density.fit(sphere),
            projection="orthographic",
            center=CENTER,
            n_grid=240,
            n_arrows=15,
            ax=globe,
        )
        globe.collections[0].set_clim(np.nanmin(display.log_density), None)
        draw_contours(globe, display, depth=4, step=0.5)
        directions = means(sphere, digits)
        length = np.linalg.norm(directions, axis=1, keepdims=True)
        # A short mean says that the images of this digit point in many directions.
        directions = np.where(length > 0.75, directions / length, np.nan)
        name_digits(globe, display.project(directions))
        globe.set_title("density and score on a sphere")
        globe.text(0, -1.29, "direction of 3 components", ha="center", va="top")

        path = Path(__file__).parent / "_static" / "readme.png"
        figure.savefig(path, dpi=200)
    # A palette of 256 colors halves the file.
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main()
