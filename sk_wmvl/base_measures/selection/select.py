"""The base measure of a fit: one entry for all kinds and spaces, and fits to new rows."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_memory

from sk_wmvl._rows import Rows
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.gaussian import GaussianBase
from sk_wmvl.base_measures.manifold_mixture import ManifoldMixture
from sk_wmvl.base_measures.mixture import from_mixture
from sk_wmvl.base_measures.selection import euclidean, gaussian_mixture
from sk_wmvl.base_measures.selection import manifold as on_manifold
from sk_wmvl.base_measures.selection.search import Choice
from sk_wmvl.base_measures.uniform import UniformBase
from sk_wmvl.coordinates.whitening import Coordinates, central_units, fit_coordinates
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["Recipe", "SelectedBase", "select_base"]

NO_SPREAD = 1e-6
N_STEPS = 3  # of expectation maximisation, when a mixture is taken to other rows

Moments = tuple[np.ndarray, np.ndarray]


class Recipe(ABC):
    """How a base measure is fitted to other rows, once it is chosen what it is."""

    @abstractmethod
    def fit(
        self, rows: Rows, coordinates: Coordinates, moments: Moments
    ) -> BaseMeasure:
        """Return the base measure of other rows, in the same internal coordinates.

        A mixture goes on from where it was, for a few steps.

        Parameters
        ----------
        rows : Rows
            In the ambient coordinates of the manifold.
        coordinates : Coordinates
            Those in which the base measure was selected.
        moments : tuple of ndarray
            Mean (d,) and covariance (d, d) of the rows.
        """


class SelectedBase(NamedTuple):
    """A base measure, and how it was found.

    Attributes
    ----------
    base : BaseMeasure
        The density of internal coordinates.
    coordinates : Coordinates
        The map to these.
    candidates : dict
        Mean log densities of rows held out, in nats, by the names of what was compared; a
        density of standardized columns in Euclidean space, and of internal coordinates
        elsewhere. Empty where nothing was.
    chosen : dict
        What of these the base is, by weight; several names are a stack.
    recipe : Recipe
        Fits the same kind again.
    """

    base: BaseMeasure
    coordinates: Coordinates
    candidates: dict[str, float]
    chosen: dict[str, float]
    recipe: Recipe

    def refit(self, rows: Rows, moments: Moments) -> BaseMeasure:
        """Return the base measure as other rows make it; see ``Recipe.fit``.

        Coordinates, components and weights of a stack stay what they are, and the
        components go on from where they were. So there is a base measure that does not
        know the rows by which a correction is judged, and yet is so near to `base` that
        the correction suits both.
        """
        return self.recipe.fit(rows, self.coordinates, moments)


def select_base(
    kind,
    rows: Rows,
    manifold: BaseManifold,
    coordinates: Coordinates,
    moments: Moments,
    *,
    held_out: np.ndarray | None = None,
    seed: int = 0,
    memory=None,
    may_transform: bool = False,
) -> SelectedBase:
    """Select a base measure, and fit it to the rows.

    Parameters
    ----------
    kind : {'auto', 'gaussian', 'mixture', 'kernel', 'uniform'}, mixture or None
        In Euclidean space: what held-out rows choose (`choose_mixture`); the Gaussian with
        the given moments; the Gaussian mixture with the lowest BIC; or a mixture of
        scikit-learn, possibly inside FrozenEstimator. ``'kernel'`` and None are ``'auto'``
        there. On other manifolds: what held-out rows choose of all candidates
        (`choose_base`), of mixtures or of kernel estimates; or the uniform density. None,
        where a proposal is needed but no base, is the uniform density of a compact
        manifold, and ``'auto'`` elsewhere.
    rows : Rows
        In the ambient coordinates of the manifold.
    manifold : BaseManifold
        With its dimension known.
    coordinates : Coordinates
        The map to internal coordinates.
    moments : tuple of ndarray
        Mean (d,) and covariance (d, d) of the rows.
    held_out : ndarray of int or None, default=None
        The rows to choose by, where there are many; few are cross-validated.
    seed : int, default=0
        Of folds and starts.
    memory : str, object with the interface of joblib.Memory, or None, default=None
        Where choices, and their fits, are kept.
    may_transform : bool, default=False
        Whether other coordinates may be returned in Euclidean space: whitened transformed
        columns, where these have more than half of the weight of what was chosen.

    Returns
    -------
    selected : SelectedBase

    Raises
    ------
    TypeError
        If a mixture is no Gaussian mixture of scikit-learn.
    ValueError
        If the manifold has no such base measure.
    """
    if held_out is None:
        held_out = np.arange(0)
    if kind == "uniform" and not manifold.is_compact:
        raise ValueError(
            f"base='uniform' needs a compact manifold, and {manifold!r} is not. Use "
            "base='auto' or None."
        )
    if isinstance(manifold, Euclidean):
        memory = check_memory(memory)
        if kind in (None, "auto", "kernel"):
            return _choose_in_euclidean_space(
                rows, coordinates, moments, held_out, seed, memory, may_transform
            )
        if kind == "mixture":
            return _choose_by_bic(rows, coordinates, moments, seed, memory)
        recipe: Recipe = GaussianRecipe() if kind == "gaussian" else Given(kind, seed)
    elif kind == "uniform" or (kind is None and manifold.is_compact):
        recipe = Uniform(manifold)
    else:
        return _choose_on_manifold(
            kind, rows, manifold, coordinates, held_out, seed, memory
        )
    base = recipe.fit(rows, coordinates, moments)
    return SelectedBase(base, coordinates, {}, {}, recipe)


@dataclass(frozen=True, eq=False)
class Uniform(Recipe):
    """The uniform density.

    Parameters
    ----------
    manifold : BaseManifold
        Compact.
    """

    manifold: BaseManifold

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the density; there is nothing to fit."""
        del rows, coordinates, moments
        return UniformBase(self.manifold)


