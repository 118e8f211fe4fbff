"""What density estimators share: after training, normalise, then score and sample."""

import copy
from abc import ABC
from numbers import Integral

import numpy as np
import torch
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._validation import HasMethods, StrOptions
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.base_measures.selection import euclidean_base
from sk_wmvl.estimators._base import COMPARISON, NORMALIZER, SAMPLE, BaseEnergyEstimator
from sk_wmvl.estimators._settle import backtrack, stretch
from sk_wmvl.metrics import hyvarinen_score
from sk_wmvl.normalizers import (
    NORMALIZERS,
    BaseNormalizer,
    LogNormalizer,
    is_expensive,
    warn_if_unreliable,
)
from sk_wmvl.samplers import draw

__all__ = ["BaseDensity"]

# Draws of the base measure, by which strengths of the correction compare.
N_DRAWS, MORE_DRAWS = 16_384, 131_072


class BaseDensity(DensityMixin, BaseEnergyEstimator, ABC):
    """A normalised density; a subclass supplies the manifold and the base measure.

    Besides `base_`, `_make_base` sets `_proposal`, a normalised density close to the data
    in internal coordinates.
    """

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

    _proposal: BaseMeasure

    _parameter_constraints: dict = {
        **BaseEnergyEstimator._parameter_constraints,
        "normalizer": [None, StrOptions(set(NORMALIZERS)), BaseNormalizer],
        "memory": [None, str, HasMethods(["cache"])],
    }

    def _make_euclidean_base(self, base, rows, mean, covariance) -> None:
        """Set `_proposal` in Euclidean space, and coordinates, if others suit it better."""
        _, held_out = self._split(rows, self.validation_fraction)
        # The parameters of a family are those of the columns as they are, and a network
        # alone is unnormalised in these.
        may_transform = (
            self.standardize and self._family is None and self._wanted_base is not None
        )
        self._proposal, self._coordinates = euclidean_base(
            base,
            rows.points,
            rows.weight,
            (mean, covariance),
            self._coordinates,
            self._seed,
            may_transform=may_transform,
            held_out=held_out,
            groups=rows.groups,
            memory=self.memory,
        )

    def _freeze(self, correction, rows) -> dict:
        energy = self._freeze_energy(correction)
        if self.normalizer is None:
            return {
                "energy_": energy,
                "correction_scale_": 1.0,
                "normalizer_result_": None,
                "log_normalizer_": None,
                "log_normalizer_std_": None,
            }
        normalizer = resolve(
            self.normalizer, NORMALIZERS, BaseNormalizer, name="normalizer"
        )
        # The very base of the energy: a normalizer sees that it cancels.
        own = energy.energy.base
        proposal = (
            copy.deepcopy(self._proposal).to(self.device_) if own is None else own
        )

        @torch.no_grad()
        def normalize() -> LogNormalizer:
            return normalizer.estimate(
                energy.energy,
                proposal,
                generator=make_generator(self._seed, NORMALIZER),
                manifold=self.manifold_,
            )

        if self.base_ is None:
            estimate = normalize()
        else:
            generator = make_generator(self._seed, COMPARISON)
            # Where densities are dear, draws are cheap, and have to do without a grid.
            n_draws = MORE_DRAWS if is_expensive(proposal) else N_DRAWS
            draws = proposal.sample(n_draws, generator=generator)
            columns = self.manifold_.flat_columns
            far = stretch(proposal, draws, columns) if columns else None
            estimate = backtrack(energy.energy, normalize, rows, draws, far)
        warn_if_unreliable(estimate)
        return {
            "energy_": energy,
            "correction_scale_": energy.energy.scale,
            "normalizer_result_": estimate,
            "log_normalizer_": estimate.value,
            "log_normalizer_std_": estimate.std_error,
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
            Normalised, with the common standard error `log_normalizer_std_`; up to a
            constant if `normalizer` is None.
        """
        energy = self.energy_samples(X)
        return (
            -energy if self.log_normalizer_ is None else -energy - self.log_normalizer_
        )

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
            (`sk_wmvl.metrics.hyvarinen_score`). Never the training loss, so that values
            for different `epsilon` and `alpha` compare.
        """
        del y
        check_is_fitted(self)
        if self.log_normalizer_ is None:
            return -hyvarinen_score(self, X)
        return float(self.score_samples(X).mean())

    def sample(self, n_samples=1, random_state=None) -> np.ndarray:
        """Draw from the model.

        Draws are independent where they can be: from the base measure, where nothing
        corrects it, and on compact manifolds of up to three dimensions by rejection
        (`sk_wmvl.samplers.draw_on_grid`). Elsewhere Hamiltonian Monte Carlo moves many
        chains.

        Parameters
        ----------
        n_samples : int, default=1
            How many draws.
        random_state : int, RandomState instance or None, default=None
            Seed; None uses the one of the fit, so that calls repeat.

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
        seed = self._seed if random_state is None else draw_seed(random_state)
        u = draw(
            self.energy_.energy,
            copy.deepcopy(self._proposal).to(self.device_),
            int(n_samples),
            generator=make_generator(seed, SAMPLE),
            manifold=self.manifold_,
        )
        return self.manifold_.to_user(self.energy_.to_user(u)).cpu().numpy()
