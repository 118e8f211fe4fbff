"""The look of the paper's figures, drawn again: colors, sizes, axes, files."""

import matplotlib as mpl
import matplotlib.ticker

from _lib.script import show_progress

mpl.use("Agg")

import matplotlib.pyplot as plt

__all__ = ["COLORS", "SIZE", "outside_legend", "plain_ticks", "plt", "save"]

# Okabe and Ito's, which people with a colour deficiency tell apart. Markers and dashes
# say the same again.
COLORS = {
    "mvl": "#0072B2",
    "dsm": "#D55E00",
    "cd1": "#CC79A7",
    "ssm": "#000000",
    "sm": "#009E73",
    "fd-ssm": "#E69F00",
}
SIZE = (9.0, 3.6)  # inches, of two panels
DPI = 110

plt.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "legend.frameon": False,
        "lines.linewidth": 1.5,
        "lines.markersize": 5,
    }
)


def outside_legend(figure, ax):
    """Put the legend of one of the axes to the right of all, where it covers nothing."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")


def plain_ticks(axis, subs=(1.0, 2.0, 5.0)):
    """Label a logarithmic axis with plain numbers."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=subs))
    axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def save(figure, out, name):
    """Save a figure as PNG beside a table."""
    path = out.with_name(f"{name}.png")
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    show_progress(f"drawn: {path.name}, {path.stat().st_size // 1000} kB")
