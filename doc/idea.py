"""Draw doc/_static/idea.svg: the first step of a sampler from the data.

Run ``python doc/idea.py``. Data and models are Gaussian, so that the velocity with which
Langevin dynamics moves the data, grad log q - grad log p, is exact.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

mpl.rcParams.update({"svg.hashsalt": "sk_wmvl", "svg.fonttype": "none"})

COVARIANCE = np.array([[1.0, 0.7], [0.7, 1.0]])
MODELS = {
    "A wrong model": (np.array([0.5, -0.4]), np.array([[0.8, -0.4], [-0.4, 1.6]])),
    "The right model": (np.zeros(2), COVARIANCE),
}


def main():
    """Draw and save."""
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(2), COVARIANCE, 60)
    side = np.linspace(-3.2, 3.2, 121)
    grid = np.stack(np.meshgrid(side, side), -1)
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
    for ax, (title, (mean, covariance)) in zip(axes, MODELS.items(), strict=True):
        precision = np.linalg.inv(covariance)
        r = grid - mean
        energy = 0.5 * np.einsum("...i,ij,...j", r, precision, r)
        ax.contour(side, side, energy, [0.25, 1, 2.25, 4], colors="0.7", linewidths=0.8)
        velocity = x @ np.linalg.inv(COVARIANCE) - (x - mean) @ precision
        speed = np.square(velocity).sum(1).mean()
        ax.plot(*x.T, "o", color="C0", markersize=3)
        if speed > 1e-12:
            ax.quiver(
                *x.T,
                *velocity.T,
                color="C3",
                angles="xy",
                scale_units="xy",
                scale=4,
                width=0.004,
            )
        ax.set(title=f"{title}\nmean square velocity {speed:.2f}", aspect="equal")
        ax.set(xticks=[], yticks=[], xlim=side[[0, -1]], ylim=side[[0, -1]])
    figure.tight_layout()
    path = Path(__file__).parent / "_static" / "idea.svg"
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
