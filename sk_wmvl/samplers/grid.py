"""Independent draws on compact manifolds of few dimensions: rejection under a grid."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers._envelope import CHUNK, FLOOR, Cells, CubeFunction

__all__ = ["IndependentDraws", "draw_on_grid", "thin_base"]

N_SEEDS = 8192  # draws of the proposal that show where spikes are
N_EVALUATIONS = 300_000  # of the energy, at most, while cells are split
ACCEPTANCE = 0.7  # at which cells are fine enough
LEAST_ACCEPTANCE = 0.02
LEAST_KEPT = 0.1  # of the draws of the base
MIN_PROPOSALS = 8192  # so that the envelope is tested even if one draw is asked for
MAX_PROPOSALS = 2**17  # at a time
MAX_RESTARTS = 30
N_SPLITS = 6  # of a cell in which a proposal was above the envelope


class IndependentDraws(NamedTuple):
    """Independent draws, and what they took.

    Attributes
    ----------
    x : Tensor of shape (n, d)
        The draws.
    acceptance : float
        The share of proposals that was accepted.
    n_cells : int
        Cells of the envelope.
    n_evaluations : int
        How many points the energy was evaluated at.
    n_restarts : int
        How often a proposal was above the envelope, which was then raised, and all draws
        begun anew.
    """

    x: Tensor
    acceptance: float
    n_cells: int
    n_evaluations: int
    n_restarts: int


def refine(cells: Cells, least: float) -> float:
    """Split the cells that waste most until enough proposals will be accepted.

    Returns the share that will be, as the probes have it.
    """
    while True:
        waste = cells.bounds()[2]
        acceptance = 1 - float(waste.sum())
        left = N_EVALUATIONS - cells.target.n_evaluations
        if acceptance >= least or left <= 0 or not math.isfinite(acceptance):
            return acceptance
        order = waste.argsort(descending=True)
        # those that hold half of the waste
        n = 1 + int((waste[order].cumsum(0) < 0.5 * waste.sum()).sum())
        most = max(1, left // (2 * cells.probes.shape[1]))
        cells.split(order[: min(n, most)])


class Kept(NamedTuple):
    """The first accepted proposals, and the share of all that was accepted."""

    points: Tensor
    acceptance: float


def collect(
    propose: Callable[[int], Tensor | None], n_samples: int, rate: float
) -> Kept | None:
    """Return accepted proposals, or None as soon as one was above its bound.

    Parameters
    ----------
    propose : callable
        Makes n proposals and returns those accepted; or raises its bounds and returns
        None.
    n_samples : int
    rate : float
        The share that will be accepted, about.
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

    The manifold is cut into cells, each with a constant that bounds the density there.
    A proposal is a cell, by the volume under its constant, and a uniform point in it,
    accepted with the density's share of the constant. What is accepted is distributed
    by the model itself, not by its values on the grid. Cells are halved where proposals
    are wasted, and where draws of `proposal` show spikes, until about 0.7 of the proposals
    are accepted.

    The constant is the largest value of some points plus a margin: a bound of smooth
    densities, but no proof. A proposal that is found above it raises it; the cell is
    halved, all draws are thrown away, and all is begun anew. At least 8192 proposals are
    made, so that a place above its constant with a share s of the envelope escapes with
    probability :math:`(1-s)^{8192}` or less. What can be missed is a needle that no
    probe, proposal or draw of `proposal` has met, as it would be by any other method.

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
        None if less than 0.02 of the proposals would be accepted after 300 000
        evaluations, or the energy is not finite.

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

        # B023: it is called within the same round only, before these are bound anew.
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
            return IndependentDraws(
                x, kept.acceptance, len(bound), target.n_evaluations, restart
            )
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
    probability :math:`e^{-\lambda E_\theta}/M`. The bound M is the largest of a grid of
    cells, each with a margin as in `draw_on_grid`, and raised, with all begun anew, by
    draws found above it. Where the correction is mild this is cheaper: the base, which
    may be a kernel estimate at thousands of rows, is never evaluated.

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
        None if less than 0.1 of the base's draws would be kept.

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
        value = torch.cat([log_ratio(part) for part in x.split(CHUNK)])
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
                kept.points, kept.acceptance, len(cells.low), n_evaluations, restart
            )
    return None