class GaussianRecipe(Recipe):
    """The Gaussian with the moments of the rows, of which the covariance is shrunk."""

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the density with the given moments."""
        del rows
        mean, covariance = moments
        inverse = np.linalg.inv(coordinates.scale)
        moved = inverse @ covariance @ inverse.T
        moved = 0.5 * (moved + moved.T)
        return GaussianBase(inverse @ (mean - coordinates.mean), moved)


@dataclass(frozen=True, eq=False)
class Given(Recipe):
    """A mixture of the user's.

    Parameters
    ----------
    mixture : GaussianMixture, BayesianGaussianMixture or FrozenEstimator
        It stays as it is if it is fitted; else a clone is fitted.
    seed : int
        Of the rows that are drawn in proportion to weights.
    """

    mixture: object
    seed: int

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture in internal coordinates."""
        del moments
        fitted = gaussian_mixture.fitted_mixture(
            self.mixture, rows.points, rows.weight, self.seed
        )
        return from_mixture(fitted, coordinates.mean, coordinates.scale)


@dataclass(frozen=True, eq=False)
class LowestBIC(Recipe):
    """The Gaussian mixture with the lowest BIC.

    Parameters
    ----------
    mixture : GaussianMixture
        Fitted, to columns of unit variance.
    seed : int
        Of the rows that are drawn in proportion to weights.
    mean, std : ndarray of shape (d,)
        Of the columns.
    """

    mixture: GaussianMixture
    seed: int
    mean: np.ndarray
    std: np.ndarray

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture after a few more steps."""
        del moments
        z = (rows.points - self.mean) / self.std
        fitted = gaussian_mixture.continued(self.mixture, z, rows.weight, self.seed)
        return self.place(fitted, coordinates)

    def place(self, fitted: GaussianMixture, coordinates) -> BaseMeasure:
        """Return a mixture of columns of unit variance in internal coordinates."""
        shift = (coordinates.mean - self.mean) / self.std
        return from_mixture(fitted, shift, coordinates.scale / self.std[:, None])


@dataclass(frozen=True, eq=False)
class ChosenInEuclideanSpace(Recipe):
    """What held-out rows chose in Euclidean space.

    Parameters
    ----------
    fitted : ChosenMixture
        Of standardized columns.
    center, std : ndarray of shape (d,)
        Of the columns.
    is_transformed : bool
        Whether coordinates are transformed.
    """

    fitted: euclidean.ChosenMixture
    center: np.ndarray
    std: np.ndarray
    is_transformed: bool

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture after a few more steps; transformations stay."""
        del moments
        z = (rows.points - self.center) / self.std
        fitted = euclidean.adapt(self.fitted, z, _weights(rows), n_steps=N_STEPS)
        return self.place(fitted, coordinates)

    def place(self, fitted: euclidean.ChosenMixture, coordinates) -> BaseMeasure:
        """Return a mixture of standardized columns in internal coordinates."""
        shift, matrix = coordinates.mean, coordinates.scale
        if self.is_transformed:
            return fitted.base(shift, matrix, transformed=True)
        shift, matrix = (shift - self.center) / self.std, matrix / self.std[:, None]
        return fitted.base(shift, matrix, transformed=False)


