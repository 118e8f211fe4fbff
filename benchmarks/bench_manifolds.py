"""Densities on manifolds: test negative log-likelihood on real data, against kernels.

Earthquakes, floods, comets, craters of Venus (uniform: a null case), protein torsions,
rotations by subject, directions of animals and winds, compositions. Every method learns
from the training and validation rows of the split together: the kernels choose on the
validation rows, or leaving out one row or subject, and are then put at both parts.
RiemannianMVLDensity has its default settings and holds out rows of its own; its base
measure alone is in the table too. `nll` is in nats, with respect to area, angles in
radians, normalized Haar measure, or Lebesgue measure on the first parts of a
composition. `mass_error` is | mass / base's mass - 1 | by a quadrature of its own, where
there is one and a network corrects the base: a base alone is a sum of normalised densities,
of which thousands are too narrow for any grid. `log_z_se` is the standard error of the
normalizer. Needs SK_WMVL_DATA.

    python benchmarks/bench_manifolds.py --seeds 0 1 2 3 4 \
        --out benchmarks/results/manifolds.csv
"""

import math
import time
import warnings

import _data
import _directional
import _manifold_data
import _parametric
import numpy as np
import torch
from _common import Sheet, options, show_progress

from sk_wmvl import RiemannianMVLDensity

NODES = {1: 20_000, 2: 500, 3: 60}  # per period, by the dimension


class Base:
    """The base measure of a fitted density, alone."""

    def __init__(self, model):
        self.model, self.label = model, repr(model.base_).splitlines()[0][:60]

    def score_samples(self, X):
        """Return log densities with respect to the manifold's volume."""
        x = self.model.manifold_.from_user(torch.tensor(X, dtype=torch.float64))
        with torch.no_grad():
            return self.model.base_.log_prob(x).numpy()


def fit_mvl(kind, X, groups, seed, **params):
    """Return RiemannianMVLDensity fitted to X, knowing the groups of its rows."""
    if kind == "rotation":
        X = X[:, [1, 2, 3, 0]]  # the scalar of our files comes first
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scaled correction is in the table
        model = RiemannianMVLDensity(kind, random_state=seed, **params)
        model.fit(X, groups=groups)
    model.label = f"{model.n_iter_} epochs, correction x {model.correction_scale_:g}"
    return model


def in_table_measure(kind, X):
    """Return what turns a log density by volume into one by the table's measure."""
    if kind == "rotation":
        return math.log(8 * math.pi**2)
    if kind == "simplex":
        p = X.shape[1]
        return -(p - 1) * math.log(2) - 0.5 * np.log(X).sum(1)
    return 0.0


def mass_error(model):
    """Return the error of the mass by the manifold's quadrature, or NaN; see above."""
    manifold = model.manifold_
    if manifold.dim not in NODES or model.correction_scale_ == 0:
        return np.nan
    nodes, log_weights = manifold.quadrature(NODES[manifold.dim])
    points = manifold.to_user(nodes).numpy()
    logs = [fitted.score_samples(points) for fitted in (model, Base(model))]
    mass, own = (np.exp(log_q + log_weights.numpy()).sum() for log_q in logs)
    return abs(float(mass / own) - 1)


def baselines(kind, X, X_valid, groups):
    """Yield (name, function that fits) for the kind of data."""
    rows = X if X_valid is None else np.r_[X, X_valid]
    if kind == "simplex":
        yield "kernel", lambda: _directional.RootKernel(rows)
        yield "Dirichlet", lambda: _parametric.Dirichlet(rows)
        yield "logistic normal", lambda: _parametric.LogisticNormal(rows)
        return
    d = X.shape[1]
    space = {
        "sphere": lambda: _directional.sphere(d),
        "rotation": _directional.rotations,
    }.get(kind, lambda: _directional.torus(d))()
    yield (
        "kernel",
        lambda: _directional.one_bandwidth_kernel(space, X, X_valid, groups)(rows),
    )
    if kind == "circle":  # ties: with a background, needles at rounded angles would win
        yield "von Mises mixture", lambda: _parametric.von_mises_mixture(rows)
        return
    yield (
        "kernel + uniform",
        lambda: _directional.background_kernel(space, X, X_valid, groups)(rows),
    )
    yield (
        "adaptive kernel",
        lambda: _directional.adaptive_kernel(space, X, X_valid, groups)(rows),
    )


def summarize(rows, data):
    """Print the mean over splits, or over all rows of the folds, of every method."""
    rows = [row for row in rows if row["data"] == data]
    for method in dict.fromkeys(row["method"] for row in rows):
        ours = [row for row in rows if row["method"] == method]
        nll = np.array([row["nll"] for row in ours])
        n = np.array([row["n_test"] for row in ours])
        mean = n @ nll / n.sum()
        se = nll.std(ddof=1) / len(nll) ** 0.5 if len(nll) > 1 else np.nan
        show_progress(f"{data}, {method.strip()}: {mean:.3f} ± {se:.3f}")


def main():
    """Fit every method to every split."""
    args = options(__doc__, quick="two small sets, 2 epochs")
    folder = _data.data_folder()
    if folder is None:
        return
    names = args.only or list(_manifold_data.SETS)
    params = {}
    if args.quick:
        names, params = ["turtles", "venus"], {"max_epochs": 2}
    sheet = Sheet(args.out)
    for name in names:
        data = _manifold_data.SETS[name]
        kind = data.kind
        n_folds = 1 if args.quick else data.folds
        for seed in range(n_folds) if data.folds else args.seeds:
            X, X_valid, X_test, groups = data.parts(folder, seed)
            rows = X if X_valid is None else np.r_[X, X_valid]

            def add(method, model, seconds, seen=X_test, shift=0.0):
                values = -(model.score_samples(seen) + shift)
                result = getattr(model, "normalizer_result_", None)
                sheet.add(
                    data=name,  # noqa: B023 - called in this round only
                    method=f"{method:>20s}",
                    seed=seed,  # noqa: B023 - called in this round only
                    n_test=len(values),
                    nll=values.mean(),
                    nll_se=values.std() / len(values) ** 0.5,
                    mass_error=np.nan if result is None else mass_error(model),
                    log_z_se=0.0 if result is None else result.std_error,
                    log_z_by="exact" if result is None else result.method,
                    seconds=seconds,
                    note=model.label,
                )

            start = time.perf_counter()
            model = fit_mvl(kind, rows, groups, seed, **params)
            seconds = time.perf_counter() - start
            seen = X_test[:, [1, 2, 3, 0]] if kind == "rotation" else X_test
            shift = in_table_measure(kind, X_test)
            add("RiemannianMVLDensity", model, seconds, seen, shift)
            add("its base alone", Base(model), 0.0, seen, shift)
            for method, fit in baselines(kind, X, X_valid, groups):
                start = time.perf_counter()
                model = fit()
                add(method, model, time.perf_counter() - start)
        summarize(sheet.rows, name)


if __name__ == "__main__":
    main()
