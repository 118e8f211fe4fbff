"""Scores of distributions one can draw from but not write down."""

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed
from sk_wmvl._validation import (
    Interval,
    Real,
    StrOptions,
    check_groups,
    check_rows,
    check_weights,
    fit_context,
    resolve_device,
)
from sk_wmvl.coordinates.whitening import fit_coordinates
from sk_wmvl.estimators._constraints import CONSTRAINTS
from sk_wmvl.estimators._energy_score import EnergyScore
from sk_wmvl.estimators._net_params import NetParamsMixin
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.estimators._score_evaluation import NEURAL, ScoreEvaluationMixin, is_neural
from sk_wmvl.kernels import KERNELS, BaseKernel, median_length_scale
from sk_wmvl.manifolds import MANIFOLDS, BaseManifold, Euclidean, Product
from sk_wmvl.score_methods import (
    MATRIX_KERNELS,
    SCORE_METHODS,
    BaseScoreMethod,
    System,
    choose_regularization,
)
from sk_wmvl.training.net import limit_threads

__all__ = ["ImplicitScoreEstimator"]

THREAD_WIDTH = 250  # a matrix of 2000 rows is worth a second thread
MEDIAN_ROWS = 1000  # among which the median distance is taken


class ImplicitScoreEstimator(
    ScoreEvaluationMixin, PersistenceMixin, NetParamsMixin, BaseEstimator
):
    r"""The score :math:`\nabla\log q` of a distribution known by draws only.

    An energy trained by minimum velocity, on manifolds and given a context too, or a
    regularised kernel estimate. Nothing is normalised. `entropy_surrogate` has the
    gradient of the entropy, for which such scores are mostly wanted.

    Parameters
    ----------
    method : str or BaseScoreMethod, default='mvl'
        An energy by minimum velocity, ``'mvl'``, variance-reduced sliced, ``'ssm'``, or
        denoising score matching, ``'dsm'``; or, with a kernel, Tikhonov regularisation
        (``'kef'``, the kernel exponential family), Landweber iteration (``'landweber'``),
        the ν-method (``'nu'``), spectral cut-off (``'ssge'``, the spectral Stein gradient
        estimator) or Stein's identity (``'stein'``). An object of
        `sk_wmvl.score_methods` keeps its own parameters.
    manifold : str or BaseManifold, default='euclidean'
        Where the rows live; other than Euclidean space for ``'mvl'``, ``'ssm'`` and
        ``'dsm'`` only.
    epsilon : float, default=1e-4
        The step of minimum velocity; the variance of the noise of ``'dsm'``.
    alpha : float, default=1e-4
        Weight of the mean square of the energy's correction in the loss.
    kernel : {'rbf', 'imq'} or BaseKernel, default='rbf'
        The radial kernel of the kernel methods.
    structure : {'auto', 'curl-free', 'diagonal'}, default='auto'
        The matrix-valued kernel made of it. Curl-free fields are gradients, and cost
        systems of size n d; diagonal ones are of size n. ``'auto'`` is diagonal for
        ``'ssge'`` and ``'stein'``, as they were published, and curl-free for the others.
    bandwidth : float or None, default=None
        The kernel's length scale, in internal units; None is the median distance, unless
        the kernel is an object with a length of its own.
    regularization : float or None, default=None
        The level λ, against an operator of norm at most one: t = 1/λ steps of Landweber
        iteration, :math:`\lambda^{-1/2}` of the ν-method. None chooses it by the held-out
        Hyvärinen score (`choose_regularization`).
    energy : {'inner_product', 'mlp'}, Module or callable, default='inner_product'
        The energy's correction. With a context always `ConditionalEnergy`.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights are divided by their spectral norm.
    base : {'gaussian'} or None, default='gaussian'
        What the energy corrects, in Euclidean space and without context.
    standardize : bool, default=True
        Whether to work in whitened units; a context is scaled column by column.
    batch_size, lr, lr_schedule, max_epochs, early_stopping, validation_fraction : optional
        Of the training: see `MVLDensity`.
    n_iter_no_change, tol, optimizer, callbacks, net_params, warm_start : optional
        Of the training: see `MVLDensity`.
    device : str or torch.device, default='auto'
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        Seed.
    verbose : int, default=0
        1 shows a bar, 2 a table of epochs.

    Attributes
    ----------
    manifold_ : BaseManifold
        The manifold.
    model_ : EnergyScore
        The trained energy, in internal units; ``'mvl'``, ``'ssm'`` and ``'dsm'`` only.
    field_ : KernelField
        The kernel estimate, in internal units; kernel methods only.
    regularization_ : float
        What was chosen; kernel methods only.
    regularization_scores_ : ndarray of shape (n_grid,) or None
        Held-out Hyvärinen scores on `sk_wmvl.score_methods.GRID`.
    bandwidth_ : float
        The length scale; kernel methods only.
    n_context_features_in_ : int
        Columns of the context; zero without.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had any.
    device_ : torch.device
        Where it was computed.

    See Also
    --------
    MVLDensity : A normalised density.
    sk_wmvl.entropy.entropy_surrogate : The same with an energy in one's own loop.

    References
    ----------
    [Wang2020]_, [Zhou2020]_

    Examples
    --------
    The score of a standard normal at 1 is -1; a kernel estimate is shrunk towards zero.

    >>> import numpy as np
    >>> from sk_wmvl import ImplicitScoreEstimator
    >>> X = np.random.default_rng(0).normal(size=(300, 1))
    >>> estimator = ImplicitScoreEstimator("stein", random_state=0).fit(X)
    >>> bool(abs(estimator.score_fn([[1.0]])[0, 0] + 1) < 0.25)
    True
    """

    def __init__(
        self,
        method="mvl",
        *,
        manifold="euclidean",
        epsilon=1e-4,
        alpha=1e-4,
        kernel="rbf",
        structure="auto",
        bandwidth=None,
        regularization=None,
        energy="inner_product",
        hidden_layer_sizes=(128, 128),
        activation="silu",
        spectral_norm=False,
        base="gaussian",
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
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.method = method
        self.manifold = manifold
        self.epsilon = epsilon
        self.alpha = alpha
        self.kernel = kernel
        self.structure = structure
        self.bandwidth = bandwidth
        self.regularization = regularization
        self.energy = energy
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.spectral_norm = spectral_norm
        self.base = base
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
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    _parameter_constraints: dict = {
        **{k: v for k, v in CONSTRAINTS.items() if k != "objective"},
        "method": [StrOptions({*NEURAL, *SCORE_METHODS}), BaseScoreMethod],
        "manifold": [StrOptions(set(MANIFOLDS)), BaseManifold],
        "kernel": [StrOptions(set(KERNELS)), BaseKernel],
        "structure": [StrOptions({"auto", *MATRIX_KERNELS})],
        "bandwidth": [None, Interval(Real, 0, None, closed="neither")],
        "regularization": [None, Interval(Real, 0, None, closed="neither")],
        "base": [None, StrOptions({"gaussian"})],
    }

    # --- fitting ----------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, groups=None, *, context=None):
        """Estimate the score from draws.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Draws.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; only ratios matter.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that are held out together.
        context : array-like of shape (n_samples, n_context), default=None
            What each row is conditional on: the score is that of X given the context.
            For ``'mvl'``, ``'ssm'`` and ``'dsm'``.

        Returns
        -------
        self : ImplicitScoreEstimator
            Fitted.
        """
        del y
        resume = self.warm_start and "model_" in vars(self) and self.method in NEURAL
        return self._fit(X, sample_weight, groups, context, resume=resume, part=False)

    @available_if(is_neural)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None, *, context=None):
        """Train for one epoch on rows of now, following a distribution that moves.

        The first call fixes units and base measure, on whatever rows it is given; later
        ones change neither, so that the energy means the same from call to call. The
        learning rate is constant, nothing is held out, and the weights that are evaluated
        are an average over about the last 200 steps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Draws.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.
        context : array-like of shape (n_samples, n_context), default=None
            What each row is conditional on.

        Returns
        -------
        self : ImplicitScoreEstimator
            Fitted.
        """
        del y
        resume = "model_" in vars(self)
        return self._fit(X, sample_weight, None, context, resume=resume, part=True)

    def _fit(self, X, sample_weight, groups, context, *, resume: bool, part: bool):
        least = 1 if part and resume else 2
        X = check_rows(self, X, reset=not resume, min_samples=least)
        weight, groups = check_weights(sample_weight, X), check_groups(groups, X)
        C = self._check_context(context, X, reset=not resume)
        self.device_ = resolve_device(self.device)
        if not resume:
            manifold = resolve(self.manifold, MANIFOLDS, BaseManifold, name="manifold")
            self.manifold_ = manifold.with_columns(X.shape[1])
        if self.method not in NEURAL and not isinstance(self.manifold_, Euclidean):
            raise ValueError(
                f"method={self.method!r} is for Euclidean space; on {self.manifold_!r} "
                f"use one of {sorted(NEURAL)}."
            )
        if weight is not None:
            kept = weight > 0
            X, C, weight = X[kept], C[kept], weight[kept]
            groups = None if groups is None else groups[kept]
            if len(X) < least:
                raise ValueError(
                    "sample_weight leaves one row with a positive weight; at least two "
                    "rows are needed."
                )
        points = self._to_points(X)
        if not resume:
            for name in ("model_", "field_"):
                if name in vars(self):
                    delattr(self, name)
            self._seed = draw_seed(self.random_state)
            self._set_units(points.numpy(), C, weight)
        u = self._to_internal(points)
        if self.method in NEURAL:
            self._fit_energy(u, C, weight, groups, resume=resume, part=part)
        else:
            side = len(u) * (u.shape[1] if self._structure == "curl-free" else 1)
            with limit_threads(side, THREAD_WIDTH, self.device_):
                self._fit_field(u, weight, groups)
        return self

    def _set_units(self, points: np.ndarray, C: np.ndarray, weight) -> None:
        self._coordinates = fit_coordinates(
            points,
            weight,
            standardize=self.standardize,
            columns=self.manifold_.flat_columns,
        )[0]
        if not np.isfinite(self._coordinates.scale).all():
            raise ValueError(
                "The covariance of X is not finite: its values are too large. Rescale the "
                "columns."
            )
        self._context_mean, self._context_scale = np.zeros(C.shape[1]), 1.0
        if self.standardize and C.shape[1]:
            w = np.ones(len(C)) if weight is None else weight
            self._context_mean = np.average(C, axis=0, weights=w)
            offset = C - self._context_mean
            spread = np.sqrt(np.average(offset**2, axis=0, weights=w))
            is_flat = spread <= 1e-12 * np.maximum(np.abs(self._context_mean), 1e-300)
            self._context_scale = np.where(is_flat, 1.0, spread)

    def _fit_energy(self, u, C, weight, groups, *, resume: bool, part: bool) -> None:
        p = self.n_context_features_in_
        if not resume:
            space = self.manifold_
            if isinstance(space, Euclidean):
                joint: BaseManifold = Euclidean(u.shape[1] + p)
            else:
                joint = (
                    Product([("z", space), ("context", Euclidean(p))]) if p else space
                )
            names = EnergyScore._get_param_names()
            shared = {
                k: getattr(self, k) for k in names if k in self._get_param_names()
            }
            shared |= {"manifold": joint, "random_state": self._seed}
            shared["standardize"] = False
            self.model_ = EnergyScore(
                NEURAL[self.method], space=space, n_context=p, **shared
            )
        else:
            for name in ("lr", "max_epochs", "alpha", "epsilon", "verbose"):
                setattr(self.model_, name, getattr(self, name))
        rows = np.hstack([self.manifold_.to_user(u).numpy(), self._scale_context(C)])
        if part:
            self.model_.partial_fit(rows, sample_weight=weight)
        else:
            self.model_.fit(rows, sample_weight=weight, groups=groups)

    def _fit_field(self, u: Tensor, weight, groups) -> None:
        x = u.to(self.device_)
        w = torch.ones(len(x)) if weight is None else torch.from_numpy(weight)
        w = (w.double() / w.double().sum()).to(self.device_)
        kernel = resolve(self.kernel, KERNELS, BaseKernel, name="kernel")
        length_scale = self.bandwidth or kernel.length_scale
        if length_scale is None:
            rng = np.random.default_rng([self._seed, 1])
            some = rng.permutation(len(x))[:MEDIAN_ROWS]
            length_scale = median_length_scale(u[torch.from_numpy(some)])
        self.bandwidth_ = float(length_scale)
        kernel.set_params(length_scale=self.bandwidth_)
        matrix_kernel = MATRIX_KERNELS[self._structure](kernel)
        method = self._make_method()
        self.regularization_, self.regularization_scores_ = self.regularization, None
        if self.regularization is None:
            choice = choose_regularization(
                method, matrix_kernel, x, w, groups=groups, seed=self._seed
            )
            self.regularization_, self.regularization_scores_ = choice
        system = System(matrix_kernel, x, w)
        self.field_ = method.fit(system, float(self.regularization_))

    def _make_method(self) -> BaseScoreMethod:
        return resolve(self.method, SCORE_METHODS, BaseScoreMethod, name="method")

    @property
    def _structure(self) -> str:
        if self.structure != "auto":
            return self.structure
        return self._make_method().default_structure
