"""What the scripts of this folder share: the paper's energy, and the look of pictures."""

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _common import Sheet, options, show_progress, time_interleaved

from sk_wmvl._random import make_generator
from sk_wmvl.energies import InnerProductEnergy, freeze

mpl.use("Agg")

import matplotlib.pyplot as plt

# What is in the folder above is handed on, so that scripts need not find it themselves.
__all__ = [
    "COLORS",
    "SIZE",
    "Sheet",
    "options",
    "outside_legend",
    "plain_ticks",
    "plt",
    "save",
    "show_progress",
    "time_interleaved",
    "train_energy",
]

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


def train_energy(X, objective, seed, *, n_steps, spectral_norm=True):
    """Return an energy of appendix E.1.1, trained as it was there, for evaluation.

    Two hidden layers of 100 with Swish activation and spectral normalisation, no base
    measure, batches of 200, a constant rate of 4e-3. The optimiser is not named there; it
    is RMSProp here, as in the authors' released code. `InnerProductEnergy` has a constant
    coordinate more than the paper's.
    """
    energy = InnerProductEnergy(
        X.shape[1],
        (100, 100),
        spectral_norm=spectral_norm,
        generator=make_generator(seed),
    )
    optimizer = torch.optim.RMSprop(energy.parameters(), lr=4e-3)
    generator = make_generator(seed, 1)
    x = torch.tensor(X, dtype=torch.float32)
    for _ in range(n_steps):
        rows = x[torch.randint(len(x), (200,), generator=generator)]
        loss = objective(energy, rows, generator=generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return freeze(energy)


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
