"""Quadrature: log Z to many digits as a sum over a grid, in up to three dimensions."""

import math

import torch
from torch import Tensor, nn

from sk_wmvl._component import check_positive
from sk_wmvl.energies._base import evaluate_in_chunks
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers._base import (
    BaseNormalizer,
    CountedEnergy,
    LogNormalizer,
    is_flat,
)
from sk_wmvl.samplers._product_grid import Grid, initial_grid
from sk_wmvl.samplers.annealing import NegativeLogProb

__all__ = ["QuadratureNormalizer"]

# Draws of the proposal that show where to look.
N_LOCATE = 1000
# Nodes per axis, by dimension: while the box is sought; at the first sum; at the last.
N_BOX = {1: 65, 2: 33, 3: 17}
N_FIRST = {1: 128, 2: 64, 3: 32}
N_LAST = {1: 2**14, 2: 512, 3: 80}
# On a manifold, nodes per period.
N_FIRST_PERIOD = {1: 128, 2: 64, 3: 16}
N_LAST_PERIOD = {1: 2**14, 2: 1024, 3: 96}
GROWTH = 1.5  # from one sum to the next, of the nodes per period
MAX_MOVES = 60
# The box ends at sinh(20) = 2.4e8 scales of the proposal. A model has no mass beyond it.
FAR = 20.0

NOT_FINITE = "the energy is NaN, or infinite where the model should have its mass"
NOT_NORMALISABLE = (
    "its mass still grows at 1e8 times the width of the proposal, so that it has no "
    "normalising constant or tails too heavy to integrate"
)


def log_density(grid: Grid, energy: nn.Module, n: int) -> Tensor:
    """Return the log of the integrand over u on a grid, of shape (n,) * d."""
    x, jacobian = grid.nodes(n)
    value = jacobian - evaluate_in_chunks(energy, x)
    return value.view((n,) * len(grid.low))


def log_integral(grid: Grid, energy: nn.Module, n: int) -> float:
    """Return the log of the midpoint sum with n nodes per axis."""
    cell = ((grid.high - grid.low) / n).log().sum()
    return float(log_density(grid, energy, n).flatten().logsumexp(0) + cell)


def fit_box(energy: nn.Module, grid: Grid, log_cut: float) -> tuple[Grid, str]:
    """Move the faces of the box to where the integrand is negligible.

    The integrand is negligible where its log is `log_cut` below its maximum. A face where
    it is not moves out by half the box. A face with negligible nodes before it moves in,
    once the opposite face is negligible too.

    Returns
    -------
    grid : Grid
    problem : str
        Empty if the box was found.
    """
    n, d = N_BOX[len(grid.low)], len(grid.low)
    for _ in range(MAX_MOVES):
        value = log_density(grid, energy, n)
        top = float(value.max())  # NaN if any is
        if not math.isfinite(top):
            return grid, NOT_FINITE
        cell = (grid.high - grid.low) / n
        inward, outward = torch.zeros(2, d), torch.zeros(2, d, dtype=torch.bool)
        for axis in range(d):
            others = [other for other in range(d) if other != axis]
            profile = value.amax(others) if others else value
            # ">=", not ">": at a value of 1e20 the cut is lost in rounding
            kept = torch.nonzero(profile >= top + log_cut).flatten()
            ends = int(kept[0]), n - 1 - int(kept[-1])  # negligible nodes at each end
            for side, empty in enumerate(ends):
                outward[side, axis] = empty == 0
                if min(ends) > 0:
                    inward[side, axis] = empty - 1  # one stays as a margin
                elif empty == 0:  # only grow: the box must not creep after its maximum
                    inward[side, axis] = -0.5 * n
        outward = outward.to(grid.low.device)
        if bool((outward[0] & (grid.low <= -FAR)).any()) or bool(
            (outward[1] & (grid.high >= FAR)).any()
        ):
            return grid, NOT_NORMALISABLE
        inward = inward.to(grid.low)
        grid = grid._replace(
            low=(grid.low + inward[0] * cell).clamp(min=-FAR),
            high=(grid.high - inward[1] * cell).clamp(max=FAR),
        )
        if not bool(outward.any()) and bool((inward.sum(0) < 0.2 * n).all()):
            return grid, ""
    return grid, "no box was found that holds the mass of the model"


def has_quadrature(manifold: BaseManifold | None) -> bool:
    """Return whether a manifold has a rule, as most have in up to three dimensions."""
    if manifold is None or is_flat(manifold):
        return True
    if manifold.dim is None or manifold.dim > max(N_LAST_PERIOD):
        return False
    try:
        manifold.quadrature(4)
    except NotImplementedError:
        return False
    return True


