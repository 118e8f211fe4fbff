"""The paper's Figure 4: a mixture of four von Mises-Fisher densities on the sphere.

`kl` is KL(truth, model) by quadrature, 0.02 at most is the aim. "paper" has the network,
step and optimiser of the paper and no mixture as base measure; its fit is drawn.

    python benchmarks/paper/figure4_sphere.py --out benchmarks/results/figure4_sphere.csv
"""

from _known_density import figure

from sk_wmvl.datasets import sphere_mixture
from sk_wmvl.plots import SphereDisplay


class Truth:
    """The true density, as displays want it."""

    def __init__(self, truth):
        self.score_samples = truth.log_density


def draw(truth, model, X):
    """Return a figure: maps of the learned and the true log density."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    del X
    kw = {"projection": "mollweide"}
    fig, axes = plt.subplots(1, 2, figsize=(10, 2.8), subplot_kw=kw)
    for ax, source in zip(axes, (model, Truth(truth)), strict=True):
        SphereDisplay.from_estimator(source, n_grid=120, ax=ax)
        ax.set_yticklabels([])
    axes[0].set_title("learned")
    axes[1].set_title("truth")
    return fig


if __name__ == "__main__":
    figure(__doc__, sphere_mixture(), n_nodes=200, draw=draw, name="figure4_sphere")
