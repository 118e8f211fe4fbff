"""Langevin dynamics on a manifold in local coordinates: eq. (18), its sign corrected."""

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import metric_drift, pullback, pushforward
from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.samplers._base import BaseSampler, State, Transition
from sk_wmvl.samplers.riemannian_langevin import known_manifold

__all__ = ["LocalRiemannianLangevin"]


class LocalRiemannianLangevin(BaseSampler):
    r"""Euler step of the Langevin diffusion in a chart around each point.

    .. math::

        (y^-)^i = y^i + \epsilon\Bigl[-\beta g^{ij}\,\partial_j E
            + \tfrac12 g^{ij}\,\partial_j\log|G| + \partial_k g^{ik}\Bigr]
            + \sqrt{2\epsilon}\,z^i, \qquad z \sim N(0, G^{-1}(y)).

    With :math:`\beta=\frac12` this is eq. (18) of the paper with the sign of
    :math:`\log|G|` corrected; see :doc:`/misprints`. Only the energy is tempered. The terms
    in the metric make Brownian motion for every :math:`\beta`.

    Parameters
    ----------
    manifold : BaseManifold or None, default=None
        The manifold, with its dimension known and with `chart`. None is that of the
        estimator in whose objective the sampler serves; elsewhere a manifold is needed.
    step_size : float, default=1e-3
        The step :math:`\epsilon`, a squared geodesic length.

    See Also
    --------
    RiemannianLangevin : The same to first order, without derivatives of the metric.

    Notes
    -----
    Derivation: the target's density with respect to Lebesgue measure in the chart is
    :math:`\pi = e^{-\beta E}\sqrt{|G|}`. The diffusion with coefficient :math:`2G^{-1}`
    that leaves :math:`\pi` invariant has the drift
    :math:`G^{-1}\nabla\log\pi + \nabla\cdot G^{-1}`.

    The derivatives of the metric come from automatic differentiation, m + 2 backward passes
    for a step. Each point lies well inside a chart of its own. The noise returned is pushed
    forward to ambient coordinates at the old point, as the gradient of the state is. The
    sampler moves points of a manifold, so it has no name in `SAMPLERS`.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    From the pole of the sphere, where the mean of :math:`x_3` must fall like
    :math:`1 - 2\epsilon`:

    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.samplers import LocalRiemannianLangevin, evaluate
    >>> x = torch.tensor([[0.0, 0.0, 1.0]]).repeat(10_000, 1)
    >>> flat = lambda x: 0 * x.sum(-1)
    >>> g = torch.Generator().manual_seed(0)
    >>> sampler = LocalRiemannianLangevin(Sphere(2), 0.01)
    >>> step = sampler.step(flat, evaluate(flat, x), generator=g)
    >>> round(step.x[:, 2].mean().item(), 2)
    0.98
    """

    def __init__(self, manifold: BaseManifold | None = None, step_size: float = 1e-3):
        self.manifold = manifold
        self.step_size = step_size

    def step(
        self,
        energy: nn.Module,
        state: State,
        *,
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        antithetic: bool = False,
    ) -> Transition:
        """Take one step; see `BaseSampler.step`."""
        del energy
        check_positive(self, step_size=self.step_size)
        step = float(self.step_size)
        manifold = known_manifold(self, self.manifold)
        y, to_manifold, metric = manifold.chart(state.x.detach())
        g, brownian = metric_drift(metric, y)
        factor, info = torch.linalg.cholesky_ex(g)
        check_definite(manifold, info)
        covector = pullback(to_manifold, y, state.grad).unsqueeze(-1)
        grad = torch.cholesky_solve(covector, factor).squeeze(-1)
        # With G = L L' the noise L'^{-1} z has covariance G^{-1}.
        z = randn_like(y, generator).unsqueeze(-1)
        noise = (2 * step) ** 0.5 * torch.linalg.solve_triangular(
            factor.mT, z, upper=True
        ).squeeze(-1)
        mean = y + step * (brownian - beta * grad)
        return Transition(
            to_manifold(mean + noise),
            noise=pushforward(to_manifold, y, noise),
            mirror=to_manifold(mean - noise) if antithetic else None,
            step_size=step,
        )


def check_definite(manifold: BaseManifold, info: Tensor) -> None:
    """Raise ValueError unless every Cholesky factorisation of the metric succeeded."""
    if bool(info.any()):
        row = int(info.nonzero()[0])
        raise ValueError(
            f"The metric of {manifold!r} is not positive definite at row {row}. Check the "
            "function of the chart, or the distance of the point from the chart's edge."
        )
