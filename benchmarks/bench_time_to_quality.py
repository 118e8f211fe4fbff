"""Time to quality: seconds of training until a Fisher divergence is reached.

Each objective trains the default network, over a Gaussian base, from 10 000 draws by
`partial_fit`, one epoch per call, at a constant learning rate. The objectives take
turns, epoch by epoch, so that a busy machine slows them alike. `seconds` are epochs
times the median processor time of an epoch, or nan where the target was not reached
within the time allowed. The divergence of the averaged weights is evaluated on 2 000
other draws after each call, outside the timed part; `best` is the lowest divergence
seen.

    python benchmarks/bench_time_to_quality.py --out benchmarks/results/quality.csv
"""

import math
import time

import numpy as np
from _lib.script import Sheet, options

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.metrics import fisher_divergence
from sk_wmvl.objectives import OBJECTIVES, DenoisingScoreMatching

# A fitted Gaussian is at 0.60 and 0.25.
TARGETS = {"banana": (0.06, 0.03), "mixture-20": (0.2, 0.17)}
EPSILON = 1e-3
# By name as in the estimator; its 'dsm' has the control variate.
METHODS = {
    **{name: name for name in OBJECTIVES},
    "dsm no control": DenoisingScoreMatching(EPSILON**0.5, control_variate=False),
}


class Run:
    """One objective in training, with what was measured."""

    def __init__(self, objective, seed):
        self.density = MVLDensity(
            objective,
            epsilon=EPSILON,
            base="gaussian",
            normalizer=None,
            lr=1e-3,
            random_state=seed,
        )
        self.times: list[float] = []
        self.divergences: list[float] = []

    def train_epoch(self, X, X_test, score):
        """Train for an epoch, timed, and evaluate, not timed."""
        start = time.process_time()
        self.density.partial_fit(X)
        self.times.append(time.process_time() - start)
        self.divergences.append(fisher_divergence(self.density, X_test, score))

    def is_over(self, target, allowed):
        """Return whether the target is reached or the time spent."""
        return min(self.divergences) <= target or sum(self.times) > allowed

    def epochs_to(self, target):
        """Return the epochs until the divergence is reached; nan if it is not."""
        below = np.flatnonzero(np.asarray(self.divergences) <= target)
        return below[0] + 1 if below.size else math.nan


def main():
    """Train with every objective."""
    args = options(__doc__, seeds=(0, 1, 2), quick="banana, two objectives, 1 s each")
    names, methods, n, allowed = args.only or TARGETS, METHODS, 10_000, 10.0
    seeds = args.seeds
    if args.quick:
        methods = {name: METHODS[name] for name in ("mvl", "dsm")}
        names, n, allowed, seeds = ["banana"], 2000, 1.0, seeds[:1]
    sheet = Sheet(args.out)
    # torch's first call is slow.
    MVLDensity(normalizer=None).partial_fit([[0.0], [1.0]])
    for name in names:
        truth = DISTRIBUTIONS[name]()
        for seed in seeds:
            X = truth.sample(n, 2 * seed)
            X_test = truth.sample(2000, 2 * seed + 1)
            score = truth.score(X_test)
            runs = {method: Run(methods[method], seed) for method in methods}
            active = list(runs.values())
            while active:
                for run in active:
                    run.train_epoch(X, X_test, score)
                active = [r for r in active if not r.is_over(TARGETS[name][1], allowed)]
            for method, run in runs.items():
                per_epoch = np.median(run.times)
                for target in TARGETS[name]:
                    n_epochs = run.epochs_to(target)
                    sheet.add(
                        data=name,
                        method=f"{method:>15s}",
                        seed=seed,
                        target=target,
                        epochs=n_epochs,
                        seconds=n_epochs * per_epoch,
                        per_epoch=per_epoch,
                        best=min(run.divergences),
                    )


if __name__ == "__main__":
    main()
