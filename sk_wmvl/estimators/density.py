"""Normalised densities in Euclidean space: MVLDensity."""

from sklearn.frozen import FrozenEstimator

from sk_wmvl._validation import StrOptions
from sk_wmvl.base_measures.selection.gaussian_mixture import MIXTURES
from sk_wmvl.estimators._density import BaseDensity
from sk_wmvl.manifolds import Euclidean

__all__ = ["MVLDensity"]


class MVLDensity(BaseDensity):
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
        matching; ``'dsm'``, denoising score matching; ``'cd1'``, contrastive divergence;
        ``'mvl-svgd'``, ``'mvl-spos'`` and ``'mvl-birth-death'``, `MinimumVelocity` with
        `SVGD`, `SPOS` and `BirthDeath`: half the kernelised Stein discrepancy, its even
        mixture with score matching, and score matching plus half the variance of
        log p/q, which sees the weights of separated modes. These three couple the rows
        of a batch and take no `sample_weight`, as does ``'annealed'``,
        `AnnealedScoreMatching` over levels of noise, which sees those weights too.
        ``'mpf'``, minimum probability flow; ``'parzen'`` and ``'deen'``, Parzen score
        matching, which couples rows, and the loss of deep energy estimators;
        ``'nce'``, noise-contrastive estimation, and ``'mle'``, maximum likelihood, both
        by draws from the base measure. An object keeps its own parameters.
    epsilon : float, default=1e-4
        The step :math:`\epsilon` of the sampler, in internal units: whitened ones, see
        `standardize`. The bias of the objective grows like :math:`\epsilon`; it also
        smooths. For ``'dsm'``, ``'deen'`` and ``'parzen'`` it is the variance of the noise.
        Ignored by ``'sm'``, ``'ssm'``, ``'ssm-vr'``, ``'nce'``, ``'mle'`` and objects.
    alpha : float, default=1e-4
        Weight of the mean square of the correction :math:`E_\theta` in the loss: the
        regularisation towards the base measure. Of an exponential family, see there.
    energy : str, Module, callable or ExponentialFamily, default='inner_product'
        The correction :math:`E_\theta`: ``'inner_product'``, :math:`u^\top\psi(u)`;
        ``'mlp'``, a network with one output; a module from (n, d) to (n,), which is
        copied, or a callable that makes one from the number of features. It sees internal
        units.
        Or an exponential family, which is fitted in closed form: ``'kernel'``,
        ``'polynomial'`` (with the penalty `alpha`), ``'gaussian'`` or an object; see
        `ExponentialFamily`. Then `objective` must be ``'mvl'`` or ``'sm'``, all rows train,
        and what concerns steps and networks is not used: `epsilon`, `lr`, `batch_size`,
        `early_stopping`, `hidden_layer_sizes`, `callbacks` and the like.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of the hidden layers of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights of a built-in energy are divided by their spectral norm.
    base : str, mixture, FrozenEstimator or None, default='auto'
        The base measure :math:`q_0`: ``'auto'``, what held-out rows prefer of a Gaussian
        and mixtures of normal and Student densities, of columns as they are or transformed
        to near normality, stacked if that is better still (`choose_mixture`); the network
        then corrects it in transformed columns, too;
        ``'gaussian'``, the fitted Gaussian; ``'mixture'``, the Gaussian mixture with the
        lowest BIC; a scikit-learn mixture, used as it is if fitted and fitted to X if not
        (`clone`, hence a grid search, makes it unfitted unless it is inside
        FrozenEstimator); or None. Mixtures of scikit-learn are fitted to rows resampled by
        weight when there is a `sample_weight`.
    normalizer : str, BaseNormalizer or None, default='auto'
        How Z is computed: ``'auto'``, ``'quadrature'``, ``'importance'`` or
        ``'annealed'``. With None `score_samples` are unnormalised and `score` is minus
        the Hyvärinen score.
    standardize : bool, default=True
        Whether to train in whitened units (a shrunk covariance; the log-determinant is
        put back). These are units of transformed columns where ``base='auto'`` is mostly a
        density of such, unless `energy` is an exponential family.
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
        them (with ``'nce'``, ``'mle'`` and ``'annealed'`` the best objective, on fixed
        draws), and to stop when it no longer improves. Fewer than two held-out rows are
        not used.
    validation_fraction : float, default=0.1
        Share of rows held out.
    n_iter_no_change : int, default=20
        Epochs without an improvement by `tol` before training stops.
    tol : float, default=0.0
        Smallest improvement that counts, in units of what is monitored.
    optimizer : str or class, default='adamw'
        The torch optimiser: ``'adamw'``, ``'adam'``, ``'rmsprop'``, ``'rmsprop-debiased'``
        (Adam without momentum, the authors' setting for auto-encoders), ``'sgd'`` or
        ``'lbfgs'``. ``'adamw'`` comes without weight decay; set it by
        ``net_params={"optimizer__weight_decay": ...}``.
    callbacks : list of skorch callbacks or None, default=None
        Copied and called during training.
    net_params : dict or None, default=None
        Further parameters of the skorch net, which win over the others. An entry is also
        a parameter ``net__key`` of the estimator.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit; coordinates and base measure are kept.
    memory : str, object with the interface of joblib.Memory, or None, default=None
        Where chosen base measures are kept, on disk: a search over `epsilon`, `alpha` and
        the like, with `random_state` an integer, chooses one for each part of the data
        then, not for each setting. A string is a folder. Empty it after an upgrade, and
        when a class of yours that decides about the base has changed.
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
    manifold_ : Euclidean
        The space.
    base_ : BaseMeasure or None
        The base measure, in internal units: ``energy_.to_internal(x)`` are those of a
        tensor x, ``energy_.log_det(x)`` the log of the volume of x per volume of these.
    objective_ : BaseObjective
        The objective.
    log_normalizer_ : float
        :math:`\log Z`. None without `normalizer`, as its error and result.
    log_normalizer_std_ : float
        Its standard error, in nats: a common error of all `score_samples`.
    correction_scale_ : float
        What the correction was multiplied by: 1, or less if that makes held-out rows
        more likely; 0 if it gains no more than a standard error over the base measure.
        With a warning if more of it would make them less likely than the base measure
        does, by more than sampling error.
    ties_ : Ties
        What repeats in X, of the last `fit` or the first `partial_fit`: `copies`, the
        share of the rows that are copies of others, and `rounding`, the steps to which
        columns are rounded (0 where they are not).
    normalizer_result_ : LogNormalizer
        The estimate with its effective sample size and method.
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Training objective per epoch.
    validation_loss_curve_ : list of float
        What is monitored on held-out rows, per epoch, in internal units; lower is better:
        the Hyvärinen score, or the objective itself (see `early_stopping`).
    history_ : list of dict
        skorch's history.
    device_ : torch.device
        Where it was trained.
    parameters_, standard_errors_ : dict of str to ndarray
        Of an exponential family only: its parameters in the units of X, and their standard
        errors, which hold whatever the distribution of the rows.
    natural_parameters_, natural_covariance_ : ndarray of shape (k,) and (k, k)
        Of an exponential family only: the coefficients of its statistics in internal
        units, and the sandwich estimate of their covariance.
    alpha_ : float
        Of an exponential family only: the weight of the penalty.
    regularization_path_ : RegularizationPath
        Of an exponential family only: leave-one-out scores by weight of the penalty.
    robust_weights_ : ndarray of shape (n_samples,)
        Of a family with ``robustness`` only: the weights of the rows, the largest 1; those
        whose `sample_weight` is zero are not among them.
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
    not change between them. The base measure supplies the weights.

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

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "base": [
            None,
            StrOptions({"auto", "gaussian", "mixture"}),
            *MIXTURES,
            FrozenEstimator,
        ],
    }

    def _make_manifold(self, X) -> Euclidean:
        return Euclidean(X.shape[1])

    def _base_kind(self, base, manifold, objective) -> object:
        del manifold, objective
        # Where there is no base, the fitted Gaussian still proposes draws.
        return "gaussian" if base is None else base
