"""Real data: test negative log-likelihood on RedWine, Parkinsons and breast cancer.

RedWine has unique rows, dequantised; Parkinsons is split by subject; of breast cancer
there are all thirty columns, or the first ten, the means over the cells. Every method
learns from the training and validation rows of the split together: the baselines choose
their components or bandwidth on the validation rows and are fitted again to both parts.
MVLDensity holds out rows of its own, whole subjects where there are such; "base alone"
is its base measure in the same fit. "MVLDensity, searched" makes the same use of the
validation rows as the baselines: its base is the row GaussianMixture, and `alpha` and
`epsilon` have the highest likelihood of the validation rows; if no setting raises it,
there is no correction. `nll` is in nats per row with columns in standard deviations,
with its standard error over test rows; lower is better. `nll_white` is the same for
whitened rows, as in the literature. `log_z_se` is the standard error of the normaliser,
common to all rows. RedWine and Parkinsons need SK_WMVL_DATA.

    python benchmarks/bench_uci.py --seeds 0 1 2 3 4 --out benchmarks/results/uci.csv
"""

import time
import warnings
from functools import partial

import numpy as np
from _lib import euclidean_baselines, uci_data
from _lib.data import data_folder
from _lib.fits import BaseAlone, fit_quietly, log_z_columns
from _lib.script import Sheet, options, show_progress
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from sk_wmvl import MVLDensity
from sk_wmvl.normalizers import AutoNormalizer

BUNDLED = {
    "breast-cancer-10": partial(uci_data.breast_cancer, n_columns=10),
    "breast-cancer": uci_data.breast_cancer,
}
IN_FOLDER = {"redwine": uci_data.red_wine, "parkinsons": uci_data.parkinsons}
# Powers of ten around the defaults, as the user guide advises.
GRID = {"alpha": [1e-4, 1e-2], "epsilon": [1e-4, 1e-2]}
# A tenth of the default: a setting whose log Z is that hard loses the search anyway.
MAX_EVALUATIONS = 100_000


def fit_mvl(X, X_valid, groups, seed, **params):
    """Return MVLDensity fitted to all rows."""
    model = MVLDensity(random_state=seed, **params)
    fit_quietly(model, np.r_[X, X_valid], groups)
    if model.base == "mixture":
        model.label += f", {len(model.base_.weights)} components"
    return model


def search_mvl(X, X_valid, groups, seed):
    """Return MVLDensity on the best mixture, its settings chosen on X_valid too."""
    rows = np.r_[X, X_valid]
    choice = euclidean_baselines.mixture_by_rows(X, X_valid, seed)
    mixture = clone(choice.model).fit(X)
    model = MVLDensity(
        base=FrozenEstimator(mixture),
        normalizer=AutoNormalizer(max_evaluations=MAX_EVALUATIONS),
        random_state=seed,
    )
    fold = np.r_[np.full(len(X), -1), np.zeros(len(X_valid), int)]  # -1: never held out
    search = GridSearchCV(model, GRID, cv=PredefinedSplit(fold), refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settings that do worse lose the search
        search.fit(rows)
        # Rows are in standard deviations, so that this is in their units.
        base = euclidean_baselines.refit(choice, rows)
        gain = search.best_score_ - mixture.score(X_valid)
        if gain <= 0:
            base.label += ", no correction"
            return base
        model.set_params(base=FrozenEstimator(base.model), **search.best_params_)
        model.fit(rows, groups=groups)
    best = ", ".join(f"{k} {v:g}" for k, v in search.best_params_.items())
    model.label = (
        f"{best}, gain in validation {gain:.2g}, correction x {model.correction_scale_:g}, "
        f"{base.label}"
    )
    return model


METHODS = {
    "MVLDensity": fit_mvl,
    "MVLDensity, mixture": lambda *args: fit_mvl(*args, base="mixture"),
    "MVLDensity, searched": search_mvl,
    "GaussianMixture": lambda X, V, groups, seed: euclidean_baselines.refit(
        euclidean_baselines.mixture_by_rows(X, V, seed), np.r_[X, V]
    ),
    "KernelDensity": lambda X, V, groups, seed: euclidean_baselines.refit(
        euclidean_baselines.kernel(X, V), np.r_[X, V]
    ),
    "Gaussian": lambda X, V, groups, seed: euclidean_baselines.gaussian(np.r_[X, V]),
}


def standardize(X, X_valid, X_test):
    """Return the parts in standard deviations of what the methods learn from."""
    rows = np.r_[X, X_valid]
    return tuple((part - rows.mean(0)) / rows.std(0) for part in (X, X_valid, X_test))


def measure(model, X, log_det):
    """Return the likelihood of test rows, and what log Z is known by."""
    values = -model.score_samples(X)
    return {
        "nll": values.mean(),
        "nll_white": values.mean() - log_det,
        "nll_se": values.std() / len(values) ** 0.5,
        **log_z_columns(model),
    }


def main():
    """Fit every method to every split."""
    args = options(
        __doc__, quick="two sets, 3 epochs, no search for a base or settings"
    )
    sets = dict(BUNDLED)
    if (folder := data_folder()) is not None:
        sets |= {name: partial(load, folder) for name, load in IN_FOLDER.items()}
    names = ["breast-cancer-10", "redwine"] if args.quick else args.only or list(sets)
    methods = dict(METHODS)
    if args.quick:
        methods["MVLDensity"] = lambda *a: fit_mvl(*a, max_epochs=3, base="mixture")
        del methods["MVLDensity, mixture"], methods["MVLDensity, searched"]
    sheet = Sheet(args.out)
    for name in [name for name in names if name in sets]:
        for seed in args.seeds:
            *parts, groups = sets[name](seed)
            X, X_valid, X_test = standardize(*parts)
            # The literature whitens: densities of white rows differ by a constant.
            log_det = 0.5 * np.linalg.slogdet(np.cov(np.r_[X, X_valid].T))[1]
            for method, fit in methods.items():
                start = time.perf_counter()
                model = fit(X, X_valid, groups, seed)
                row = {"seconds": time.perf_counter() - start, "note": model.label}
                case = {"data": name, "method": f"{method:>20s}", "seed": seed}
                sheet.add(**case, **measure(model, X_test, log_det), **row)
                if method == "MVLDensity":
                    base = BaseAlone(model)
                    case["method"], row["note"] = f"{'base alone':>20s}", base.label
                    sheet.add(**case, **measure(base, X_test, log_det), **row)
        rows = [r for r in sheet.rows if r["data"] == name]
        for method in dict.fromkeys(r["method"] for r in rows):
            nll = [r["nll_white"] for r in rows if r["method"] == method]
            se = np.std(nll, ddof=1) / len(nll) ** 0.5 if len(nll) > 1 else np.nan
            show_progress(f"{name}, {method}, white: {np.mean(nll):.3f} ± {se:.3f}")


if __name__ == "__main__":
    main()
