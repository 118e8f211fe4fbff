"""Independent draws on compact manifolds of few dimensions: rejection under a grid."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.energies._base import evaluate_in_chunks
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers._envelope import FLOOR, Cells, CubeFunction

__all__ = ["IndependentDraws", "draw_on_grid", "thin_base"]

N_SEEDS = 8192  # draws of the proposal that show where spikes are
N_EVALUATIONS = 300_000  # of the energy, at most, while cells are split
ACCEPTANCE = 0.7  # at which cells are fine enough
LEAST_ACCEPTANCE = 0.02
LEAST_KEPT = 0.1  # the fraction of the draws of the base
MIN_PROPOSALS = 8192  # enough to test the envelope even if one draw is asked for
MAX_PROPOSALS = 2**17  # at a time
MAX_RESTARTS = 30
N_SPLITS = 6  # of a cell in which a proposal was above the envelope


class IndependentDraws(NamedTuple):
    """Independent draws, and what they cost.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        The draws.
    acceptance : float
        The fraction of proposals that was accepted.
    n_evaluations : int
        Number of points at which the energy was evaluated.
    n_restarts : int
        How often a proposal was above the envelope. Each time the envelope was raised and
        all draws were made anew.
    """

    x: Tensor
    acceptance: float
    n_evaluations: int
    n_restarts: int


def refine(cells: Cells, least: float) -> float:
    """Split the most wasteful cells until enough proposals will be accepted.

    Returns the fraction that will be accepted, by the values of the probes.
    """
    while True:
        waste = cells.bounds()[2]
        acceptance = 1 - float(waste.sum())
        left = N_EVALUATIONS - cells.target.n_evaluations
        if acceptance >= least or left <= 0 or not math.isfinite(acceptance):
            return acceptance
        order = waste.argsort(descending=True)
        # the cells with half of the waste
        n = 1 + int((waste[order].cumsum(0) < 0.5 * waste.sum()).sum())
        most = max(1, left // (2 * cells.probes.shape[1]))
        cells.split(order[: min(n, most)])


class Kept(NamedTuple):
    """The first accepted proposals, and the fraction of all that was accepted."""

    points: Tensor
    acceptance: float


def collect(
    propose: Callable[[int], Tensor | None], n_samples: int, rate: float
) -> Kept | None:
    """Return accepted proposals, or None as soon as one is above its bound.

    Parameters
    ----------
    propose : callable
        Makes n proposals and returns the accepted ones. If one is above its bound, it
        raises the bound and returns None.
    n_samples : int
        Number of accepted proposals to return.
    rate : float
        A guess at the fraction that will be accepted.
    """
    kept: list[Tensor] = []
    n_kept = n_tried = 0
    while n_kept < n_samples or n_tried < MIN_PROPOSALS:
        if n_kept:
            rate = n_kept / n_tried
        n = math.ceil(1.1 * (n_samples - n_kept) / rate)
        n = min(max(n, MIN_PROPOSALS), MAX_PROPOSALS)
        points = propose(n)
        if points is None:
            return None
        kept.append(points)
        n_kept, n_tried = n_kept + len(points), n_tried + n
    return Kept(torch.cat(kept)[:n_samples], n_kept / n_tried)


def draw_on_grid(
    energy: nn.Module,
    proposal: nn.Module,
    n_samples: int,
    *,
    generator: torch.Generator,
    manifold: BaseManifold,
) -> IndependentDraws | None:
    r"""Return independent draws from :math:`\exp(-E)`, by rejection under an envelope.

    The manifold is cut into cells, each with a constant that bounds the density there. A
    proposal is a uniform point in a cell, which is chosen by the volume under its constant.
    It is accepted with the ratio of the density to the constant as probability. Accepted
    points are exact draws of the model, whatever the grid. Cells are halved where proposals
    are wasted, and where draws of `proposal` show spikes, until about 0.7 of the proposals
    are accepted.

    The constant is the largest value at some points plus a margin. It bounds smooth
    densities, but there is no proof. A proposal above the constant raises it. Its cell is
    then halved, and all draws are thrown away and made anew. At least 8192 proposals are
    made, so that a region above its constant, with a fraction s of the volume under the
    envelope, is overlooked with probability at most :math:`(1-s)^{8192}`. A spike can be
    missed if no probe, proposal or draw of `proposal` meets it, as by any other method.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    proposal : Module
        A normalised density with ``sample``.
    n_samples : int
        How many draws.
    generator : torch.Generator
        Source of noise, on the CPU.
    manifold : BaseManifold
        With `from_cube`, and one to three dimensions.

    Returns
    -------
    draws : IndependentDraws or None
        None if fewer than 0.02 of the proposals would be accepted after 300 000
        evaluations, or if the energy is not finite.

    References
    ----------
    [Devroye1986]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.base_measures import UniformBase
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.samplers import draw_on_grid
    >>> north = lambda x: -5.0 * x[:, 2]
    >>> g = torch.Generator().manual_seed(0)
    >>> sphere = Sphere(2)
    >>> draws = draw_on_grid(north, UniformBase(sphere), 1000, generator=g, manifold=sphere)
    >>> draws.x.shape, draws.acceptance > 0.6
    (torch.Size([1000, 3]), True)
    """
    x = proposal.sample(N_SEEDS, generator=generator)
    target = CubeFunction(lambda x, log_volume: log_volume - energy(x), manifold, x)
    cells = Cells(target, manifold.to_cube(x).double().cpu())
    for restart in range(MAX_RESTARTS):
        if not refine(cells, ACCEPTANCE) >= LEAST_ACCEPTANCE:
            return None
        bound, log_mass, _ = cells.bounds()
        cumulative = log_mass.softmax(0).cumsum(0)

        # B023: it is called in the same round only, before these names are bound anew.
        def propose(n: int) -> Tensor | None:
            w = torch.rand(
                n, 2 + cells.low.shape[1], generator=generator, dtype=torch.float64
            )
            cell = torch.searchsorted(cumulative, w[:, 0] * cumulative[-1])  # noqa: B023 - see above
            u = cells.low[cell] + cells.size[cell] * w[:, 2:]
            value = target(u)
            above = ~(value <= bound[cell])  # noqa: B023 - see above
            if bool(above.any()):
                cells.add_seeds(u[above], value[above], cell[above])
                for _ in range(N_SPLITS):
                    cells.split(cells.cell_of[-int(above.sum()) :].unique())
                return None
            return u[w[:, 1].log() < value - bound[cell]]  # noqa: B023 - see above

        kept = collect(propose, n_samples, ACCEPTANCE)
        if kept is not None:
            x, _ = manifold.from_cube(kept.points.to(x))
            return IndependentDraws(x, kept.acceptance, target.n_evaluations, restart)
    return None


def thin_base(
    energy: CorrectedEnergy,
    n_samples: int,
    *,
    generator: torch.Generator,
    manifold: BaseManifold,
) -> IndependentDraws | None:
    r"""Return independent draws from a corrected base measure, by thinning its draws.

    With :math:`E=\lambda E_\theta-\log q_0` a draw of :math:`q_0` is kept with
    probability :math:`e^{-\lambda E_\theta}/M`. The bound M is the largest among those of
    a grid of cells, as in `draw_on_grid`. A draw above it raises it, and all draws are made
    anew. This is cheaper than `draw_on_grid` if the correction is mild: the base, perhaps a
    kernel estimate at thousands of rows, is never evaluated.

    Parameters
    ----------
    energy : CorrectedEnergy
        With a base.
    n_samples : int
        How many draws.
    generator : torch.Generator
        Source of noise, on the CPU.
    manifold : BaseManifold
        With `from_cube`, and one to three dimensions.

    Returns
    -------
    draws : IndependentDraws or None
        None if fewer than 0.1 of the draws of the base would be kept.

    References
    ----------
    [Devroye1986]_
    """
    base = energy.base
    assert base is not None

    def log_ratio(x: Tensor, log_volume: Tensor | None = None) -> Tensor:
        del log_volume
        return -energy.scale * energy.correction(x)

    x = base.sample(N_SEEDS, generator=generator)
    target = CubeFunction(log_ratio, manifold, x)
    cells = Cells(target, manifold.to_cube(x).double().cpu())
    bound = float(cells.bounds()[0].max())
    rate = float((cells.seed_values - bound).exp().mean())
    if not rate >= LEAST_KEPT:
        return None
    n_evaluations = target.n_evaluations

    @torch.no_grad()
    def propose(n: int) -> Tensor | None:
        nonlocal bound, n_evaluations
        x = base.sample(n, generator=generator)
        value = evaluate_in_chunks(log_ratio, x)
        n_evaluations += n
        if not bool((value <= bound).all()):
            bound = float(value.max()) + FLOOR
            return None
        w = torch.rand(n, generator=generator, dtype=torch.float64).to(value)
        return x[w.log() < value - bound]

    for restart in range(MAX_RESTARTS):
        kept = collect(propose, n_samples, rate)
        if kept is not None:
            return IndependentDraws(
                kept.points, kept.acceptance, n_evaluations, restart
            )
    return None
