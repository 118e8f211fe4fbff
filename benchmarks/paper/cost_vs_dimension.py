r"""Time and memory of a training step as the columns grow: why minimum velocity exists.

Every objective trains the same network, `InnerProductEnergy` with two hidden layers of
256, on the same batch of 128 with the same optimiser. The steps take turns in one process;
`ms` are medians of processor time and `ratio` is over a supervised step, which regresses
the energy on numbers. `mb` is the peak of what tensors allocated within the step
hold, gradients included, as torch's profiler counts it; weights and optimiser state are
not in it. `mb_ratio` is over the supervised step's.

Exact score matching takes one backward pass per column, and keeps the graph for the
last of them. It is run as long as one step is expected, from the column counts before,
to stay below 10 seconds and 2.5 GB, where a supervised step takes milliseconds. The
rows beyond have what was expected.

    python benchmarks/paper/cost_vs_dimension.py \
        --out benchmarks/results/cost_vs_dimension.csv
"""

import copy
import json
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from _lib.costs import make_step, time_interleaved
from _lib.figures import COLORS, SIZE, outside_legend, plain_ticks, plt, save
from _lib.script import Sheet, options, show_progress

from sk_wmvl._random import make_generator
from sk_wmvl.energies import InnerProductEnergy
from sk_wmvl.objectives import (
    OBJECTIVES,
    DenoisingScoreMatching,
    FiniteDifferenceScoreMatching,
    MinimumVelocity,
    ScoreMatching,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import Langevin

STEP = 1e-3
BATCH, HIDDEN = 128, (256, 256)
DIMENSIONS = (2, 8, 32, 128, 512, 1024, 2048, 4096)
MAX_SECONDS, MAX_MB = 10.0, 2500.0
METHODS = {
    "sm": ScoreMatching(),
    "ssm": SlicedScoreMatching(variance_reduced=False),
    "fd-ssm": FiniteDifferenceScoreMatching(STEP),
    "dsm": DenoisingScoreMatching(STEP**0.5),
    "mvl": OBJECTIVES["mvl"](STEP),
    "mvl-graph": MinimumVelocity(Langevin(STEP)),
}
# Title, colour, marker, line.
STYLES = {
    "sm": ("exact score matching", COLORS["sm"], "D", "-"),
    "ssm": ("sliced", COLORS["ssm"], "^", "-"),
    "dsm": ("denoising", COLORS["dsm"], "v", "-"),
    "mvl-graph": ("minimum velocity, eq. (11)", COLORS["mvl"], "s", "--"),
    "mvl": ("minimum velocity, detached", COLORS["mvl"], "o", "-"),
    "fd-ssm": ("finite differences", COLORS["fd-ssm"], "P", "-"),
}


def make_steps(d, names, seed):
    """Return a training step per objective, and the supervised one."""
    generator = make_generator(seed, 1)
    energy = InnerProductEnergy(d, HIDDEN, generator=make_generator(seed))
    last = energy.network[-1]
    with torch.no_grad():  # as after some training
        last.weight.normal_(0, 0.1 / math.sqrt(last.in_features), generator=generator)
    x = torch.randn(BATCH, d, generator=generator)
    y = torch.randn(BATCH, generator=generator)
    losses = {"supervised": lambda module: (module(x) - y).square().mean()}
    for name in names:

        def loss_of(module, objective=METHODS[name]):
            return objective(module, x, generator=generator).mean()

        losses[name] = loss_of
    return {
        name: make_step(copy.deepcopy(energy), loss_of)
        for name, loss_of in losses.items()
    }


def peak_megabytes(step):
    """Return the peak of what a call allocates, by torch's profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted(
        (e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]"
    )
    live = np.cumsum([size for _, size in changes])
    return max(0.0, live.max()) / 1e6


def expected(history, d):
    """Return seconds and megabytes of exact score matching at d, from its last two."""
    if len(history) < 2:
        return 0.0, 0.0
    (d0, *first), (d1, *second) = history[-2:]
    exponent = math.log(d / d1) / math.log(d1 / d0)
    # Not below one backward pass per column.
    return tuple(
        b * max((b / a) ** exponent, d / d1) for a, b in zip(first, second, strict=True)
    )


def measure(sheet, d, seed, n_rounds):
    """Add the rows of one number of columns and seed."""
    history = [
        (row["d"], row["ms"] / 1e3, row["mb"])
        for row in sheet.rows
        if row["method"] == "sm" and row["seed"] == seed and not row["note"]
    ]
    seconds, mb = expected(history, d)
    hopeless = seconds > MAX_SECONDS or mb > MAX_MB
    names = [name for name in METHODS if not (name == "sm" and hopeless)]
    steps = make_steps(d, names, seed)
    slow = seconds > 1.0
    quick = {k: f for k, f in steps.items() if not (k == "sm" and slow)}
    times = time_interleaved(quick, n_rounds=n_rounds)
    if slow and "sm" in steps:
        times |= time_interleaved({"sm": steps["sm"]}, n_rounds=1, n_warm_up=0)
    memory = {name: peak_megabytes(step) for name, step in steps.items()}
    base = np.median(times["supervised"])
    for name in steps:
        median = np.median(times[name])
        sheet.add(
            method=f"{name:>10s}",
            d=d,
            seed=seed,
            ms=1e3 * median,
            ratio=median / base,
            mb=memory[name],
            mb_ratio=memory[name] / memory["supervised"],
            note="",
        )
    if hopeless:
        sheet.add(
            method=f"{'sm':>10s}",
            d=d,
            seed=seed,
            ms=math.nan,
            ratio=math.nan,
            mb=math.nan,
            mb_ratio=math.nan,
            note=f"not run: {seconds:.0f} s and {mb / 1000:.1f} GB expected",
        )


def draw_figure(rows):
    """Return the figure: time on the left, memory on the right."""
    figure, axes = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    for ax, key in zip(axes, ("ratio", "mb_ratio"), strict=True):
        for name, (title, color, marker, line) in STYLES.items():
            own = [r for r in rows if r["method"] == name and not r["note"]]
            ds = sorted({r["d"] for r in own})
            values = [np.median([r[key] for r in own if r["d"] == d]) for d in ds]
            ax.plot(ds, values, color=color, marker=marker, linestyle=line, label=title)
        ax.set_xscale("log", base=2)
        ax.set_xticks([2, 8, 32, 128, 512, 2048])
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_yscale("log")
        plain_ticks(ax.yaxis)
        ax.set_xlabel("columns d")
    axes[0].set_ylabel("time of a step / supervised step")
    axes[1].set_ylabel("memory of a step / supervised step")
    outside_legend(figure, axes[0])
    return figure


def main():
    """Time, count, print and draw."""
    quick = "2 to 32 columns, few rounds"
    args = options(__doc__, seeds=(0, 1, 2), quick=quick, resume=True)
    dimensions, seeds, n_rounds = DIMENSIONS, args.seeds, 15
    if args.quick:
        dimensions, seeds, n_rounds = (2, 8, 32), seeds[:1], 5
    sheet = Sheet(args.out, resume=args.resume)
    for seed in seeds:
        for d in dimensions:
            if not sheet.has(d=d, seed=seed):
                measure(sheet, d, seed, n_rounds)
    for row in sheet.rows:
        if row["note"]:
            show_progress(f"exact score matching, d={row['d']}: {row['note']}")
    if args.out is not None:
        save(draw_figure(sheet.rows), args.out, args.out.stem)


if __name__ == "__main__":
    main()
