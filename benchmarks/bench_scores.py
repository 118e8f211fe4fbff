"""Errors of scores estimated from draws, and what they cost.

error: draws of a mixture of D normals with standard deviation 1/2 at random vertices of
the cube {-1, 1}^D, in the manner of Zhou, Shi and Zhu (2020), and each method with
default settings. The mean squared error of the score on fresh draws is divided by the
mean square of the true score, so that a score of zero everywhere has an error of one.
cost: draws of the same mixture with D = 2, a regularisation of 1e-2 and three epochs;
seconds of processor time of a fit and of 1000 scores, and `mb`, by how much a fit
raises the peak memory of a process of its own (first seed). Kernel methods stop where
their matrices or products would take more than minutes: at 1e3 rows if they need
eigenvectors, else at 1e4.

    python benchmarks/bench_scores.py --out benchmarks/results/scores.csv
"""

import time
import warnings

import numpy as np
from _lib.costs import in_own_process, peak_bytes
from _lib.script import Sheet, options
from scipy.special import softmax

from sk_wmvl import ImplicitScoreEstimator

METHODS = ["mvl", "ssm", "dsm", "kef", "nu", "ssge", "stein", "landweber"]
SIGMA = 0.5
FIXED = {"regularization": 1e-2, "max_epochs": 3}
MEGA = 1e6
LARGEST = {"ssge": 1000, "stein": 1000, "landweber": 1000, "kef": 10_000, "nu": 10_000}


def draw(rng, n, means):
    """Return draws of the mixture and its score there."""
    X = means[rng.integers(len(means), size=n)] + SIGMA * rng.normal(
        size=(n, means.shape[1])
    )
    offset = means - X[:, None]
    responsibility = softmax(-np.square(offset).sum(2) / (2 * SIGMA**2), axis=1)
    return X, (responsibility[:, :, None] * offset).sum(1) / SIGMA**2


def problem(seed, d, n):
    """Return a generator, the means of the mixture, and draws of it."""
    rng = np.random.default_rng([seed, d])
    means = rng.choice([-1.0, 1.0], size=(d, d))
    return rng, means, draw(rng, n, means)[0]


def fit_growth(method, seed, d, n):
    """Return by how much a fit raises the peak memory; run in its own process."""
    warnings.simplefilter("ignore")  # memory is measured, not the fit
    estimator = ImplicitScoreEstimator(method, random_state=seed, **FIXED)
    estimator.fit(problem(seed, d, 50)[2])  # what is loaded and allocated only once
    X = problem(seed, d, n)[2]
    before = peak_bytes()
    estimator.fit(X)
    return peak_bytes() - before


def run(sheet, table, method, seed, d, n, params, growth=np.nan):
    """Add one row."""
    rng, means, X = problem(seed, d, n)
    at, truth = draw(rng, 1000, means)
    start = time.process_time()
    estimator = ImplicitScoreEstimator(method, random_state=seed, **params).fit(X)
    middle = time.process_time()
    score = estimator.score_fn(at)
    end = time.process_time()
    sheet.add(
        table=table,
        method=f"{method:>9s}",
        seed=seed,
        d=d,
        n=n,
        error=np.square(score - truth).sum(1).mean() / np.square(truth).sum(1).mean(),
        fit_s=middle - start,
        score_s=end - middle,
        mb=growth / MEGA,
    )


def main():
    """Run all cases."""
    quick = "two columns, 100 draws, one seed, the memory of one method"
    args = options(__doc__, seeds=(0, 1, 2), quick=quick)
    warnings.simplefilter("ignore")  # errors of the scores are in the table
    sheet = Sheet(args.out)
    methods = args.only or METHODS
    dimensions = [2] if args.quick else [2, 4, 8, 16, 32, 64]
    rows, sizes = (100, [100]) if args.quick else (512, [100, 1000, 10_000, 100_000])
    params = {"max_epochs": 3} if args.quick else {}
    seeds = args.seeds[:1] if args.quick else args.seeds
    for seed in seeds:
        for d in dimensions:
            for method in methods:
                if method != "landweber":  # the ν-method does the same in fewer steps
                    run(sheet, "error", method, seed, d, rows, params)
        for n in sizes:
            for method in methods:
                if n <= LARGEST.get(method, n):
                    growth = np.nan
                    if seed == seeds[0] and (method == methods[0] or not args.quick):
                        growth = in_own_process(fit_growth, method, seed, 2, n)
                    run(sheet, "cost", method, seed, 2, n, FIXED, growth)


if __name__ == "__main__":
    main()
