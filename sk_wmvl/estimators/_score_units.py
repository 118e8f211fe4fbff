"""The units of a score estimator: those of points on a manifold, and of contexts."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sk_wmvl._rows import Rows
from sk_wmvl._validation import check_columns
from sk_wmvl.coordinates import Coordinates
from sk_wmvl.estimators._prepare import find_units, to_points
from sk_wmvl.manifolds import BaseManifold

__all__ = [
    "NEURAL",
    "ScoreUnits",
    "check_context",
    "is_gradient",
    "is_neural",
    "is_neural_name",
]

# "ssm" is the sliced form whose second term has no variance from the slices.
NEURAL = {"mvl": "mvl", "ssm": "ssm-vr", "dsm": "dsm"}
NO_SPREAD = 1e-12  # times a column's mean: a spread that is rounding error


def is_neural_name(method: object) -> bool:
    """Return whether a method trains an energy."""
    return isinstance(method, str) and method in NEURAL


def is_neural(estimator) -> bool:
    """Return True; raise AttributeError, for `available_if`, for kernel methods."""
    if is_neural_name(estimator.method):
        return True
    raise AttributeError(
        f"method={estimator.method!r} is fitted in closed form and cannot be updated. "
        f"Call fit with the new rows, or use one of {sorted(NEURAL)}."
    )


def is_gradient(estimator) -> bool:
    """Return True; raise AttributeError if the field is not a gradient."""
    if is_neural_name(estimator.method) or estimator._structure == "curl-free":
        return True
    raise AttributeError(
        f"The field of method={estimator.method!r} with a diagonal kernel is not the "
        "gradient of a function, so there is no log density. Use structure='curl-free', "
        "or score_fn and score, which need no log density."
    )


def check_context(
    context, X: np.ndarray, method: object, n_features: int | None
) -> np.ndarray:
    """Return the context as an array, which has no columns if there is no context.

    Parameters
    ----------
    context : array-like of shape (n_samples, n_context) or None
    X : ndarray of shape (n_samples, n_features)
        The rows to which the context belongs.
    method : str or BaseScoreMethod
    n_features : int or None
        The number of columns that the context must have; None allows any.

    Raises
    ------
    ValueError
        If the method takes no context, or if the shape of the context is wrong.
    """
    if context is None:
        C = np.empty((len(X), 0))
    else:
        if not is_neural_name(method):
            raise ValueError(
                f"method={method!r} takes no context; use one of {sorted(NEURAL)}."
            )
        C = check_columns(context, "context")
        if len(C) != len(X):
            raise ValueError(
                f"context has {len(C)} row(s) and X has {len(X)}: each row of X needs a "
                "context of its own."
            )
    if n_features is not None and C.shape[1] != n_features:
        raise ValueError(
            f"context has {C.shape[1]} column(s), but the fit was with {n_features}."
        )
    return C


@dataclass(frozen=True)
class ScoreUnits:
    """The space and the units of points and contexts, which the first fit fixes.

    Attributes
    ----------
    manifold : BaseManifold
        The space of the points, with its dimension known.
    coordinates : Coordinates
        The affine map between the user's units of points and internal ones.
    context_mean, context_scale : ndarray of shape (n_context,)
        A context is ``mean + scale * c``, with c in internal units.
    """

    manifold: BaseManifold
    coordinates: Coordinates
    context_mean: np.ndarray
    context_scale: np.ndarray

    @classmethod
    def fit(
        cls, rows: Rows, C: np.ndarray, manifold: BaseManifold, *, standardize: bool
    ) -> "ScoreUnits":
        """Return the units of rows and their contexts."""
        points = to_points(manifold, rows.points)
        coordinates, *_ = find_units(
            points, rows.weight, manifold, standardize=standardize
        )
        mean, scale = np.zeros(C.shape[1]), np.ones(C.shape[1])
        if standardize and C.shape[1]:
            mean = np.average(C, axis=0, weights=rows.weight)
            scale = np.sqrt(np.average((C - mean) ** 2, axis=0, weights=rows.weight))
            is_flat = scale <= NO_SPREAD * np.maximum(np.abs(mean), 1e-300)
            scale = np.where(is_flat, 1.0, scale)
        return cls(manifold, coordinates, mean, scale)

    def points(self, X: np.ndarray) -> Tensor:
        """Return rows in the user's units as points of the manifold."""
        return self.manifold.from_user(torch.tensor(X, dtype=torch.float64))

    def inverse(self, like: Tensor) -> Tensor:
        """Return the matrix, of shape (d, d), from the user's units to internal ones."""
        return torch.from_numpy(np.linalg.inv(self.coordinates.scale)).to(like)

    def to_internal(self, x: Tensor) -> Tensor:
        """Return internal coordinates, (n, d), of points."""
        mean = torch.from_numpy(self.coordinates.mean).to(x)
        return (x - mean) @ self.inverse(x).T

    def scale_context(self, C: np.ndarray) -> np.ndarray:
        """Return contexts in internal units."""
        return (C - self.context_mean) / self.context_scale
