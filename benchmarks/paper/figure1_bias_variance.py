r"""The paper's Figure 1: bias and variance of estimates of score matching.

As in the paper's appendix E.1.1: an energy is trained for 400 steps on the banana, and
there are K = 100 points and M = 50 000 draws of the noise at each. `bias2` is the mean
over points of the squared difference between the mean of the estimator and that of
sliced score matching (SSM), which is unbiased: in expectation it is an upper bound.
`floor` is what it would be without any bias, the Monte Carlo error of the two means;
`bias2_se` is the standard error over points. `variance` is that of the noise at a
point, averaged over points; without the control variate it is estimated from fewer
draws. `z` and `p` test whether both means, over points and noise, are equal. All is in
float64.

    python benchmarks/paper/figure1_bias_variance.py \
        --out benchmarks/results/figure1_bias_variance.csv
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from _lib.figures import COLORS, SIZE, outside_legend, plt, save
from _lib.paper_energy import train_energy
from _lib.script import Sheet, options, show_progress
from scipy import stats

from sk_wmvl._random import make_generator
from sk_wmvl.datasets import Banana
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.objectives import (
    DenoisingScoreMatching,
    MinimumVelocity,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import Langevin

TESTED = 6e-5  # the step of the paper's z-tests
STEPS = (1e-6, 1e-5, TESTED, 1e-3, 1e-2, 1e-1, 3e-1, 1.0)
N_STEPS = 400
ROWS = 2000  # at a time: fits a cache
ESTIMATORS = {
    "mvl": lambda step, control: MinimumVelocity(
        Langevin(step), control_variate=control
    ),
    "dsm": lambda step, control: DenoisingScoreMatching(
        step**0.5, control_variate=control
    ),
}
NAMES = {"mvl": "minimum velocity", "dsm": "denoising"}


def moments(objective, energy, points, n_draws, generator):
    """Return the mean and the variance of an objective over the noise, per point."""
    n_points = len(points)
    total = torch.zeros(2, n_points, dtype=torch.float64)
    per_call = max(1, ROWS // n_points)
    rows = points.repeat(per_call, 1)
    for _ in range(n_draws // per_call):
        with torch.no_grad():
            values = objective(energy, rows, generator=generator)
        values = values.view(per_call, n_points)
        total += torch.stack([values.sum(0), values.square().sum(0)])
    n = n_draws // per_call * per_call
    mean, square = (total / n).numpy()
    return mean, (square - mean**2) * n / (n - 1), n


def compare(own, reference):
    """Return the columns of the table: bias, variance and test against a reference."""
    mean, variance, n = own
    other_mean, other_variance, other_n = reference
    difference = mean - other_mean
    error = variance / n + other_variance / other_n
    n_points = len(mean)
    z = difference.sum() / math.sqrt(error.sum())
    return {
        "bias2": np.square(difference).mean(),
        "bias2_se": np.square(difference).std(ddof=1) / math.sqrt(n_points),
        "floor": error.mean(),
        "variance": variance.mean(),
        "z": z,
        "p": 2 * stats.norm.sf(abs(z)),
    }


def measure(sheet, seed, steps, n_points, n_draws, n_few):
    """Train an energy and add the rows of one seed."""
    truth = Banana()
    X = truth.sample(10_000, 2 * seed)
    energy = train_energy(X, MinimumVelocity(Langevin(1e-3)), seed, n_steps=N_STEPS)
    loss = hyvarinen_values(energy, torch.from_numpy(X)).mean().item()
    best = -0.5 * np.square(truth.score(X)).sum(1).mean()
    show_progress(
        f"seed {seed}: loss of the energy {loss:.3f}, of the truth {best:.3f}"
    )
    points = torch.from_numpy(truth.sample(n_points, 2 * seed + 1))
    generator = make_generator(seed, 1)

    def draw(objective, n):
        return moments(objective, energy, points, n, generator)

    sliced = SlicedScoreMatching(variance_reduced=False)
    reference, again = draw(sliced, n_draws), draw(sliced, n_few)
    shared = {"seed": seed, "points": n_points}
    sheet.add(
        estimator="ssm",
        control="none",
        epsilon=0.0,
        **shared,
        draws=reference[2],
        **compare(again, reference) | {"variance": reference[1].mean()},
    )
    for step in steps:
        for name, make in ESTIMATORS.items():
            for control in (True, False):
                n = n_draws if control else n_few
                result = draw(make(step, control), n)
                sheet.add(
                    estimator=name,
                    control="yes" if control else "no",
                    epsilon=step,
                    **shared,
                    draws=result[2],
                    **compare(result, reference),
                )


def series(rows, **conditions):
    """Return the columns of the rows that match, by name, in order of the step."""
    chosen = [r for r in rows if all(r[k] == v for k, v in conditions.items())]
    chosen.sort(key=lambda r: r["epsilon"])
    return {k: np.array([r[k] for r in chosen]) for k in rows[0]}


def draw_figure(rows, seed):
    """Return the figure: squared bias on the left, variance on the right."""
    rows = [r for r in rows if r["seed"] == seed]
    figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    (sliced,) = series(rows, estimator="ssm")["variance"]
    markers = {"mvl": "o", "dsm": "s"}
    for name, title in NAMES.items():
        style = {"color": COLORS[name], "marker": markers[name]}
        own = series(rows, estimator=name, control="yes")
        left.errorbar(
            own["epsilon"],
            own["bias2"],
            yerr=1.96 * own["bias2_se"],
            capsize=2,
            label=title,
            **style,
        )
        right.plot(own["epsilon"], own["variance"], label=title, **style)
        bare = series(rows, estimator=name, control="no")
        right.plot(
            bare["epsilon"],
            bare["variance"],
            linestyle="--",
            markerfacecolor="white",
            label=f"{title}, no control variate",
            **style,
        )
    floor = series(rows, estimator="mvl", control="yes")["floor"]
    left.axhline(floor[0], color="0.5", linestyle=":", label="expected without bias")
    right.axhline(sliced, color=COLORS["ssm"], linestyle=":", label="sliced (SSM)")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("step size ε (squared units of x)")
    left.set_ylabel("squared bias, upper bound")
    right.set_ylabel("variance given x")
    left.legend(loc="upper left", fontsize=9)
    outside_legend(figure, right)
    return figure


def main():
    """Measure, print and draw."""
    quick = "20 points, 200 draws, three steps"
    args = options(__doc__, seeds=(0, 1, 2), quick=quick, resume=True)
    sizes, steps, seeds = (100, 50_000, 5000), STEPS, args.seeds
    if args.quick:
        sizes, steps, seeds = (20, 200, 200), (TESTED, 1e-2, 3e-1), seeds[:1]
    sheet = Sheet(args.out, resume=args.resume)
    for k, seed in enumerate(seeds):
        if not sheet.has(seed=seed):
            # The curves of one seed; the test on all of them.
            measure(sheet, seed, steps if k == 0 else (TESTED,), *sizes)
    for row in sheet.rows:
        if row["epsilon"] == TESTED and row["control"] == "yes":
            name = NAMES[row["estimator"]]
            show_progress(
                f"seed {row['seed']}, {name} at {TESTED:g}: z = {row['z']:.2f}, "
                f"p = {row['p']:.2f}"
            )
    if args.out is not None:
        save(draw_figure(sheet.rows, seeds[0]), args.out, args.out.stem)


if __name__ == "__main__":
    main()
