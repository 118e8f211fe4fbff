"""Densities on the rarer manifolds: test negative log-likelihood on real data.

Tumours as normal distributions (hyperbolic plane), covariances of digits' ink (positive
definite matrices), planes of comets (axes), their perihelia and normals (frames),
earthquakes by latitude and longitude on the ellipsoid (a chart), comets and periwinkles
(products). The kernel estimate has one bandwidth in each unit, chosen on validation
rows or by leaving one row out. RiemannianMVLDensity has its default settings; its base
measure alone is in the table too. `nll` is in nats, with respect to the manifold's
volume; `log_z_se` is the standard error of the normaliser. Two sets come with
scikit-learn; the others need SK_WMVL_DATA.

    python benchmarks/bench_other_manifolds.py --seeds 0 \
        --out benchmarks/results/other_manifolds.csv
"""

import math
import time
from typing import NamedTuple

import numpy as np
from _lib.data import N_FOLDS, data_folder, fold, split
from _lib.directional_kernels import rotations, sphere, torus
from _lib.fits import (
    BaseAlone,
    fit_quietly,
    log_z_columns,
    nll_columns,
    summarize,
)
from _lib.manifold_data import (
    ellipsoid,
    frame_quaternions,
    frames,
    ink,
    on_sphere,
    periwinkles,
    places,
    planes,
    sphere_per_ellipsoid,
    textures,
    tilts,
)
from _lib.manifold_kernels import (
    Kernel,
    axes,
    directional_kernel,
    hyperbolic_kernel,
    spd_kernel,
    with_normals,
)
from _lib.script import Sheet, options

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.manifolds import (
    SPD,
    AxialSphere,
    Chart,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Sphere,
    Stiefel,
)

WIDTHS = np.geomspace(0.01, 3, 30)


class Case(NamedTuple):
    """A data set on a manifold.

    Attributes
    ----------
    manifold : BaseManifold
    load : callable
        From the folder to rows.
    log_kernel : callable
        For `Kernel`.
    widths : list
    folds : int
        The number of folds; 0 for random splits by seed.
    bundled : bool
        Whether the data come with scikit-learn.
    """

    manifold: object
    load: object
    log_kernel: object
    widths: object = tuple(WIDTHS)
    folds: int = 0
    bundled: bool = False

    def parts(self, folder, seed):
        """Return training, validation (or None) and test rows."""
        X = self.load(folder)
        if self.folds:
            train, test = fold(len(X), self.folds, seed)
            return X[train], None, X[test]
        return [X[rows] for rows in split(len(X), seed)]


PAIRS = [(a, b) for a in WIDTHS[::2] for b in WIDTHS[::2]]
CASES = {
    "textures": Case(
        Hyperbolic(2, model="ball"), textures, hyperbolic_kernel, bundled=True
    ),
    "ink": Case(SPD(2), ink, spd_kernel, bundled=True),
    "comet-planes": Case(AxialSphere(2), planes, directional_kernel(axes(3))),
    "comet-frames": Case(
        Stiefel(3, 2),
        frames,
        directional_kernel(rotations(), frame_quaternions, -Stiefel(3, 2).log_volume()),
    ),
    "earthquakes-by-degrees": Case(
        Chart(
            metric=ellipsoid,
            dim=2,
            low=[-math.pi / 2, -math.pi],
            high=[math.pi / 2, math.pi],
            periodic=[False, True],
        ),
        places,
        directional_kernel(sphere(3), on_sphere, sphere_per_ellipsoid),
    ),
    "comet-orbits": Case(
        Product([("normal", Sphere(2)), ("shape", Euclidean(1))]),
        tilts,
        with_normals(directional_kernel(sphere(3)), 3),
        PAIRS,
    ),
    "periwinkles": Case(
        Product([("bearing", Circle("angle")), ("log_distance", Euclidean(1))]),
        periwinkles,
        with_normals(directional_kernel(torus(1)), 1),
        PAIRS,
        folds=N_FOLDS,
    ),
}


def main():
    """Fit every method to every split."""
    args = options(__doc__, quick="the sets of scikit-learn, few rows, 2 epochs")
    folder = data_folder()
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
                log_q = model.score_samples(seen)
                sheet.add(
                    data=name,  # noqa: B023 - called in this round only
                    manifold=type(case.manifold).__name__,  # noqa: B023 - called in this round only
                    method=f"{method:>20s}",
                    seed=seed,  # noqa: B023 - called in this round only
                    n_test=len(log_q),
                    **nll_columns(log_q),
                    **log_z_columns(model),
                    seconds=seconds,
                    note=model.label,
                )

            rows = X if X_valid is None else np.r_[X, X_valid]
            start = time.perf_counter()
            model = fit_quietly(
                RiemannianMVLDensity(case.manifold, random_state=seed, **params), rows
            )
            add("RiemannianMVLDensity", model, time.perf_counter() - start)
            add("its base alone", BaseAlone(model), 0.0)
            start = time.perf_counter()
            kernel = Kernel(case.log_kernel, X, X_valid, case.widths)
            add("kernel", kernel, time.perf_counter() - start)
        summarize(sheet.rows, name)


if __name__ == "__main__":
    main()
