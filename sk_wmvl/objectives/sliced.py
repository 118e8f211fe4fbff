"""Sliced score matching: the Laplacian from random directions."""

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_grad_quadratic
from sk_wmvl._component import check_positive
from sk_wmvl._random import rademacher
from sk_wmvl.objectives._base import BaseObjective

__all__ = ["SlicedScoreMatching"]


class SlicedScoreMatching(BaseObjective):
    r"""Score matching along random directions.

    .. math::

        \ell(x) = \frac1K\sum_{k=1}^K\Bigl[\tfrac12 (v_k^\top\nabla E)^2
            - v_k^\top\nabla^2E\,v_k\Bigr],

    with :math:`v_k` random signs; with `variance_reduced` the first term is replaced by
    its expectation :math:`\frac12\|\nabla E\|^2`. Unbiased for score matching.

    Parameters
    ----------
    n_projections : int, default=1
        The number K of directions at each sample.
    variance_reduced : bool, default=True
        Whether the norm of the gradient is taken exactly.

    References
    ----------
    [Song2019]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.objectives import SlicedScoreMatching
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> SlicedScoreMatching()(energy, torch.tensor([[2.0, 0.0]])).detach()
    tensor([0.])
    """

    def __init__(self, n_projections: int = 1, *, variance_reduced: bool = True):
        self.n_projections = n_projections
        self.variance_reduced = variance_reduced

    def needs_gradient_alone(self) -> bool:
        """Return True: the rest of a base measure is a constant."""
        return True

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        check_positive(self, n_projections=self.n_projections)
        v = rademacher((self.n_projections, *x.shape), x, generator)
        _, grad, form = energy_grad_quadratic(
            energy, x, v, create_graph=torch.is_grad_enabled()
        )
        if self.variance_reduced:
            norm = grad.square().sum(-1)
        else:
            norm = (grad * v).sum(-1).square().mean(0)
        return 0.5 * norm - form
