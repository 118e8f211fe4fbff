"""The documentation's tables: results reduced over seeds, and the aims beside them.

Reads benchmarks/results/*.csv and writes doc/tables/*.csv, which doc/benchmarks.rst
includes; a test fails when a table is not what the results give. `tables.toml` describes
each table: the result it reads, what makes its rows and columns, and how a cell sums up the
runs behind it. Numbers are means or, of times, medians over seeds; times are ratios where
another time is at hand to divide by.

    python benchmarks/tables.py
"""

import functools
import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLES = ROOT / "doc" / "tables"

OURS = "MVLDensity"
BASELINES = ["GaussianMixture", "KernelDensity"]
KERNELS = ["kernel", "kernel + uniform", "adaptive kernel"]
# Published test NLL of the better of GaussianMixture and KernelDensity.
PUBLISHED = {"redwine": 12.59, "parkinsons": 15.89}
GAP_AIMS = {"banana": 0.01, "cosine": 0.02, "ring": 0.02}
GAUSSIAN_AIM = 0.01  # nats above the fitted Gaussian
SECONDS_AIM = 30
TESTED_STEP = 6e-5  # of the paper's z-tests
NONE = "–"  # not measured, or of no meaning there
SMALL_STEP_AIM, LARGE_STEP_AIM, FIT_AIM = 2.0, 3.0, 1.15


@functools.cache
def read(name):
    """Return a result as a frame, one row per run."""
    return pd.read_csv(RESULTS / f"{name}.csv")


def pick(runs, **conditions):
    """Return the runs whose columns have these values, or one of a list of values."""
    for column, value in conditions.items():
        allowed = value if isinstance(value, list) else [value]
        runs = runs[runs[column].isin(allowed)]
    return runs


# --- cells: from the runs behind a cell to its text -------------------------------------


def as_cell(value, form=""):
    """Return a number as text: by default three digits, at most four decimals."""
    if not math.isfinite(value):
        return NONE
    if not form:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        form = f".{min(4, digits)}f"
    return format(value, form)


def interval(runs, column, error=None):
    """Return mean ± standard error over seeds; with one seed, that of column `error`."""
    values = runs[column]
    if values.isna().all():
        return NONE
    width = values.sem() if len(values) > 1 else runs[error].iloc[0] if error else 0
    if not width:
        return f"{values.mean():.4g}"
    digits = max(0, min(4, 1 - math.floor(math.log10(width))))
    return f"{values.mean():.{digits}f} ± {width:.{digits}f}"


def spread(runs, column):
    """Return mean ± standard deviation over seeds."""
    values = runs[column]
    if values.abs().max() > 1e3:
        return "diverged"
    if len(values) == 1:
        return as_cell(values.iloc[0])
    return f"{as_cell(values.mean())} ± {as_cell(values.std())}"


def pair(runs, column, error):
    """Return the value and the error that a single run has."""
    value, width = runs[[column, error]].iloc[0]
    return NONE if math.isnan(value) else f"{value:.2f} ± {width:.2f}"


def reached(runs, column):
    """Return the median time to a target, infinite where it is not reached."""
    seconds = runs[column].fillna(math.inf)
    n_reached = np.isfinite(seconds).sum()
    some = "" if n_reached == len(runs) else f" ({n_reached} of {len(runs)})"
    return as_cell(seconds.median()) + some


CELLS = {
    "count": lambda runs, column: str(runs[column].nunique()),
    "interval": interval,
    "largest": lambda runs, column: as_cell(runs[column].abs().max()),
    "pair": pair,
    "reached": reached,
    "rms": lambda runs, column: as_cell(math.sqrt((runs[column] ** 2).mean())),
    "spread": spread,
    "text": lambda runs, column: str(runs[column].fillna("").iloc[0]),
}


def cell(runs, text):
    """Return a cell of a table, as its description says.

    Parameters
    ----------
    runs : DataFrame
        The runs behind it.
    text : str
        "WHAT COLUMN", where WHAT is one of `CELLS` with its further columns, or a reduction
        of pandas with or without a format. "of METHOD" at the end takes this method's runs
        only. "note or" at the beginning gives the note that a run left instead of a number,
        if any, and "exact or" gives the word "exact" if the column is zero.
    """
    text, _, method = text.partition(" of ")
    runs = pick(runs, method=method) if method else runs
    instead, _, text = text.rpartition(" or ")
    what, column, *rest = text.split()
    if runs.empty:
        return NONE
    if instead == "note" and runs["note"].notna().any():
        return runs["note"].dropna().iloc[0]
    if instead == "exact" and not runs[column].any():
        return "exact"
    if what in CELLS:
        return CELLS[what](runs, column, *rest)
    return as_cell(runs[column].agg(what), *rest)


