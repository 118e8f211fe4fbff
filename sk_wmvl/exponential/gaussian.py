"""The Gaussian as an exponential family."""

import torch
from torch import Tensor

from sk_wmvl.base_measures.gaussian import GaussianBase
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import Candidate, ExponentialFamily
from sk_wmvl.exponential._monomials import MonomialEnergy, monomials, quadratic_form
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["GaussianFamily"]


class GaussianFamily(ExponentialFamily):
    r"""Gaussians, :math:`\log q(x) = \eta^\top x - \frac12x^\top Px + \text{const}`.

    The score-matching estimate is the maximum-likelihood estimate: the mean, and the
    covariance with divisor n [Hyvarinen2005]_. Its standard errors are valid for any
    distribution of the data. The parameters are ``mean``, ``covariance`` and
    ``precision``.

    Parameters
    ----------
    robustness : float, default=0.0
        The power c of Windham's weights, which reduce the influence of outliers; 0 means
        no weights.

    References
    ----------
    [Hyvarinen2005]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import MVLDensity
    >>> X = np.random.default_rng(0).normal(size=(400, 1)) * 2 + 10
    >>> density = MVLDensity(energy="gaussian", random_state=0).fit(X)
    >>> bool(np.isclose(density.parameters_["mean"][0], X.mean()))
    True
    >>> density.standard_errors_["mean"].round(1)  # 2 / sqrt(400)
    array([0.1])
    """

    def __init__(self, robustness: float = 0.0):
        self.robustness = robustness

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> list[Candidate]:
        """Return the statistics; see `ExponentialFamily.candidates`."""
        del weight, seed
        if not isinstance(manifold, Euclidean):
            raise ValueError(
                f"GaussianFamily is a family on Euclidean space, not on {manifold!r}."
            )
        index = monomials(x.shape[1], (1, 2))
        return [Candidate(MonomialEnergy(manifold, index), None)]

    def check(self, theta: Tensor) -> None:
        """Raise ValueError unless the precision is positive definite."""
        _, precision = _natural(theta[None])
        least = float(torch.linalg.eigvalsh(precision[0])[0])
        if not least > 0:
            raise ValueError(
                "The Gaussian that score matching found is not a density: its precision "
                f"has the eigenvalue {least:.3g} in internal units."
            )

    def distribution(self, theta: Tensor, manifold: BaseManifold) -> GaussianBase:
        """Return the normal distribution, in internal units."""
        del manifold
        linear, precision = (part[0].cpu() for part in _natural(theta[None]))
        mean = torch.linalg.solve(precision, linear)
        return GaussianBase(mean.numpy(), torch.linalg.inv(precision).numpy())

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return mean, covariance and precision in the users' units."""
        del manifold
        linear, precision = _natural(theta)
        shift, scale = (
            torch.from_numpy(part).to(theta)
            for part in (coordinates.mean, coordinates.scale)
        )
        covariance = scale @ torch.linalg.inv(precision) @ scale.T
        mean = torch.linalg.solve(precision, linear.unsqueeze(-1)).squeeze(-1)
        return {
            "mean": shift + mean @ scale.T,
            "covariance": covariance,
            "precision": torch.linalg.inv(covariance),
        }


def _natural(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the linear part, (n, d), and the precision, (n, d, d)."""
    # k = d + d (d + 1) / 2, solved for d
    d = round(((9 + 8 * theta.shape[1]) ** 0.5 - 3) / 2)
    index = torch.from_numpy(monomials(d, (2,))).to(theta.device)
    return theta[:, :d], -2 * quadratic_form(theta[:, d:], index, d)
