"""Normalised densities in Euclidean space: MVLDensity."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import DensityMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sk_wmvl._backtracking import backtrack
from sk_wmvl._base import NORMALIZER, SAMPLE, BaseEnergyEstimator
from sk_wmvl._component import resolve
from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._validation import StrOptions
from sk_wmvl.energies import BaseMeasure, GaussianBase, from_mixture
from sk_wmvl.energies.mixtures import MIXTURES, best_mixture, fitted_mixture
from sk_wmvl.metrics import hyvarinen_score
from sk_wmvl.normalizers import (
    NORMALIZERS,
    BaseNormalizer,
    LogNormalizer,
    warn_if_unreliable,
)
from sk_wmvl.samplers import draw

__all__ = ["MVLDensity"]


class MVLDensity(DensityMixin, BaseEnergyEstimator):
    r"""Density estimation by minimum velocity.

    Learns an energy :math:`E` with :math:`q(x) = e^{-E(x)}/Z` by minimising the speed with
    which a sampler aimed at q, started at the data, leaves it: a first-order estimate of
    score matching [Wang2020]_. The energy is a network's correction of a base measure,
    :math:`E = E_\theta - \log q_0`. The network starts at zero, training keeps the weights
    with the best held-out Hyvärinen score, and Z is computed at the end, so that
    `score_samples` are log densities in nats with respect to Lebesgue measure in the
    units of X.

    Parameters
    ----------
    objective : str or BaseObjective, default='mvl'
        What is minimised: ``'mvl'``, `DetachedMinimumVelocity` with the step of a sample
        shortened where its drift would exceed the noise; ``'mvl-graph'``,
        `MinimumVelocity` with a control variate; ``'sm'``, ``'ssm'``, ``'ssm-vr'`` and
        ``'fd-ssm'``, exact, sliced, variance-reduced sliced and finite-difference score
        matching; ``'dsm'``, denoising score matching; ``'cd1'``, contrastive divergence.
        An object keeps its own parameters.
    epsilon : float, default=1e-4
        The step :math:`\epsilon` of the sampler, in internal (whitened) units. The bias of
        the objective grows like :math:`\epsilon`; it also smooths. For ``'dsm'`` it is the
        variance of the noise. Ignored by ``'sm'``, ``'ssm'``, ``'ssm-vr'`` and objects.
    alpha : float, default=1e-4
        Weight of the mean square of the correction :math:`E_\theta` in the loss: the
        regularisation towards the base measure.
    energy : {'inner_product', 'mlp'}, Module or callable, default='inner_product'
        The correction :math:`E_\theta`: :math:`u^\top\psi(u)`, a network with one output, a
        module from (n, d) to (n,), which is copied, or a callable that makes one from
        the number of features. It sees internal units.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of the hidden layers of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights of a built-in energy are divided by their spectral norm.
    base : str, mixture, FrozenEstimator or None, default='gaussian'
        The base measure :math:`q_0`: ``'gaussian'``, the fitted Gaussian; ``'mixture'``,
        the Gaussian mixture with the lowest BIC; a scikit-learn mixture, used as it is if
        fitted and fitted to X if not (`clone`, hence a grid search, makes it unfitted
        unless it is inside FrozenEstimator); or None. Mixtures are fitted to rows
        resampled by weight when there is a `sample_weight`.
    normalizer : str, BaseNormalizer or None, default='auto'
        How Z is computed: ``'auto'``, ``'quadrature'``, ``'importance'`` or
        ``'annealed'``. With None `score_samples` are unnormalised and `score` is minus
        the Hyvärinen score.
    standardize : bool, default=True
        Whether to train in whitened units (a shrunk covariance; the log-determinant is
        put back).
    batch_size : int or 'auto', default='auto'
        Rows per step; ``'auto'`` is a 32nd of the rows, but 32 to 256.
    lr : float, default=2e-3
        The (largest) learning rate.
    lr_schedule : {'one-cycle', 'constant'}, default='one-cycle'
        Whether the rate rises and falls once over `max_epochs`.
    max_epochs : int, default=100
        Passes over the data.
    early_stopping : bool, default=True
        Whether to hold out rows, to keep the weights with the best Hyvärinen score on
        them, and to stop when it no longer improves. Fewer than two held-out rows are
        not used.
    validation_fraction : float, default=0.1
        Share of rows held out.
    n_iter_no_change : int, default=20
        Epochs without an improvement by `tol` before training stops.
    tol : float, default=0.0
        Smallest improvement that counts, in units of the Hyvärinen score.
    optimizer : {'adamw', 'adam', 'rmsprop', 'sgd', 'lbfgs'} or class, default='adamw'
        The torch optimiser. ``'adamw'`` comes without weight decay; set it by
        ``net_params={"optimizer__weight_decay": ...}``.
    callbacks : list of skorch callbacks or None, default=None
        Copied and called during training.
    net_params : dict or None, default=None
        Further parameters of the skorch net, which win over the others. An entry is also
        a parameter ``net__key`` of the estimator.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit; coordinates and base measure are kept.
    device : str or torch.device, default='auto'
        Where to train and evaluate; ``'auto'`` is CUDA when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, splits, noise and draws. None takes fresh entropy and leaves
        numpy's global stream alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    energy_ : Module
        The energy in float64, frozen; maps tensors in the units of X to (n,).
    base_ : BaseMeasure or None
        The base measure, in internal units.
    objective_ : BaseObjective
        The objective.
    log_normalizer_ : float
        :math:`\log Z`. None without `normalizer`, as its error and result.
    log_normalizer_std_ : float
        Its standard error, in nats: a common error of all `score_samples`.
    correction_scale_ : float
        What the correction was multiplied by: 1, or less if that makes held-out rows
        more likely; 0 if it gains no more than a standard error over the base measure.
        With a warning if at full strength it made them less likely than the base
        measure does, by more than sampling error.
    normalizer_result_ : LogNormalizer
        The estimate with its effective sample size and method.
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Training objective per epoch.
    validation_loss_curve_ : list of float
        Held-out Hyvärinen score per epoch, in internal units; lower is better.
    history_ : list of dict
        skorch's history.
    device_ : torch.device
        Where it was trained.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had any.

    See Also
    --------
    sklearn.neighbors.KernelDensity : A kernel at every data point.
    sklearn.mixture.GaussianMixture : A few Gaussians.

    Notes
    -----
    Score matching cannot see the relative weight of well-separated modes: the score does
    not change between them. ``base='mixture'`` supplies the weights.

    References
    ----------
    [Wang2020]_, [Hyvarinen2005]_

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl import MVLDensity
    >>> X = np.random.default_rng(0).normal(size=(500, 1))
    >>> density = MVLDensity(max_epochs=5, random_state=0).fit(X)
    >>> bool(abs(density.score_samples([[0.0]])[0] + 0.919) < 0.1)  # -log(2 pi) / 2
    True
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
        base="gaussian",
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
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    _parameter_constraints: dict = {
        **BaseEnergyEstimator._parameter_constraints,
        "base": [None, StrOptions({"gaussian", "mixture"}), *MIXTURES, FrozenEstimator],
        "normalizer": [None, StrOptions(set(NORMALIZERS)), BaseNormalizer],
    }

    def _make_base(self, X, weight, mean, covariance) -> BaseMeasure | None:
        m, S = self._coordinates
        # Where there is no base, the fitted Gaussian still proposes draws.
        inverse = np.linalg.inv(S)
        moved = inverse @ covariance @ inverse.T
        gaussian = GaussianBase(inverse @ (mean - m), 0.5 * (moved + moved.T))
        self._proposal: BaseMeasure = gaussian
        if self.base is None:
            return None
        if self.base == "gaussian":
            return gaussian
        if self.base == "mixture":
            std = np.sqrt(np.diag(covariance))
            mixture = best_mixture((X - mean) / std, weight, self._seed)
            self._proposal = from_mixture(mixture, (m - mean) / std, S / std[:, None])
        else:
            mixture = fitted_mixture(self.base, X, weight, self._seed)
            self._proposal = from_mixture(mixture, m, S)
        return self._proposal

    def _freeze(self, net, rows) -> dict:
        energy = self._freeze_energy(net)
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
        proposal = self._proposal.to(self.device_)

        @torch.no_grad()
        def normalize() -> LogNormalizer:
            return normalizer.estimate(
                energy.energy,
                proposal,
                generator=make_generator(self._seed, NORMALIZER),
            )

        if self.base_ is None:
            estimate = normalize()
        else:
            estimate = backtrack(energy.energy, normalize, rows)
        warn_if_unreliable(estimate)
        return {
            "energy_": energy,
            "correction_scale_": energy.energy.scale,
            "normalizer_result_": estimate,
            "log_normalizer_": estimate.value,
            "log_normalizer_std_": estimate.std_error,
        }

    def score_samples(self, X) -> np.ndarray:
        """Return log densities, in nats, with respect to Lebesgue measure on X.

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
        """Draw from the model by Hamiltonian Monte Carlo on many chains.

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
            self._proposal.to(self.device_),
            int(n_samples),
            generator=make_generator(seed, SAMPLE),
        )
        return self.energy_.to_user(u).cpu().numpy()
