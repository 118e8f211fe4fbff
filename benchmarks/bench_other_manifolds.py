"""Densities on the rarer manifolds: test negative log-likelihood on real data.

Tumours as normal laws (hyperbolic plane), covariances of digits' ink (positive definite
matrices), planes of comets (axes), their perihelia and normals (frames), earthquakes by
latitude and longitude on the ellipsoid (a chart), comets and periwinkles (products). The
kernel estimate has one bandwidth in each unit, chosen on validation rows or leaving one
out; RiemannianMVLDensity has its default settings, and its base measure alone is in the
table too. `nll` is in nats, with respect to the manifold's volume; `log_z_se` the
standard error of the normalizer. Two sets come with scikit-learn; the others need
SK_WMVL_DATA.

    python benchmarks/bench_other_manifolds.py --seeds 0 \
        --out benchmarks/results/other_manifolds.csv
"""

import time
import warnings

import _data
import numpy as np
import torch
from _common import Sheet, options, show_progress
from _other_manifolds import CASES, Kernel

from sk_wmvl import RiemannianMVLDensity


class Base:
    """The base measure of a fitted density, alone."""

    def __init__(self, model):
        self.model = model
        self.label = repr(model.base_).splitlines()[0].rstrip("(")

    def score_samples(self, X):
        """Return log densities with respect to the manifold's volume."""
        energy = self.model.energy_
        x = self.model.manifold_.from_user(torch.tensor(X, dtype=torch.float64))
        with torch.no_grad():
            log_q = energy.energy.base.log_prob(energy.to_internal(x))
        return (log_q - energy.log_det(x)).numpy()


def fit_mvl(manifold, X, seed, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scaled correction is in the table
        model = RiemannianMVLDensity(manifold, random_state=seed, **params).fit(X)
    model.label = f"{model.n_iter_} epochs, correction x {model.correction_scale_:g}"
    return model


def summarize(rows, data):
    """Print the mean over splits, or over all rows of the folds, of every method."""
    rows = [row for row in rows if row["data"] == data]
    for method in dict.fromkeys(row["method"] for row in rows):
        ours = [row for row in rows if row["method"] == method]
        nll = np.array([row["nll"] for row in ours])
        n = np.array([row["n_test"] for row in ours])
        se = nll.std(ddof=1) / len(nll) ** 0.5 if len(nll) > 1 else np.nan
        mean = n @ nll / n.sum()
        show_progress(f"{data}, {method.strip()}: {mean:.3f} ± {se:.3f}")


def main():
    """Fit every method to every split."""
    args = options(__doc__, quick="the sets of scikit-learn, few rows, 2 epochs")
    folder = _data.data_folder()
    names, params = args.only or list(CASES), {}
    if args.quick:
        names, params = ["textures", "ink"], {"max_epochs": 2, "base": "kernel"}
    sheet = Sheet(args.out)
    for name in names:
        case = CASES[name]
        if folder is None and not case.bundled:
            continue
        for seed in range(case.folds) if case.folds else args.seeds:
            X, X_valid, X_test = case.parts(folder, seed)
            if args.quick:
                X, X_valid, X_test = X[:40], X_valid[:20], X_test[:20]

            def add(method, model, seconds, seen=X_test):
                values = -model.score_samples(seen)
                result = getattr(model, "normalizer_result_", None)
                sheet.add(
                    data=name,  # noqa: B023 - called in this round only
                    manifold=type(case.manifold).__name__,  # noqa: B023 - called in this round only
                    method=f"{method:>20s}",
                    seed=seed,  # noqa: B023 - called in this round only
                    n_test=len(values),
                    nll=values.mean(),
                    nll_se=values.std() / len(values) ** 0.5,
                    log_z_se=0.0 if result is None else result.std_error,
                    log_z_by="exact" if result is None else result.method,
                    seconds=seconds,
                    note=model.label,
                )

            rows = X if X_valid is None else np.r_[X, X_valid]
            start = time.perf_counter()
            model = fit_mvl(case.manifold, rows, seed, **params)
            add("RiemannianMVLDensity", model, time.perf_counter() - start)
            add("its base alone", Base(model), 0.0)
            start = time.perf_counter()
            kernel = Kernel(case.log_kernel, X, X_valid, case.widths)
            add("kernel", kernel, time.perf_counter() - start)
        summarize(sheet.rows, name)


if __name__ == "__main__":
    main()
