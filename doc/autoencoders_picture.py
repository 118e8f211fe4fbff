"""Draw doc/_static/autoencoders_digits.png: scikit-learn's digits on a sphere.

Run ``python doc/autoencoders_picture.py`` (two minutes).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sk_wmvl import ImplicitVAE
from sk_wmvl.manifolds import from_lat_lon, to_lat_lon

N_LATITUDES, N_LONGITUDES = 9, 18
SIDE = 8


def sheet(images, n_rows, n_columns):
    """Return images of shape (n, 64) side by side."""
    tiles = images.reshape(n_rows, n_columns, SIDE, SIDE)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=0.5)
    return tiles.transpose(0, 2, 1, 3).reshape(n_rows * (SIDE + 1), -1)


def main():
    """Fit, draw and save."""
    X, labels = load_digits(return_X_y=True)
    X = X / 16
    plane = ImplicitVAE(2, max_epochs=150, random_state=0).fit(X)
    large = ImplicitVAE(8, max_epochs=150, random_state=0).fit(X)

    figure = plt.figure(figsize=(11, 3.6), layout="constrained")
    grid = figure.add_gridspec(1, 3, width_ratios=[1.6, 1.6, 1])
    ax = figure.add_subplot(grid[0], projection="mollweide")
    latitude, longitude = to_lat_lon(plane.transform(X))
    for digit in range(10):
        at = labels == digit
        ax.plot(
            np.deg2rad(longitude[at]),
            np.deg2rad(latitude[at]),
            ".",
            color=f"C{digit}",
            markersize=3,
            label=str(digit),
        )
    ax.set(xticklabels=[], yticklabels=[])
    ax.grid(alpha=0.3)
    ax.legend(ncols=10, loc="lower center", bbox_to_anchor=(0.5, -0.18), frameon=False,
              handletextpad=0, columnspacing=0.6, markerscale=3, fontsize=9)  # fmt: skip
    ax.set_title("codes on the 2-sphere", fontsize=10, pad=14)

    # Centers of cells, from north to south.
    lat = 90 - 180 * (np.arange(N_LATITUDES) + 0.5) / N_LATITUDES
    lon = -180 + 360 * (np.arange(N_LONGITUDES) + 0.5) / N_LONGITUDES
    cells = np.stack(np.meshgrid(lat, lon, indexing="ij"), -1).reshape(-1, 2)
    means = plane.inverse_transform(from_lat_lon(*cells.T))
    ax = figure.add_subplot(grid[1])
    ax.imshow(sheet(means, N_LATITUDES, N_LONGITUDES), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], xlabel="longitude", ylabel="latitude")
    ax.set_title("means there", fontsize=10)

    ax = figure.add_subplot(grid[2])
    draws = large.sample(64, random_state=0, mean=True)
    ax.imshow(sheet(draws, 8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_title("means of draws from the 8-sphere", fontsize=10)
    path = Path(__file__).parent / "_static" / "autoencoders_digits.png"
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
