"""Exponential families in closed form, against networks, mixtures and kernels.

Known densities: 2 000 draws to learn from, 10 000 to score; the row "truth" is the
density itself. The base measure is the fitted Gaussian throughout. Real directions and
angles (left out without SK_WMVL_DATA): parts as in bench_manifolds.py, where the
methods learn from the validation rows too. `nll` is in nats per row. `seconds` is
processor time of the whole fit on one core, with the choice of length scale, penalty,
components or bandwidth and the normalising constant; `ratio` is that time over the
default network's in the same run.

    python benchmarks/bench_exponential.py --seeds 0 1 \
        --out benchmarks/results/exponential.csv
"""

import time
import warnings

import numpy as np
from _lib import directional_kernels, euclidean_baselines
from _lib.data import data_folder
from _lib.directional_data import SETS
from _lib.fits import nll_columns
from _lib.parametric_baselines import von_mises_mixture
from _lib.script import Sheet, options

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.exponential import KernelFamily, PolynomialFamily

KNOWN = ("banana", "cosine", "ring", "funnel", "eight-gaussians")
REAL = ("turtles", "ants", "wind", "arrivals", "venus", "comets")
NETWORK = "network"


class Truth:
    """The density itself."""

    label = ""

    def __init__(self, distribution):
        self.score_samples = distribution.log_density


def fit(estimator, X):
    """Return a fitted estimator with a label, its warnings counted."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    correction = estimator.energy_.energy.correction
    parts = [str(getattr(correction, "kernel", ""))]
    if hasattr(estimator, "alpha_"):
        parts.append(f"alpha {estimator.alpha_:.1e}")
    if estimator.correction_scale_ < 1:
        parts.append(f"correction scaled by {estimator.correction_scale_:g}")
    parts.append(f"{len(caught)} warnings" if caught else "")
    estimator.label = "; ".join(part for part in parts if part)
    return estimator


def known(distribution, X, seed, params):
    """Yield (name, function that fits) for rows of a plane."""
    params = {"base": "gaussian", "random_state": seed, **params}
    yield NETWORK, lambda: fit(MVLDensity(**params), X)
    for name, family in (
        ("kernel, RBF", KernelFamily()),
        ("kernel, IMQ", KernelFamily("imq")),
        ("polynomial, degree 4", PolynomialFamily(4)),
    ):
        yield name, lambda f=family: fit(MVLDensity(energy=f, **params), X)
    yield "GaussianMixture", lambda: euclidean_baselines.mixture_by_bic(X, seed)
    n = len(X) * 4 // 5
    yield (
        "KernelDensity",
        lambda: euclidean_baselines.refit(euclidean_baselines.kernel(X[:n], X[n:]), X),
    )
    yield "truth", lambda: Truth(distribution)


def directional(kind, X, X_valid, seed, params):
    """Yield (name, function that fits) for directions or angles."""
    rows = X if X_valid is None else np.r_[X, X_valid]

    def ours(**more):
        return fit(RiemannianMVLDensity(kind, random_state=seed, **more), rows)

    yield NETWORK, lambda: ours(**params)
    for energy in ("von_mises_fisher", "bingham", "fisher_bingham"):
        yield energy, lambda energy=energy: ours(energy=energy)
    yield (
        "polynomial, degree 4",
        lambda: ours(energy=PolynomialFamily(4), base="uniform"),
    )
    yield "kernel, RBF", lambda: ours(energy=KernelFamily(), base="uniform")
    yield "kernel, best base", lambda: ours(energy=KernelFamily())
    if kind == "circle":
        space = directional_kernels.torus(1)
        yield "von Mises mixture", lambda: von_mises_mixture(rows)
    else:
        space = directional_kernels.sphere(X.shape[1])
    yield (
        "kernel estimate",
        lambda: directional_kernels.one_bandwidth_kernel(space, X, X_valid)(rows),
    )


def measure(sheet, data, seed, X_test, methods):
    """Fit all methods and add a row for each."""
    own = np.nan
    for method, make in methods:
        start = time.process_time()
        model = make()
        seconds = time.process_time() - start
        own = seconds if method == NETWORK else own
        log_q = model.score_samples(X_test)
        sheet.add(
            data=f"{data:>15s}",
            method=f"{method:>20s}",
            seed=seed,
            n_test=len(log_q),
            **nll_columns(log_q),
            seconds=seconds,
            ratio=seconds / own,
            note=model.label,
        )


def main():
    """Fit every method to every data set."""
    args = options(__doc__, quick="one density, 200 draws, and one real set; 2 epochs")
    names = args.only or [*KNOWN, *REAL]
    params, n = {}, 2000
    if args.quick:
        names, params, n = ["ring", "turtles"], {"max_epochs": 2}, 200
    sheet = Sheet(args.out)
    for name in (x for x in names if x in DISTRIBUTIONS):
        distribution = DISTRIBUTIONS[name]()
        for seed in args.seeds:
            X = distribution.sample(n, 2 * seed)
            X_test = distribution.sample(5 * n, 2 * seed + 1)
            methods = known(distribution, X, seed, params)
            measure(sheet, name, seed, X_test, methods)
    real = [x for x in names if x in SETS]
    folder = data_folder() if real else None
    for name in real if folder else []:
        data = SETS[name]
        n_folds = 1 if args.quick else data.folds
        for seed in range(n_folds) if data.folds else args.seeds:
            X, X_valid, X_test, _ = data.parts(folder, seed)
            methods = directional(data.kind, X, X_valid, seed, params)
            measure(sheet, name, seed, X_test, methods)


if __name__ == "__main__":
    main()
