"""The base measure of a fit: one entry for all kinds and spaces, and fits to new rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_memory

from sk_wmvl._rows import Rows
from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.base_measures.gaussian import GaussianBase
from sk_wmvl.base_measures.mixture import from_mixture
from sk_wmvl.base_measures.selection import euclidean, gaussian_mixture
from sk_wmvl.base_measures.selection import manifold as on_manifold
from sk_wmvl.base_measures.selection.search import Choice
from sk_wmvl.base_measures.uniform import UniformBase
from sk_wmvl.coordinates.johnson import JohnsonTransform
from sk_wmvl.coordinates.whitening import Coordinates, central_units, fit_coordinates
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = ["Recipe", "SelectedBase", "select_base"]

NO_SPREAD = 1e-6

Moments = tuple[np.ndarray, np.ndarray]


class Recipe(ABC):
    """How a base measure is fitted, once it is chosen what it is."""

    @abstractmethod
    def fit(
        self, rows: Rows, coordinates: Coordinates, moments: Moments
    ) -> BaseMeasure:
        """Return the base measure of other rows, in the same internal coordinates.

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
        """Return the same kind of base measure, fitted to other rows; see ``Recipe.fit``.

        Numbers of components, steps, weights of a stack and coordinates stay as they are.
        So a base can be chosen and fitted without the rows that judge a correction of it,
        and then be fitted to all.
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
        Of which number of components and type of covariances are taken.
    seed : int
        Of the rows that are drawn in proportion to weights.
    """

    mixture: object
    seed: int

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture, fitted in columns of unit variance."""
        mean, std = _units(moments)
        z = (rows.points - mean) / std
        fitted = gaussian_mixture.refitted(self.mixture, z, rows.weight, self.seed)
        return self.place(fitted, coordinates, moments)

    @staticmethod
    def place(fitted, coordinates, moments) -> BaseMeasure:
        """Return a mixture of columns of unit variance in internal coordinates."""
        mean, std = _units(moments)
        shift = (coordinates.mean - mean) / std
        return from_mixture(fitted, shift, coordinates.scale / std[:, None])


@dataclass(frozen=True, eq=False)
class ChosenInEuclideanSpace(Recipe):
    """What held-out rows chose in Euclidean space.

    Parameters
    ----------
    choice : Choice
    center, std : ndarray of shape (d,)
        Of the columns, in whose units it was chosen.
    transform : JohnsonTransform or None
        Of standardized columns, where coordinates are transformed.
    """

    choice: Choice[euclidean.MixtureCandidate]
    center: np.ndarray
    std: np.ndarray
    transform: JohnsonTransform | None

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the mixture; coordinates that are transformed stay as they are."""
        del moments
        z = (rows.points - self.center) / self.std
        weight = _weights(rows)
        fitted = euclidean.fit_choice(self.choice, z, weight, self.transform)
        return self.place(fitted, coordinates)

    def place(self, fitted: euclidean.ChosenMixture, coordinates) -> BaseMeasure:
        """Return a mixture of standardized columns in internal coordinates."""
        shift, matrix = coordinates.mean, coordinates.scale
        if self.transform is not None:
            return fitted.base(shift, matrix, transformed=True)
        shift, matrix = (shift - self.center) / self.std, matrix / self.std[:, None]
        return fitted.base(shift, matrix, transformed=False)


@dataclass(frozen=True, eq=False)
class ChosenOnManifold(Recipe):
    """What held-out rows chose on a manifold.

    Parameters
    ----------
    choice : Choice
    """

    choice: Choice[on_manifold.ManifoldCandidate]

    def fit(self, rows, coordinates, moments) -> BaseMeasure:
        """Return the base measure of internal coordinates."""
        del moments
        return on_manifold.fit_choice(self.choice, _internal(rows, coordinates))


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
    kept = None
    if may_transform and fitted.transformed_weight > 0.5:
        kept = fitted.transform
        transform = kept.in_units(center, std)
        y = transform.forward(X)
        # A transformed column varies by about one, or not but for rounding.
        y = np.where(y.std(0) > NO_SPREAD, y, y.mean(0))
        columns = list(range(X.shape[1]))
        own, *_ = fit_coordinates(y, rows.weight, standardize=True, columns=columns)
        coordinates = own._replace(transform=transform)
    recipe = ChosenInEuclideanSpace(choice, center, std, kept)
    base = recipe.place(fitted, coordinates)
    return SelectedBase(base, coordinates, choice.scores, choice.names, recipe)


def _choose_by_bic(
    rows: Rows, coordinates: Coordinates, moments: Moments, seed: int, memory
) -> SelectedBase:
    mean, std = _units(moments)
    z = (rows.points - mean) / std
    best = memory.cache(gaussian_mixture.best_mixture)(z, rows.weight, seed)
    recipe = LowestBIC(best, seed)
    base = recipe.place(best, coordinates, moments)
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
    recipe = ChosenOnManifold(choice)
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
