"""The template of all estimators of an energy: five steps from rows to attributes.

``fit`` validates the rows, prepares their space and units, trains or solves, settles the
scale of the correction and log Z, and publishes the result. Each step is a function of its
arguments, in a file of its name. Only the last step sets attributes of the estimator.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._rows import Rows
from sk_wmvl._validation import (
    CallbackSupportMixin,
    check_net_params,
    check_optimizer,
    check_rows,
    check_widths,
    fit_context,
    resolve_device,
    with_callbacks,
)
from sk_wmvl.coordinates import Coordinates, VaryingColumns, find_ties
from sk_wmvl.energies import ENERGIES
from sk_wmvl.estimators._constraints import CONSTRAINTS
from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.estimators._net_params import NetParamsMixin
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.estimators._prepare import WEIGHTS, Chosen, Setup, prepare, validate
from sk_wmvl.estimators._publish import publish
from sk_wmvl.estimators._report import FitNotes, timed
from sk_wmvl.estimators._settle import settle
from sk_wmvl.estimators._solve import (
    SOLVED_ATTRIBUTES,
    Solved,
    check_uniform,
    closed_form_objective,
    find_family,
    is_trained,
    solve_family,
)
from sk_wmvl.estimators._train import Trained, TrainingOptions, train
from sk_wmvl.exponential import ExponentialFamily
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.normalizers import BaseNormalizer
from sk_wmvl.objectives import OBJECTIVES, BaseObjective, BaseProblem
from sk_wmvl.training import SklearnBridge, limit_threads

__all__ = ["BaseEnergyEstimator"]


class BaseEnergyEstimator(
    PersistenceMixin, NetParamsMixin, CallbackSupportMixin, BaseEstimator, ABC
):
    """Template of an estimator that learns an energy.

    A subclass supplies the manifold, the base measure and the normaliser.
    """

    _parameter_constraints: dict = CONSTRAINTS
    _setup: Setup
    _fitted: FittedEnergy
    _training_state: dict[str, Any] | None
    _notes: FitNotes

    # --- fitting ----------------------------------------------------------------------

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Learn the energy from data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights. A weight of k counts as k copies of the row. Only ratios matter. Rows
            of weight zero are left out.
        groups : array-like of shape (n_samples,), default=None
            Labels of groups of rows that depend on one another, such as the measurements
            of a subject. Whole groups are then held out, for early stopping, for the choice
            of the base measure and for the scale of the correction. The model is the one
            that suits new groups best.

        Returns
        -------
        self : estimator
            Fitted.
        """
        resume = self.warm_start and self.__sklearn_is_fitted__()
        rows = validate(self, X, sample_weight, groups, reset=not resume, min_samples=2)
        return self._run(rows, resume=resume, epochs=None)

    @available_if(is_trained)
    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one more epoch, from where the last call ended.

        Exponential families, which are fitted in closed form, do not have this method. The
        first call fixes the coordinates and the base measure. Later calls continue the
        optimiser, the average of weights and the random streams. The learning rate is
        constant, `lr`, and no rows are held out for early stopping.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.

        Returns
        -------
        self : estimator
            Fitted.
        """
        resume = self.__sklearn_is_fitted__()
        least = 1 if resume else 2
        rows = validate(
            self, X, sample_weight, None, reset=not resume, min_samples=least
        )
        return self._run(rows, resume=resume, epochs=1)

    def _run(self, rows: Rows, *, resume: bool, epochs: int | None):
        """Prepare, train or solve, settle and publish; `epochs` is None for a whole fit."""
        device = resolve_device(self.device)
        check_optimizer(self.optimizer)
        check_net_params(self.net_params)
        family = find_family(self.energy, self.alpha)
        objective = self._make_objective(family)
        if rows.weight is not None:
            objective.check_weights()
        given = rows
        if resume:
            self._check_left_out(given.points)
            seed, manifold = self._setup.seed, self._setup.manifold
        else:
            seed = draw_seed(self.random_state)
            manifold = self._make_manifold(rows.points)
            # refused before a base is searched for, if it is
            objective.problem(manifold)
        rows = self._divide(self._spread(rows, manifold, seed), objective)
        seconds: dict[str, float] = {}
        with timed(seconds, "base"):
            if resume:
                setup = self._resumed(rows)
            else:
                columns = self._find_columns(given.points, manifold)
                setup = self._set_up(rows, family, objective, manifold, columns, seed)
        rows = setup.varying(rows)
        n_rows = len(rows.points)
        if resume and epochs is not None:
            n_rows += self._notes.n_rows  # of all calls
        problem = self._pose(objective, setup, n_rows, in_part=epochs is not None)
        goes_on = resume and epochs is not None
        known = {
            "ties_": self.ties_ if goes_on else find_ties(given.points),
            "objective_": problem.objective,
            "_setup": setup,
            "_notes": FitNotes(n_rows, getattr(problem, "weight", None), seconds),
        }
        outcome: Trained | Solved
        if family is not None:
            with limit_threads(1, 1, device):
                with timed(seconds, "closed form"):
                    inside = setup.internal(rows)
                    outcome = solve_family(
                        family, inside, setup, device=device, name=self.energy
                    )
                with timed(seconds, "normalizer"):
                    fitted = self._settle(outcome, setup, device)
            check_uniform(self.energy, outcome, fitted)
            return self._publish(known, outcome, fitted)
        with (
            self._open_context(given.points, epochs) as context,
            self._limit(rows, device),
        ):
            state = self._training_state if resume else None
            with timed(seconds, "training"):
                outcome = self._train(
                    rows, given, problem, known, state, epochs, device, context
                )
            with timed(seconds, "normalizer"):
                fitted = self._settle(outcome, setup, device)
            self._inspect_ties(fitted, rows, self._rounding(known), setup)
            return self._publish(known, outcome, fitted)

    def _rounding(self, known: dict[str, Any]) -> np.ndarray:
        """Return the steps of the columns that vary, zero where they are not rounded."""
        rounding, columns = known["ties_"].rounding, known["_setup"].columns
        return rounding if columns is None else rounding[columns.varies]

    def _train(
        self,
        rows: Rows,
        given: Rows,
        problem: BaseProblem,
        known: dict[str, Any],
        state: dict[str, Any] | None,
        epochs: int | None,
        device: torch.device,
        context,
    ) -> Trained:
        """Train the network that the parameters name, under scikit-learn's callbacks."""
        setup = known["_setup"]
        rounding = self._rounding(known)

        def make_bridge(outcome_so_far: Callable[[], Trained]) -> SklearnBridge:
            def attributes() -> dict[str, Any]:
                outcome = outcome_so_far()
                fitted = self._settle(outcome, setup, device)
                return self._attributes(known, outcome, fitted)

            return SklearnBridge(self, context, given.points, attributes)

        return train(
            setup.internal(self._blur(rows, rounding, setup)),
            problem,
            self._make_correction(problem, setup),
            TrainingOptions.of(self),
            seed=setup.seed,
            device=device,
            epochs=epochs,
            state=state,
            label=type(self).__name__,
            make_bridge=None if context is None else make_bridge,
        )

    def _limit(self, rows: Rows, device: torch.device) -> ExitStack:
        """Return a context in which small work has one thread."""
        n_rows, n_columns = rows.points.shape
        width = max(n_columns, *check_widths(self.hidden_layer_sizes))
        batch_size = TrainingOptions.of(self).rows_per_step(n_rows)
        return limit_threads(batch_size, width, device)

    def _set_up(
        self,
        rows: Rows,
        family: ExponentialFamily | None,
        objective: BaseObjective,
        manifold: BaseManifold,
        columns: VaryingColumns | None,
        seed: int,
    ) -> Setup:
        """Return the setup of a first fit."""
        if columns is not None:
            manifold = Euclidean(int(columns.varies.sum()))
            rows = rows._replace(points=columns.take(rows.points))
        takes_base = family is None or family.takes_base

        def choose(rows: Rows, coordinates: Coordinates, moments) -> Chosen:
            base = self.base if takes_base else None
            may_transform = family is None and base is not None
            return self._choose_base(
                base,
                rows,
                manifold,
                coordinates,
                moments,
                objective=objective,
                may_transform=self.standardize and may_transform,
                seed=seed,
            )

        return prepare(
            rows,
            manifold,
            choose,
            standardize=self.standardize,
            robust=family is not None and family.robustness > 0,
            clip=self._clips_input,
            floor=self._find_floor(rows.points, manifold),
            columns=columns,
            seed=seed,
        )

    def _resumed(self, rows: Rows) -> Setup:
        """Return the setup of the last fit, if this fit can go on from it."""
        self._check_resumed(rows.points)
        return self._setup

    def _settle(
        self, outcome: Trained | Solved, setup: Setup, device: torch.device
    ) -> FittedEnergy:
        fitted = settle(
            outcome.correction,
            setup,
            outcome.judged,
            normalizer=self._make_normalizer(),
            proposal=outcome.proposal if isinstance(outcome, Solved) else None,
            cover=outcome.cover if isinstance(outcome, Trained) else None,
            judges=outcome.judges if isinstance(outcome, Trained) else "training",
            device=device,
        )
        return replace(fitted, columns=setup.columns)

    def _attributes(
        self, known: dict[str, Any], outcome: Trained | Solved, fitted: FittedEnergy
    ) -> dict[str, Any]:
        """Return all attributes that a fit publishes, by name."""
        return {
            **known,
            **outcome.attributes(),
            "_fitted": fitted,
            "energy_": fitted.energy,
            "manifold_": fitted.manifold,
            "base_": known["_setup"].base,
            "device_": fitted.device,
        }

    def _publish(
        self, known: dict[str, Any], outcome: Trained | Solved, fitted: FittedEnergy
    ):
        """Set the fitted attributes at once, and delete those of the other kind of fit."""
        attributes = self._attributes(known, outcome, fitted)
        publish(self, attributes, forget=SOLVED_ATTRIBUTES)
        return self

    @contextmanager
    def _open_context(self, X: np.ndarray, epochs: int | None) -> Iterator:
        """Yield the context of scikit-learn's callbacks, or None if there are none."""
        if "_skl_callbacks" not in vars(self):
            yield None
            return
        n_epochs = epochs or TrainingOptions.of(self).n_epochs(len(X))
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self, X=X)
        yield context
        context.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes={})

    # --- what a subclass supplies -----------------------------------------------------

    _clips_input = True  # whether the network's input is clipped far from the rows

    @abstractmethod
    def _make_manifold(self, X: np.ndarray) -> BaseManifold:
        """Return the manifold of the rows of X, with its dimension known."""

    def _find_columns(
        self, X: np.ndarray, manifold: BaseManifold
    ) -> VaryingColumns | None:
        """Return which columns vary, or None if none of them is left out."""
        del X, manifold
        return None

    def _check_left_out(self, X: np.ndarray) -> None:
        """Warn if a column varies that the first fit left out."""
        del X

    def _spread(self, rows: Rows, manifold: BaseManifold, seed: int) -> Rows:
        """Return rows with grouped values spread over the intervals they stand for."""
        del manifold, seed
        return rows

    def _divide(self, rows: Rows, objective: BaseObjective) -> Rows:
        """Return distinct rows with weights, or equal ones in units of their own."""
        del objective
        return rows

    def _find_floor(
        self, points: np.ndarray, manifold: BaseManifold
    ) -> np.ndarray | None:
        """Return what is added to the variances of columns, (d,), if anything is."""
        del points, manifold
        return None

    def _blur(self, rows: Rows, rounding: np.ndarray, setup: Setup) -> Rows:
        """Return rows of the columns that vary, with noise as wide as their rounding."""
        del rounding, setup
        return rows

    def _inspect_ties(
        self, fitted: FittedEnergy, rows: Rows, rounding: np.ndarray, setup: Setup
    ) -> None:
        """Warn if the correction has wells at values that repeat."""
        del fitted, rows, rounding, setup

    def _check_resumed(self, X: np.ndarray) -> None:
        """Raise ValueError if a parameter that the last fit fixed has changed."""

    @abstractmethod
    def _choose_base(
        self,
        base: object,
        rows: Rows,
        manifold: BaseManifold,
        coordinates: Coordinates,
        moments: tuple[np.ndarray, np.ndarray],
        *,
        objective: BaseObjective,
        may_transform: bool,
        seed: int,
    ) -> Chosen:
        """Return the base measure of rows in ambient coordinates, and its units."""

    def _make_normalizer(self) -> BaseNormalizer | None:
        """Return the normalizer; None leaves the energy unnormalised."""
        return None

    def _make_objective(self, family: ExponentialFamily | None) -> BaseObjective:
        """Return the objective that the parameter names."""
        if family is not None:
            return closed_form_objective(self.objective, self.energy)
        if isinstance(self.objective, str):
            return OBJECTIVES[self.objective](self.epsilon)
        return resolve(self.objective, OBJECTIVES, BaseObjective, name="objective")

    def _pose(
        self, objective: BaseObjective, setup: Setup, n_rows: int, *, in_part: bool
    ) -> BaseProblem:
        """Return the problem that is trained, over the base that knows no judging rows."""
        del n_rows
        base = setup.base if in_part else setup.honest  # a part holds out no rows
        return objective.problem(setup.manifold, base, setup.proposal)

    def _make_correction(self, problem: BaseProblem, setup: Setup) -> nn.Module:
        """Return the untrained network, as a function of points."""
        generator = make_generator(setup.seed, WEIGHTS)

        def make_network(n_inputs: int, radius: float | None) -> nn.Module:
            if isinstance(self.energy, str):
                return ENERGIES[self.energy](
                    n_inputs,
                    check_widths(self.hidden_layer_sizes),
                    activation=self.activation,
                    spectral_norm=self.spectral_norm,
                    radius=radius,
                    generator=generator,
                )
            if isinstance(self.energy, nn.Module):
                return copy.deepcopy(self.energy)
            try:
                network = self.energy(n_inputs)
            except Exception as error:
                error.add_note(
                    f"Raised by energy={self.energy!r}, called with {n_inputs}."
                )
                raise
            if not isinstance(network, nn.Module):
                raise TypeError(
                    f"energy={self.energy!r} returned {type(network).__name__}; a callable "
                    "must return a torch.nn.Module that maps (n, d) to (n,)."
                )
            return network

        return problem.make_correction(
            make_network, radius=setup.radius, generator=generator
        )

    # --- evaluation -------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_fitted" in vars(self)

    def _check_points(self, X) -> torch.Tensor:
        """Return validated rows as points of the manifold, on the device."""
        check_is_fitted(self)
        return self._fitted.points(check_rows(self, X, reset=False))

    def energy_samples(self, X) -> np.ndarray:
        """Return the energy: minus the unnormalised log density, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points, in the units of the training data.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
        """
        x = self._check_points(X)
        return self._fitted.energies(x)

    def score_fn(self, X) -> np.ndarray:
        r"""Return the score :math:`\nabla\log q(x)`, in nats per unit of X.

        On a manifold this is the Riemannian gradient, a tangent vector in the coordinates
        of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points, in the units of the training data.

        Returns
        -------
        score : ndarray of shape (n_samples, n_features)
        """
        x = self._check_points(X)
        return self._fitted.scores(x)
