"""Time to quality: seconds of training to a fixed Fisher divergence, per objective.

Training is by `partial_fit` at a constant rate; the divergence of the averaged weights is
evaluated after every epoch, outside the timed part. `seconds` is nan if the target is not
reached; `best` is the lowest divergence seen.

    python benchmarks/bench_time_to_quality.py --out benchmarks/results/quality.csv
"""

import time

import numpy as np
from _common import Sheet, options, show_progress

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.metrics import fisher_divergence

# About a tenth of the divergence of a fitted Gaussian.
TARGETS = {"banana": 0.06, "mixture-20": 0.1}
NAMES = ("mvl", "mvl-graph", "sm", "ssm", "ssm-vr", "fd-ssm", "dsm", "cd1")
N_EPOCHS = 30


def main():
    """Train every objective until it reaches the target."""
    args = options(__doc__, quick="banana, three objectives, 3 epochs")
    names, sets, n, epochs = NAMES, args.only or list(TARGETS), 10_000, N_EPOCHS
    if args.quick:
        names, sets, n, epochs = ("mvl", "sm", "dsm"), ["banana"], 1000, 3
    sheet = Sheet(args.out)
    for data in sets:
        for seed in args.seeds:
            truth = DISTRIBUTIONS[data]()
            X, X_test = truth.sample(n, 2 * seed), truth.sample(4000, 2 * seed + 1)
            for name in names:
                density = MVLDensity(
                    name, normalizer=None, random_state=seed, lr=1e-3, alpha=0.0
                )
                spent, best, seconds = 0.0, np.inf, np.nan
                for _ in range(epochs):
                    start = time.perf_counter()
                    density.partial_fit(X)
                    spent += time.perf_counter() - start
                    score = truth.score(X_test)
                    best = min(best, fisher_divergence(density, X_test, score))
                    if best <= TARGETS[data]:
                        seconds = spent
                        break
                sheet.add(
                    data=f"{data:>10s}",
                    objective=f"{name:>10s}",
                    seed=seed,
                    target=TARGETS[data],
                    seconds=seconds,
                    best=best,
                    epochs=density.n_iter_,
                    per_epoch=spent / density.n_iter_,
                )
        for name in names:
            own = [r["seconds"] for r in sheet.rows if r["objective"].strip() == name]
            show_progress(f"{data}, {name}: median {np.median(own):.2f} s")


if __name__ == "__main__":
    main()
