"""The paper's Figure 3: contrastive divergence with and without the control variate.

As in the paper's appendix E.1.2: on the cosine data the energy of appendix E.1.1 is
trained by CD-1 at several steps, by minimum velocity at the same steps, and by sliced
score matching, which has no step. `loss` is the exact score-matching loss (the
Hyvärinen score) on the training rows; lower is better. `truth` is the loss of the
truth, edges left out. The paper does not print the number of training steps; here it is
1 000. The paper's energy has spectral normalisation, and stays far from the truth in so
few steps; all is done without it as well.

    python benchmarks/paper/figure3_cd1.py --out benchmarks/results/figure3_cd1.csv
"""

import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from _lib.figures import COLORS, SIZE, outside_legend, plt, save
from _lib.paper_energy import train_energy
from _lib.script import Sheet, options, show_progress

from sk_wmvl.datasets import Cosine
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.objectives import (
    ContrastiveDivergence,
    MinimumVelocity,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import Langevin

STEPS = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
N_ROWS, N_STEPS = 10_000, 1000
METHODS = {
    "cd1": lambda step: ContrastiveDivergence(Langevin(step)),
    "cd1 no control": lambda step: ContrastiveDivergence(
        Langevin(step), control_variate=False
    ),
    "mvl": lambda step: MinimumVelocity(Langevin(step)),
}
TOP = 2.0  # what diverged is drawn there
# Title, colour, marker, line.
STYLES = {
    "cd1": ("CD-1, control variate", COLORS["cd1"], "o", "-"),
    "cd1 no control": ("CD-1, none", COLORS["cd1"], "v", "--"),
    "mvl": ("minimum velocity", COLORS["mvl"], "s", "-"),
}


def measure(sheet, method, objective, step, normalized, seed, n, n_steps):
    """Train one energy and add its row."""
    norm = "yes" if normalized else "no"
    if sheet.has(spectral_norm=norm, method=method, epsilon=step, seed=seed):
        return
    truth = Cosine()
    X = truth.sample(n, seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divergence, which is in the table
        energy = train_energy(
            X, objective, seed, n_steps=n_steps, spectral_norm=normalized
        )
    sheet.add(
        spectral_norm=norm,
        method=f"{method:>14s}",
        epsilon=step,
        seed=seed,
        loss=hyvarinen_values(energy, torch.from_numpy(X)).mean().item(),
        truth=-0.5 * np.square(truth.score(X)).sum(1).mean(),
        seconds=time.process_time() - start,
    )


def draw_figure(rows):
    """Return the figure: loss against step, the paper's energy and a freer one."""
    figure, axes = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    titles = {"yes": "the paper's energy", "no": "without spectral normalisation"}
    for ax, (norm, title) in zip(axes, titles.items(), strict=True):
        own = [r for r in rows if r["spectral_norm"] == norm]
        steps = sorted({r["epsilon"] for r in own if r["method"] != "ssm"})
        sliced = [r["loss"] for r in own if r["method"] == "ssm"]
        for method, (label, color, marker, line) in STYLES.items():
            table = [
                [r["loss"] for r in own if (r["method"], r["epsilon"]) == (method, s)]
                for s in steps
            ]
            means, low, high = (
                np.minimum([f(v) for v in table], TOP) for f in (np.mean, min, max)
            )
            style = {"color": color, "marker": marker, "linestyle": line}
            ax.plot(steps, means, label=label, **style)
            ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        ax.axhline(np.mean(sliced), color=COLORS["ssm"], linestyle=":", label="sliced")
        ax.set_ylim(top=1.1 * TOP if ax.get_ylim()[1] >= TOP else None)
        ax.set_xscale("log")
        ax.set_xlabel("step size ε (squared units of x)")
        ax.set_title(title, fontsize=10)
    axes[0].set_ylabel("score-matching loss (mean, range)")
    outside_legend(figure, axes[0])
    return figure


def main():
    """Train, print and draw."""
    quick = "one seed, two steps, 20 training steps"
    args = options(__doc__, seeds=(0, 1, 2), quick=quick, resume=True)
    n, n_steps, steps, seeds = N_ROWS, N_STEPS, STEPS, args.seeds
    if args.quick:
        n, n_steps, steps, seeds = 2000, 20, (1e-4, 1e-1), seeds[:1]
    sheet = Sheet(args.out, resume=args.resume)
    sliced = SlicedScoreMatching(variance_reduced=False)
    for normalized in (True, False):
        for seed in seeds:
            case = (normalized, seed, n, n_steps)
            measure(sheet, "ssm", sliced, 0.0, *case)
            for step in steps:
                for method, make in METHODS.items():
                    measure(sheet, method, make(step), step, *case)
        norm = "yes" if normalized else "no"
        for method in ("ssm", *METHODS):
            case = {"method": method, "spectral_norm": norm}
            values = [r["loss"] for r in sheet.rows if r.items() >= case.items()]
            low, high = min(values), max(values)
            show_progress(
                f"{method}, normalised: {norm}; loss from {low:.3g} to {high:.3g}"
            )
    if args.out is not None:
        save(draw_figure(sheet.rows), args.out, args.out.stem)


if __name__ == "__main__":
    main()
