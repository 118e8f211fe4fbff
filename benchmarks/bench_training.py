"""Cost of training: time per step of every objective, in steps of supervised training.

Every objective trains the same network with the same optimiser (fused AdamW) on the
same batch, interleaved in one process; `ratio` is its median time over that of
regressing the energy on numbers. The network is `InnerProductEnergy` (d inputs, d + 1
outputs) unless the case says mlp. TorchEBM's losses, if the package is installed, are
given the same network; its sliced loss takes 5 projections by default, and is timed
with 1 too. The second table has exact score matching and minimum velocity as d grows.
The third has the estimator's `fit` over a bare loop with the same steps: loss, penalty,
optimiser, schedule, weight average.

    python benchmarks/bench_training.py --out benchmarks/results/training.csv
"""

import copy
import math
import time

import numpy as np
import torch
from _lib.costs import make_step, time_interleaved
from _lib.script import Sheet, options, show_progress

from sk_wmvl import MVLDensity
from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.energies import ENERGIES, CorrectedEnergy
from sk_wmvl.objectives import (
    OBJECTIVES,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    DetachedMinimumVelocity,
    FiniteDifferenceScoreMatching,
    MinimumVelocity,
    ScoreMatching,
    SlicedScoreMatching,
)
from sk_wmvl.samplers import Langevin
from sk_wmvl.training.averaging import WeightAverage

STEP = 1e-3
MAX_EXACT = 32  # features up to which exact score matching takes part

# energy, d, hidden layers, batch
CASES = {
    "2x100-d2": ("inner_product", 2, (100, 100), 200),
    "2x100-d20": ("inner_product", 20, (100, 100), 200),
    "2x100-d20-mlp": ("mlp", 20, (100, 100), 200),
    "2x256-d100": ("inner_product", 100, (256, 256), 128),
    "2x512-d784": ("inner_product", 784, (512, 512), 128),
    "2x512-d784-mlp": ("mlp", 784, (512, 512), 128),
}


def our_objectives(d):
    """Return every objective, by the name in the table."""
    table = {
        "mvl (detached)": DetachedMinimumVelocity(Langevin(STEP)),
        "mvl, default": OBJECTIVES["mvl"](STEP),
        "mvl-graph": MinimumVelocity(Langevin(STEP)),
        "mvl-graph antithetic": MinimumVelocity(Langevin(STEP), antithetic=True),
        "sm": ScoreMatching(),
        "ssm": SlicedScoreMatching(variance_reduced=False),
        "ssm-vr": SlicedScoreMatching(),
        "fd-ssm": FiniteDifferenceScoreMatching(STEP),
        "dsm": DenoisingScoreMatching(STEP**0.5),
        "dsm no control": DenoisingScoreMatching(STEP**0.5, control_variate=False),
        "cd1": ContrastiveDivergence(Langevin(STEP)),
        "cd1 no control": ContrastiveDivergence(Langevin(STEP), control_variate=False),
    }
    if d > MAX_EXACT:
        del table["sm"]
    return table


def torchebm_losses(energy):
    """Return TorchEBM's losses of a copy of the energy, each with its module."""
    try:
        from torchebm.core import BaseModel
        from torchebm.losses import DenoisingScoreMatching as Denoising
        from torchebm.losses import SlicedScoreMatching as Sliced
    except ImportError:
        show_progress("torchebm is not installed: its losses are left out")
        return {}

    class Model(BaseModel):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x, **kwargs):
            del kwargs
            return self.module(x)

    def model():
        return Model(copy.deepcopy(energy))

    return {
        "torchebm sliced (5)": Sliced(model()),
        "torchebm sliced (1)": Sliced(model(), n_projections=1),
        "torchebm denoising": Denoising(model(), noise_scale=STEP**0.5),
    }


def make_energy(kind, d, hidden, seed):
    """Return an energy whose last layer is not zero, as after some training."""
    generator = make_generator(seed)
    energy = ENERGIES[kind](d, hidden, generator=generator)
    last = energy.network[-1]
    with torch.no_grad():
        last.weight.normal_(0, 0.1 / math.sqrt(last.in_features), generator=generator)
    return energy


def make_steps(case, seed):
    """Return a training step per objective, and the supervised one."""
    kind, d, hidden, batch = case
    energy = make_energy(kind, d, hidden, seed)
    generator = make_generator(seed, 1)
    x = torch.randn(batch, d, generator=generator)
    y = torch.randn(batch, generator=generator)

    def supervised(module):
        return (module(x) - y).square().mean()

    steps = {"supervised": make_step(copy.deepcopy(energy), supervised)}
    for name, objective in our_objectives(d).items():

        def loss_of(module, objective=objective):
            return objective(module, x, generator=generator).mean()

        steps[name] = make_step(copy.deepcopy(energy), loss_of)
    for name, loss in torchebm_losses(energy).items():
        steps[name] = make_step(loss.model, lambda _, loss=loss: loss(x))
    return steps


def objectives_table(sheet, cases, seeds, n_rounds):
    for name, case in cases.items():
        for seed in seeds:
            seconds = time_interleaved(make_steps(case, seed), n_rounds=n_rounds)
            base = np.median(seconds["supervised"])
            for method, times in seconds.items():
                add(sheet, "step", name, method, seed, np.median(times), base)


