"""Densities on any space: quantities of draws beside those of the data."""

import numpy as np

from sk_wmvl.plots._base import BasePanelsDisplay

__all__ = ["DrawsDisplay"]


class DrawsDisplay(BasePanelsDisplay):
    """Distributions of some quantities of the data, and of draws from a density.

    It shows densities on spaces that have no map, and it checks any fit: the two
    distributions agree if the model is right.

    Parameters
    ----------
    of_data : dict of str to ndarray of shape (n_samples,)
        Values at the data, by the name of the quantity.
    of_draws : dict of str to ndarray of shape (n_draws,)
        Values at draws.
    n_bins : int, default=30
        Bins of the histograms.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One per quantity.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.plots import DrawsDisplay
    >>> rng = np.random.default_rng(0)
    >>> data, draws = {"size": rng.normal(size=50)}, {"size": rng.normal(size=90)}
    >>> DrawsDisplay(data, draws).plot().ax_.get_xlabel()
    'size'
    """

    def __init__(self, of_data, of_draws, *, n_bins=30):
        self.of_data = of_data
        self.of_draws = of_draws
        self.n_bins = n_bins

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        quantities,
        *,
        n_draws=2000,
        random_state=None,
        n_bins=30,
        axes=None,
    ):
        """Draw from a fitted density and plot quantities of the draws and of the data.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `sample`.
        X : array-like of shape (n_samples, n_features)
            Data.
        quantities : dict of str to callable
            Names, and functions of rows (n, n_features) that return (n,).
        n_draws : int, default=2000
            How many draws.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws; see `sample`.
        n_bins : int, default=30
            Bins of the histograms.
        axes : sequence of matplotlib Axes or None, default=None
            Where to draw, one per quantity; None makes a figure.

        Returns
        -------
        display : DrawsDisplay
        """
        X = np.asarray(X, dtype=float)
        draws = estimator.sample(n_draws, random_state=random_state)
        display = cls(
            {name: np.asarray(f(X), dtype=float) for name, f in quantities.items()},
            {name: np.asarray(f(draws), dtype=float) for name, f in quantities.items()},
            n_bins=n_bins,
        )
        return display.plot(axes=axes)

    def _make_axes(self):
        import matplotlib.pyplot as plt

        n = len(self.of_data)
        return plt.subplots(1, n, figsize=(3.6 * n, 3), squeeze=False)[1]

    def _draw(self, axes):
        for ax, (name, values) in zip(axes, self.of_data.items(), strict=True):
            draws = self.of_draws[name]
            # A few draws far out would squeeze the data into a single bin.
            both = np.r_[values, np.quantile(draws, [0.002, 0.998])]
            edges = np.linspace(both.min(), both.max(), self.n_bins + 1)
            width = edges[1] - edges[0]
            heights = np.histogram(values, edges)[0] / (len(values) * width)
            ax.stairs(heights, edges, fill=True, color="0.8", label="data")
            heights = np.histogram(draws, edges)[0] / (len(draws) * width)
            ax.stairs(heights, edges, color="C0", label="draws")
            ax.set_xlabel(name)
            ax.set_yticks([])
        axes[0].legend(frameon=False)
