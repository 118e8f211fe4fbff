"""The template of density estimators, which normalise, score and draw."""

import copy
import math
from abc import ABC, abstractmethod
from inspect import signature
from numbers import Number
from typing import Any

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed
from sk_wmvl._rows import divide_values, weigh_copies
from sk_wmvl._validation import (
    LARGEST,
    HasMethods,
    Interval,
    Real,
    StrOptions,
    check_count_of_draws,
)
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.base_measures.selection import select_base
from sk_wmvl.coordinates import blur
from sk_wmvl.estimators._base import BaseEnergyEstimator
from sk_wmvl.estimators._constraints import EPOCHS
from sk_wmvl.estimators._inspect import (
    inspect_columns,
    name_columns,
    spread_rows,
    warn_if_elsewhere,
    warn_of_left_out,
    warn_of_wells,
)
from sk_wmvl.estimators._prepare import TIES, Chosen, find_units, rounding_floor, split
from sk_wmvl.estimators._report import FitSummary, make_report
from sk_wmvl.estimators._solve import find_family
from sk_wmvl.estimators._train import Trained, TrainingOptions
from sk_wmvl.exponential import KernelFamily
from sk_wmvl.likelihood import Cover, affordable
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.metrics import hyvarinen_score
from sk_wmvl.normalizers import NORMALIZERS, BaseNormalizer
from sk_wmvl.objectives import AnnealedScoreMatching, BaseObjective, BaseProblem
from sk_wmvl.objectives._base import LocalProblem
from sk_wmvl.objectives._with_likelihood import LikelihoodProblem

__all__ = ["BaseDensity", "NetworkDroppedWarning"]

# Settings that do nothing if the network is dropped.
OF_THE_NETWORK = ("objective", "objective_weight", "epsilon", "alpha", "energy")
POOL_SIZE, SMALLEST_POOL, DRAWS_PER_STEP = 65_536, 4096, 512
# Of a draw on average, where a pool is smaller; and draws times components that are made in
# a moment anyway.
LEAST_USES, CHEAP_WORK = 8, 4e6
ROWS_OF_WEIGHT = 100  # at which a local objective weighs as much as the likelihood


def objective_weight(weight: float | str, n_rows: int) -> float:
    """Return the weight of a local objective beside the likelihood.

    Minimum velocity regularises the likelihood where rows are few. Measured, 0.1 is best
    near 1000 rows and 0.01 near 10 000.
    """
    return min(1.0, ROWS_OF_WEIGHT / n_rows) if weight == "auto" else float(weight)


class NetworkDroppedWarning(UserWarning):
    """The network was dropped, so that settings of the user's have no effect."""