class QuadratureNormalizer(BaseNormalizer):
    r"""Sum the density over a grid fitted to it.

    .. math:: Z = \int e^{-E(x(u))} \prod_i s_i \cosh u_i\,du,
              \qquad x_i = c_i + s_i \sinh u_i,

    by the midpoint rule. Its error falls faster than any power of the spacing for a smooth
    integrand that vanishes at the faces of the box. The hyperbolic sine turns polynomial
    tails into exponential ones in u, which need few nodes. The box is moved until the
    integrand at its faces is below 0.7 % of `tol` times the maximum. Then nodes are added,
    doubling the number of evaluations, until log Z changes by less than `tol`. The error
    reported is the last change, but at least `tol`.

    On a manifold the grid is the manifold's own rule. The nodes per period grow by half
    until log Z settles and the integral of the proposal is one within `tol`. Two grids that
    both miss a spike agree on log Z, but not on that integral. There is a warning if the
    finest grid, 1024 nodes per period in two dimensions and 96 in three, is too coarse.

    The method works in up to three dimensions. It is the only one that can tell that an
    energy has no normalising constant: its mass keeps growing with the box.

    Parameters
    ----------
    n_nodes : int, default=None
        Most nodes per axis, at least 8. None is 16384 in one dimension, 512 in two and 80
        in three: at most half a million and a million evaluations.
    tol : float, default=1e-5
        Change of log Z at which to stop, in nats.

    Notes
    -----
    Center c and scale s are medians and deviations of draws of the proposal. A separate
    mode can be missed if it is narrower than the spacing of the first grid, which is about
    1/64 of the model's width in two dimensions.

    References
    ----------
    [Trefethen2014]_

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.normalizers import QuadratureNormalizer
    >>> energy = lambda x: (x**4).sum(-1)  # the integral is 2 Gamma(5/4) on each axis
    >>> proposal = GaussianBase(np.zeros(2), np.eye(2))
    >>> g = torch.Generator().manual_seed(0)
    >>> z = QuadratureNormalizer().log_normalizer(energy, proposal, generator=g)
    >>> round(z.value, 6)  # 2 log(1.8128049541)
    1.189751
    """

    def __init__(self, n_nodes: int | None = None, *, tol: float = 1e-5):
        self.n_nodes = n_nodes
        self.tol = tol

    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z; see `BaseNormalizer.estimate`."""
        check_positive(self, tol=self.tol)
        if manifold is not None and not is_flat(manifold):
            return self._on_manifold(energy, proposal, manifold)
        x = proposal.sample(N_LOCATE, generator=generator)
        d = x.shape[1]
        if d not in N_LAST:
            raise ValueError(
                f"QuadratureNormalizer works in 1 to 3 dimensions; the model has {d}. "
                "Use normalizer='importance', 'annealed' or 'auto'."
            )
        last = N_LAST[d] if self.n_nodes is None else self.n_nodes
        if not (isinstance(last, int) and last >= 8):
            raise ValueError(
                "n_nodes of QuadratureNormalizer must be None or an integer >= 8; got "
                f"{last!r}."
            )
        counted = CountedEnergy(energy)
        grid, problem = fit_box(counted, initial_grid(x), math.log(self.tol) - 5)
        value, change = math.nan, math.inf
        if problem == NOT_NORMALISABLE:
            value = math.inf
        elif not problem:
            n = min(N_FIRST[d], last // 2)
            value = log_integral(grid, counted, n)
            while change > self.tol and n < last:
                n = min(math.ceil(n * 2 ** (1 / d)), last)
                before, value = value, log_integral(grid, counted, n)
                change = abs(value - before)
            if not change <= self.tol:  # NaN has not converged either
                problem = f"it still changed by {change:.1g} at {n} nodes per axis"
        error = max(change, self.tol)  # the box is only as good as `tol`, too
        return LogNormalizer(
            value, error, counted.n_evaluations, math.inf, "quadrature", problem
        )

    def _on_manifold(
        self, energy: nn.Module, proposal: nn.Module, manifold: BaseManifold
    ) -> LogNormalizer:
        """Sum over the manifold's own rule, with more and more nodes."""
        d = manifold.dim
        if d is None or not has_quadrature(manifold):
            raise ValueError(
                f"QuadratureNormalizer has no rule for {manifold!r}: there are rules in "
                "one to three dimensions, on circles, spheres, tori, rotations, simplices "
                "and their products. Use normalizer='importance', 'annealed' or 'auto'."
            )
        last = N_LAST_PERIOD[d] if self.n_nodes is None else self.n_nodes
        like = next(proposal.buffers())
        counted = CountedEnergy(energy)

        def log_integral(n: int) -> tuple[float, float]:
            nodes, log_weights = (t.to(like) for t in manifold.quadrature(n))
            value = -evaluate_in_chunks(counted, nodes)
            # Two grids that both miss a spike agree. The proposal, which has the model's
            # spikes, is known to integrate to one.
            known = -evaluate_in_chunks(NegativeLogProb(proposal), nodes)
            missed = abs(float((known + log_weights).logsumexp(0)))
            return float((value + log_weights).logsumexp(0)), missed

        n = min(N_FIRST_PERIOD[d], last)
        (value, missed), change = log_integral(n), math.inf
        while max(change, missed) > self.tol and n < last:
            n = min(math.ceil(GROWTH * n), last)
            before, (value, missed) = value, log_integral(n)
            change = abs(value - before)
        change = max(change, missed)
        problem = ""
        if not change <= self.tol:
            problem = f"{n} nodes per period still leave an error of {change:.1g}"
        if not math.isfinite(value):
            problem = NOT_FINITE
        return LogNormalizer(
            value,
            max(change, self.tol),
            counted.n_evaluations,
            math.inf,
            "quadrature",
            problem,
        )