# --- preparations: from a result to the runs of a table ---------------------------------


def in_all_methods(runs):
    """Keep, of each data set, the seeds that every method has."""
    n_methods = runs.groupby("data")["method"].transform("nunique")
    have = runs.groupby(["data", "seed"])["method"].transform("nunique")
    return runs[have == n_methods]


def best_runs(runs, column):
    """Return, of each data set, the runs of the method with the lowest mean."""
    means = runs.groupby(["data", "method"])[column].mean()
    best = means.groupby("data").idxmin()
    return runs[pd.MultiIndex.from_frame(runs[["data", "method"]]).isin(best)]


def by_run(runs, other, column):
    """Return the value of a column in the other runs with the same data and seed."""
    values = other.set_index(["data", "seed"])[column]
    return values.reindex(pd.MultiIndex.from_frame(runs[["data", "seed"]])).to_numpy()


def less_the_baseline(runs):
    """Add by how much the NLL of a run is above that of the better baseline."""
    runs = in_all_methods(runs)
    best = best_runs(pick(runs, method=BASELINES), "nll_white")
    return runs.assign(behind=runs["nll_white"] - by_run(runs, best, "nll_white"))


def less_the_truth(runs):
    """Return runs on known densities, with the truth's NLL taken off."""
    truth = pick(runs, method="truth")
    runs = runs.assign(nll=runs["nll"] - by_run(runs, truth, "nll"))
    return runs[runs["nll"].notna() & (runs["method"] != "truth")]


def without_truth(runs):
    """Return runs on data whose density is not known."""
    return runs[~runs["data"].isin(pick(runs, method="truth")["data"])]


def with_best_parametric(runs):
    """Add the best runs of parametric methods again, under that name."""
    runs = in_all_methods(runs)
    others = ["RiemannianMVLDensity", "its base alone", *KERNELS]
    parametric = runs[~runs["method"].isin(others)]
    return pd.concat([runs, best_runs(parametric, "nll").assign(method="parametric")])


def per_own_epoch(runs):
    """Add the time of an epoch relative to that of mvl with the same seed."""
    own = pick(runs, method="mvl").groupby("seed")["per_epoch"].first()
    return runs.assign(epoch=runs["per_epoch"] / runs["seed"].map(own))


def at_every_step(runs):
    """Repeat the runs of ssm, which has no step, at every step of the others."""
    others = runs[runs["method"] != "ssm"].sort_values("epsilon", kind="stable")
    steps = others[["epsilon"]].drop_duplicates()
    ssm = pick(runs, method="ssm").drop(columns="epsilon")
    return pd.concat([others, ssm.merge(steps, how="cross")])


def by_estimator(runs):
    """Return the first seed's runs, with the control variate in the method's name."""
    runs = pick(runs, seed=runs["seed"].iloc[0], estimator=["mvl", "dsm"])
    control = runs["control"].map({"yes": "", "no": " without control"})
    return runs.assign(method=runs["estimator"] + control)


def with_the_papers_tests(runs):
    """Add the p-values that the paper has at its step; it gives no z."""
    runs = pick(runs, control="yes", epsilon=TESTED_STEP)
    runs = runs.assign(run="here, seed " + runs["seed"].astype(str))
    paper = {"run": "the paper", "estimator": ["mvl", "dsm"], "p": [0.48, 0.19]}
    runs = pd.concat([runs, pd.DataFrame(paper)])
    return runs.rename(columns={"estimator": "method"})


def in_percent(runs):
    return runs.assign(**100 * runs[["cover50", "cover90"]])


def with_case(runs):
    return runs.assign(case=runs["modes"] + ", " + runs["d"].astype(str))


def circle_and_sphere(circle):
    sphere = read("figure4_sphere")
    return pd.concat([circle.assign(space="circle"), sphere.assign(space="sphere")])


PREPARATIONS = (
    at_every_step,
    by_estimator,
    circle_and_sphere,
    in_percent,
    less_the_baseline,
    less_the_truth,
    per_own_epoch,
    with_best_parametric,
    with_case,
    with_the_papers_tests,
    without_truth,
)


# --- tables -----------------------------------------------------------------------------