class BaseDensity(DensityMixin, BaseEnergyEstimator, ABC):
    """A normalised density; a subclass supplies the manifold and the base measure."""

    def __init__(
        self,
        objective="mvl",
        *,
        objective_weight="auto",
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
        max_epochs="auto",
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
        self.objective_weight = objective_weight
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
        "objective_weight": [
            None,
            StrOptions({"auto"}),
            Interval(Real, 0, LARGEST, closed="both"),
        ],
        "max_epochs": [StrOptions({"auto"}), EPOCHS],
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
        held_out = split(rows, self.validation_fraction, seed).held_out
        selected = select_base(
            self._base_kind(base, manifold, objective),
            rows,
            manifold,
            coordinates,
            moments,
            held_out=held_out,
            seed=seed,
            memory=self.memory,
            may_transform=may_transform,
        )
        own: BaseMeasure | None = None if base is None else selected.base
        honest = None
        if (
            own is not None
            and self.early_stopping
            and len(held_out)
            and self._is_network()
        ):
            train = rows.take(np.setdiff1d(np.arange(len(rows.points)), held_out))
            _, mean, covariance = find_units(
                train.points,
                train.weight,
                manifold,
                standardize=self.standardize,
                floor=rounding_floor(rows.points, manifold),
            )
            honest = selected.refit(train, (mean, covariance))
        return Chosen(
            own,
            selected.base,
            selected.coordinates,
            honest,
            selected.candidates,
            selected.chosen,
        )

    def _find_columns(self, X, manifold):
        names = getattr(self, "feature_names_in_", None)
        # nothing is spread or blurred under a family in closed form
        return inspect_columns(X, manifold, names, ties=self._is_network())

    def _check_left_out(self, X):
        names = getattr(self, "feature_names_in_", None)
        warn_of_left_out(X, self._setup.columns, names)

    def _spread(self, rows, manifold, seed):
        if not self._is_network():
            return rows
        return rows._replace(points=spread_rows(rows.points, manifold, seed))

    def _divide(self, rows, objective):
        if not self._is_network():
            return rows
        units = divide_values(rows.points) if rows.groups is None else None
        if units is not None:
            return rows._replace(groups=units)
        # Objectives that couple rows take no weights.
        return rows if objective.couples_rows() else weigh_copies(rows)

    def _find_floor(self, points, manifold):
        return rounding_floor(points, manifold) if self._is_network() else None

    def _blur(self, rows, rounding, setup):
        # a single column was spread over its steps
        if not isinstance(setup.manifold, Euclidean) or len(rounding) == 1:
            return rows
        generator = np.random.default_rng([setup.seed, TIES])
        return rows._replace(points=blur(rows.points, rounding, generator))

    def _inspect_ties(self, fitted, rows, rounding, setup):
        blurred = self._blur(rows, rounding, setup)
        if blurred.points is rows.points or fitted.scale == 0:
            return
        energy, device = fitted.energy.energy, fitted.device
        warn_of_wells(
            lambda x: energy.scale * energy.correction(x.to(device)),
            setup.internal(rows),
            setup.internal(blurred),
        )

    def _is_network(self) -> bool:
        return find_family(self.energy, self.alpha) is None

    def _pose(self, objective, setup, n_rows, *, in_part) -> BaseProblem:
        problem = super()._pose(objective, setup, n_rows, in_part=in_part)
        weight, base = self.objective_weight, problem.base
        if not isinstance(problem, LocalProblem):
            if weight not in ("auto", None):
                raise ValueError(
                    f"objective_weight={weight!r} weighs an objective of derivatives at "
                    f"the rows against the likelihood, and objective={self.objective!r} "
                    "is none. Use objective_weight='auto' or None."
                )
            return problem
        if weight is None or base is None or self.normalizer is None:
            return problem
        if not self._is_network():
            return problem
        cover = Cover(copy.deepcopy(base).float())
        return LikelihoodProblem(
            problem,
            weight=objective_weight(weight, n_rows),
            cover=cover,
            pool_size=self._pool_size(n_rows, base),
            draws_per_step=DRAWS_PER_STEP,
        )

    def _pool_size(self, n_rows: int, base: BaseMeasure) -> int:
        """Return how many draws to hold: of an expensive base no more than serve a fit."""
        options = TrainingOptions.of(self)
        n_steps = options.n_epochs(n_rows) * math.ceil(
            n_rows / options.rows_per_step(n_rows)
        )
        served = n_steps * DRAWS_PER_STEP // LEAST_USES
        wanted = max(served, int(CHEAP_WORK / base.work))
        return affordable(min(max(wanted, SMALLEST_POOL), POOL_SIZE), base)

    def _resumed(self, rows):
        setup = super()._resumed(rows)
        objective = self._make_objective(find_family(self.energy, self.alpha))
        self._check_normalizable(setup.base, setup.manifold, objective)
        # a family in closed form is fitted anew
        if setup.proposal is not None and self._is_network():
            warn_if_elsewhere(
                setup.internal(setup.varying(rows)),
                setup.proposal,
                first=setup.moments,
                seed=setup.seed,
            )
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
        is_network = isinstance(outcome, Trained)
        report = make_report(
            known["_setup"],
            fitted,
            known["_notes"],
            n_judged=len(outcome.judged),
            judges=outcome.judges if is_network else "training",
            n_epochs=len(outcome.history) if is_network else None,
            left_out=self._left_out(outcome, fitted) + self._constants(fitted),
        )
        return {
            **super()._attributes(known, outcome, fitted),
            "fit_report_": report,
            "correction_scale_": fitted.scale,
            "normalizer_result_": estimate,
            "log_normalizer_": None if estimate is None else estimate.value,
            "log_normalizer_std_": None if estimate is None else estimate.std_error,
        }

    def _left_out(self, outcome, fitted) -> list[str]:
        """Return what a fit has dropped, and why."""
        if fitted.base is None or fitted.log_normalizer is None or fitted.scale > 0:
            return []
        verdict = fitted.verdict
        what = "network" if isinstance(outcome, Trained) else "exponential family"
        if verdict is None:
            why = "there are too few rows to judge it by"
        elif verdict.is_scaled_back:
            why = "it puts mass where there are no data"
        else:
            why = (
                f"its best gain is {verdict.gain:.2g} nats per row, and up to "
                f"{verdict.needed:.2g} could be chance"
            )
        return [f"the {what}: {why}"]

    def _constants(self, fitted) -> list[str]:
        """Return the constant columns that a fit has left out, as a line of its report."""
        if fitted.columns is None:
            return []
        names = getattr(self, "feature_names_in_", None)
        return [f"constant columns: {name_columns(names, fitted.columns.constant)}"]

    def _publish(self, known, outcome, fitted):
        own, left_out = self._own_settings(), self._left_out(outcome, fitted)
        if own and left_out:
            what, _, why = left_out[0].partition(": ")
            warn(
                f"T{what[1:]} was dropped, and {', '.join(own)} had no effect: the base "
                f"measure alone is the model, because {why}. More rows, or another base, "
                "may help; see summary().",
                NetworkDroppedWarning,
            )
        return super()._publish(known, outcome, fitted)

    def _own_settings(self) -> list[str]:
        """Return the parameters of the network that differ from their defaults."""
        defaults = {
            name: parameter.default
            for name, parameter in signature(type(self).__init__).parameters.items()
        }
        own = {name: getattr(self, name) for name in OF_THE_NETWORK}
        return [
            f"{name}={value!r}"
            for name, value in own.items()
            if not (isinstance(value, str | Number) and value == defaults[name])
        ]

    def summary(self) -> FitSummary:
        """Return what the fit decided, as text and, in a notebook, as a table.

        It tells which base measure won and over what, what the network was worth and at
        which scale, how log Z was computed and with what error, how long each stage took,
        and what was left out and why. `fit_report_` has the same as a dict.

        Returns
        -------
        summary : FitSummary
        """
        check_is_fitted(self)
        return FitSummary(type(self).__name__, self.fit_report_)

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
        n_samples = check_count_of_draws(n_samples, self.n_features_in_)
        fitted = self._fitted
        seed = fitted.seed if random_state is None else draw_seed(random_state)
        return fitted.sample(n_samples, seed)
