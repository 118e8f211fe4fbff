r"""Where a model has modes: ascents of its log density, and the mass at their ends.

Draws of the base measure, and annealing from it, can miss a place where a correction is
very low, even one that has nearly all of the model's mass. Ascents from where draws have
the lowest corrections find such places, because the density rises towards them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad, hessian
from sk_wmvl.base_measures import BaseMeasure, ManifoldMixture, MixtureBase
from sk_wmvl.base_measures.components import component_family
from sk_wmvl.energies import TangentSpaceEnergy, tangent_basis
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["Modes", "climb", "find_modes"]

N_STEPS = 80
STEP = 0.15  # of the ascents, in internal units; it shrinks in the last third
BETAS = (0.8, 0.95)  # of Adam, which has few steps
MOST_MODES = 64
APART = 0.5  # modes nearer to a higher one are taken for the same
MERGE_EVERY = 16  # steps, after which ascents near higher ones end
NARROWEST, WIDEST = 0.05, 2.0  # standard deviations of places
NEARLY = 0.1  # nats that a mode may be higher than the end of an ascent
SPREAD = 1.2  # by which places are wider than the modes they stand for


class Modes(NamedTuple):
    r"""Distinct ends of ascents, the highest first.

    Attributes
    ----------
    x : Tensor of shape (k, d)
    log_density : Tensor of shape (k,)
        Unnormalised.
    covariance : Tensor of shape (k, m, m)
        The inverse of minus the Hessian, in orthonormal coordinates of the tangent space.
        Standard deviations are clipped between 0.05 and 2 units.
    log_mass : Tensor of shape (k,)
        By Laplace's approximation,
        :math:`\log q + \frac m2\log 2\pi + \frac12\log\det\Sigma`.
    has_converged : Tensor of bool of shape (k,)
        Whether a Newton step from there would gain less than a tenth of a nat. Ascents that
        start far away may not arrive.
    """

    x: Tensor
    log_density: Tensor
    covariance: Tensor
    log_mass: Tensor
    has_converged: Tensor

    def places(self, manifold: BaseManifold) -> BaseMeasure | None:
        """Return Gaussians at the modes, equally weighted, to draw from.

        On a manifold that is not flat they are its own components; None if it has none.
        """
        k = len(self.x)
        covariance = SPREAD**2 * self.covariance
        if isinstance(manifold, Euclidean):
            return MixtureBase(
                torch.full((k,), 1 / k, dtype=torch.float64).numpy(),
                self.x.double().cpu().numpy(),
                covariance.double().cpu().numpy(),
            ).to(self.x.device)
        m = self.covariance.shape[1]
        variance = torch.linalg.slogdet(covariance)[1].div(m).exp().double()
        try:
            family = component_family(manifold)
        except NotImplementedError:
            return None
        n_units = family.n_units(manifold)
        components = family(
            manifold, self.x.double(), variance[:, None].expand(k, n_units).clone()
        )
        weights = torch.full((k,), 1 / k, dtype=torch.float64, device=self.x.device)
        return ManifoldMixture(manifold, components, weights, 0.0)


def find_modes(
    energy: Callable[[Tensor], Tensor],
    starts: Tensor,
    manifold: BaseManifold,
    *,
    unit: float | Tensor = 1.0,
    n_steps: int = N_STEPS,
) -> Modes:
    """Return where ascents of the log density end, with the mass there.

    Parameters
    ----------
    energy : callable
        Minus the log density, unnormalised; maps points (n, d) to energies (n,).
    starts : Tensor of shape (n, d)
        Points of the manifold.
    manifold : BaseManifold
        With its dimension known.
    unit : float or Tensor of shape (d,), default=1.0
        The length in which steps are taken and widths are clipped; of each column in
        Euclidean space.
    n_steps : int, default=80
        Of each ascent.

    Returns
    -------
    modes : Modes
        At most 64.
    """
    ends, log_density = climb(energy, starts, manifold, unit=unit, n_steps=n_steps)
    kept = _distinct(ends / unit, log_density)
    x, log_density = ends[kept], log_density[kept]
    seen = TangentSpaceEnergy(energy, manifold, x, basis=tangent_basis(manifold, x))
    _, grad = energy_and_grad(seen, seen.origin())
    covariance = _covariances(seen, unit)
    newton = (covariance @ grad[:, :, None].to(covariance))[:, :, 0]
    has_converged = (newton * grad).sum(1) < 2 * NEARLY
    m = covariance.shape[1]
    half_log_det = 0.5 * torch.linalg.slogdet(covariance)[1]
    log_mass = log_density + 0.5 * m * math.log(2 * math.pi) + half_log_det
    return Modes(x, log_density, covariance, log_mass, has_converged)


def climb(
    energy: Callable[[Tensor], Tensor],
    x: Tensor,
    manifold: BaseManifold,
    *,
    unit: float | Tensor = 1.0,
    n_steps: int = N_STEPS,
) -> tuple[Tensor, Tensor]:
    """Return the highest points of ascents by Adam, and the log densities there.

    Every 16 steps an ascent ends that is within a quarter of a unit of a higher one.

    Parameters
    ----------
    energy, x, manifold, unit, n_steps
        See `find_modes`.

    Returns
    -------
    ends : Tensor of shape (k, d)
        No more than there are starts.
    log_density : Tensor of shape (k,)
    """
    best, lowest = x.clone(), x.new_full((len(x),), math.inf)
    seen = TangentSpaceEnergy(energy, manifold, x)
    first, second = torch.zeros_like(seen.origin()), torch.zeros_like(seen.origin())
    for t in range(1, n_steps + 2):
        # in frame coordinates, so that a step has the length that it should have
        seen = TangentSpaceEnergy(energy, manifold, x)
        value, grad = energy_and_grad(seen, seen.origin())
        value = torch.where(torch.isfinite(value), value, math.inf)
        grad = unit * torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        better = value < lowest
        lowest = torch.where(better, value, lowest)
        best = torch.where(better[:, None], x, best)
        if t > n_steps:
            break
        if t % MERGE_EVERY == 0:
            apart = _unmet(best / unit, lowest)
            x, grad, best, lowest = x[apart], grad[apart], best[apart], lowest[apart]
            first, second = first[apart], second[apart]
        first.lerp_(grad, 1 - BETAS[0])
        second.lerp_(grad.square(), 1 - BETAS[1])
        mean = first / (1 - BETAS[0] ** t)
        scale = (second / (1 - BETAS[1] ** t)).sqrt() + 1e-8
        left = (n_steps - t) / (n_steps / 3)
        step = -STEP * min(1.0, left) * unit * mean / scale
        x = manifold.retract(x, manifold.frame(x, step)).detach()
    return best, -lowest


def _unmet(x: Tensor, lowest: Tensor) -> Tensor:
    """Return indices of the points that are not near a higher one."""
    near = torch.cdist(x, x) < APART / 2
    order = torch.arange(len(x), device=x.device)
    ties = (lowest == lowest[:, None]) & (order < order[:, None])
    higher = (lowest < lowest[:, None]) | ties
    return torch.nonzero(~(near & higher).any(1))[:, 0]


def _distinct(x: Tensor, log_density: Tensor) -> Tensor:
    """Return indices of the highest points that are apart from one another."""
    order = torch.argsort(log_density, descending=True)
    order = order[torch.isfinite(log_density[order])]
    kept: list[int] = []
    near = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for i in order.tolist():
        if near[i]:
            continue
        kept.append(i)
        near |= torch.linalg.vector_norm(x - x[i], dim=1) < APART
        if len(kept) == MOST_MODES:
            break
    return torch.tensor(kept, dtype=torch.long, device=x.device)


def _covariances(seen: TangentSpaceEnergy, unit: float | Tensor) -> Tensor:
    """Return inverse Hessians of an energy, with clipped eigenvalues, (k, m, m)."""
    second = hessian(seen, seen.origin()).double()
    width = torch.as_tensor(unit, dtype=second.dtype, device=second.device)
    width = width.expand(second.shape[1])
    second = width[:, None] * second * width
    second = torch.nan_to_num(0.5 * (second + second.mT))
    values, vectors = torch.linalg.eigh(second)
    values = values.clamp(WIDEST**-2, NARROWEST**-2)
    return width[:, None] * ((vectors / values[:, None]) @ vectors.mT) * width
