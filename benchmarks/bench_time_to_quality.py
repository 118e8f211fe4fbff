"""Time to quality: seconds of training until a Fisher divergence is reached.

Each objective trains the default network from 10 000 draws by `partial_fit`, an epoch a
call, at a constant learning rate; the divergence of the averaged weights is evaluated on
2 000 other draws after each call, outside the timed part. The targets are a tenth of the
fitted Gaussian's divergence and, harder, a twentieth. `seconds`, of processor time, is nan where the target was
not reached within the time allowed; `best` is the lowest divergence seen.

    python benchmarks/bench_time_to_quality.py --out benchmarks/results/quality.csv
"""

import math
import time

import _baselines
from _common import Sheet, options

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import DISTRIBUTIONS
from sk_wmvl.metrics import fisher_divergence
from sk_wmvl.objectives import OBJECTIVES, DenoisingScoreMatching

NAMES = ("banana", "mixture-20")
SHARES = (0.1, 0.05)  # of the divergence of the fitted Gaussian
EPSILON = 1e-3
# By name as in the estimator; its 'dsm' has the control variate.
METHODS = {
    **{name: name for name in OBJECTIVES},
    "dsm no control": DenoisingScoreMatching(EPSILON**0.5, control_variate=False),
}


def train(objective, X, X_test, score, seed, targets, allowed):
    """Return the seconds to each target, the best divergence, and seconds per epoch."""
    density = MVLDensity(
        objective, epsilon=EPSILON, normalizer=None, lr=1e-3, random_state=seed
    )
    reached = dict.fromkeys(targets, math.nan)
    seconds, best, n_epochs = 0.0, math.inf, 0
    while seconds < allowed and any(math.isnan(t) for t in reached.values()):
        start = time.process_time()
        density.partial_fit(X)
        seconds += time.process_time() - start
        n_epochs += 1
        divergence = fisher_divergence(density, X_test, score)
        best = min(best, divergence)
        for target, before in reached.items():
            if math.isnan(before) and divergence <= target:
                reached[target] = seconds
    return reached, best, seconds / n_epochs


def main():
    """Train with every objective."""
    args = options(__doc__, seeds=(0, 1, 2), quick="banana, two objectives, 2 s each")
    names, methods, n, allowed = args.only or NAMES, METHODS, 10_000, 10.0
    seeds = args.seeds
    if args.quick:
        methods = {name: METHODS[name] for name in ("mvl", "dsm")}
        names, n, allowed, seeds = NAMES[:1], 2000, 2.0, seeds[:1]
    sheet = Sheet(args.out)
    # torch's first call is slow.
    MVLDensity(normalizer=None).partial_fit([[0.0], [1.0]])
    for name in names:
        truth = DISTRIBUTIONS[name]()
        for seed in seeds:
            X = truth.sample(n, 2 * seed)
            X_test = truth.sample(2000, 2 * seed + 1)
            score = truth.score(X_test)
            gaussian = fisher_divergence(_baselines.gaussian(X), X_test, score)
            targets = [share * gaussian for share in SHARES]
            for method, objective in methods.items():
                reached, best, per_epoch = train(
                    objective, X, X_test, score, seed, targets, allowed
                )
                sheet.add(
                    data=name,
                    method=f"{method:>15s}",
                    seed=seed,
                    target=targets[0],
                    seconds=reached[targets[0]],
                    target_2=targets[1],
                    seconds_2=reached[targets[1]],
                    best=best,
                    per_epoch=per_epoch,
                )


if __name__ == "__main__":
    main()
