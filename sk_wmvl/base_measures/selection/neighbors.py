"""The nearest rows on a manifold, by a tree."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sk_wmvl.base_measures.components import component_family
from sk_wmvl.manifolds import BaseManifold, Euclidean, Product
from sk_wmvl.manifolds._angles import TWO_PI, Angles
from sk_wmvl.manifolds._unit_vectors import UnitVectors

__all__ = ["Neighbors", "find_neighbors", "nearest_rows", "unit_squares"]

# Where the tree's order is only about the right one: as many as these are all looked at,
# and beyond so many times the number wanted.
MOST_ALL, MARGIN = 2048, 3
COPY = 1e-20  # a square, over the variance, below which rows are copies
SLACK = 4  # copies of a row that are not equal in the tree, at first


class Neighbors(NamedTuple):
    """Neighbors of rows, the nearest first.

    Attributes
    ----------
    which : Tensor of int of shape (n, k)
        Their indices.
    squares : Tensor of shape (n, k)
        Squared distances over the variance, the mean over units; infinite where there is
        no further row that is not a copy.
    units : Tensor of shape (n, k, n_units)
        The same in each unit.
    """

    which: Tensor
    squares: Tensor
    units: Tensor


class Embedding(NamedTuple):
    """Points of a Euclidean space, or a torus, that are near where rows are.

    Attributes
    ----------
    points : ndarray of shape (n, p)
    periods : ndarray of shape (p,)
        Of the coordinates, zero where there is none.
    is_exact : bool
        Whether distances have the order of those of the rows.
    """

    points: np.ndarray
    periods: np.ndarray
    is_exact: bool


def unit_squares(manifold: BaseManifold, x: Tensor, y: Tensor) -> Tensor:
    """Return squared distances per dimension in each unit, of shape (n, n_units)."""
    if isinstance(manifold, Product):
        members = [factor for _, factor in manifold.factors]
        widths = [factor.ambient_dim for factor in members]
        parts = zip(members, x.split(widths, -1), y.split(widths, -1), strict=True)
        return torch.cat([unit_squares(m, a, b) for m, a, b in parts], -1)
    if component_family(manifold).n_units(manifold) > 1:
        return manifold.log(x, y).square()
    return (manifold.dist(x, y).square() / (manifold.dim or 1))[:, None]


def find_neighbors(
    manifold: BaseManifold, x: Tensor, variance: Tensor, k: int
) -> Neighbors:
    """Return the k nearest rows of each row, copies of it apart.

    Parameters
    ----------
    manifold : BaseManifold
    x : Tensor of shape (n, d)
        Points; at least two.
    variance : Tensor of shape (n_units,)
        By which the squared distance in each unit is divided.
    k : int
        Fewer are returned if there are not as many other rows.

    Returns
    -------
    neighbors : Neighbors
    """
    n = len(x)
    k = min(k, n - 1)
    points, periods, is_exact = _embed(manifold, x, variance)
    tree = cKDTree(points, boxsize=periods)
    # Copies take places: those of the row, which do not count.
    _, counts = np.unique(points, axis=0, return_counts=True)
    copies = int(counts.max())
    wanted = k + copies + SLACK
    if not is_exact:
        wanted = n if n <= MOST_ALL else MARGIN * wanted
    while True:
        wanted = min(wanted, n)
        found = _look_up(manifold, x, variance, tree, points, wanted, k)
        if wanted == n or bool(found.squares[:, -1].isfinite().all()):
            return found
        wanted *= 2


def nearest_rows(manifold: BaseManifold, x: Tensor, variance: Tensor, k: int) -> Tensor:
    """Return the index of the k-th nearest other row of each row, of shape (n,).

    On products and where there is no isometry to a Euclidean space or torus, the order of
    the distances is about the right one.

    Parameters
    ----------
    manifold : BaseManifold
    x : Tensor of shape (n, d)
        Points.
    variance : Tensor of shape (n_units,)
        By which the squared distance in each unit is divided.
    k : int
        Copies of a row count.
    """
    points, periods, _ = _embed(manifold, x, variance)
    # A row is its own nearest; of its copies, which are as near, it may not come first.
    _, found = cKDTree(points, boxsize=periods).query(points, [1, k + 1])
    here = np.arange(len(points))
    which = np.where(found[:, 1] == here, found[:, 0], found[:, 1])
    return torch.from_numpy(which).to(x.device)


def _look_up(
    manifold: BaseManifold,
    x: Tensor,
    variance: Tensor,
    tree: cKDTree,
    points: np.ndarray,
    wanted: int,
    k: int,
) -> Neighbors:
    """Return the k nearest of as many candidates as are wanted."""
    size = max(1, 2**20 // (wanted * x.shape[1]))
    parts = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        _, which = tree.query(points[start : start + size], wanted)
        which = torch.from_numpy(which.reshape(len(rows), wanted)).to(x.device)
        left = rows.repeat_interleave(wanted, 0)
        units = unit_squares(manifold, left, x[which.reshape(-1)]) / variance
        squares = units.mean(-1).view(which.shape)
        squares = torch.where(squares <= COPY, torch.inf, squares)
        nearest, order = squares.sort(1)
        nearest, order = nearest[:, :k], order[:, :k]
        units = units.view(*which.shape, -1)
        units = units.gather(1, order[..., None].expand(-1, -1, units.shape[-1]))
        parts.append((which.gather(1, order), nearest, units))
    return Neighbors(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _embed(manifold: BaseManifold, x: Tensor, variance: Tensor) -> Embedding:
    """Return points for a tree; see `Embedding`."""
    if isinstance(manifold, Product):
        parts, at, unit = [], 0, 0
        for _, factor in manifold.factors:
            end = at + factor.ambient_dim
            last = unit + component_family(factor).n_units(factor)
            parts.append(_embed(factor, x[:, at:end], variance[unit:last]))
            at, unit = end, last
        return Embedding(
            np.concatenate([part.points for part in parts], 1),
            np.concatenate([part.periods for part in parts]),
            all(
                part.is_exact and isinstance(factor, Angles | Euclidean)
                for part, (_, factor) in zip(parts, manifold.factors, strict=True)
            ),
        )
    scale = variance.rsqrt()
    if isinstance(manifold, Angles):
        points, periods = _circles(x * scale, TWO_PI * scale)
        return Embedding(points, periods, True)
    if isinstance(manifold, Euclidean):
        points = (x * scale).cpu().numpy()
        return Embedding(points, np.zeros(points.shape[1]), True)
    features = x
    if isinstance(manifold, UnitVectors):
        # Chords are longer where angles are.
        signs = manifold._signs(x, x)
        if signs is not None and signs.shape[1] == 1:  # x and -x have the same products
            products = x[:, :, None] * x[:, None, :] * math.sqrt(0.5)
            features = products.flatten(1)
        elif signs is not None:
            features = x.abs()
    else:
        features = manifold.features(x)
    features = features * scale.mean() / math.sqrt(manifold.dim or 1)
    points = features.cpu().numpy()
    return Embedding(
        points, np.zeros(points.shape[1]), isinstance(manifold, UnitVectors)
    )


def _circles(x: Tensor, periods: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates between zero and their periods, which a tree insists on."""
    points, lengths = x.remainder(periods).cpu().numpy(), periods.cpu().numpy()
    return np.where(points >= lengths, 0.0, points), lengths
