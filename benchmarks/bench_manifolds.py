"""Densities on manifolds: test negative log-likelihood on real data, against kernels.

Earthquakes, floods, comets, craters of Venus (uniform: a null case), protein torsions,
rotations by subject, directions of animals and winds, compositions. Every method learns
from the training and validation rows of the split together. The kernels choose on the
validation rows, or by leaving out one row or subject, and are then put at both parts.
RiemannianMVLDensity has its default settings and holds out rows of its own; its base
measure alone is in the table too. `nll` is in nats, with respect to area, angles in
radians, normalised Haar measure, or Lebesgue measure on the first parts of a
composition. `mass_error` is | mass / base's mass - 1 | by a quadrature of its own,
where there is one and a network corrects the base. `log_z_se` is the standard error of
the normaliser. Needs SK_WMVL_DATA.

    python benchmarks/bench_manifolds.py --seeds 0 1 2 3 4 \
        --out benchmarks/results/manifolds.csv
"""

import math
import time

import numpy as np
from _lib import directional_kernels, parametric_baselines
from _lib.data import data_folder
from _lib.directional_data import SETS
from _lib.fits import (
    BaseAlone,
    fit_quietly,
    log_z_columns,
    mass_error,
    nll_columns,
    summarize,
)
from _lib.script import Sheet, options

from sk_wmvl import RiemannianMVLDensity


def fit_mvl(kind, X, groups, seed, **params):
    """Return RiemannianMVLDensity fitted to X, knowing the groups of its rows."""
    if kind == "rotation":
        X = X[:, [1, 2, 3, 0]]  # the scalar of our files comes first
    model = RiemannianMVLDensity(kind, random_state=seed, **params)
    return fit_quietly(model, X, groups)


def in_table_measure(kind, X):
    """Return what turns a log density by volume into one by the table's measure."""
    if kind == "rotation":
        return math.log(8 * math.pi**2)
    if kind == "simplex":
        p = X.shape[1]
        return -(p - 1) * math.log(2) - 0.5 * np.log(X).sum(1)
    return 0.0


def baselines(kind, X, X_valid, groups):
    """Yield (name, function that fits) for the kind of data."""
    rows = X if X_valid is None else np.r_[X, X_valid]
    if kind == "simplex":
        yield "kernel", lambda: directional_kernels.RootKernel(rows)
        yield "Dirichlet", lambda: parametric_baselines.Dirichlet(rows)
        yield "logistic normal", lambda: parametric_baselines.LogisticNormal(rows)
        return
    d = X.shape[1]
    space = {
        "sphere": lambda: directional_kernels.sphere(d),
        "rotation": directional_kernels.rotations,
    }.get(kind, lambda: directional_kernels.torus(d))()
    yield (
        "kernel",
        lambda: directional_kernels.one_bandwidth_kernel(space, X, X_valid, groups)(
            rows
        ),
    )
    if kind == "circle":  # ties: with a background, needles at rounded angles would win
        yield "von Mises mixture", lambda: parametric_baselines.von_mises_mixture(rows)
        return
    yield (
        "kernel + uniform",
        lambda: directional_kernels.background_kernel(space, X, X_valid, groups)(rows),
    )
    yield (
        "adaptive kernel",
        lambda: directional_kernels.adaptive_kernel(space, X, X_valid, groups)(rows),
    )


def main():
    """Fit every method to every split."""
    args = options(__doc__, quick="two small sets, 2 epochs, no search for a base")
    folder = data_folder()
    if folder is None:
        return
    names = args.only or list(SETS)
    params = {}
    if args.quick:
        names, params = ["turtles", "venus"], {"max_epochs": 2, "base": "kernel"}
    sheet = Sheet(args.out)
    for name in names:
        data = SETS[name]
        kind = data.kind
        n_folds = 1 if args.quick else data.folds
        for seed in range(n_folds) if data.folds else args.seeds:
            X, X_valid, X_test, groups = data.parts(folder, seed)
            rows = X if X_valid is None else np.r_[X, X_valid]

            def add(method, model, seconds, seen=X_test, shift=0.0):
                log_q = model.score_samples(seen) + shift
                ours = isinstance(model, RiemannianMVLDensity)
                sheet.add(
                    data=name,  # noqa: B023 - called in this round only
                    method=f"{method:>20s}",
                    seed=seed,  # noqa: B023 - called in this round only
                    n_test=len(log_q),
                    **nll_columns(log_q),
                    mass_error=mass_error(model) if ours else np.nan,
                    **log_z_columns(model),
                    seconds=seconds,
                    note=model.label,
                )

            start = time.perf_counter()
            model = fit_mvl(kind, rows, groups, seed, **params)
            seconds = time.perf_counter() - start
            seen = X_test[:, [1, 2, 3, 0]] if kind == "rotation" else X_test
            shift = in_table_measure(kind, X_test)
            add("RiemannianMVLDensity", model, seconds, seen, shift)
            add("its base alone", BaseAlone(model), 0.0, seen, shift)
            for method, fit in baselines(kind, X, X_valid, groups):
                start = time.perf_counter()
                model = fit()
                add(method, model, time.perf_counter() - start)
        summarize(sheet.rows, name)


if __name__ == "__main__":
    main()
