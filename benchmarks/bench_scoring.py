"""Cost of use: rows scored per second, and the memory of a fit.

Scoring: `score_samples` of a fitted MVLDensity, whose cost does not depend on the rows
it was fitted to, against KernelDensity fitted to 1e3, 1e4 and 1e5 rows (default exact
tolerances, bandwidth by the normal rule). Memory: the growth of the peak resident
memory during `fit` with default settings but one epoch, each in a process of its own.
`per_data` divides it by the size of X in float64, and must not grow with n. `d2` is
what one n x d x d array of float32 would take.

    python benchmarks/bench_scoring.py --out benchmarks/results/scoring.csv
"""

import warnings

import numpy as np
from _lib.costs import in_own_process, peak_bytes, time_interleaved
from _lib.script import Sheet, options
from sklearn.neighbors import KernelDensity

from sk_wmvl import MVLDensity

N_SCORED = 10_000
MEGA = 1e6


def scoring_table(sheet, dimensions, sizes, n_scored, seed, n_rounds):
    rng = np.random.default_rng(seed)
    for d in dimensions:
        X_test = rng.normal(size=(n_scored, d))
        density = MVLDensity(max_epochs=1, random_state=seed)
        density.fit(rng.normal(size=(n_scored // 5, d)))
        functions = {"MVLDensity": lambda f=density, X=X_test: f.score_samples(X)}
        n_rows = {"MVLDensity": n_scored}
        for n in sizes:
            kernel = KernelDensity(bandwidth=n ** (-1 / (d + 4)))
            kernel.fit(rng.normal(size=(n, d)))
            name = f"KernelDensity, {n}"
            # A row costs O(n): score fewer of them.
            n_rows[name] = min(n_scored, max(20, 2_000_000 // n))
            X = X_test[: n_rows[name]]
            functions[name] = lambda f=kernel, X=X: f.score_samples(X)
        seconds = time_interleaved(functions, n_rounds=n_rounds, n_warm_up=1)
        own = None
        for name, times in seconds.items():
            rate = n_rows[name] / np.median(times)
            own = own or rate
            sheet.add(
                table="scoring",
                method=f"{name:>21s}",
                seed=seed,
                d=d,
                rows_per_s=rate,
                ratio=own / rate,
                mb="",
                per_data="",
                d2="",
            )


def fit_growth(n, d, batch_size, seed):
    """Return by how much a fit raises the peak memory; run in its own process."""
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is no training
        # Once in small, for what is loaded and allocated only once.
        MVLDensity(max_epochs=1, random_state=0).fit(rng.normal(size=(200, d)))
        X = rng.normal(size=(n, d))
        before = peak_bytes()
        MVLDensity(max_epochs=1, batch_size=batch_size, random_state=seed).fit(X)
    return peak_bytes() - before


def memory_table(sheet, shapes, seed):
    for n, d, batch_size in shapes:
        growth = in_own_process(fit_growth, n, d, batch_size, seed)
        sheet.add(
            table="memory",
            method=f"n={n}, batch={batch_size}".rjust(21),
            seed=seed,
            d=d,
            rows_per_s="",
            ratio="",
            mb=growth / MEGA,
            per_data=growth / (8 * n * d),
            d2=4 * n * d**2 / MEGA,
        )


def main():
    """Print both tables."""
    args = options(__doc__, quick="one number of columns, at most 1 000 rows")
    sheet = Sheet(args.out)
    for seed in args.seeds:
        if args.quick:
            scoring_table(sheet, [2], [1000], 1000, seed, n_rounds=3)
            memory_table(sheet, [(500, 5, 256)], seed)
            continue
        scoring_table(
            sheet, [2, 10], [1000, 10_000, 100_000], N_SCORED, seed, n_rounds=7
        )
        sizes = [(n, 50, 256) for n in (20_000, 40_000, 80_000, 160_000)]
        batches = [(20_000, 50, batch) for batch in (64, 1024, 4096)]
        memory_table(sheet, sizes + batches, seed)


if __name__ == "__main__":
    main()
