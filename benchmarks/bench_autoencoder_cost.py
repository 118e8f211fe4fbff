"""Cost of an energy update, in updates of the auto-encoder it serves, at MNIST's sizes.

Networks are 784-256-256, batches are of 128, and rows are binary and fresh at each
step. What the energy makes of the rows (its first layer) is computed once in a training
step for both updates, and charged to both here. `ratio` is the median over rounds of
energy over auto-encoder; `step_ms` is a whole training step. The aim is a ratio of at
most 0.8.

    python benchmarks/bench_autoencoder_cost.py \
        --out benchmarks/results/autoencoder_cost.csv
"""

import numpy as np
import torch
from _lib.costs import time_interleaved
from _lib.script import Sheet, options

from sk_wmvl import ImplicitVAE, WassersteinAutoencoder
from sk_wmvl.objectives import Batch

N_FEATURES, BATCH = 784, 128
CASES = {
    "vae-sphere-8": ImplicitVAE(8),
    "vae-sphere-32": ImplicitVAE(32),
    "vae-euclidean-8": ImplicitVAE(8, latent="euclidean"),
    "vae-euclidean-32": ImplicitVAE(32, latent="euclidean"),
    "wae-sphere-8": WassersteinAutoencoder(8),
}


def make_updates(estimator, seed):
    """Return functions that take one update of each kind, and a whole step."""
    X = (np.random.default_rng(seed).random((BATCH, N_FEATURES)) < 0.2).astype(float)
    estimator.set_params(max_epochs=1, random_state=seed).fit(X)
    net, task = estimator._make_net(
        estimator._units, estimator.latent_, seed, torch.device("cpu"), 1
    )
    net.full_callbacks_ = False
    batch = Batch(torch.tensor(X, dtype=torch.float32), torch.ones(BATCH))
    z = task.encode(batch.x)

    def autoencoder():
        x = task.decoder.likelihood.prepare(batch.x, generator=task.generator)
        task.update_autoencoder(net, batch, x, task.bind(x))

    def energy():
        task.update_critic(task.bind(batch.x), z)

    return {
        "autoencoder": autoencoder,
        "energy": energy,
        "step": lambda: task.step(net, batch),
    }


def main():
    args = options(__doc__, quick="two cases, few rounds")
    cases = args.only or (list(CASES)[::4] if args.quick else list(CASES))
    n_rounds = 15 if args.quick else 150
    sheet = Sheet(args.out)
    for name in cases:
        for seed in args.seeds:
            times = time_interleaved(make_updates(CASES[name], seed), n_rounds=n_rounds)
            ms = {k: 1e3 * np.median(v) for k, v in times.items()}
            sheet.add(
                case=f"{name:16s}",
                seed=seed,
                autoencoder_ms=ms["autoencoder"],
                energy_ms=ms["energy"],
                step_ms=ms["step"],
                steps_per_second=1e3 / ms["step"],
                ratio=float(np.median(times["energy"] / times["autoencoder"])),
            )


if __name__ == "__main__":
    main()
