"""A fitted energy, which evaluates densities and scores and draws, in float64."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._random import make_generator
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.coordinates import VaryingColumns
from sk_wmvl.energies import TransformedEnergy
from sk_wmvl.estimators._judge import Verdict
from sk_wmvl.estimators._prepare import SAMPLE
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers import LogNormalizer
from sk_wmvl.samplers import draw

__all__ = ["FittedEnergy"]

CHUNK = 8192  # rows at a time, so that memory does not grow with X


@dataclass(frozen=True)
class FittedEnergy:
    """A trained energy with its normaliser, frozen and on one device.

    Attributes
    ----------
    energy : TransformedEnergy
        Maps points in the ambient coordinates of the manifold to energies.
    manifold : BaseManifold
    proposal : BaseMeasure or None
        A normalised density close to the rows, in internal coordinates. None if the model
        is neither normalised nor drawn from.
    device : torch.device
    seed : int
        The seed of the fit.
    log_normalizer : LogNormalizer or None
        Log Z. None if the energy is unnormalised.
    verdict : Verdict or None
        How the scale of a correction was decided; None without a base measure.
    columns : VaryingColumns or None
        Which of the user's columns the manifold is of; None for all of them.
    """

    energy: TransformedEnergy
    manifold: BaseManifold
    proposal: BaseMeasure | None
    device: torch.device
    seed: int
    log_normalizer: LogNormalizer | None = None
    verdict: Verdict | None = None
    columns: VaryingColumns | None = None

    @property
    def scale(self) -> float:
        """The factor of the correction."""
        return self.energy.energy.scale

    @property
    def base(self) -> BaseMeasure | None:
        """The base measure, in internal coordinates."""
        return self.energy.energy.base

    def points(self, X: np.ndarray) -> Tensor:
        """Return rows in the user's units as points of the manifold, on the device."""
        if self.columns is not None:
            departing = self.columns.departing(X)
            if len(departing):
                warn(
                    f"X differs from the rows of fit in column {departing[0]}, which was "
                    f"constant there ({self.columns.values[departing[0]]:g}) and is left "
                    "out of the density: these rows are treated as if it were the same."
                )
            X = self.columns.take(X)
        x = torch.tensor(X, dtype=torch.float64)
        return self.manifold.from_user(x).to(self.device)

    def energies(self, x: Tensor) -> np.ndarray:
        """Return energies of points, of shape (n,)."""
        with torch.no_grad():
            values = [self.energy(rows) for rows in x.split(CHUNK)]
        return torch.cat(values).cpu().numpy()

    def log_prob(self, x: Tensor) -> np.ndarray:
        """Return log densities of points, (n,); up to a constant without a normaliser."""
        log_q = -self.energies(x)
        return (
            log_q if self.log_normalizer is None else log_q - self.log_normalizer.value
        )

    def scores(self, x: Tensor) -> np.ndarray:
        """Return the Riemannian gradients of the log density, in the user's coordinates."""
        scores = []
        for rows in x.split(CHUNK):
            _, grad = energy_and_grad(self.energy, rows)
            u = self.manifold.egrad2rgrad(rows, -grad)
            scores.append(self.manifold.push_to_user(rows, u))
        values = torch.cat(scores).cpu().numpy()
        return values if self.columns is None else self.columns.fill(values, zeros=True)

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Return draws, of shape (n_samples, n_features), in the user's units."""
        assert self.proposal is not None  # density estimators always have one
        u = draw(
            self.energy.energy,
            copy.deepcopy(self.proposal).to(self.device),
            n_samples,
            generator=make_generator(seed, SAMPLE),
            manifold=self.manifold,
            cover=None if self.verdict is None else self.verdict.cover,
        )
        rows = self.manifold.to_user(self.energy.to_user(u)).cpu().numpy()
        return rows if self.columns is None else self.columns.fill(rows)

    def cpu(self) -> "FittedEnergy":
        """Return the same on the CPU; its modules are moved, not copied."""
        self.energy.cpu()
        if self.proposal is not None:
            self.proposal.cpu()
        if self.verdict is not None:
            self.verdict.cover.cpu()
        return replace(self, device=torch.device("cpu"))
