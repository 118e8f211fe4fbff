"""Scoring: rows per second against KernelDensity, and the memory of a fit.

`score_samples` of a fitted MVLDensity (2x128 network, float64) costs the same whatever it
was fitted to; a kernel estimate looks at its training rows. The second table is the peak
resident memory of one epoch in a process of its own; what importing takes is in it.

    python benchmarks/bench_scoring.py --out benchmarks/results/scoring.csv
"""

import multiprocessing
import resource
import time

import numpy as np
from _common import Sheet, options
from sklearn.neighbors import KernelDensity

from sk_wmvl import MVLDensity


def peak_memory(n, d, batch):
    """Return peak resident megabytes of a fit; called in a fresh process."""
    X = np.random.default_rng(0).normal(size=(n, d))
    MVLDensity(
        max_epochs=1, batch_size=batch, normalizer=None, random_state=0, device="cpu"
    ).fit(X)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows_per_second(model, X):
    """Return the median over seven calls."""
    model.score_samples(X[:100])
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        model.score_samples(X)
        seconds.append(time.perf_counter() - start)
    return len(X) / np.median(seconds)


def main():
    """Time scoring, then measure memory."""
    args = options(__doc__, quick="one dimension, one size")
    sheet = Sheet(args.out)
    rng = np.random.default_rng(0)
    for d in [2] if args.quick else [2, 10]:
        density = MVLDensity(max_epochs=1, random_state=0).fit(
            rng.normal(size=(2000, d))
        )
        own = rows_per_second(density, rng.normal(size=(5000, d)))
        sheet.add(
            table="rows/s", d=d, n=0, batch=0, model="MVLDensity", value=own, ratio=1.0
        )
        for n in [1000] if args.quick else [1000, 10_000, 100_000]:
            kernel = KernelDensity(bandwidth=0.2).fit(rng.normal(size=(n, d)))
            rate = rows_per_second(kernel, rng.normal(size=(max(50, 10**6 // n), d)))
            sheet.add(
                table="rows/s",
                d=d,
                n=n,
                batch=0,
                model="KernelDensity",
                value=rate,
                ratio=own / rate,
            )
    shapes = [(1000, 2, 256), (10_000, 2, 256)]
    if not args.quick:
        shapes += [(100_000, 2, 256), (100_000, 20, 256), (100_000, 20, 8192)]
    first = None
    for n, d, batch in shapes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(peak_memory, (n, d, batch))
        first = first or peak
        sheet.add(
            table="peak MB",
            d=d,
            n=n,
            batch=batch,
            model="MVLDensity",
            value=peak,
            ratio=peak / first,
        )


if __name__ == "__main__":
    main()
