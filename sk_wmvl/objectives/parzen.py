"""Parzen score matching: regress on the score of a kernel estimate of the batch."""

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.objectives._base import BaseObjective, warn_below_floor

__all__ = ["ParzenScoreMatching"]

FLOAT32_FLOOR = 1e-4  # as of denoising, which it is for points far apart


class ParzenScoreMatching(BaseObjective):
    r"""Regress the score on that of a Parzen estimate, at draws from the estimate.

    The kernel estimate of a batch is
    :math:`\hat p_\sigma(y) = \frac1n\sum_j N(y; x_j, \sigma^2 I)`, with score
    :math:`\hat s(y) = -\sum_j w_j(y)\,z_j/\sigma`, where :math:`z_j = (y - x_j)/\sigma`
    and :math:`w_j \propto e^{-\|z_j\|^2/2}` sum to one. At one draw
    :math:`\tilde x = x + \sigma z` from the kernel at each row,

    .. math::

        \ell(x) = \tfrac12\|\nabla E(\tilde x) + \hat s(\tilde x)\|^2
            - \tfrac12\|\hat s(\tilde x)\|^2
            = \tfrac12\|\nabla E(\tilde x)\|^2
            - \frac1\sigma\sum_j w_j(\tilde x)\,z_j^\top\nabla E(\tilde x),

    or with the control variate, whose mean is zero,

    .. math::

        \ell(x) = \tfrac12\|\nabla E(\tilde x)\|^2 - \frac1\sigma\sum_j
            w_j(\tilde x)\,z_j^\top\bigl[\nabla E(\tilde x) - \nabla E(x_j)\bigr].

    Both have the expectation of `DenoisingScoreMatching`: score matching of the data
    blurred by :math:`N(0, \sigma^2I)`. They are the conditional expectations of its two
    forms given the blurred point, over all rows that the point may have come from. Their
    variance is therefore no larger. They are equal to its two forms where rows are much
    further apart than :math:`\sigma`.

    Parameters
    ----------
    sigma : float, default=0.1
        The bandwidth, in units of `x`.
    control_variate : bool, default=True
        Whether to use the second form, for one more gradient.

    See Also
    --------
    DenoisingScoreMatching : The same in expectation, with rows apart; also on manifolds.

    Notes
    -----
    The loss of a row depends on the other rows of its batch. The cost grows with the square
    of the batch. The expectation does not depend on the batch, because the regression is
    linear in the estimate. In float32 a `sigma` below 1e-4 draws a RuntimeWarning.

    References
    ----------
    [Raphan2011]_, [Vincent2011]_

    Examples
    --------
    With a batch of one row it is denoising score matching.

    >>> import torch
    >>> from sk_wmvl.objectives import DenoisingScoreMatching, ParzenScoreMatching
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.tensor([[2.0, 0.0]])
    >>> losses = [
    ...     objective(0.5)(energy, x, generator=torch.Generator().manual_seed(0))
    ...     for objective in (ParzenScoreMatching, DenoisingScoreMatching)
    ... ]
    >>> torch.allclose(*losses)
    True
    """

    def __init__(self, sigma: float = 0.1, *, control_variate: bool = True):
        self.sigma = sigma
        self.control_variate = control_variate

    def couples_rows(self) -> bool:
        """Return True: a row is compared with the noised ones of its batch."""
        return True

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        check_positive(self, sigma=self.sigma)
        warn_below_floor(self, self.sigma, x, FLOAT32_FLOOR)
        graph, x = torch.is_grad_enabled(), x.detach()
        blurred = x + self.sigma * randn_like(x, generator)
        z = (blurred[:, None] - x) / self.sigma  # (n, n, d)
        share = torch.softmax(-0.5 * z.square().sum(-1), 1)
        points = torch.cat([blurred, x]) if self.control_variate else blurred
        _, grads = energy_and_grad(energy, points, create_graph=graph)
        at_blurred = grads[: len(x)]
        pull = torch.einsum("ij,ijd->id", share, z)
        inner = (pull * at_blurred).sum(-1)
        if self.control_variate:
            at_data = torch.einsum("ijd,jd->ij", z, grads[len(x) :])
            inner = inner - (share * at_data).sum(1)
        return 0.5 * at_blurred.square().sum(-1) - inner / self.sigma
