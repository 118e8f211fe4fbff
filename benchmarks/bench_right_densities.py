"""Can the densities be trusted? Test likelihood, mass and calibration on real data.

Earthquakes (with and without copies), floods, comets, craters of Venus (uniform: a null
case), torsions, winds. RiemannianMVLDensity with its default settings learns from the
training and validation rows together; the base measure of the same fit stands beside
it. `nll` is in nats with respect to area, or angles in radians. `mass_error` is | mass
/ base's mass - 1 | by quadrature, where a network corrects the base. Calibration, on
test rows: `cover50` and `cover90` are the fractions of rows in the highest-density
regions that should hold 50 and 90 %; `p_regions` is the p-value of the chi-squared test
of predicted against observed numbers in eight regions; `p_pit` is that of the
Kolmogorov-Smirnov test of the probability integral transform, where there is one angle.
Seeds are splits, or folds of small sets. Needs SK_WMVL_DATA.

    python benchmarks/bench_right_densities.py --seeds 0 1 2 3 4 \
        --out benchmarks/results/right_densities.csv
"""

import time

import numpy as np
import torch
from _lib.data import data_folder
from _lib.directional_data import SETS
from _lib.fits import BaseAlone, fit_quietly, mass_error, nll_columns
from _lib.script import Sheet, options, show_progress
from scipy import stats
from sklearn.cluster import KMeans

from sk_wmvl import RiemannianMVLDensity

NAMES = ("earthquake", "earthquake-unique", "flood", "comets", "venus", "ile", "wind")
N_DRAWS, QUICK_DRAWS, N_REGIONS = 20_000, 2000, 8
N_GRID = 100_000  # of the circle, for the distribution function


class BaseDraws:
    """The base measure alone, with draws."""

    def __init__(self, model):
        alone = BaseAlone(model)
        self.score_samples, self.label = alone.score_samples, alone.label
        self.manifold_ = model.manifold_
        self.base = model.base_

    def sample(self, n, seed):
        """Return n draws in the units of the data."""
        generator = torch.Generator().manual_seed(seed)
        return self.manifold_.to_user(self.base.sample(n, generator=generator)).numpy()


def coverage(log_draws, log_rows, level):
    """Return the fraction of rows in the model's region of the highest densities."""
    if np.ptp(log_draws) < 1e-9:
        return np.nan  # of a uniform density any region will do
    return float((log_rows >= np.quantile(log_draws, 1 - level)).mean())


def region_test(manifold, draws, X_test, seed):
    """Return the p-value of the numbers of rows in cells around centers of the draws."""

    def features(X):
        x = manifold.from_user(torch.tensor(X, dtype=torch.float64))
        return manifold.features(x).numpy()

    cells = KMeans(N_REGIONS, n_init=1, random_state=seed).fit(features(draws))
    expected = np.bincount(cells.labels_, minlength=N_REGIONS) / len(draws)
    seen = np.bincount(cells.predict(features(X_test)), minlength=N_REGIONS)
    return stats.chisquare(seen, expected * len(X_test)).pvalue


def transform_test(model, X_test):
    """Return the p-value of the probability integral transform, from angle zero."""
    grid = 2 * np.pi * (np.arange(N_GRID) + 0.5) / N_GRID
    density = np.exp(model.score_samples(grid[:, None])) * 2 * np.pi / N_GRID
    values = np.interp(X_test[:, 0] % (2 * np.pi), grid, density.cumsum())
    return stats.kstest(values, "uniform").pvalue


def main():
    """Fit every set and split, and print the model and its base."""
    args = options(__doc__, quick="craters of Venus and winds, one split, 3 epochs")
    folder = data_folder()
    if folder is None:
        return
    sets = args.only or (("venus", "wind") if args.quick else NAMES)
    params = {"max_epochs": 3, "base": "kernel"} if args.quick else {}
    n_draws = QUICK_DRAWS if args.quick else N_DRAWS
    sheet = Sheet(args.out)
    for name in sets:
        data = SETS[name]
        for seed in args.seeds:
            X, X_valid, X_test, groups = data.parts(folder, seed)
            rows = X if X_valid is None else np.r_[X, X_valid]
            start = time.perf_counter()
            model = RiemannianMVLDensity(data.kind, random_state=seed, **params)
            fit_quietly(model, rows, groups)
            seconds = time.perf_counter() - start
            alone = BaseDraws(model)
            for method, fitted in (("model", model), ("base alone", alone)):
                values = fitted.score_samples(X_test)
                draws = fitted.sample(n_draws, seed)
                at_draws = fitted.score_samples(draws)
                circle = data.kind == "circle"
                sheet.add(
                    data=f"{name:>17s}",
                    method=f"{method:>10s}",
                    seed=seed,
                    **nll_columns(values),
                    cover50=coverage(at_draws, values, 0.5),
                    cover90=coverage(at_draws, values, 0.9),
                    p_regions=region_test(model.manifold_, draws, X_test, seed),
                    p_pit=transform_test(fitted, X_test) if circle else np.nan,
                    mass_error=mass_error(model) if fitted is model else np.nan,
                    seconds=seconds,
                    note=fitted.label.split("(")[0],
                )
    for name in sets:
        for method in ("model", "base alone"):
            nll = [
                r["nll"]
                for r in sheet.rows
                if r["data"].strip() == name and r["method"].strip() == method
            ]
            spread = np.std(nll, ddof=1) if len(nll) > 1 else np.nan
            show_progress(f"{name}, {method}: {np.mean(nll):.3f} ± {spread:.3f}")


if __name__ == "__main__":
    main()