@dataclass(frozen=True, eq=False)
class ChosenOnManifold(Recipe):
    """What held-out rows chose on a manifold.

    Parameters
    ----------
    choice : Choice
    base : BaseMeasure
        As it was fitted.
    """

    choice: Choice[on_manifold.ManifoldCandidate]
    base: BaseMeasure

    @torch.no_grad()
    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture after a few more steps; kernels are put at the rows."""
        del moments
        inside = _internal(rows, coordinates)
        if not isinstance(self.base, ManifoldMixture):
            return on_manifold.fit_choice(self.choice, inside)
        mixture, points = copy.deepcopy(self.base), on_manifold.as_points(inside)
        i = int(np.argmax(self.choice.weights))
        heaviest = self.choice.parts[i]
        assert isinstance(heaviest, on_manifold.MixtureCandidate)
        # In its own fit a component had as many rows as in all of the joined ones now.
        weight = points.weight * (len(heaviest.starts) / self.choice.weights[i])
        for _ in range(N_STEPS):
            mixture.step(points.x, weight, heaviest.prior)
        return mixture


def _choose_in_euclidean_space(
    rows: Rows,
    coordinates: Coordinates,
    moments: Moments,
    held_out: np.ndarray,
    seed: int,
    memory,
    may_transform: bool,
) -> SelectedBase:
    X = rows.points
    center, std = central_units(X)
    fitted, choice = memory.cache(euclidean.search_mixture)(
        (X - center) / std,
        _weights(rows),
        held_out=held_out,
        groups=rows.groups,
        seed=seed,
    )
    recipe: Recipe
    if fitted.is_one_normal:
        recipe = GaussianRecipe()  # whose covariance has been shrunk with care
        base = recipe.fit(rows, coordinates, moments)
        return SelectedBase(base, coordinates, choice.scores, choice.names, recipe)
    is_transformed = may_transform and fitted.transformed_weight > 0.5
    if is_transformed:
        assert fitted.transform is not None
        transform = fitted.transform.in_units(center, std)
        y = transform.forward(X)
        # A transformed column varies by about one, or not but for rounding.
        y = np.where(y.std(0) > NO_SPREAD, y, y.mean(0))
        columns = list(range(X.shape[1]))
        own, *_ = fit_coordinates(y, rows.weight, standardize=True, columns=columns)
        coordinates = own._replace(transform=transform)
    recipe = ChosenInEuclideanSpace(fitted, center, std, is_transformed)
    base = recipe.place(fitted, coordinates)
    return SelectedBase(base, coordinates, choice.scores, choice.names, recipe)


def _choose_by_bic(
    rows: Rows, coordinates: Coordinates, moments: Moments, seed: int, memory
) -> SelectedBase:
    mean, std = _units(moments)
    z = (rows.points - mean) / std
    best = memory.cache(gaussian_mixture.best_mixture)(z, rows.weight, seed)
    recipe = LowestBIC(best, seed, mean, std)
    base = recipe.place(best, coordinates)
    return SelectedBase(base, coordinates, {}, {}, recipe)


def _choose_on_manifold(
    kind,
    rows: Rows,
    manifold: BaseManifold,
    coordinates: Coordinates,
    held_out: np.ndarray,
    seed: int,
    memory,
) -> SelectedBase:
    kinds = (kind,) if kind in on_manifold.KINDS else on_manifold.KINDS
    # A chart, which has nothing to choose from, may hold functions without a name.
    memory = check_memory(memory if on_manifold.has_components(manifold) else None)
    base, choice = memory.cache(on_manifold.search_base)(
        manifold,
        _internal(rows, coordinates),
        held_out=held_out,
        kinds=kinds,
        seed=seed,
    )
    recipe = ChosenOnManifold(choice, base)
    return SelectedBase(base, coordinates, choice.scores, choice.names, recipe)


def _weights(rows: Rows) -> np.ndarray:
    return np.ones(len(rows.points)) if rows.weight is None else rows.weight


def _internal(rows: Rows, coordinates: Coordinates) -> Rows:
    """Return rows in internal coordinates, with weights of mean one."""
    weight = _weights(rows)
    u = coordinates.to_internal(rows.points)
    return Rows(u, weight / weight.mean(), rows.groups)


def _units(moments: Moments) -> Moments:
    """Return means and standard deviations of columns."""
    mean, covariance = moments
    return mean, np.sqrt(np.diag(covariance))