def table(result, by, cells=None, across=None, footer=None, where=None, prepare=None):
    """Return a table as a frame of texts.

    Parameters
    ----------
    result : str
        Name of the result.
    by : dict of str to str
        From the headers of the first columns to the result's columns whose values, in
        order of appearance, make the rows.
    cells : dict of str to str
        From the headers of the last columns to what `cell` takes.
    across : list of str
        The column whose values make the columns between, what `cell` takes there, and a
        format of the header, by default the value.
    footer : dict of str to str
        From labels of last rows, over all runs of a column between, to what `cell` takes.
    where : dict
        Conditions on the runs.
    prepare : str
        Name of one of `PREPARATIONS`.
    """
    runs = pick(read(result), **(where or {}))
    if prepare:
        runs = {f.__name__: f for f in PREPARATIONS}[prepare](runs)
    cells, between = cells or {}, {}
    if across:
        column, _, header = [*across, "{}"][:3]
        between = {header.format(value): value for value in runs[column].unique()}
    rows = []
    for key, own in runs.groupby(list(by.values()), sort=False):
        labels = [k if isinstance(k, str) else f"{k:g}" for k in key]
        inner = [cell(pick(own, **{column: v}), across[1]) for v in between.values()]
        rows.append([*labels, *inner, *(cell(own, text) for text in cells.values())])
    for label, text in (footer or {}).items():
        inner = [cell(pick(runs, **{column: v}), text) for v in between.values()]
        rows.append([label, *inner, *[""] * (len(by) - 1 + len(cells))])
    return pd.DataFrame(rows, columns=[*by, *between, *cells])


def aims():
    """Return what was aimed at, what was measured, and whether it is met."""
    rows = []

    def add(what, allowed, value, shown=None):
        met = "yes" if value <= allowed else "**no**"
        rows.append([what, f"≤ {allowed:g}", shown or as_cell(value), met])

    runs = read("density")
    for data, allowed in GAP_AIMS.items():
        own = pick(runs, data=data, method=OURS)
        shown = interval(own, "gap", "gap_se")
        add(f"{data}: gap, nats", allowed, own["gap"].mean(), shown)
        add(f"{data}: seconds of a fit", SECONDS_AIM, own["seconds"].median())
    gaps = runs.groupby(["data", "method"])["gap"].mean()
    for data in (x for x in runs["data"].unique() if x.startswith("gaussian-")):
        what = f"{data}: gap above the fitted Gaussian's, nats"
        add(what, GAUSSIAN_AIM, gaps[data, OURS] - gaps[data, "Gaussian"])
    runs = in_all_methods(read("uci"))
    nll = runs.groupby(["data", "method"])["nll_white"].mean()
    for data, published in PUBLISHED.items():
        best = nll[data][BASELINES].min()
        for method in (m for m in nll[data].index if m.startswith(OURS)):
            value = round(nll[data, method], 2)
            what = f"{data}, {method}: NLL, the better of GMM and KDE here"
            add(what, round(best, 2), value, f"{value:.2f}")
            what = f"{data}, {method}: the same, as published"
            add(what, published, value, f"{value:.2f}")
    runs = read("training")
    steps = pick(runs, table="step", method="mvl, default")
    for case, ratio in steps.groupby("case", sort=False)["ratio"].median().items():
        small = case.startswith("2x100")
        if small or "d784" in case:
            allowed = SMALL_STEP_AIM if small else LARGE_STEP_AIM
            add(f"{case}: a step of mvl, in supervised steps", allowed, ratio)
    fits = pick(runs, table="fit").groupby(["case", "method"])["ratio"].median()
    for case in fits.index.unique("case"):
        for method in ("fit, same steps", "fit, Gaussian base"):
            add(f"{case}: {method}, in bare loops", FIT_AIM, fits[case, method])
    return pd.DataFrame(rows, columns=["aim", "allowed", "measured", "met"])


def makers():
    """Return a function per table that makes it, by name."""
    path = Path(__file__).with_suffix(".toml")
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    made = {"aims": aims}
    for name, own in sections.items():
        keys = sections.get(own.pop("like", None), {}) | own
        made[name] = functools.partial(table, **keys)
    return made


MAKERS = makers()


def as_text(made):
    """Return the table in CSV."""
    return made.to_csv(index=False, lineterminator="\n")


def main():
    """Write every table."""
    TABLES.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        (TABLES / f"{name}.csv").write_text(as_text(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
