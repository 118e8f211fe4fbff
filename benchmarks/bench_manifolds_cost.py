"""Cost of a training step on a manifold, in steps of the same net in Euclidean space.

The same network sees the manifold's features, the same objective (the estimator's
'mvl') is minimised by the same optimiser on as many rows, interleaved in one process.
`ratio` is the median over rounds of the ratio of the times. The aim is at most 1.5 on
spheres and tori.

    python benchmarks/bench_manifolds_cost.py \
        --out benchmarks/results/manifolds_cost.csv
"""

import numpy as np
import torch
from _lib.costs import make_step, time_interleaved
from _lib.script import Sheet, options

from sk_wmvl._random import make_generator
from sk_wmvl.energies import InnerProductEnergy
from sk_wmvl.manifolds import Euclidean, Rotation, Simplex, Sphere, Torus
from sk_wmvl.objectives import OBJECTIVES, RiemannianObjective

STEP = 1e-4
HIDDEN = (128, 128)
BATCH = 200
MANIFOLDS = {
    "circle": Sphere(1),
    "sphere": Sphere(2),
    "sphere-20": Sphere(20),
    "torus-2": Torus(2),
    "torus-7": Torus(7),
    "rotation": Rotation("quaternion"),
    "simplex-3": Simplex(2),
}


class FeatureNet(torch.nn.Module):
    """A network of a manifold's features."""

    def __init__(self, manifold, seed):
        super().__init__()
        generator = make_generator(seed)
        self.manifold = manifold
        self.network = InnerProductEnergy(
            manifold.n_features, HIDDEN, generator=generator
        )
        with torch.no_grad():  # the last layer starts at zero
            last = self.network.network[-1]
            last.weight.normal_(0, 0.01, generator=generator)

    def forward(self, x):
        """Return energies of shape (n,)."""
        return self.network(self.manifold.features(x))


def make_manifold_step(manifold, seed):
    """Return a function that takes one optimizer step."""
    net = FeatureNet(manifold, seed)
    generator = make_generator(seed, 1)
    x = manifold.random_point(BATCH, generator=generator, dtype=torch.float32)
    objective = RiemannianObjective(OBJECTIVES["mvl"](STEP), manifold)
    return make_step(net, lambda net: objective(net, x, generator=generator).mean())


def main():
    """Time the pairs."""
    args = options(__doc__, quick="20 rounds, two manifolds")
    n_rounds, names = (20, ["sphere", "torus-2"]) if args.quick else (300, None)
    sheet = Sheet(args.out)
    for name in args.only or names or MANIFOLDS:
        manifold = MANIFOLDS[name]
        # As many inputs of the network, so that only the geometry is added.
        flat = Euclidean(manifold.n_features)
        for seed in args.seeds:
            seconds = time_interleaved(
                {
                    "flat": make_manifold_step(flat, seed),
                    "curved": make_manifold_step(manifold, seed),
                },
                n_rounds=n_rounds,
            )
            ratios = seconds["curved"] / seconds["flat"]
            low, high = np.quantile(ratios, [0.25, 0.75])
            sheet.add(
                manifold=name,
                seed=seed,
                inputs=manifold.n_features,
                ms_euclidean=1e3 * np.median(seconds["flat"]),
                ms_manifold=1e3 * np.median(seconds["curved"]),
                ratio=np.median(ratios),
                ratio_q25=low,
                ratio_q75=high,
            )


if __name__ == "__main__":
    main()
