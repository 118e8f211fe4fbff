"""Kernel estimates as a base measure: components at the rows, left out at their own."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.components import chunk_size
from sk_wmvl.base_measures.manifold_mixture import ManifoldMixture

__all__ = ["KernelBase", "LeftOut", "base_gradient"]

# Rows at a time, and entries of an array of rows and components.
GRADIENT_CHUNK, MOST_ENTRIES = 8192, 16_000_000


class KernelBase(BaseMeasure):
    """Kernel density estimates on a manifold, stacked over a uniform background.

    Parameters
    ----------
    mixture : ManifoldMixture
        Components at the rows, one or several at each, and then others.
    centers : Tensor of shape (K, d)
        The rows at which the first K components of the mixture are.

    See Also
    --------
    fit_kernel_base : Chooses the bandwidths.

    Examples
    --------
    A row does not see the component at its own place when it is left out:

    >>> import torch
    >>> from sk_wmvl.base_measures import KernelBase, ManifoldMixture
    >>> from sk_wmvl.base_measures.components import VonMises
    >>> from sk_wmvl.manifolds import Torus
    >>> x = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    >>> q = KernelBase(ManifoldMixture(Torus(1), VonMises(Torus(1), x, 0.1), half, 0), x)
    >>> bool(q.log_prob_left_out(x)[0] < q.log_prob(x)[0] - 10)
    True
    """

    centers: Tensor

    def __init__(self, mixture: ManifoldMixture, centers: Tensor):
        super().__init__()
        self.mixture = mixture
        self.register_buffer("centers", centers)

    @property
    def n_components(self) -> int:
        """The number of components."""
        return self.mixture.n_components

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.mixture.log_prob(x)

    def log_prob_left_out(self, x: Tensor) -> Tensor:
        """Return log densities, of shape (n,), without components at the point itself.

        A row that the estimate was made of would see itself in its own component.
        """
        own = same_rows(x.detach(), self.centers)
        size = chunk_size(self.n_components)
        values = []
        for rows, mask in zip(x.split(size), own.split(size), strict=True):
            joint = self.mixture.joint(rows)
            k = mask.shape[1]
            kept = joint[:, :k].masked_fill(mask, -torch.inf)
            # the weights of the others are scaled up to one
            left = 1 - mask.to(joint.dtype) @ self.mixture.log_weights[:k].exp()
            rest = torch.cat([kept, joint[:, k:]], -1).logsumexp(-1)
            values.append(rest - left.clamp(min=1e-300).log())
        return torch.cat(values)

    def sample(
        self, n_samples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return independent draws of shape (n_samples, d)."""
        return self.mixture.sample(n_samples, generator=generator)

    def inflated(self, factor: float) -> ManifoldMixture:
        """Return the mixture of inflated components."""
        return self.mixture.inflated(factor)


class LeftOut(nn.Module):
    """A kernel estimate as its own rows see it: `log_prob_left_out`.

    Parameters
    ----------
    base : KernelBase
        The estimate.
    """

    def __init__(self, base: KernelBase):
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        """Return log densities of shape (n,)."""
        return self.base.log_prob_left_out(x)


def base_gradient(base: BaseMeasure, x: Tensor) -> Tensor:
    """Return derivatives of a base's log density; a kernel estimate leaves the row out.

    Parameters
    ----------
    base : BaseMeasure
        Copied to where `x` is.
    x : Tensor of shape (n, d)
        Points, in the dtype of the base.

    Returns
    -------
    gradient : Tensor of shape (n, d)
    """
    own: nn.Module = LeftOut(base) if isinstance(base, KernelBase) else base
    own = copy.deepcopy(own).to(x.device)
    size = min(GRADIENT_CHUNK, max(1, MOST_ENTRIES // base.n_components))
    grads = [energy_and_grad(own, rows)[1] for rows in x.split(size)]
    return torch.cat(grads)


def same_rows(x: Tensor, centers: Tensor) -> Tensor:
    """Return whether points equal centers to the last bit, of shape (n, K)."""
    both = torch.cat([x.to(centers), centers]).cpu().numpy()
    _, inverse = np.unique(both, axis=0, return_inverse=True)
    label = torch.from_numpy(inverse.reshape(-1)).to(x.device)
    return label[: len(x), None] == label[None, len(x) :]
