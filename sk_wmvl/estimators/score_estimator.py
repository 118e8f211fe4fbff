"""Scores of distributions that are known by draws only: ImplicitScoreEstimator."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad, jacobian
from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed
from sk_wmvl._rows import Rows
from sk_wmvl._validation import (
    LARGEST,
    Interval,
    Real,
    StrOptions,
    check_rows,
    fit_context,
    resolve_device,
)
from sk_wmvl.entropy import score_surrogate
from sk_wmvl.estimators._constraints import CONSTRAINTS
from sk_wmvl.estimators._energy_score import EnergyScore
from sk_wmvl.estimators._field import column_names, solve_field
from sk_wmvl.estimators._net_params import NetParamsMixin
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.estimators._prepare import select_weighted
from sk_wmvl.estimators._publish import publish
from sk_wmvl.estimators._score_units import (
    NEURAL,
    ScoreUnits,
    check_context,
    is_gradient,
    is_neural,
    is_neural_name,
)
from sk_wmvl.kernels import KERNELS, BaseKernel
from sk_wmvl.manifolds import MANIFOLDS, BaseManifold, Euclidean, Product
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.score_methods import (
    MATRIX_KERNELS,
    SCORE_METHODS,
    BaseScoreMethod,
)

__all__ = ["ImplicitScoreEstimator"]

CHUNK = 1024  # rows at a time in evaluation
# Attributes that depend on the kind of method, trained or kernel.
OUTCOMES = (
    "model_",
    "field_",
    "bandwidth_",
    "regularization_",
    "regularization_scores_",
)


class ImplicitScoreEstimator(PersistenceMixin, NetParamsMixin, BaseEstimator):
    r"""The score :math:`\nabla\log q` of a distribution known by draws only.

    The estimate is a trained energy, or a regularised kernel estimate. A trained energy
    may live on a manifold and depend on a context. Nothing is normalised. Most uses of such
    scores need the gradient of an entropy, which `entropy_surrogate` provides.

    Parameters
    ----------
    method : str or BaseScoreMethod, default='mvl'
        How the score is estimated. Three methods train an energy: ``'mvl'``, minimum
        velocity; ``'ssm'``, variance-reduced sliced score matching; ``'dsm'``, denoising
        score matching. The kernel methods are ``'kef'``, the kernel exponential family
        (Tikhonov regularisation); ``'landweber'``, Landweber iteration; ``'nu'``, the
        ν-method; ``'ssge'``, the spectral Stein gradient estimator (spectral cut-off);
        ``'stein'``, Stein's identity. An object of `sk_wmvl.score_methods` keeps its own
        parameters.
    manifold : str or BaseManifold, default='euclidean'
        The space of the rows. The kernel methods are for Euclidean space only.
    epsilon : float, default=1e-4
        The step of minimum velocity, in squared internal units, or the variance of the
        noise of ``'dsm'``.
    alpha : float, default=1e-4
        Weight of the mean square of the energy's correction in the loss.
    kernel : {'rbf', 'imq'} or BaseKernel, default='rbf'
        The radial kernel of the kernel methods.
    structure : {'auto', 'curl-free', 'diagonal'}, default='auto'
        The matrix-valued kernel that is made of the radial one. Curl-free fields are
        gradients, and need linear systems of size n d. Diagonal ones need systems of size
        n. ``'auto'`` is diagonal for ``'ssge'`` and ``'stein'``, as they were published,
        and curl-free for the others.
    bandwidth : float or None, default=None
        The kernel's length scale, in internal units. None is the median distance, unless
        the kernel is an object with a length scale.
    regularization : float or None, default=None
        The weight λ of the regularisation of an operator whose norm is at most one. It
        corresponds to :math:`1/\lambda` steps of Landweber iteration, and to
        :math:`\lambda^{-1/2}` steps of the ν-method. None chooses it by the held-out
        Hyvärinen score (`choose_regularization`).
    energy : {'inner_product', 'mlp'}, Module or callable, default='inner_product'
        The network. With a context it is always a `ConditionalEnergy`.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights are divided by their spectral norm.
    base : {'gaussian'} or None, default='gaussian'
        The base measure that the network corrects in Euclidean space, without a context.
    standardize : bool, default=True
        Whether to work in whitened units. A context is scaled column by column.
    batch_size, lr, lr_schedule, max_epochs, early_stopping, validation_fraction : optional
        Parameters of the training, as in `MVLDensity`.
    n_iter_no_change, tol, optimizer, callbacks, net_params, warm_start : optional
        Parameters of the training, as in `MVLDensity`.
    device : str or torch.device, default='auto'
        Where to train and evaluate; ``'auto'`` is CUDA when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, splits and noise.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    manifold_ : BaseManifold
        The manifold.
    model_ : EnergyScore
        The trained energy, in internal units. Only for ``'mvl'``, ``'ssm'``, ``'dsm'``.
    field_ : KernelField or SpanField
        The kernel estimate, in internal units, across which rows vary. Only for kernel
        methods.
    regularization_ : float
        The weight of the regularisation. Only for kernel methods.
    regularization_scores_ : ndarray of shape (n_grid,) or None
        Held-out Hyvärinen scores on `sk_wmvl.score_methods.GRID`. None if
        `regularization` was given.
    bandwidth_ : float
        The length scale, in internal units. Only for kernel methods.
    n_context_features_in_ : int
        Number of columns of the context; zero without one.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.
    device_ : torch.device
        The device of the fit.

    See Also
    --------
    MVLDensity : A normalised density.
    sk_wmvl.entropy.entropy_surrogate : For an energy in a training loop of one's own.

    References
    ----------
    [Wang2020]_, [Zhou2020]_

    Examples
    --------
    The score of a standard normal at 1 is -1. A kernel estimate is shrunk towards zero.

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
        "bandwidth": [None, Interval(Real, 0, LARGEST, closed="right")],
        "regularization": [None, Interval(Real, 0, LARGEST, closed="right")],
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
            The variables that each row is conditional on. The score is that of X given
            the context. Only for ``'mvl'``, ``'ssm'`` and ``'dsm'``.

        Returns
        -------
        self : ImplicitScoreEstimator
            Fitted.
        """
        del y
        resume = self.warm_start and "model_" in vars(self) and self.method in NEURAL
        return self._run(
            X, sample_weight, groups, context, resume=resume, in_part=False
        )

    @available_if(is_neural)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None, *, context=None):
        """Train for one more epoch, on rows whose distribution may have changed.

        The first call fixes units and base measure. Later calls keep them, so that energies
        of different calls are comparable. The learning rate is constant, and no rows are
        held out. The weights that are evaluated are an average over about the last 200
        steps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Draws.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.
        context : array-like of shape (n_samples, n_context), default=None
            The variables that each row is conditional on.

        Returns
        -------
        self : ImplicitScoreEstimator
            Fitted.
        """
        del y
        resume = "model_" in vars(self)
        return self._run(X, sample_weight, None, context, resume=resume, in_part=True)

    def _run(self, X, sample_weight, groups, context, *, resume: bool, in_part: bool):
        """Prepare, train or solve, and publish."""
        least = 1 if in_part and resume else 2
        X = check_rows(self, X, reset=not resume, min_samples=least)
        n_context = self.n_context_features_in_ if resume else None
        C = check_context(context, X, self.method, n_context)
        rows, kept = select_weighted(X, sample_weight, groups, least)
        C = C[kept]
        device = resolve_device(self.device)
        if resume:
            units, seed = self._units, self._seed
        else:
            manifold = resolve(self.manifold, MANIFOLDS, BaseManifold, name="manifold")
            manifold = manifold.with_columns(X.shape[1])
            seed = draw_seed(self.random_state)
            units = ScoreUnits.fit(rows, C, manifold, standardize=self.standardize)
        is_trained = is_neural_name(self.method)
        if not (is_trained or isinstance(units.manifold, Euclidean)):
            raise ValueError(
                f"method={self.method!r} is for Euclidean space; on {units.manifold!r} "
                f"use one of {sorted(NEURAL)}."
            )
        u = units.to_internal(units.points(rows.points))
        if is_trained:
            outcome = self._train(u, C, rows, units, seed, resume=resume, part=in_part)
        else:
            outcome = solve_field(
                u.to(device),
                rows,
                self._make_method(),
                resolve(self.kernel, KERNELS, BaseKernel, name="kernel"),
                self._structure,
                bandwidth=self.bandwidth,
                regularization=self.regularization,
                seed=seed,
                inverse=units.inverse(u).to(device),
                names=column_names(self),
            )
        known = {
            "device_": device,
            "manifold_": units.manifold,
            "n_context_features_in_": C.shape[1],
            "_units": units,
            "_seed": seed,
        }
        publish(self, known | outcome, forget=OUTCOMES)
        return self

    def _train(
        self,
        u: Tensor,
        C: np.ndarray,
        rows: Rows,
        units: ScoreUnits,
        seed: int,
        *,
        resume: bool,
        part: bool,
    ) -> dict[str, Any]:
        """Return the attributes of a trained energy of internal coordinates."""
        space, n_context = units.manifold, C.shape[1]
        joint: BaseManifold = space
        if isinstance(space, Euclidean):
            joint = Euclidean(u.shape[1] + n_context)
        elif n_context:
            joint = Product([("z", space), ("context", Euclidean(n_context))])
        own = set(self._get_param_names())
        params = {
            name: getattr(self, name)
            for name in EnergyScore._get_param_names()
            if name in own
        }
        params |= {
            "objective": NEURAL[self.method],
            "manifold": joint,
            "space": space,
            "n_context": n_context,
            "random_state": seed,
            "standardize": False,
            "warm_start": resume,
        }
        if resume:
            # A copy, so that a fit that fails leaves the old model as it was.
            model = copy.copy(self.model_)
            vars(model).update(params)
        else:
            model = EnergyScore(**params)
        joined = np.hstack([space.to_user(u).numpy(), units.scale_context(C)])
        if part:
            model.partial_fit(joined, sample_weight=rows.weight)
        else:
            model.fit(joined, sample_weight=rows.weight, groups=rows.groups)
        return {"model_": model}

    def _make_method(self) -> BaseScoreMethod:
        return resolve(self.method, SCORE_METHODS, BaseScoreMethod, name="method")

    @property
    def _structure(self) -> str:
        if self.structure != "auto":
            return self.structure
        return self._make_method().default_structure

    # --- internal units ---------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_units" in vars(self)

    @property
    def _is_trained(self) -> bool:
        return "model_" in vars(self)

    def _chunks(self, X, context, size: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield points of the manifold and internal contexts, on the device."""
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        C = check_context(context, X, self.method, self.n_context_features_in_)
        x = self._units.points(X).to(self.device_)
        c = torch.from_numpy(self._units.scale_context(C)).to(x)
        yield from zip(x.split(size), c.split(size), strict=True)

    def _held(self, c: Tensor):
        """Return the energy, at a fixed context, as a function of ambient coordinates."""
        energy, units = self.model_.energy_, self._units

        def held(x: Tensor) -> Tensor:
            u = units.to_internal(x)
            if c.shape[1] == 0:
                return energy(u)
            return energy(torch.cat([u, c.repeat(len(x) // len(c), 1)], 1))

        return held

    def _covector(self, x: Tensor, c: Tensor) -> Tensor:
        """Return the derivatives of log q at points of the manifold, in its coordinates."""
        if self._is_trained:
            return -energy_and_grad(self._held(c), x)[1]
        units = self._units
        return self.field_(units.to_internal(x)) @ units.inverse(x)

    # --- evaluation -------------------------------------------------------------------

    def score_fn(self, X, context=None) -> np.ndarray:
        r"""Return the score :math:`\nabla\log q(x)`, in nats per unit of X.

        On a manifold this is the Riemannian gradient, a tangent vector in the coordinates
        of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.
        context : array-like of shape (n_samples, n_context), default=None
            The variables that each point is conditional on, if the fit had a context.

        Returns
        -------
        score : ndarray of shape (n_samples, n_features)
        """
        scores = []
        for x, c in self._chunks(X, context):
            u = self.manifold_.egrad2rgrad(x, self._covector(x, c))
            scores.append(self.manifold_.push_to_user(x, u))
        return torch.cat(scores).cpu().numpy()

    @available_if(is_gradient)
    def score_samples(self, X, context=None) -> np.ndarray:
        """Return log densities up to a constant, which depends on the context.

        Not available for diagonal kernels, whose fields are not gradients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.
        context : array-like of shape (n_samples, n_context), default=None
            The variables that each point is conditional on, if the fit had a context.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, unnormalised.
        """
        values = []
        for x, c in self._chunks(X, context):
            with torch.no_grad():
                if self._is_trained:
                    values.append(-self._held(c)(x))
                else:
                    values.append(self.field_.log_density(self._units.to_internal(x)))
        return torch.cat(values).cpu().numpy()

    def score(self, X, y=None, context=None) -> float:
        r"""Return minus the mean Hyvärinen score; higher is better.

        :math:`-\frac1n\sum_i\frac12\|s(x_i)\|^2+\nabla\cdot s(x_i)`, where s is the score,
        in the units of X. On a manifold, norm and divergence are those of its metric. The
        value involves no step size and no regularisation, so that all settings and methods
        compare. Above 20 dimensions the divergence of a trained energy's score is
        estimated on fixed probes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Held-out draws.
        y : None
            Ignored.
        context : array-like of shape (n_samples, n_context), default=None
            The variables that each point is conditional on, if the fit had a context.

        Returns
        -------
        score : float
        """
        del y
        values = []
        for x, c in self._chunks(X, context, size=CHUNK // 4):
            if self._is_trained:
                held = self._held(c)
                values.append(hyvarinen_values(held, x, manifold=self.manifold_))
                continue
            s = self._covector(x, c)

            def field(x: Tensor, c: Tensor = c) -> Tensor:
                return self._covector(x, c)

            slopes = jacobian(field, x, create_graph=False)
            divergence = slopes.diagonal(dim1=1, dim2=2).sum(1)
            values.append(0.5 * s.square().sum(1) + divergence)
        return -float(torch.cat(values).mean())

    def entropy_surrogate(self, z: Tensor, context=None) -> Tensor:
        r"""Return zero, with the gradient of the entropy of an encoder's draws.

        The surrogate is :math:`-\frac1n\sum_i s(z_i)\cdot z_i` with the scores s held
        constant, less its value. Its derivative in the parameters of the encoder is that
        of the entropy, eq. (19) of the paper. On a manifold the entropy is the one with
        respect to the volume.

        Parameters
        ----------
        z : Tensor of shape (n, n_features)
            Draws in the units of the fit, with the graph of the encoder; float32 or
            float64.
        context : Tensor of shape (n, n_context), default=None
            The input of the encoder, if the fit had a context.

        Returns
        -------
        surrogate : Tensor of shape ()
            Maximising it maximises the entropy. No gradient reaches the estimator or the
            context.

        Raises
        ------
        TypeError
            If z is not a tensor.

        Examples
        --------
        >>> import torch
        >>> from sk_wmvl import ImplicitScoreEstimator
        >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> estimator = ImplicitScoreEstimator("kef", random_state=0).fit(2 * x)
        >>> sigma = torch.tensor(2.0, requires_grad=True)
        >>> estimator.entropy_surrogate(sigma * x).backward()
        >>> bool(abs(sigma.grad - 0.5) < 0.1)  # the derivative of log σ
        True
        """
        if not isinstance(z, Tensor):
            raise TypeError(
                "entropy_surrogate differentiates through z, which must be a torch tensor; "
                f"got {type(z).__name__}."
            )
        check_is_fitted(self)
        parts = [self._covector(x, c) for x, c in self._chunks(z, context, size=CHUNK)]
        points = self.manifold_.from_user(z)
        return score_surrogate(torch.cat(parts).to(points), points)
