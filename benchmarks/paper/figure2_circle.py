"""The paper's Figure 2: a mixture of two von Mises densities on the circle, learned.

`kl` is KL(truth, model) by quadrature, 0.005 at most is the aim. "paper" has the network,
step and optimiser of the paper and no mixture as base measure; its fit is drawn.

    python benchmarks/paper/figure2_circle.py --out benchmarks/results/figure2_circle.csv
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from _lib.density_figures import figure

from sk_wmvl.datasets import circle_mixture
from sk_wmvl.plots import CircleDisplay


def draw(truth, model, X):
    """Return a figure: log densities by angle, and densities around the circle."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(9, 3.6))
    theta = np.linspace(-np.pi, np.pi, 721)
    rows = np.c_[np.cos(theta), np.sin(theta)]
    ax = fig.add_subplot(1, 2, 1)
    ax.plot(theta, truth.log_density(rows), color="0.6", linewidth=4, label="truth")
    ax.plot(theta, model.score_samples(rows), color="C0", label="learned")
    ax.set_xlabel("angle (radians)")
    ax.set_ylabel("log density (nats)")
    ax.legend(frameon=False)
    polar = fig.add_subplot(1, 2, 2, projection="polar")
    CircleDisplay.from_estimator(model, X, n_bins=60, ax=polar)
    polar.set_yticks([0.1, 0.2, 0.3])
    polar.set_rlabel_position(200)  # where the density is least
    polar.set_title("learned density, and the data", fontsize=10)
    return fig


if __name__ == "__main__":
    figure(__doc__, circle_mixture(), n_nodes=2000, draw=draw, name="figure2_circle")
