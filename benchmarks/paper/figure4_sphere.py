"""The paper's Figure 4: a mixture of four von Mises-Fisher densities on the sphere.

`kl` is KL(truth, model) by quadrature, 0.02 at most is the aim. "paper" has the network,
step and optimiser of the paper and no mixture as base measure; its fit is drawn.

    python benchmarks/paper/figure4_sphere.py --out benchmarks/results/figure4_sphere.csv
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _lib.density_figures import figure

from sk_wmvl.datasets import sphere_mixture
from sk_wmvl.plots import SphereDisplay


class LogDensity:
    """A function, as displays want it."""

    def __init__(self, function):
        self.score_samples = function


def draw(truth, model, X):
    """Return a figure: maps of the true and the learned log density, and the error."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    del X

    def error(rows):
        return model.score_samples(rows) - truth.log_density(rows)

    sources = {
        "truth": truth.log_density,
        "learned": model.score_samples,
        "learned - truth": error,
    }
    kw = {"projection": "mollweide"}
    fig, axes = plt.subplots(1, 3, figsize=(11, 2.5), subplot_kw=kw)
    for ax, (title, source) in zip(axes, sources.items(), strict=True):
        SphereDisplay.from_estimator(LogDensity(source), n_grid=120, ax=ax)
        ax.set_yticklabels([])
        ax.set_title(title)
    meshes = [ax.collections[0] for ax in axes]
    values = meshes[0].get_array()
    for mesh in meshes[:2]:
        mesh.set_clim(values.min(), values.max())
    largest = abs(meshes[2].get_array()).max()
    meshes[2].set(cmap="PuOr", clim=(-largest, largest))
    kw = {"orientation": "horizontal", "shrink": 0.6, "pad": 0.06}
    fig.colorbar(meshes[1], ax=axes[:2], aspect=50, label="log density (nats)", **kw)
    fig.colorbar(meshes[2], ax=axes[2:], aspect=25, label="nats", **kw)
    return fig


if __name__ == "__main__":
    figure(__doc__, sphere_mixture(), n_nodes=200, draw=draw, name="figure4_sphere")
