"""The shared body of all estimators: validate, train, freeze, evaluate."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.metaestimators import available_if
from skorch.helper import predefined_split
from torch import nn

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._rows import Rows, split_rows
from sk_wmvl._validation import (
    CallbackSupportMixin,
    check_callbacks,
    check_groups,
    check_rows,
    check_weights,
    check_widths,
    fit_context,
    resolve_device,
    with_callbacks,
)
from sk_wmvl.base_measures import BaseMeasure, base_gradient
from sk_wmvl.coordinates.ties import find_ties
from sk_wmvl.coordinates.whitening import fit_coordinates
from sk_wmvl.energies import (
    ENERGIES,
    AnnealedEnergy,
    CorrectedEnergy,
    FeatureEnergy,
    LevelEnergy,
    TransformedEnergy,
    check_energy,
    freeze,
)
from sk_wmvl.estimators._closed_form import SolvedFitMixin, is_trained
from sk_wmvl.estimators._constraints import CONSTRAINTS
from sk_wmvl.estimators._evaluation import EvaluationMixin
from sk_wmvl.estimators._net_params import NetParamsMixin
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives import OBJECTIVES, BaseGlobalObjective, BaseObjective
from sk_wmvl.objectives._proposal_based import log_prob_left_out
from sk_wmvl.objectives.noise_contrastive import start_offset
from sk_wmvl.objectives.riemannian import check_liftable
from sk_wmvl.training.batches import BatchIterator, TensorData, make_datasets
from sk_wmvl.training.callbacks import FitProgress, SklearnBridge
from sk_wmvl.training.net import OPTIMIZERS, ObjectiveNet, limit_threads

__all__ = ["BaseEnergyEstimator"]

# Streams of the one seed that a fit draws from `random_state`.
WEIGHTS, SHUFFLE, NOISE, SPLIT, NORMALIZER, SAMPLE, COMPARISON = range(7)

# The network's input is soft-clipped at this multiple of the largest training norm.
RADIUS_FACTOR = 1.0
MIN_VALIDATION = 2  # rows; below, early stopping is left out


class BaseEnergyEstimator(
    EvaluationMixin,
    SolvedFitMixin,
    PersistenceMixin,
    NetParamsMixin,
    CallbackSupportMixin,
    BaseEstimator,
    ABC,
):
    """Template of an estimator that learns an energy.

    A subclass supplies the base measure and what follows training.
    """

    _parameter_constraints: dict = CONSTRAINTS
    # A normalised density close to the data, in internal coordinates.
    _proposal: BaseMeasure | None = None

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
            Weights; a weight of k means what k copies of the row mean. Only ratios
            matter. Rows of weight zero are left out.
        groups : array-like of shape (n_samples,), default=None
            Labels of groups of rows that depend on one another, such as the measurements
            of a subject. The rows that are held out, for early stopping and for the choice
            of the base measure, are then whole groups, and the model is the one that suits
            new groups best.

        Returns
        -------
        self : estimator
            Fitted.
        """
        resume = self.warm_start and self.__sklearn_is_fitted__()
        X = check_rows(self, X, reset=not resume, min_samples=2)
        weight, groups = check_weights(sample_weight, X), check_groups(groups, X)
        return self._fit(X, weight, groups, resume=resume, epochs=None)

    @available_if(is_trained)
    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch, going on from where the last call ended.

        Not for exponential families, which are solved for. The first call fixes the
        coordinates and the base measure. Optimiser, weight
        average and random streams continue; the learning rate is constant and nothing is
        held out for early stopping.

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
        minimum = 1 if resume else 2
        X = check_rows(self, X, reset=not resume, min_samples=minimum)
        weight = check_weights(sample_weight, X)
        return self._fit(X, weight, None, resume=resume, epochs=1)

    def _fit(self, X, weight, groups, *, resume: bool, epochs: int | None):
        if weight is not None:
            X, groups = X[weight > 0], None if groups is None else groups[weight > 0]
            weight = weight[weight > 0]
            if len(X) < 2 and not resume:
                raise ValueError(
                    "sample_weight leaves one row with a positive weight; at least two "
                    "rows are needed."
                )
        if not resume or epochs is None:
            self.ties_ = find_ties(X)
        self._forget_solution()
        self.device_ = resolve_device(self.device)
        self.objective_ = self._make_objective()
        if weight is not None and self.objective_.couples_rows:
            raise ValueError(
                f"sample_weight cannot be used with {self.objective_!r}, in which the rows "
                "of a batch act on one another. Repeat rows instead, or use "
                "objective='mvl'."
            )
        if not resume:
            self._seed = draw_seed(self.random_state)
            self.manifold_ = self._make_manifold(X)
        else:
            self._check_resumed(X)
        if self.objective_.sigmas:
            self.objective_ = clone(self.objective_).set_params(manifold=self.manifold_)
        if self._is_lifted and not self._is_global:
            check_liftable(self.objective_)
        points = self._to_points(X).numpy()
        if not resume:
            self._coordinates, mean, covariance = fit_coordinates(
                points,
                weight,
                standardize=self.standardize,
                columns=self.manifold_.flat_columns,
                robust=self._is_robust,
            )
            if not np.isfinite(self._coordinates.scale).all():
                raise ValueError(
                    "The covariance of X is not finite: its values are too large. "
                    "Rescale the columns."
                )
            self.base_ = self._make_base(Rows(points, weight, groups), mean, covariance)
            self._radius = self._make_radius(points)
            self._training_state = None
        u = self._coordinates.to_internal(points)
        rows = Rows(u, weight, groups)
        family = self._family
        if family is not None:
            self._training_state = None
            self._solve(family, rows)
            return self
        data, valid = self._make_datasets(rows, held_out=epochs is None)
        net = self._make_net(data, valid, one_cycle=epochs is None)
        held_out = data if valid is None else valid
        context = self._init_context(X, net, held_out, epochs or net.max_epochs)
        width = max([X.shape[1], *check_widths(self.hidden_layer_sizes)])
        with limit_threads(net.batch_size, width, self.device_):
            net.partial_fit(data, epochs=epochs)
            for name, value in self._freeze(_trained(net), held_out).items():
                setattr(self, name, value)
        self._training_state = net.get_training_state()
        self.history_ = net.history.to_list()
        self.n_iter_ = len(self.history_)
        self.loss_curve_ = [row["train_loss"] for row in self.history_]
        self.validation_loss_curve_ = [
            row["valid_loss"] for row in self.history_ if "valid_loss" in row
        ]
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=X, reconstruction_attributes={}
            )
        return self

    @abstractmethod
    def _make_manifold(self, X) -> BaseManifold:
        """Return the manifold of the rows of X, with its dimension known."""

    def _check_resumed(self, X) -> None:
        """Raise ValueError if a parameter changed that a resumed fit cannot follow."""

    @abstractmethod
    def _make_base(self, rows: Rows, mean, covariance) -> BaseMeasure | None:
        """Return the base measure; it may set other coordinates than those it was given."""

    @abstractmethod
    def _freeze(self, correction: nn.Module, rows: TensorData) -> dict:
        """Return the fitted attributes that a trained correction stands for.

        `rows` are held-out rows, or the training rows if none were held out.
        """

    @property
    def _is_lifted(self) -> bool:
        """Whether training looks at the energy from tangent spaces."""
        is_flat = isinstance(self.manifold_, Euclidean)
        return not is_flat and self.objective_.sigmas is None

    @property
    def _is_global(self) -> bool:
        """Whether training compares the model with draws of a proposal."""
        return isinstance(self.objective_, BaseGlobalObjective)

    def _make_radius(self, points: np.ndarray) -> float | None:
        """Return where the network's input is clipped: nowhere if it is bounded anyway."""
        if self.manifold_.is_compact:
            return None
        u = torch.from_numpy(self._coordinates.to_internal(points))
        norms = torch.linalg.vector_norm(self.manifold_.features(u), dim=1)
        return RADIUS_FACTOR * max(1.0, float(norms.max()))

    def _split(self, rows: Rows, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return indices of training and of held-out rows; see `split_rows`."""
        n_samples = len(rows.points)
        train, valid = split_rows(n_samples, fraction, [self._seed, SPLIT], rows.groups)
        if len(valid) < MIN_VALIDATION:
            return np.arange(n_samples), train[:0]
        return train, valid

    def _make_objective(self) -> BaseObjective:
        if self._family is not None:
            return self._make_solved_objective()
        if isinstance(self.objective, str):
            return OBJECTIVES[self.objective](self.epsilon)
        return resolve(self.objective, OBJECTIVES, BaseObjective, name="objective")

    def _make_correction(self) -> nn.Module:
        """Return the network: of the point, or of its features on a manifold."""
        manifold, sigmas = self.manifold_, self.objective_.sigmas
        generator = make_generator(self._seed, WEIGHTS)
        n_inputs = LevelEnergy.n_inputs(manifold) if sigmas else manifold.n_features
        if isinstance(self.energy, str):
            network: nn.Module = ENERGIES[self.energy](
                n_inputs,
                check_widths(self.hidden_layer_sizes),
                activation=self.activation,
                spectral_norm=self.spectral_norm,
                radius=None if sigmas else self._radius,
                generator=generator,
            )
        elif isinstance(self.energy, nn.Module):
            network = copy.deepcopy(self.energy)
        else:
            network = self.energy(n_inputs)
            if not isinstance(network, nn.Module):
                raise TypeError(
                    f"energy={self.energy!r} returned {type(network).__name__}; a callable "
                    "must return a torch.nn.Module that maps (n, d) to (n,)."
                )
        if sigmas:
            return LevelEnergy(
                network, manifold, sigmas, radius=self._radius, generator=generator
            )
        return FeatureEnergy(network, manifold) if self._is_lifted else network

    def _make_datasets(self, rows: Rows, *, held_out: bool):
        fraction = self.validation_fraction if held_out and self.early_stopping else 0.0
        train, valid = self._split(rows, fraction)
        base_grad = log_proposal = None
        proposal = self.base_ or self._proposal
        if self._is_global and proposal is not None:
            log_proposal = log_prob_left_out(proposal, rows.points)
        elif self.base_ is not None and self._is_lifted:
            base_grad = base_gradient(self.base_, torch.from_numpy(rows.points)).float()
        return make_datasets(rows, base_grad, log_proposal, train, valid, self.device_)

    def _make_net(self, data, valid, *, one_cycle: bool) -> ObjectiveNet:
        kind = AnnealedEnergy if self.objective_.sigmas else CorrectedEnergy
        energy = kind(self._make_correction(), copy.deepcopy(self.base_))
        energy = energy.to(self.device_, torch.float32)
        check_energy(energy.correction, data.x[:2], self.energy)
        proposal = None
        if self.base_ is None and self._proposal is not None and self._is_global:
            proposal = copy.deepcopy(self._proposal).to(self.device_, torch.float32)
        if self.objective_.learns_normalizer:
            noise = make_generator(self._seed, NOISE)
            start_offset(energy, data.x, proposal, self.manifold_, noise)
        if self.batch_size == "auto":
            batch_size = int(np.clip(len(data) // 32, 32, 256))
        else:
            batch_size = self.batch_size
        if isinstance(self.optimizer, str):
            optimizer, options = OPTIMIZERS[self.optimizer]
        else:
            optimizer, options = self.optimizer, {}
        # User's callbacks are copied: skorch initialises them in place.
        callbacks = copy.deepcopy(list(self.callbacks or []))
        check_callbacks(callbacks)
        if self.verbose == 1:
            callbacks.append(("fit_progress", FitProgress(type(self).__name__)))
        params = {
            "objective": self.objective_,
            "noise_generator": make_generator(self._seed, NOISE),
            "monitor_seed": self._seed,
            "manifold": self.manifold_ if self._is_lifted else None,
            "proposal": proposal,
            "alpha": self.alpha,
            "one_cycle": one_cycle and self.lr_schedule == "one-cycle",
            "n_iter_no_change": self.n_iter_no_change,
            "tol": self.tol,
            "optimizer": optimizer,
            "lr": self.lr,
            "max_epochs": self.max_epochs,
            "batch_size": batch_size,
            "iterator_train": BatchIterator,
            "iterator_train__shuffle": True,
            "iterator_train__generator": make_generator(self._seed, SHUFFLE),
            "train_split": None if valid is None else predefined_split(valid),
            "callbacks": callbacks,
            "device": self.device_,
            "verbose": int(self.verbose >= 2),
            **{f"optimizer__{k}": v for k, v in options.items()},
            **(self.net_params or {}),
        }
        net = ObjectiveNet(energy, **params).initialize()
        if self._training_state is not None:
            try:
                net.set_training_state(self._training_state)
            except (RuntimeError, ValueError) as error:
                raise ValueError(
                    "Training cannot go on from the last fit: the network or the optimizer "
                    "has changed. Fit anew, with warm_start=False."
                ) from error
        return net

    def _init_context(self, X, net: ObjectiveNet, rows: TensorData, epochs: int):
        if "_skl_callbacks" not in vars(self):
            return None
        context = self._init_callback_context(max_subtasks=epochs)
        context.call_on_fit_task_begin(estimator=self, X=X)
        bridge = SklearnBridge(
            self, context, X, lambda: self._freeze(_trained(net), rows)
        )
        net.callbacks_.append(("sklearn_bridge", bridge.initialize()))
        return context

    def _freeze_energy(self, correction: nn.Module) -> TransformedEnergy:
        """Return the energy in float64, in the user's units, without graph."""
        inner = CorrectedEnergy(freeze(correction), copy.deepcopy(self.base_))
        return TransformedEnergy(inner, *self._coordinates).to(self.device_)


def _trained(net: ObjectiveNet) -> nn.Module:
    """Return the correction with averaged weights."""
    return net.average_.module.correction
