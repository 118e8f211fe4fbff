"""Does a fit notice mass off the data? Trained energies, sabotaged.

A density is fitted to rows of 2, 5 and 10 columns, with a kept network over a Gaussian. A
place is added to it then, so that the model is q + e^M N(c, w² I): as much mass as q has,
times e^M, where no row is. The judge of the fit (`sk_wmvl.estimators._judge`) is given this
energy with rows held out, and settles the scale of the correction and log Z. It has noticed
if log Z at this scale is not too low by more than 0.1 nats; log Z is known from draws of
which two thirds are at the place and about it. The normaliser is left out, so that only
draws and search can notice.

`width` is w, `distance` that from c to the nearest row, both in internal units, in which
rows have unit variance. Each cell of the table counts places in random directions, with M
of 1, 5, 20 and 60. The last row is of sound fits of rows that are not Gaussian: how many
were scaled back, or said to miss mass, although nothing was added.

    python benchmarks/bench_sabotage.py --out benchmarks/results/sabotage.csv
"""

import math
import warnings

import numpy as np
import torch
from _lib.script import Sheet, options
from bench_time import chain_rows
from torch import nn

from sk_wmvl import MVLDensity
from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import MixtureBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.estimators._judge import judge
from sk_wmvl.likelihood import Cover
from sk_wmvl.manifolds import Euclidean
from sk_wmvl.normalizers import LogNormalizer
from sk_wmvl.objectives import Batch
from sk_wmvl.training import TensorData

LOG_MASSES = (1.0, 5.0, 20.0, 60.0)
WIDTHS = (0.05, 0.1, 0.3, 1.0)
DISTANCES = (1.0, 5.0, 10.0)
COLUMNS = (2, 5, 10)
N_ROWS, N_HELD_OUT, N_SOUND = 800, 400, 50
N_KNOWN, TOLERANCE = 20_000, 0.1
UNKNOWN = LogNormalizer(math.nan, math.inf, 0, 0.0, "none")  # cannot be trusted


class Sabotaged(nn.Module):
    """The correction of a normalised model to which a place has been added."""

    def __init__(self, energy, log_z, center, width, log_mass):
        super().__init__()
        self.energy, self.log_z, self.center = energy, log_z, center
        self.width, self.log_mass = width, log_mass

    def forward(self, x):
        """Return energies of shape (n,)."""
        own = self.energy.learned(x)
        log_q = self.energy.base.log_prob(x) - own - self.log_z
        square = ((x - self.center.to(x)) / self.width).square().sum(1)
        log_n = -0.5 * square - x.shape[1] * math.log(
            self.width * math.sqrt(2 * math.pi)
        )
        return own - nn.functional.softplus(self.log_mass + log_n - log_q)


def fitted(d, seed):
    """Return a trained energy, its log Z, rows it has seen and rows it has not."""
    X = chain_rows(N_ROWS + N_HELD_OUT, d, seed)
    model = MVLDensity(base="gaussian", max_epochs=30, random_state=seed)
    model.fit(X[:N_ROWS])
    u = model.energy_.to_internal(torch.from_numpy(X)).detach()
    return model, u[:N_ROWS], u[N_ROWS:]


def place(rows, distance, rng):
    """Return a point at some distance from the nearest row."""
    start = rows[rng.integers(len(rows))]
    way = torch.from_numpy(rng.normal(size=rows.shape[1]))
    way = way / way.norm()
    low, high = 0.0, 100.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        near = float((rows - start - middle * way).norm(dim=1).min())
        low, high = (middle, high) if near < distance else (low, middle)
    return start + high * way


def is_noticed(model, rows, held_out, width, distance, log_mass, seed):
    """Return whether the judge notices a place."""
    rng = np.random.default_rng(
        [seed, round(100 * width), round(distance), round(log_mass)]
    )
    center = place(rows, distance, rng)
    own = model.energy_.energy
    wrong = Sabotaged(own, model.log_normalizer_, center, width, log_mass)
    energy = CorrectedEnergy(wrong, own.base)
    verdict = judge(
        energy,
        TensorData(Batch(held_out, torch.ones(len(held_out)))),
        Cover(own.base),
        Euclidean(rows.shape[1]),
        lambda: UNKNOWN,
        is_enough=lambda estimate: True,
        generator=make_generator(seed, 99),
    )
    energy.scale = verdict.scale
    truth = log_z_with(energy, center, width, seed)
    return verdict.estimate.value > truth - TOLERANCE


@torch.no_grad()
def log_z_with(energy, center, width, seed):
    """Return log Z by draws of the base, and at and about a known place."""
    d, k = len(center), N_KNOWN
    widths = (width, 3 * width)
    spots = [
        MixtureBase(np.ones(1), center[None].numpy(), w**2 * np.eye(d)[None])
        for w in widths
    ]
    parts = [Cover(energy.base), *spots]
    generator = make_generator(seed, 98)
    x = torch.cat([part.sample(k, generator=generator) for part in parts])
    log_p = torch.stack([part.log_prob(x) for part in parts], 1)
    log_p = torch.logsumexp(log_p, 1) - math.log(len(parts))
    return float(torch.logsumexp(-energy(x) - log_p, 0)) - math.log(len(x))


def sound(seed):
    """Return whether a sound fit is said to miss mass, and whether it is scaled back."""
    d = (2, 5)[seed % 2]
    model = MVLDensity(base="gaussian", max_epochs=20, random_state=seed)
    model.fit(chain_rows(400, d, seed))
    report = model.fit_report_
    return bool(report["search"].get("missed")), report["network"]["is_scaled_back"]


def main():
    """Print the table."""
    args = options(__doc__, seeds=range(2), quick="one cell, one sound fit")
    warnings.simplefilter("ignore")
    sheet = Sheet(args.out)
    columns, widths, distances, masses, n_sound = (
        ((2,), (0.3,), (3.0,), (5.0,), 1)
        if args.quick
        else (COLUMNS, WIDTHS, DISTANCES, LOG_MASSES, N_SOUND)
    )
    seeds = args.seeds[:1] if args.quick else args.seeds
    if args.only:
        columns = [int(name) for name in args.only]
    for d in columns:
        models = [fitted(d, seed) for seed in seeds]
        for width in widths:
            for distance in distances:
                found = {
                    mass: [
                        is_noticed(*models[i], width, distance, mass, seed)
                        for i, seed in enumerate(seeds)
                    ]
                    for mass in masses
                }
                sheet.add(
                    kind="place",
                    d=d,
                    width=width,
                    distance=distance,
                    places=len(seeds) * len(masses),
                    noticed=sum(sum(cell) for cell in found.values()),
                    least_log_mass_missed=min(
                        (m for m, cell in found.items() if not all(cell)), default=""
                    ),
                )
    alarms = np.array([sound(seed) for seed in range(n_sound)])
    sheet.add(
        kind="sound fits",
        d="",
        width="",
        distance="",
        places=n_sound,
        noticed=int(alarms[:, 1].sum()),
        least_log_mass_missed=f"searches found more in {int(alarms[:, 0].sum())}",
    )


if __name__ == "__main__":
    main()
