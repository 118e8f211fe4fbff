"""Normalised densities in Euclidean space: MVLDensity."""

from sklearn.frozen import FrozenEstimator

from sk_wmvl._validation import StrOptions
from sk_wmvl.base_measures.selection.gaussian_mixture import MIXTURES
from sk_wmvl.estimators._density import BaseDensity
from sk_wmvl.manifolds import Euclidean

__all__ = ["MVLDensity"]


class MVLDensity(BaseDensity):
    r"""Density estimation by minimum velocity.

    Learns an energy :math:`E` with :math:`q(x) = e^{-E(x)}/Z`. A sampler that targets q and
    starts at the data moves them with some velocity. Training minimises the mean square of
    this velocity, which is score matching to first order in the step [Wang2020]_, and the
    likelihood beside it. The energy is the correction of a base measure by a network,
    :math:`E = E_\theta - \log q_0`. The network starts at zero. Held-out rows decide at
    which scale it is kept, and a search for modes looks for mass where there are no rows.
    Z is computed at the end. `score_samples` are therefore log densities, in nats, with
    respect to Lebesgue measure in the units of X. Constant columns are left out of the
    density, with a warning: it is that of the columns that vary.

    Parameters
    ----------
    objective : str or BaseObjective, default='mvl'
        The objective. An object keeps its own parameters. A string is one of

        - ``'mvl'``, `DetachedMinimumVelocity`; the step of a sample is shortened if its
          drift would exceed the noise;
        - ``'mvl-graph'``, `MinimumVelocity` with a control variate;
        - ``'sm'``, ``'ssm'``, ``'ssm-vr'``, ``'fd-ssm'``: exact, sliced, variance-reduced
          sliced and finite-difference score matching;
        - ``'dsm'``, denoising score matching;
        - ``'cd1'``, contrastive divergence;
        - ``'mvl-svgd'``, `MinimumVelocity` with `SVGD`: half the kernelised Stein
          discrepancy;
        - ``'mvl-spos'``, with `SPOS`: the even mixture of that with score matching;
        - ``'mvl-birth-death'``, with `BirthDeath`: score matching plus half the variance
          of log p/q, which depends on the weights of separated modes;
        - ``'annealed'``, `AnnealedScoreMatching` over noise levels, which depends on
          these weights too;
        - ``'mpf'``, minimum probability flow;
        - ``'parzen'``, Parzen score matching;
        - ``'deen'``, the loss of deep energy estimators;
        - ``'nce'`` and ``'mle'``, noise-contrastive estimation and maximum likelihood,
          both by draws from the base measure.

        ``'mvl-svgd'``, ``'mvl-spos'``, ``'mvl-birth-death'``, ``'annealed'`` and
        ``'parzen'`` couple the rows of a batch, and take no `sample_weight`.
    objective_weight : float, 'auto' or None, default='auto'
        The weight :math:`\omega` of the objective beside the likelihood. The loss is
        :math:`\overline{E_\theta(x)} + \log\hat Z + \omega\,\overline{\ell(x)}`, with
        :math:`\log\hat Z` from draws of the base measure: the objective sees gradients at
        the rows, the likelihood sees how much mass is where. ``'auto'`` is 100 over the
        number of rows, and at most 1. None is the objective alone, the method of
        [Wang2020]_. The objective is alone too without a base measure or a normalizer, and
        if it compares with draws itself: ``'nce'``, ``'mle'``, ``'annealed'``.
    epsilon : float, default=1e-4
        The step :math:`\epsilon` of the sampler, in squared internal units (whitened
        ones, see `standardize`). The bias of the objective is proportional to
        :math:`\epsilon`, and a larger step gives a smoother density. For ``'dsm'``,
        ``'deen'`` and ``'parzen'`` it is the variance of the noise. Ignored by ``'sm'``,
        ``'ssm'``, ``'ssm-vr'``, ``'nce'``, ``'mle'`` and objects.
    alpha : float, default=1e-4
        Weight of the mean square of the correction :math:`E_\theta` in the loss: the
        regularisation towards the base measure. For an exponential family see
        `ExponentialFamily`.
    energy : str, Module, callable or ExponentialFamily, default='inner_product'
        The correction :math:`E_\theta`, a function of internal units:
        ``'inner_product'``, :math:`u^\top\psi(u)`; ``'mlp'``, a network with one output; a
        module from (n, d) to (n,), which is copied; or a callable that makes one from the
        number of features.

        It may also be an exponential family, which is fitted in closed form to all rows:
        ``'kernel'``, ``'polynomial'`` (with the penalty `alpha`), ``'gaussian'`` or an
        `ExponentialFamily`. `objective` must then be ``'mvl'`` or ``'sm'``. Parameters of
        steps and networks are not used: `epsilon`, `lr`, `batch_size`, `early_stopping`,
        `hidden_layer_sizes`, `callbacks` and the like.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of the hidden layers of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights of a built-in energy are divided by their spectral norm.
    base : str, mixture, FrozenEstimator or None, default='auto'
        The base measure :math:`q_0`, or None. A string is one of

        - ``'auto'``, the choice of held-out rows (`choose_mixture`). Candidates are a
          Gaussian and mixtures of normal and Student densities, in the columns as they
          are or transformed to near normality, and a stack of these. The network works in
          transformed columns if the base does;
        - ``'gaussian'``, the fitted Gaussian;
        - ``'mixture'``, the Gaussian mixture with the lowest BIC.

        A scikit-learn mixture is used as it is if it is fitted, and fitted to X if not.
        `clone`, and hence a grid search, makes it unfitted, unless it is inside a
        FrozenEstimator. With a `sample_weight`, scikit-learn's mixtures are fitted to rows
        resampled by weight.
    normalizer : str, BaseNormalizer or None, default='auto'
        How Z is computed: ``'auto'``, ``'quadrature'``, ``'importance'``, ``'annealed'``
        or an object. With None `score_samples` are unnormalised and `score` is minus the
        Hyvärinen score.
    standardize : bool, default=True
        Whether to train in whitened units, by a shrunk covariance. Densities stay in the
        units of X. If ``base='auto'`` is mostly a density of transformed columns, these
        are whitened, unless `energy` is an exponential family.
    batch_size : int or 'auto', default='auto'
        Rows per step; ``'auto'`` is a 32nd of the rows, but at least 32 and at most 256.
    lr : float, default=2e-3
        The learning rate, or the largest one of a schedule.
    lr_schedule : {'one-cycle', 'constant'}, default='one-cycle'
        Whether the rate rises and falls once over `max_epochs`, or is constant.
    max_epochs : int or 'auto', default='auto'
        Passes over the data. ``'auto'`` is 100, or as many as take 10 000 steps if these
        are fewer, but at least 4.
    early_stopping : bool, default=True
        Whether to hold out rows, which judge the correction. The base measure that is
        trained over does not know them. The weights are kept with which these rows gain
        most over the base measure, at the best scale of the correction. With
        ``objective_weight=None`` those with the best Hyvärinen score are kept. ``'nce'``,
        ``'mle'`` and ``'annealed'`` monitor the objective itself, on fixed draws. If fewer
        than two rows would be held out, none are.
    validation_fraction : float, default=0.1
        Proportion of rows held out.
    n_iter_no_change : int, default=20
        Epochs without an improvement by `tol` before training stops, counted from the
        peak of the learning rate.
    tol : float, default=0.0
        Smallest improvement that counts, in units of what is monitored.
    optimizer : str or class, default='adamw'
        The torch optimiser: ``'adamw'``, ``'adam'``, ``'rmsprop'``, ``'rmsprop-debiased'``
        (Adam without momentum, the authors' setting for auto-encoders), ``'sgd'`` or
        ``'lbfgs'``. ``'adamw'`` has no weight decay unless
        ``net_params={"optimizer__weight_decay": ...}`` sets it.
    callbacks : list of skorch callbacks or None, default=None
        Copied and called during training.
    net_params : dict or None, default=None
        Further parameters of the skorch net, which take precedence over the others. An
        entry is also a parameter ``net__key`` of the estimator.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit, with its coordinates and base measure. A
        warning tells if the rows are elsewhere.
    memory : str, object with the interface of joblib.Memory, or None, default=None
        Where chosen base measures are kept on disk. A string is a folder. With an integer
        as `random_state`, a search over `epsilon`, `alpha` and the like then chooses a
        base once for each part of the data, not for each setting. Empty the folder after
        an upgrade, and after changes to your own classes that affect the base.
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
        The frozen energy in float64. It maps tensors of shape (n, n_features), in the
        units of X and without constant columns, to energies of shape (n,).
    manifold_ : Euclidean
        The space of the columns that vary.
    base_ : BaseMeasure or None
        The base measure, in internal units. ``energy_.to_internal(x)`` converts a tensor x
        to these units, and ``energy_.log_det(x)`` is the log of the volume in units of X
        per internal volume.
    objective_ : BaseObjective
        The objective.
    log_normalizer_ : float
        :math:`\log Z`, in nats. None if `normalizer` is None, as are
        `log_normalizer_std_` and `normalizer_result_`.
    log_normalizer_std_ : float
        The standard error of :math:`\log Z`, in nats: a common error of all
        `score_samples`.
    correction_scale_ : float
        The factor of the correction, at which held-out rows are likeliest. It is 0, the
        base measure alone, if they gain no more than choosing epoch and scale by them could
        by chance; a `NetworkDroppedWarning` then says which parameters had no effect. A
        `ConvergenceWarning` tells of a scale that was lowered because a search for modes
        has found mass where there are no data.
    fit_report_ : dict
        What the fit decided: which base measure and over what, what the network was worth
        in nats per row and with which standard error, the search for modes, log Z, the
        seconds of each stage, and what was left out and why. `summary` shows it.
    ties_ : Ties
        Repetitions in the X of the last `fit` or the first `partial_fit`. `copies` is the
        proportion of rows that are copies of others. `rounding` has the step to which each
        column is rounded, or 0.
    normalizer_result_ : LogNormalizer
        The estimate of :math:`\log Z` with its effective sample size and method.
    n_iter_ : int
        Number of epochs trained.
    loss_curve_ : list of float
        Training objective per epoch.
    validation_loss_curve_ : list of float
        The monitored value on held-out rows, per epoch; lower is better. It is minus the
        gain over the base measure at the best scale, in nats per row. With the objective
        alone it is the Hyvärinen score in internal units, up to a constant, or the
        objective itself (see `early_stopping`).
    history_ : list of dict
        skorch's history.
    device_ : torch.device
        The device of the training.
    parameters_, standard_errors_ : dict of str to ndarray
        Only for an exponential family: its parameters in the units of X, and their
        standard errors, which are valid even if the rows do not follow the family.
    natural_parameters_, natural_covariance_ : ndarray of shape (k,) and (k, k)
        Only for an exponential family: the coefficients of its statistics in internal
        units, and the sandwich estimate of their covariance.
    alpha_ : float
        Only for an exponential family: the weight of the penalty.
    regularization_path_ : RegularizationPath
        Only for an exponential family: leave-one-out scores by weight of the penalty.
    robust_weights_ : ndarray of shape (n_samples,)
        Only for a family with ``robustness``: the weights of the rows, of which the
        largest is 1. Rows whose `sample_weight` is zero are left out.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    sklearn.neighbors.KernelDensity : A kernel at every data point.
    sklearn.mixture.GaussianMixture : A few Gaussians.

    Notes
    -----
    Score matching does not determine the relative weights of well-separated modes, because
    the score at the data hardly depends on them. The base measure supplies the weights, and
    the likelihood corrects them.

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
        # Without a base, the fitted Gaussian still proposes draws.
        return "gaussian" if base is None else base
