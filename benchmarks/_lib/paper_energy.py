"""The energy of the paper's experiments in the plane, trained as it was there."""

import torch

from sk_wmvl._random import make_generator
from sk_wmvl.energies import InnerProductEnergy, freeze

__all__ = ["train_energy"]


def train_energy(X, objective, seed, *, n_steps, spectral_norm=True):
    """Return an energy of appendix E.1.1, trained as it was there, for evaluation.

    Two hidden layers of 100 with Swish activation and spectral normalisation, no base
    measure, batches of 200, a constant rate of 4e-3. The optimiser is not named there; it
    is RMSProp here, as in the authors' released code. `InnerProductEnergy` has a constant
    coordinate more than the paper's.
    """
    energy = InnerProductEnergy(
        X.shape[1],
        (100, 100),
        spectral_norm=spectral_norm,
        generator=make_generator(seed),
    )
    optimizer = torch.optim.RMSprop(energy.parameters(), lr=4e-3)
    generator = make_generator(seed, 1)
    x = torch.tensor(X, dtype=torch.float32)
    for _ in range(n_steps):
        rows = x[torch.randint(len(x), (200,), generator=generator)]
        loss = objective(energy, rows, generator=generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return freeze(energy)
