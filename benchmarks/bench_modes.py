"""Whether models see how much mass separated modes have.

Two modes with weights 0.9 and 0.1, and eight equal ones, six and more standard
deviations apart, in 2, 5 and 20 dimensions; 10 000 draws. A model's mass around a mode
is the weight of the mode times the mean, over 4 000 draws of the mode, of the model's
density over the truth's. `error` is the largest error of a mode's weight. `sampling` is
the same error of the fractions of the training rows, which no method can escape. `gap`
is how far the mean log-likelihood of other draws is below the truth's.

    python benchmarks/bench_modes.py --seeds 0 1 2 --out benchmarks/results/modes.csv
"""

import time

import numpy as np
from _lib.euclidean_baselines import mixture_by_bic
from _lib.fits import fit_quietly
from _lib.script import Sheet, options

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import GaussianMixtures

DIMENSIONS = (2, 5, 20)
N_PER_MODE = 4000


def two(d):
    """Return modes 16 standard deviations apart, one nine times as heavy."""
    means = np.zeros((2, d))
    means[:, 0] = -4, 4
    return GaussianMixtures(means, 0.5, [0.9, 0.1])


def eight(d):
    """Return equal modes on a circle, neighbours six standard deviations apart."""
    angle = np.arange(8) * np.pi / 4
    means = np.zeros((8, d))
    means[:, 0], means[:, 1] = 4 * np.cos(angle), 4 * np.sin(angle)
    return GaussianMixtures(means, 0.5)


def fit_mvl(X, seed, **params):
    return fit_quietly(MVLDensity(random_state=seed, **params), X)


METHODS = {
    "mvl, Gaussian base": lambda X, seed: fit_mvl(
        X, seed, base="gaussian", objective_weight=None
    ),
    "mvl and likelihood, Gaussian base": lambda X, seed: fit_mvl(
        X, seed, base="gaussian"
    ),
    "annealed, Gaussian base": lambda X, seed: fit_mvl(
        X, seed, objective="annealed", base="gaussian"
    ),
    "birth-death, Gaussian base": lambda X, seed: fit_mvl(
        X, seed, objective="mvl-birth-death", base="gaussian"
    ),
    "MVLDensity": fit_mvl,
    "GaussianMixture": mixture_by_bic,
}


def mode_weights(model, mixture, seed):
    """Return the model's mass around each mode."""
    rng = np.random.default_rng([seed, 7])
    mass = []
    for mean, weight in zip(mixture.means, mixture.weights, strict=True):
        X = mean + mixture.sigma * rng.standard_normal((N_PER_MODE, len(mean)))
        log_ratio = model.score_samples(X) - mixture.log_density(X)
        mass.append(weight * np.exp(log_ratio).mean())
    return np.array(mass) / sum(mass)


def main():
    """Fit every method to every mixture."""
    args = options(__doc__, quick="two modes in the plane, 500 draws, 3 epochs")
    n, dimensions, methods = 10_000, DIMENSIONS, dict(METHODS)
    cases = {"two": two, "eight": eight}
    if args.quick:
        n, dimensions, cases = 500, (2,), {"two": two}
        params = {"max_epochs": 3, "base": "gaussian"}
        methods = {
            "mvl, Gaussian base": lambda X, seed: fit_mvl(X, seed, **params),
            "annealed, Gaussian base": lambda X, seed: fit_mvl(
                X, seed, objective="annealed", **params
            ),
            "GaussianMixture": METHODS["GaussianMixture"],
        }
    sheet = Sheet(args.out)
    for name in args.only or cases:
        for d in dimensions:
            for seed in args.seeds:
                mixture = cases[name](d)
                X = mixture.sample(n, random_state=2 * seed)
                X_test = mixture.sample(n, random_state=2 * seed + 1)
                nearest = np.square(X[:, None] - mixture.means).sum(2).argmin(1)
                seen = np.bincount(nearest, minlength=len(mixture.means)) / n
                for method, fit in methods.items():
                    start = time.perf_counter()
                    model = fit(X, seed)
                    seconds = time.perf_counter() - start
                    weights = mode_weights(model, mixture, seed)
                    gap = mixture.log_density(X_test) - model.score_samples(X_test)
                    sheet.add(
                        modes=name,
                        d=d,
                        method=f"{method:>26s}",
                        seed=seed,
                        error=abs(weights - mixture.weights).max(),
                        sampling=abs(seen - mixture.weights).max(),
                        gap=gap.mean(),
                        gap_se=gap.std() / np.sqrt(n),
                        seconds=seconds,
                        note=model.label,
                    )


if __name__ == "__main__":
    main()
