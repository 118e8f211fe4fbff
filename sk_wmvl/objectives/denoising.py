"""Denoising score matching, with a control variate that bounds its variance as σ → 0."""

import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._component import check_positive
from sk_wmvl._random import randn_like
from sk_wmvl.objectives._base import BaseObjective, warn_below_floor

__all__ = ["DenoisingScoreMatching"]

# A difference of gradients over sigma; x + sigma z must itself be resolved in float32.
FLOAT32_FLOOR = 1e-4


class DenoisingScoreMatching(BaseObjective):
    r"""Regress the score of noised data on the noise.

    With :math:`\tilde x = x + \sigma z`, :math:`z\sim N(0,I)`,

    .. math::

        \ell(x) = \tfrac12\Bigl\|\nabla E(\tilde x) - \frac{z}{\sigma}\Bigr\|^2
            - \frac{d}{2\sigma^2}

    whose standard deviation grows like :math:`\sigma^{-2}`, or with the control variate

    .. math::

        \ell(x) = \tfrac12\|\nabla E(\tilde x)\|^2
            - \frac{1}{\sigma} z^\top\bigl(\nabla E(\tilde x) - \nabla E(x)\bigr),

    whose variance stays bounded: eq. (15) of the paper, on this package's scale. Both have
    the same expectation: score matching of the data blurred by :math:`N(0,\sigma^2 I)`.

    The first form is the loss of deep energy estimator networks,
    :math:`\|x - \tilde x + \sigma^2\nabla E(\tilde x)\|^2`, over :math:`2\sigma^4` and less
    a constant: ``objective="deen"`` is this class without the control variate.

    Parameters
    ----------
    sigma : float, default=0.1
        Standard deviation of the noise, in units of `x`. The paper's ε is
        :math:`\sigma^2`.
    control_variate : bool, default=True
        Whether to use the second form, for one more gradient.

    Notes
    -----
    In float32 a `sigma` below 1e-4 draws a RuntimeWarning.

    References
    ----------
    [Vincent2011]_, [Saremi2018]_, [Wang2020]_

    Examples
    --------
    For a standard normal model and a small σ the mean at `x` is
    :math:`\frac12\|x\|^2 - d`.

    >>> import torch
    >>> from sk_wmvl.objectives import DenoisingScoreMatching
    >>> energy = lambda x: 0.5 * (x**2).sum(-1)
    >>> x = torch.full((100_000, 1), 2.0, dtype=torch.float64)
    >>> g = torch.Generator().manual_seed(0)
    >>> round(DenoisingScoreMatching(0.01)(energy, x, generator=g).mean().item(), 1)
    1.0
    """

    def __init__(self, sigma: float = 0.1, *, control_variate: bool = True):
        self.sigma = sigma
        self.control_variate = control_variate

    def counts_dimensions(self) -> bool:
        """Return whether the value has a constant in proportion to the dimension."""
        return not self.control_variate

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
        graph = torch.is_grad_enabled()
        z = randn_like(x, generator)
        noised = x + self.sigma * z
        if not self.control_variate:
            _, grad = energy_and_grad(energy, noised, create_graph=graph)
            residual = (grad - z / self.sigma).square().sum(-1)
            return 0.5 * (residual - x.shape[1] / self.sigma**2)
        _, grads = energy_and_grad(energy, torch.cat([noised, x]), create_graph=graph)
        at_noised, at_data = grads.view(2, *x.shape)
        inner = (z * (at_noised - at_data)).sum(-1)
        return 0.5 * at_noised.square().sum(-1) - inner / self.sigma
