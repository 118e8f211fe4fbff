"""Metrics of a fitted density that do not depend on how it was trained."""

import numpy as np
import torch
from torch import Tensor, nn

from sk_wmvl._autodiff import energy_grad_laplacian, energy_grad_quadratic
from sk_wmvl._random import make_generator, rademacher
from sk_wmvl._validation import check_weights
from sk_wmvl.energies import TangentSpaceEnergy, tangent_basis
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = [
    "fisher_divergence",
    "hyvarinen_score",
    "hyvarinen_scorer",
    "hyvarinen_values",
]

# Above this many dimensions fixed random probes replace the exact Laplacian.
MAX_EXACT_FEATURES = 20
N_PROBES = 8
CHUNK = 1024  # rows at a time: bounds the memory of second derivatives


def hyvarinen_values(
    energy: nn.Module,
    x: Tensor,
    *,
    manifold: BaseManifold | None = None,
    base_grad: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Return the Hyvärinen score of an energy at each point.

    .. math:: \tfrac12\|\nabla E(x)\|^2 - \Delta E(x)

    The Laplacian is exact up to 20 dimensions. Above that it is estimated with 8 random
    sign vectors per point. They depend on the seed and the row's position only, so two
    models, or two epochs, are compared on the same vectors. On a manifold the gradient and
    the Laplacian are those of its metric, evaluated on the tangent spaces.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n, d)
        Points.
    manifold : BaseManifold or None, default=None
        The manifold of the points, whose dimension is known; None is Euclidean space.
    base_grad : Tensor of shape (n, d) or None, default=None
        Given `manifold`, ambient derivatives of the log density of the base measure that
        `energy` corrects. The value then lacks the Laplacian of that log density.
    seed : int, default=0
        Seed of the probes.

    Returns
    -------
    values : Tensor of shape (n,)
        Lower is better.

    References
    ----------
    [Hyvarinen2005]_, [Mardia2016]_

    Examples
    --------
    A von Mises-Fisher energy on the sphere, :math:`E = -\kappa\mu^\top x`, has the score
    :math:`\frac12\kappa^2(1-t^2) - 2\kappa t` with :math:`t=\mu^\top x`.

    >>> import torch
    >>> from sk_wmvl.manifolds import Sphere
    >>> from sk_wmvl.metrics import hyvarinen_values
    >>> x = torch.tensor([[0.6, 0.0, 0.8]])
    >>> hyvarinen_values(lambda x: -5 * x[:, 2], x, manifold=Sphere(2))  # 4.5 - 8
    tensor([-3.5000])
    """
    if isinstance(manifold, Euclidean) and base_grad is None:
        manifold = None
    dim = x.shape[1] if manifold is None else manifold.dim
    if dim is None:
        raise ValueError(
            f"The dimension of {manifold!r} is not known yet: give it, or call "
            "with_columns."
        )
    exact = dim <= MAX_EXACT_FEATURES
    generator = make_generator(seed)
    values = []
    for start, rows in zip(range(0, len(x), CHUNK), x.split(CHUNK), strict=True):
        seen, at = energy, rows
        if manifold is not None:
            basis = tangent_basis(manifold, rows) if exact else None
            grads = None if base_grad is None else base_grad[start : start + CHUNK]
            seen = TangentSpaceEnergy(
                energy, manifold, rows, basis=basis, base_grad=grads
            )
            at = seen.origin()
        if exact:
            _, grad, laplacian = energy_grad_laplacian(seen, at, create_graph=False)
        else:
            v = rademacher((N_PROBES, *at.shape), at, generator)
            _, grad, laplacian = energy_grad_quadratic(seen, at, v, create_graph=False)
        values.append(0.5 * grad.square().sum(-1) - laplacian)
    return torch.cat(values)


def hyvarinen_score(estimator, X, sample_weight=None) -> float:
    r"""Return the mean Hyvärinen score of a fitted estimator on data; lower is better.

    .. math:: \frac1n\sum_i \tfrac12\|\nabla\log q(x_i)\|^2 + \Delta\log q(x_i)

    is in the units of X. It needs no normalising constant and does not involve the step
    size of training, so models trained with different `epsilon` can be compared. It
    estimates the Fisher divergence up to a constant of the data.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator with an `energy_`.
    X : array-like of shape (n_samples, n_features)
        Held-out data.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    score : float

    References
    ----------
    [Hyvarinen2005]_
    """
    x = estimator._check_points(X)
    manifold = getattr(estimator, "manifold_", None)
    values = hyvarinen_values(estimator.energy_, x, manifold=manifold).cpu().numpy()
    weight = check_weights(sample_weight, values)
    return float(np.average(values, weights=weight))


def hyvarinen_scorer(estimator, X, y=None) -> float:
    """Return minus the Hyvärinen score, as a scorer for ``scoring=`` in searches.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator, or a pipeline that ends with one.
    X : array-like of shape (n_samples, n_features)
        Held-out data.
    y : None
        Ignored.

    Returns
    -------
    score : float
        Higher is better. In a pipeline the units are those that reach the last step, so
        all candidates must have the same steps before it.
    """
    del y
    # a pipeline: its last step holds the energy, and may be a pipeline itself
    while (steps := getattr(estimator, "steps", None)) is not None:
        if len(steps) > 1:  # without a first step there is nothing to transform by
            X = estimator[:-1].transform(X)
        estimator = steps[-1][1]
    return -hyvarinen_score(estimator, X)


def fisher_divergence(estimator, X, score) -> float:
    r"""Return the Fisher divergence to a density whose score is known.

    .. math:: \tfrac12\,\frac1n\sum_i\|\nabla\log p(x_i) - \nabla\log q(x_i)\|^2

    Parameters
    ----------
    estimator : estimator
        A fitted estimator with a method `score_fn`.
    X : array-like of shape (n_samples, n_features)
        Draws from p.
    score : array-like of shape (n_samples, n_features)
        The true scores at X.

    Returns
    -------
    divergence : float
    """
    difference = np.asarray(score) - estimator.score_fn(X)
    return float(0.5 * np.square(difference).sum(axis=1).mean())
