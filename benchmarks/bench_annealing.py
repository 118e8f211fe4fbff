"""Annealed importance sampling in many dimensions: log Z and its error.

Mixtures of three von Mises-Fisher distributions on the 20-sphere, and of three products
of von Mises distributions of seven angles. Both are normalised: log Z = 0. `log_z` is
estimated from uniform draws, and `z_score` is its error in its own standard errors; the
aim is at most four. Then `RiemannianMVLDensity` with its default settings is fitted to
4000 draws. `gap` is the truth's mean log density on 4000 other draws less the model's,
and `fit_log_z_se` is the standard error of the model's own normaliser.

    python benchmarks/bench_annealing.py --seeds 0 1 2 3 4 \
        --out benchmarks/results/annealing.csv
"""

import time

import numpy as np
import torch
from _lib.fits import fit_quietly
from _lib.script import Sheet, options

from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.base_measures import UniformBase
from sk_wmvl.datasets import VonMisesFisherMixture, VonMisesMixture
from sk_wmvl.manifolds import Sphere, Torus
from sk_wmvl.normalizers import AnnealedNormalizer

N_ROWS = 4000
WEIGHTS = [0.5, 0.3, 0.2]


def sphere(seed):
    """Return S^20 and three components around directions 0.6 radians apart or so."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=21) + 0.6 * rng.normal(size=(3, 21))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return Sphere(20), VonMisesFisherMixture(means, [15.0, 25.0, 40.0], WEIGHTS)


def torus(seed):
    """Return T^7 and three components around angles half a radian apart or so."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-np.pi, np.pi, 7) + 0.5 * rng.normal(size=(3, 7))
    kappas = rng.uniform(1, 5, (3, 7))
    return Torus(7), VonMisesMixture(means, kappas, WEIGHTS)


CASES = {"sphere-20": sphere, "torus-7": torus}


class Truth(torch.nn.Module):
    """Minus the log density of a mixture of `sk_wmvl.datasets`, in torch."""

    def __init__(self, mixture):
        super().__init__()
        self.means, self.kappas = (
            torch.tensor(mixture.means),
            torch.tensor(mixture.kappas),
        )
        own = torch.tensor(np.diag(mixture._components(mixture.means)))
        self.constants = own - self.kappas.reshape(len(own), -1).sum(1)

    def forward(self, x):
        """Return energies of shape (n,)."""
        if self.kappas.ndim == 1:
            exponents = self.kappas * (x @ self.means.T)
        else:
            exponents = (self.kappas * (x[:, None] - self.means).cos()).sum(-1)
        return -(exponents + self.constants).logsumexp(-1)


def main():
    """Estimate and fit."""
    args = options(__doc__, quick="100 chains, 2 epochs of 200 rows")
    n_chains, n_rows, params = 512, N_ROWS, {}
    if args.quick:
        n_chains, n_rows, params = 100, 200, {"max_epochs": 2, "base": "kernel"}
    sheet = Sheet(args.out)
    for name in args.only or CASES:
        for seed in args.seeds:
            manifold, mixture = CASES[name](seed)
            energy = Truth(mixture)
            X, X_test = (
                mixture.sample(n_rows, random_state=2 * seed + k) for k in (0, 1)
            )
            truth = mixture.log_density(X_test)
            gap = abs(energy(torch.tensor(X_test)).numpy() + truth).max()
            assert gap < 1e-9, gap
            start = time.perf_counter()
            estimate = AnnealedNormalizer(n_chains, n_transitions=4).log_normalizer(
                energy,
                UniformBase(manifold),
                generator=torch.Generator().manual_seed(seed),
                manifold=manifold,
            )
            seconds = time.perf_counter() - start
            start = time.perf_counter()
            model = RiemannianMVLDensity(manifold, random_state=seed, **params)
            fit_quietly(model, X)
            sheet.add(
                data=name,
                seed=seed,
                log_z=estimate.value,
                log_z_se=estimate.std_error,
                z_score=estimate.value / estimate.std_error,
                problem=estimate.problem or "none",
                seconds=seconds,
                gap=np.mean(truth - model.score_samples(X_test)),
                correction=model.correction_scale_,
                fit_log_z_se=model.log_normalizer_std_,
                fit_log_z_by=model.normalizer_result_.method,
                fit_seconds=time.perf_counter() - start,
            )


if __name__ == "__main__":
    main()
