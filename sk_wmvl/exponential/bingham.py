"""The Bingham distribution as an exponential family."""

import torch
from torch import Tensor

from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential._base import Candidate, ExponentialFamily
from sk_wmvl.exponential._monomials import (
    MonomialEnergy,
    check_unit_vectors,
    monomials,
    quadratic_form,
)
from sk_wmvl.manifolds import BaseManifold

__all__ = ["BinghamFamily", "axes"]


class BinghamFamily(ExponentialFamily):
    r"""Densities :math:`q(x) \propto e^{x^\top Ax}` of axes.

    The family lives on spheres, the circle, axes (`AxialSphere`) and rotations, where x is
    the unit quaternion and the density is the matrix Fisher distribution. A is symmetric.
    Its trace is free, since :math:`x^\top x = 1`, and is reported as zero. The parameters
    are ``matrix``, which is A, and its ``eigenvalues`` in ascending order. Standard errors
    of eigenvalues are valid where the eigenvalues are distinct.

    Parameters
    ----------
    robustness : float, default=0.0
        The power c of Windham's weights, which reduce the influence of outliers; 0 means
        no weights.

    References
    ----------
    [Mardia2000]_, [Mardia2016]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import RiemannianMVLDensity
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 1, 2]
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> density = RiemannianMVLDensity("axial", energy="bingham", random_state=0).fit(X)
    >>> bool(abs(np.trace(density.parameters_["matrix"])) < 1e-12)
    True
    """

    def __init__(self, robustness: float = 0.0):
        self.robustness = robustness

    def candidates(
        self, manifold: BaseManifold, x: Tensor, weight: Tensor, *, seed: int
    ) -> list[Candidate]:
        """Return the statistics; see `ExponentialFamily.candidates`."""
        del x, weight, seed
        d = check_unit_vectors(self, manifold, even=True)
        index = monomials(d, (2,), on_sphere=True)
        return [Candidate(MonomialEnergy(manifold, index), None)]

    def parameters(
        self, theta: Tensor, manifold: BaseManifold, coordinates: Coordinates
    ) -> dict[str, Tensor]:
        """Return the matrix, of trace zero, and its eigenvalues."""
        del coordinates
        return axes(theta, check_unit_vectors(self, manifold, even=True))


def axes(theta: Tensor, d: int) -> dict[str, Tensor]:
    """Return matrices of trace zero of shape (n, d, d), and their eigenvalues."""
    index = torch.from_numpy(monomials(d, (2,), on_sphere=True)).to(theta.device)
    matrix = quadratic_form(theta, index, d)
    trace = matrix.diagonal(dim1=1, dim2=2).sum(-1)
    eye = torch.eye(d, dtype=theta.dtype, device=theta.device)
    matrix = matrix - trace[:, None, None] / d * eye
    return {"matrix": matrix, "eigenvalues": torch.linalg.eigvalsh(matrix)}
