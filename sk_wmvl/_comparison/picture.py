"""One figure: data with contours of the model, draws of the model, and the comparison."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import gaussian_kde, rankdata
from sklearn.cluster import KMeans

from sk_wmvl._comparison.data import DataSet
from sk_wmvl._comparison.fits import OURS, Comparison, LastFit
from sk_wmvl._comparison.report import differences

__all__ = ["save_figure"]

N_DRAWS = 5000
N_LEVELS = 2000  # draws by which the levels of contours are found
N_GRID = 80  # per axis
N_PLACES = 5  # of a width of kernels each
SMOOTHER = 1.6  # than Scott's rule
MASSES = (0.95, 0.8, 0.5)  # inside the contours
MARGIN = 0.06  # of the range of the data
ROOM = 0.6  # beside the differences, of their range, for their texts
LEAST_RANGE = 0.01  # of differences, in nats
# Okabe and Ito's, which people with a colour deficiency tell apart.
DATA, MODEL, LINES = "#444444", "#0072B2", "#D55E00"
SIZE = (11.0, 3.7)  # inches
DPI = 150


def save_figure(data: DataSet, comparison: Comparison, path: Path) -> None:
    """Save data with contours of the model, draws of the model, and the comparison.

    Contours hold 50, 80 and 95 % of the model's mass in two columns. With two columns they
    are those of its density, with more those of a kernel estimate from 5000 draws. There
    are as many dots of draws as of data. With one column, histograms are shown with the
    density. The last panel shows mean differences of held-out log-likelihoods with standard
    errors, and below them those of single splits.

    Parameters
    ----------
    data : DataSet
    comparison : Comparison
    path : Path
        The file to write.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 0.95])
    last = comparison.last
    rows, draws = data.X, last.units[-1].inverse_transform(last.density.sample(N_DRAWS))
    names = data.columns
    if data.n_components is not None:
        rows = last.units[:-1].transform(rows)
        names = [f"principal component {k + 1}" for k in range(data.n_components)]
    lines = "density" if rows.shape[1] == 1 else "contours"
    titles = (
        f"{data.name}: {len(rows)} rows\nand {lines} of the model",
        f"{len(rows)} draws of the model\nand the same {lines}",
    )
    if rows.shape[1] == 1:
        _show_column(left, middle, rows, draws, names[0], comparison)
    else:
        pair = list(data.pictured)
        left.set_ylabel(names[pair[1]])
        shares = ", ".join(f"{100 * mass:.0f}" for mass in sorted(MASSES))
        figure.supxlabel(f"contours hold {shares} % of the model's mass", fontsize=8)
        marginal = _marginal(last, draws, pair)
        _show_pair(left, middle, rows[:, pair], draws[:, pair], marginal)
    for ax, title in zip((left, middle), titles, strict=True):
        if rows.shape[1] > 1:
            ax.set_xlabel(names[data.pictured[0]])
        ax.set_title(title, fontsize=10)
    _show_comparison(right, comparison)
    for ax in (left, middle, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI)


def _marginal(last: LastFit, draws: np.ndarray, pair: list[int]) -> Callable:
    """Return the model's density in two columns, up to a factor."""
    if draws.shape[1] == 2:
        scaler = last.units[-1:]
        return lambda x: np.exp(last.density.score_samples(scaler.transform(x)))
    points = draws[:, pair]
    # Kernels as wide as their surroundings blur no gap between modes, and trace no single
    # draws in the tails.
    ranks = rankdata(points, axis=0)  # by which no place has a few far draws alone
    place = KMeans(N_PLACES, n_init=1, random_state=0).fit_predict(ranks)
    parts = [points[place == k] for k in np.unique(place)]
    kernels = [gaussian_kde(part.T) for part in parts]
    for kernel in kernels:
        kernel.set_bandwidth(SMOOTHER * kernel.factor)
    shares = [len(part) / len(points) for part in parts]
    return lambda x: sum(w * k(x.T) for w, k in zip(shares, kernels, strict=True))


def _show_pair(
    left: Any,
    middle: Any,
    rows: np.ndarray,
    draws: np.ndarray,
    marginal: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Show two columns of data and of draws in the same axes, with contours."""
    low, high = rows.min(0), rows.max(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    x, y = (np.linspace(a, b, N_GRID) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    # A region of highest density holds a share of the draws, those of higher density.
    at_draws = marginal(draws[:N_LEVELS])
    levels = [float(np.quantile(at_draws, 1 - mass)) for mass in MASSES]
    values = marginal(grid).reshape(N_GRID, N_GRID)
    for ax, points, color in ((left, rows, DATA), (middle, draws, MODEL)):
        shown = points[: len(rows)]
        ax.plot(*shown.T, ".", color=color, markersize=3, alpha=0.6, zorder=1)
        ax.contour(x, y, values, levels=levels, colors=LINES, linewidths=1.2, zorder=2)
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(low[1], high[1])


def _show_column(
    left: Any,
    middle: Any,
    rows: np.ndarray,
    draws: np.ndarray,
    name: str,
    comparison: Comparison,
) -> None:
    """Show histograms of data and of draws, with the density."""
    last = comparison.last
    low, high = float(rows.min()), float(rows.max())
    span = high - low
    x = np.linspace(low - MARGIN * span, high + MARGIN * span, 400)[:, None]
    log_q = last.density.score_samples(last.units[-1:].transform(x))
    q = np.exp(log_q) / last.units[-1].scale_[0]
    middle.sharey(left)
    edges = np.histogram_bin_edges(rows, bins="auto")
    for ax, points, color in ((left, rows, DATA), (middle, draws[: len(rows)], MODEL)):
        ax.hist(points[:, 0], bins=edges, density=True, color=color, alpha=0.35)
        ax.plot(x[:, 0], q, color=LINES)
        ax.set_xlabel(name)
        ax.set_xlim(x[0, 0], x[-1, 0])
    left.set_ylabel("density")


def _show_comparison(ax: Any, comparison: Comparison) -> None:
    """Show by how much others differ from MVLDensity on held-out rows."""
    apart = differences(comparison)
    names = [name for name in apart if name != OURS]
    ax.axvline(0, color=MODEL, linewidth=1.5)
    for k, name in enumerate(names):
        values = apart[name]
        mean, error, text = values.mean(), 0.0, f"{values.mean():+.2f}"
        if len(values) > 1:
            error = values.std(ddof=1) / len(values) ** 0.5
            text += f" ± {error:.2f}"
            ax.errorbar(mean, k, xerr=error, color=DATA, capsize=4)
            ax.plot(
                values, np.full(len(values), k + 0.2), "|", color=DATA, markersize=7
            )
        ax.plot(mean, k, "o", color=DATA, markersize=5)
        side = "left" if mean > 0 else "right"
        away = 1 if mean > 0 else -1  # from zero, whose line crosses no text then
        ax.annotate(
            text.replace("-", "−"),
            (mean + away * error, k),
            xytext=(8 * away, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8,
        )
    ax.set_yticks(range(len(names)), [name.replace(" (", "\n(") for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    every = np.concatenate([apart[name] for name in names])
    low, high = min(0.0, every.min()), max(0.0, every.max())
    room = ROOM * max(high - low, LEAST_RANGE)
    ax.set_xlim(low - room, high + (room if high > 0 else 0.2 * room))
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("nats per row")
    ax.set_title(f"held-out log-likelihood\nminus that of {OURS}", fontsize=10)
