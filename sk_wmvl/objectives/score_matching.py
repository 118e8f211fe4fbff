"""Exact score matching: the objective that the other local objectives estimate."""

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_grad_laplacian
from sk_wmvl.objectives._base import BaseObjective

__all__ = ["ScoreMatching"]


class ScoreMatching(BaseObjective):
    r"""Hyvärinen's objective with the exact Laplacian.

    .. math:: \ell(x) = \tfrac12\|\nabla E(x)\|^2 - \Delta E(x),

    eq. (7) of the paper. Its expectation is the Fisher divergence
    :math:`\frac12\mathbb{E}_p\|\nabla\log p - \nabla\log q\|^2` up to a constant. The cost
    is d Hessian-vector products, each with a graph for the parameters.

    References
    ----------
    [Hyvarinen2005]_

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.objectives import ScoreMatching
    >>> ScoreMatching()(lambda x: 0.5 * (x**2).sum(-1), torch.tensor([[2.0, 0.0]]))
    tensor([0.], grad_fn=<SubBackward0>)
    """

    def counts_dimensions(self) -> bool:
        """Return True: the Laplacian is summed over the coordinates."""
        return True

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
        del generator
        _, grad, laplacian = energy_grad_laplacian(
            energy, x, create_graph=torch.is_grad_enabled()
        )
        return 0.5 * grad.square().sum(-1) - laplacian