def dimensions_table(sheet, dimensions, seeds, n_rounds):
    names = ("supervised", "mvl (detached)", "mvl-graph", "ssm-vr", "sm")
    for d in dimensions:
        for seed in seeds:
            steps = make_steps(("inner_product", d, (100, 100), 200), seed)
            energy = make_energy("inner_product", d, (100, 100), seed)
            x = torch.randn(200, d, generator=make_generator(seed, 1))
            exact = ScoreMatching()
            steps["sm"] = make_step(energy, lambda e, x=x, f=exact: f(e, x).mean())
            steps = {method: steps[method] for method in names}
            seconds = time_interleaved(steps, n_rounds=n_rounds)
            base = np.median(seconds["supervised"])
            for method, times in seconds.items():
                add(sheet, "growth", f"d={d}", method, seed, np.median(times), base)


def bare_loop(X, n_epochs, batch_size, seed):
    """Train as the estimator does by default, with nothing around the steps."""
    d = X.shape[1]
    x = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    correction = ENERGIES["inner_product"](
        d, (128, 128), radius=5.0, generator=make_generator(seed)
    )
    energy = CorrectedEnergy(correction, GaussianBase(np.zeros(d), np.eye(d)).float())
    objective, generator = OBJECTIVES["mvl"](1e-4), make_generator(seed, 1)
    optimizer = torch.optim.AdamW(
        correction.parameters(), lr=2e-3, weight_decay=0.0, fused=True
    )
    average = WeightAverage(energy)
    seen: list[torch.Tensor] = []
    correction.register_forward_hook(lambda module, args, out: seen.append(out))
    n_steps, total = 0, n_epochs * math.ceil(len(x) / batch_size)
    for _ in range(n_epochs):
        for rows in x[torch.randperm(len(x), generator=generator)].split(batch_size):
            for group in optimizer.param_groups:
                cosine = 0.5 * (1 + math.cos(math.pi * n_steps / total))
                group["lr"] = 2e-3 * cosine
            seen.clear()
            loss = objective(energy, rows, generator=generator).mean()
            scale = torch.cat(seen).square().mean()
            draws = energy.base.sample(len(rows) // 4, generator=generator)
            scale = scale + correction(draws).square().mean()
            optimizer.zero_grad()
            (loss + 1e-4 * scale).backward()
            optimizer.step()
            n_steps += 1
            average.update(n_steps)
    return average.module


def fit_table(sheet, names, n, seeds, n_epochs, n_rounds):
    batch = 200
    for name in names:
        for seed in seeds:
            X = DISTRIBUTIONS[name]().sample(n, seed)
            bare = {"normalizer": None, "early_stopping": False}
            settings = {
                "max_epochs": n_epochs,
                "batch_size": batch,
                "n_iter_no_change": n_epochs,
                "random_state": seed,
            }
            given = {"base": "gaussian", **settings}  # as the bare loop
            functions = {
                "bare loop": lambda X=X, seed=seed: bare_loop(X, n_epochs, batch, seed),
                "fit, same steps": lambda X=X, s={**bare, **given}: MVLDensity(**s).fit(
                    X
                ),
                "fit, no log Z": lambda X=X, s=given: MVLDensity(
                    normalizer=None, **s
                ).fit(X),
                "fit, Gaussian base": lambda X=X, s=given: MVLDensity(**s).fit(X),
                "fit, default": lambda X=X, s=settings: MVLDensity(**s).fit(X),
            }
            seconds = time_interleaved(functions, n_rounds=n_rounds, n_warm_up=1)
            base = np.median(seconds["bare loop"])
            steps = n_epochs * math.ceil(len(X) / batch)
            for method, times in seconds.items():
                median = np.median(times)
                add(sheet, "fit", name, method, seed, median / steps, base / steps)


def add(sheet, table, case, method, seed, median, base):
    sheet.add(
        table=table,
        case=f"{case:>14s}",
        method=f"{method:>20s}",
        seed=seed,
        ms=1e3 * median,
        ratio=median / base,
    )


def main():
    """Print the three tables."""
    args = options(__doc__, quick="one small network, few rounds")
    sheet = Sheet(args.out)
    cases = {k: v for k, v in CASES.items() if args.only is None or k in args.only}
    start = time.perf_counter()
    if args.quick:
        few = {"2x100-d2": CASES["2x100-d2"]}
        objectives_table(sheet, few, args.seeds, n_rounds=5)
        dimensions_table(sheet, (2, 8), args.seeds, n_rounds=5)
        fit_table(sheet, ["banana"], 400, args.seeds, n_epochs=2, n_rounds=1)
    else:
        objectives_table(sheet, cases, args.seeds, n_rounds=50)
        if args.only is None:
            dimensions_table(sheet, (2, 4, 8, 16, 32, 64), args.seeds, n_rounds=15)
            names = ["banana", "gaussian-10"]
            fit_table(sheet, names, 4000, args.seeds, n_epochs=40, n_rounds=5)
    show_progress(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
