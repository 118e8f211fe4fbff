"""The template of density estimators, which normalise, score and draw."""

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed
from sk_wmvl._validation import HasMethods, StrOptions
from sk_wmvl.base_measures.selection import select_base
from sk_wmvl.estimators._base import BaseEnergyEstimator
from sk_wmvl.estimators._prepare import Chosen, split
from sk_wmvl.estimators._solve import find_family
from sk_wmvl.exponential import KernelFamily
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.metrics import hyvarinen_score
from sk_wmvl.normalizers import NORMALIZERS, BaseNormalizer
from sk_wmvl.objectives import AnnealedScoreMatching, BaseObjective

__all__ = ["BaseDensity"]


class BaseDensity(DensityMixin, BaseEnergyEstimator, ABC):
    """A normalised density; a subclass supplies the manifold and the base measure."""

    def __init__(
        self,
        objective="mvl",
        *,
        epsilon=1e-4,
        alpha=1e-4,
        energy="inner_product",
        hidden_layer_sizes=(128, 128),
        activation="silu",
        spectral_norm=False,
        base="auto",
        normalizer="auto",
        standardize=True,
        batch_size="auto",
        lr=2e-3,
        lr_schedule="one-cycle",
        max_epochs=100,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        tol=0.0,
        optimizer="adamw",
        callbacks=None,
        net_params=None,
        warm_start=False,
        memory=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.objective = objective
        self.epsilon = epsilon
        self.alpha = alpha
        self.energy = energy
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.spectral_norm = spectral_norm
        self.base = base
        self.normalizer = normalizer
        self.standardize = standardize
        self.batch_size = batch_size
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.net_params = net_params
        self.warm_start = warm_start
        self.memory = memory
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    _parameter_constraints: dict = {
        **BaseEnergyEstimator._parameter_constraints,
        "normalizer": [None, StrOptions(set(NORMALIZERS)), BaseNormalizer],
        "memory": [None, str, HasMethods(["cache"])],
    }

    @abstractmethod
    def _base_kind(
        self, base: object, manifold: BaseManifold, objective: BaseObjective
    ) -> object:
        """Return the kind of base, or of proposal without a base, for `select_base`."""

    def _choose_base(
        self,
        base,
        rows,
        manifold,
        coordinates,
        moments,
        *,
        objective,
        may_transform,
        seed,
    ) -> Chosen:
        self._check_normalizable(base, manifold, objective)
        selected = select_base(
            self._base_kind(base, manifold, objective),
            rows,
            manifold,
            coordinates,
            moments,
            held_out=split(rows, self.validation_fraction, seed).held_out,
            seed=seed,
            memory=self.memory,
            may_transform=may_transform,
        )
        proposal = selected.base
        return Chosen(
            None if base is None else proposal, proposal, selected.coordinates
        )

    def _resumed(self, rows):
        setup = super()._resumed(rows)
        objective = self._make_objective(find_family(self.energy, self.alpha))
        self._check_normalizable(setup.base, setup.manifold, objective)
        return setup

    def _check_normalizable(self, base, manifold, objective) -> None:
        """Raise ValueError, before training, if Z is infinite whatever is learned."""
        if base is not None or self.normalizer is None or manifold.is_compact:
            return
        family = find_family(self.energy, self.alpha)
        # Inputs of networks are clipped, those of a module with noise levels too, and
        # functions of an RKHS vanish at infinity. Other families, and other modules of the
        # user's, may grow.
        is_bounded = isinstance(family, KernelFamily) or (
            family is None
            and (
                isinstance(self.energy, str)
                or isinstance(objective, AnnealedScoreMatching)
            )
        )
        if is_bounded:
            raise ValueError(
                f"base=None has no normalising constant here: energy={self.energy!r} is "
                f"bounded, and the volume of {manifold!r} is infinite. Use normalizer=None "
                "for an unnormalised energy, as in the paper, or base='auto'."
            )

    def _make_normalizer(self) -> BaseNormalizer | None:
        if self.normalizer is None:
            return None
        return resolve(self.normalizer, NORMALIZERS, BaseNormalizer, name="normalizer")

    def _attributes(self, known, outcome, fitted) -> dict[str, Any]:
        estimate = fitted.log_normalizer
        return {
            **super()._attributes(known, outcome, fitted),
            "correction_scale_": fitted.scale,
            "normalizer_result_": estimate,
            "log_normalizer_": None if estimate is None else estimate.value,
            "log_normalizer_std_": None if estimate is None else estimate.std_error,
        }

    def score_samples(self, X) -> np.ndarray:
        """Return log densities, in nats, with respect to the manifold's volume.

        In Euclidean space this is Lebesgue measure in the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points, in the units of the training data.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Normalised, with the common standard error `log_normalizer_std_`. If
            `normalizer` is None, known up to a constant only.
        """
        x = self._check_points(X)
        return self._fitted.log_prob(x)

    def score(self, X, y=None) -> float:
        """Return the mean log density of X; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Held-out data.
        y : None
            Ignored.

        Returns
        -------
        score : float
            In nats per row. If `normalizer` is None, minus the Hyvärinen score instead
            (`sk_wmvl.metrics.hyvarinen_score`). It is never the training loss, so that
            values for different `epsilon` and `alpha` compare.
        """
        del y
        check_is_fitted(self)
        if self.log_normalizer_ is None:
            return -hyvarinen_score(self, X)
        return float(self.score_samples(X).mean())

    def sample(self, n_samples=1, random_state=None) -> np.ndarray:
        """Draw from the model.

        Draws are independent in two cases. If nothing corrects the base measure, they are
        draws of the base. On compact manifolds of up to three dimensions they are made by
        rejection (`sk_wmvl.samplers.draw_on_grid`). Otherwise many chains of Hamiltonian
        Monte Carlo are run.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Seed. None uses the seed of the fit, so that all calls give the same draws.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Draws, in the units of the training data.

        Warns
        -----
        UserWarning
            If the chains have not mixed (R-hat above 1.1).
        """
        check_is_fitted(self)
        if not (isinstance(n_samples, Integral) and n_samples >= 1):
            raise ValueError(f"n_samples must be an integer >= 1; got {n_samples!r}.")
        fitted = self._fitted
        seed = fitted.seed if random_state is None else draw_seed(random_state)
        return fitted.sample(int(n_samples), seed)
