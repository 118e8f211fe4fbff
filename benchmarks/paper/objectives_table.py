r"""Every objective on the same data: what each learns, what it misses, what it costs.

`MVLDensity` is fitted with each objective by name, and with minimum velocity of a
diffusion of the user's (`ItoSampler`), to 2 000 draws, over a Gaussian base, in at most
30 epochs, and else with default settings. On 2 000 other draws: the gap of the mean
log-likelihood to the truth's, with the standard error of the paired difference, and the
Fisher divergence. `share` is the fitted probability of the half plane with the larger
of two modes, in truth 0.8. `seconds` are of processor time for the whole fit, log Z
included. Rows come seed by seed, so that a run that is cut off has every objective;
`--resume` continues it.

    python benchmarks/paper/objectives_table.py \
        --out benchmarks/results/objectives_table.csv
"""

import math
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from _lib.figures import COLORS, SIZE, outside_legend, plain_ticks, plt, save
from _lib.script import Sheet, options

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS, GaussianMixtures
from sk_wmvl.metrics import fisher_divergence
from sk_wmvl.objectives import OBJECTIVES, MinimumVelocity
from sk_wmvl.samplers import ItoSampler

N_ROWS, N_EPOCHS = 2000, 30
SHARE = 0.8
EPSILON = 1e-4  # the estimator's default


def two_modes():
    """Return two unit Gaussians eight standard deviations apart, of unequal weight."""
    return GaussianMixtures([[-4.0, 0.0], [4.0, 0.0]], 1.0, [SHARE, 1 - SHARE])


DATA = {
    **{name: DISTRIBUTIONS[name] for name in ("banana", "cosine", "ring", "funnel")},
    "two-modes": two_modes,
}


def faster_far_out():
    """Return minimum velocity with the diffusion D = 1 + u² in each (white) column."""
    sampler = ItoSampler(
        drift=lambda u, gradient: -(1 + u**2) * gradient + 2 * u,
        diffusion=lambda u: (2 + 2 * u**2).sqrt(),
        step_size=EPSILON,
    )
    return MinimumVelocity(sampler, antithetic=True)


# By name as the estimator takes them, and one object.
METHODS = {**{name: (lambda name=name: name) for name in OBJECTIVES}}
METHODS["ItoSampler"] = faster_far_out


def share_on_the_left(model):
    """Return the model's probability of x0 < 0, by a sum over a grid."""
    x0, x1 = np.linspace(-9.975, 9.975, 400), np.linspace(-5.95, 5.95, 120)
    grid = np.stack(np.meshgrid(x0, x1), -1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid))
    return density[grid[:, 0] < 0].sum() / density.sum()


def measure(sheet, name, method, seed, n, n_epochs):
    """Fit one objective to one data set and add its row."""
    if sheet.has(data=name, objective=method, seed=seed):
        return
    truth = DATA[name]()
    X, X_test = truth.sample(n, 2 * seed), truth.sample(2000, 2 * seed + 1)
    start = time.process_time()
    model = MVLDensity(
        METHODS[method](),
        objective_weight=None,  # it is the objectives that are compared
        base="gaussian",
        random_state=seed,
        max_epochs=n_epochs,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X)
    seconds = time.process_time() - start
    gap = truth.log_density(X_test) - model.score_samples(X_test)
    sheet.add(
        data=f"{name:>10s}",
        objective=f"{method:>15s}",
        seed=seed,
        n=n,
        gap=gap.mean(),
        gap_se=gap.std() / math.sqrt(len(gap)),
        fisher=fisher_divergence(model, X_test, truth.score(X_test)),
        share=share_on_the_left(model) if name == "two-modes" else math.nan,
        epochs=model.n_iter_,
        correction=model.correction_scale_,
        seconds=seconds,
        warnings=len(caught),
    )


def dots(ax, rows, methods, key, color, marker, label=None, shift=0.0):
    """Draw means and ranges over seeds, an objective a line."""
    values = [[r[key] for r in rows if r["objective"] == m] for m in methods]
    places = np.arange(len(methods)) + shift
    means = np.array([np.mean(v) if v else np.nan for v in values])
    low, high = (np.array([f(v) if v else np.nan for v in values]) for f in (min, max))
    ax.errorbar(
        means,
        places,
        xerr=[means - low, high - means],
        fmt=marker,
        color=color,
        label=label,
        linewidth=1,
    )


def draw_figure(rows):
    """Return the figure: Fisher divergence, and the weight of the larger mode."""
    methods = [m for m in METHODS if any(r["objective"] == m for r in rows)]
    height = 1.0 + 0.28 * len(methods)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(SIZE[0], height), layout="constrained", sharey=True
    )
    markers = zip("osDv^", ("mvl", "dsm", "sm", "cd1", "fd-ssm"), strict=True)
    for k, (name, (marker, color)) in enumerate(zip(DATA, markers, strict=True)):
        own = [r for r in rows if r["data"] == name]
        shift = 0.12 * (k - 2)
        dots(left, own, methods, "fisher", COLORS[color], marker, name, shift)
    left.set_xscale("log")
    left.set_xlabel("Fisher divergence (mean and range over seeds)")
    own = [r for r in rows if r["data"] == "two-modes"]
    dots(right, own, methods, "share", COLORS["ssm"], "o")
    right.axvline(SHARE, color="0.5", linestyle=":")
    right.set_title(f"dotted: the truth, {SHARE}", fontsize=10)
    right.set_xlabel("fitted weight of the larger of two modes")
    left.set_yticks(range(len(methods)), methods)
    left.set_ylim(len(methods) - 0.4, -0.6)
    for ax in (left, right):
        ax.grid(axis="y", color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
    plain_ticks(left.xaxis, (1.0,))
    outside_legend(figure, left)
    return figure


def main():
    """Fit, print and draw."""
    quick = "one seed, two modes, 200 rows, 1 epoch"
    args = options(__doc__, seeds=range(5), quick=quick, resume=True)
    data, seeds, n, n_epochs = list(DATA), args.seeds, N_ROWS, N_EPOCHS
    if args.quick:
        data, seeds, n, n_epochs = ["two-modes"], seeds[:1], 200, 1
    sheet = Sheet(args.out, resume=args.resume)
    for seed in seeds:
        for name in data:
            for method in args.only or METHODS:
                measure(sheet, name, method, seed, n, n_epochs)
    if args.out is not None and sheet.rows:
        save(draw_figure(sheet.rows), args.out, args.out.stem)


if __name__ == "__main__":
    main()
