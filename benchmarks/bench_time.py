"""Seconds of everyday work: fits, scoring, drawing, a grid search, the main job.

Every case runs in a process of its own, on one core, and counts processor time. With
--before FOLDER, an older checkout, each case runs there too, in turn, and `ratio` is the
time there over the time here, of medians. The fits are compared with the choice of a
Gaussian mixture by BIC, of 1 to 32 components (doubled), in the same process: `mixture` is
the fit's time over that. `stages` are the shares of the base measure, the training and the
normaliser, in percent.

`chain` rows are columns of which each depends on the one before, in place and in width.
`fit-1e6x10` needs --long.

    python benchmarks/bench_time.py --before ../older --out benchmarks/results/time.csv
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from _lib.script import Sheet, options

COMPONENTS = (1, 2, 4, 8, 16, 32)
ROOT = Path(__file__).resolve().parents[1]


def chain_rows(n, d, seed=0):
    """Return n rows of d columns; each depends on the one before, in place and width."""
    z = np.random.default_rng(seed).normal(size=(n, d))
    x = z.copy()
    for j in range(1, d):
        last = x[:, j - 1]
        x[:, j] = 1.5 * np.sin(2 * last) + (0.2 + 0.4 / (1 + last**2)) * z[:, j]
    return x


def moons(n):
    from sklearn.datasets import make_moons

    return make_moons(n, noise=0.1, random_state=0)[0]


def digits():
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    return PCA(10, random_state=0).fit_transform(load_digits().data)


def directions(n):
    """Return n unit vectors about ten directions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 3))[rng.integers(10, size=n)] + 0.3 * rng.normal(
        size=(n, 3)
    )
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def matrices(n):
    """Return n positive definite matrices of order 3, by rows."""
    A = np.random.default_rng(0).normal(size=(n, 3, 8))
    return (A @ A.swapaxes(1, 2) / 8).reshape(n, 9)


def clock():
    """Return seconds of processor time, of this process and of those it has waited for."""
    own, others = (
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(part for usage in (own, others) for part in usage[:2])


def seconds_of(function):
    start = clock()
    result = function()
    return clock() - start, result


def mixture_by_bic(X):
    """Return seconds of choosing a Gaussian mixture by BIC."""
    from sklearn.mixture import GaussianMixture

    def choose():
        fits = [GaussianMixture(k, random_state=0).fit(X) for k in COMPONENTS]
        return min(fits, key=lambda fit: fit.bic(X))

    return seconds_of(choose)[0]


def fit(X, **params):
    """Time a default fit in Euclidean space, and the mixture."""
    from sk_wmvl import MVLDensity

    MVLDensity(max_epochs=1, random_state=0).fit(X[:50])  # what is loaded once
    took, model = seconds_of(lambda: MVLDensity(random_state=0, **params).fit(X))
    return facts(took, model) | {"mixture": took / mixture_by_bic(X)}


def facts(took, model):
    stages = model.fit_report_["seconds"]
    total = sum(stages.values())
    shares = "/".join(f"{100 * part / total:.0f}" for part in stages.values())
    return {"seconds": took, "stages": shares, "scale": model.correction_scale_}


def fit_on(space, X):
    """Time a default fit on a manifold."""
    from sk_wmvl import RiemannianMVLDensity

    RiemannianMVLDensity(space, max_epochs=1, random_state=0).fit(X[:50])
    model = RiemannianMVLDensity(space, random_state=0)
    return facts(*seconds_of(lambda: model.fit(X)))


def corrected():
    """Return a density whose network was kept, of breast cancer, and its rows."""
    from sklearn.datasets import load_breast_cancer

    from sk_wmvl import MVLDensity

    X = load_breast_cancer().data[:, :10]
    model = MVLDensity(random_state=0, max_epochs=30).fit(X)
    assert model.correction_scale_ > 0
    return model, X


def score():
    model, X = corrected()
    X = np.resize(X, (10_000, X.shape[1]))
    model.score_samples(X[:100])
    return {"seconds": seconds_of(lambda: model.score_samples(X))[0]}


def draw():
    model, _ = corrected()
    model.sample(10)
    return {"seconds": seconds_of(lambda: model.sample(1000, random_state=1))[0]}


def grid():
    from sklearn.model_selection import GridSearchCV

    from sk_wmvl import MVLDensity

    with TemporaryDirectory() as folder:
        density = MVLDensity(random_state=0, memory=folder)
        candidates = {"epsilon": [1e-4, 1e-2], "alpha": [0.0, 1e-2]}
        search = GridSearchCV(density, candidates, cv=3)
        return {"seconds": seconds_of(lambda: search.fit(moons(1500)))[0]}


def run(*command):
    """Time a command."""
    with TemporaryDirectory() as folder:

        def call():
            subprocess.run(
                [sys.executable, *command], cwd=folder, check=True, capture_output=True
            )

        return {"seconds": seconds_of(call)[0]}


def importing():
    without = run("-c", "import torch, sklearn.mixture, skorch")["seconds"]
    with_it = run("-c", "import torch, sklearn.mixture, skorch, sk_wmvl")["seconds"]
    return {"seconds": with_it - without}


CASES = {
    "fit 500 x 5": lambda: fit(chain_rows(500, 5)),
    "fit 1500 x 2, moons": lambda: fit(moons(1500)),
    "fit 1797 x 10, digits": lambda: fit(digits()),
    "fit 10000 x 10": lambda: fit(chain_rows(10_000, 10)),
    "fit 40000 x 5": lambda: fit(chain_rows(40_000, 5)),
    "fit 6000 on the sphere": lambda: fit_on("sphere", directions(6000)),
    "fit 60 matrices": lambda: fit_on("spd", matrices(60)),
    "score 10000 rows": score,
    "draw 1000 rows": draw,
    "grid search, 4 x 3, 1500 x 2": grid,
    "python -m sk_wmvl": lambda: run("-m", "sk_wmvl"),
    "import sk_wmvl": importing,
}
LONG = {"fit 1e6 x 10": lambda: fit(chain_rows(10**6, 10))}
QUICK = {
    "fit 200 x 2": lambda: fit(chain_rows(200, 2), max_epochs=2, base="gaussian"),
    "import sk_wmvl": importing,
}


def add_options(parser):
    parser.add_argument("--before", type=Path, help="an older checkout")
    parser.add_argument("--long", action="store_true", help="a million rows too")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case")
    parser.add_argument("--case", help=argparse.SUPPRESS)


def measure(name, root):
    """Run a case in a process of its own, with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--case", name],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print the table, or run one case."""
    args = options(__doc__, quick="two small cases, once", resume=True, add=add_options)
    cases = QUICK if args.quick else CASES | (LONG if args.long else {})
    if args.case:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        print(json.dumps((CASES | LONG | QUICK)[args.case]()))
        return
    sheet = Sheet(args.out, resume=args.resume)
    for name in args.only or cases:
        if sheet.has(case=name):
            continue
        here, before = [], []
        for _ in range(1 if args.quick else args.rounds):
            here.append(measure(name, ROOT))
            if args.before:
                before.append(measure(name, args.before.resolve()))
        seconds = np.median([one["seconds"] for one in here])
        earlier = np.median([one["seconds"] for one in before]) if before else np.nan
        sheet.add(
            case=f"{name:>28s}",
            seconds=seconds,
            before=earlier,
            ratio=earlier / seconds,
            mixture=np.median([one.get("mixture", np.nan) for one in here]),
            stages=here[0].get("stages", ""),
            scale=here[0].get("scale", ""),
        )


if __name__ == "__main__":
    main()
