"""Quality on distributions whose density is known, with default settings.

Each estimator gets 10 000 draws and holds out of them what it likes. On another 10 000
draws: the gap of its mean log-likelihood to the truth's, with the standard error of the
paired difference, and the Fisher divergence. `seconds` is the whole fit on one core. It
includes the choice of components (by BIC) or of the bandwidth, for which 2 000 of the
draws are held out; the kernels then sit on all.

    python benchmarks/bench_density.py --out benchmarks/results/density.csv
"""

import time
import warnings

import numpy as np
from _lib import euclidean_baselines
from _lib.script import Sheet, options

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.metrics import fisher_divergence

NAMES = (
    "banana",
    "cosine",
    "ring",
    "funnel",
    "eight-gaussians",
    "gaussian-2",
    "gaussian-10",
    "gaussian-50",
)


def fit_kernel(X, seed):
    order = np.random.default_rng(seed).permutation(len(X))
    n_train = len(X) * 4 // 5
    model = euclidean_baselines.kernel(X[order[:n_train]], X[order[n_train:]])
    return euclidean_baselines.refit(model, X)


def fit_mvl(X, seed, **params):
    model = MVLDensity(random_state=seed, **params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X)
    result = model.normalizer_result_
    model.label = (
        f"{model.n_iter_} epochs; log Z by {result.method}, "
        f"std error {model.log_normalizer_std_:.1e}"
    )
    if model.correction_scale_ < 1:
        model.label += f"; correction scaled by {model.correction_scale_:g}"
    elif caught:
        model.label += f"; {len(caught)} warnings"
    return model


METHODS = {
    "MVLDensity": fit_mvl,
    "MVLDensity, gaussian": lambda X, seed: fit_mvl(X, seed, base="gaussian"),
    "GaussianMixture": euclidean_baselines.mixture_by_bic,
    "KernelDensity": fit_kernel,
    "Gaussian": lambda X, seed: euclidean_baselines.gaussian(X),
}


def main():
    """Fit every method to every distribution."""
    args = options(
        __doc__, quick="two distributions, 500 draws, 5 epochs, no search for a base"
    )
    n = 500 if args.quick else 10_000
    methods = dict(METHODS)
    if args.quick:
        methods["MVLDensity"] = lambda X, seed: fit_mvl(
            X, seed, max_epochs=5, base="mixture"
        )
        del methods["MVLDensity, gaussian"]
    sheet = Sheet(args.out)
    for name in args.only or (NAMES[:2] if args.quick else NAMES):
        for seed in args.seeds:
            truth = DISTRIBUTIONS[name]()
            X = truth.sample(n, 2 * seed)
            X_test = truth.sample(n, 2 * seed + 1)
            log_p, score = truth.log_density(X_test), truth.score(X_test)
            for method, fit in methods.items():
                start = time.perf_counter()
                model = fit(X, seed)
                seconds = time.perf_counter() - start
                gap = log_p - model.score_samples(X_test)
                sheet.add(
                    data=f"{name:>15s}",
                    method=f"{method:>20s}",
                    seed=seed,
                    n=n,
                    gap=gap.mean(),
                    gap_se=gap.std() / np.sqrt(n),
                    fisher=fisher_divergence(model, X_test, score),
                    seconds=seconds,
                    note=model.label,
                )


if __name__ == "__main__":
    main()
