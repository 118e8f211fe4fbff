"""Normalised densities on manifolds: RiemannianMVLDensity."""

import numpy as np
import torch

from sk_wmvl._component import resolve
from sk_wmvl._validation import StrOptions
from sk_wmvl._warnings import warn
from sk_wmvl.estimators._density import BaseDensity
from sk_wmvl.manifolds import MANIFOLDS, BaseManifold, Euclidean, Sphere
from sk_wmvl.objectives import AnnealedScoreMatching

__all__ = ["RiemannianMVLDensity"]

UNIT_TOLERANCE = 1e-6


class RiemannianMVLDensity(BaseDensity):
    r"""Density estimation on a manifold by minimum velocity.

    Learns an energy :math:`E` on a sphere, torus, rotation group, simplex, hyperbolic
    space, a product of these or a space of the user's. The density is
    :math:`q(x) = e^{-E(x)}/Z` with respect to the Riemannian volume. Riemannian Langevin
    dynamics that targets q and starts at the data moves them with some velocity. Training
    minimises the mean square of this velocity [Wang2020]_. The energy is the correction of
    a base measure by a network, :math:`E = E_\theta - \log q_0`. The inputs of the network
    are smooth functions of the point that have the manifold's symmetries, such as the
    period of angles and the sign of axes and quaternions.

    Parameters
    ----------
    manifold : str or BaseManifold, default='auto'
        ``'circle'``, ``'sphere'``, ``'torus'``, ``'rotation'``, ``'axial'``,
        ``'simplex'``, ``'hyperbolic'``, ``'spd'``, ``'euclidean'``, or an object such as
        ``Sphere(project=True)`` or a `Product`. A row off the manifold raises a
        ValueError. ``'auto'`` is the unit sphere if every row is a unit vector (to 1e-6)
        of at least two columns, and Euclidean space otherwise; `manifold_` says which.
        One-hot rows are unit vectors too, and draw a warning.
    objective : str or BaseObjective, default='mvl'
        The objective, as in `MVLDensity`. ``'mvl'``, ``'mvl-graph'``, ``'sm'``,
        ``'ssm'``, ``'ssm-vr'``, ``'fd-ssm'``, ``'dsm'``, ``'deen'``, ``'mpf'``, ``'cd1'``
        and objects are used in their Riemannian form (`RiemannianObjective`), or at the
        rows themselves if their sampler moves points of the manifold, as
        `RiemannianLangevin` does. ``'nce'``, ``'mle'`` and ``'annealed'`` need no such
        form. ``'mvl-svgd'``, ``'mvl-spos'``, ``'mvl-birth-death'`` and ``'parzen'``, in
        which rows act on one another, are allowed in Euclidean space only.
    objective_weight : float, 'auto' or None, default='auto'
        The weight :math:`\omega` of the objective beside the likelihood. The loss is
        :math:`\overline{E_\theta(x)} + \log\hat Z + \omega\,\overline{\ell(x)}`, with
        :math:`\log\hat Z` from draws of the base measure: the objective sees gradients at
        the rows, the likelihood sees how much mass is where. ``'auto'`` is 100 over the
        number of rows, and at most 1. None is the objective alone, the method of
        [Wang2020]_. The objective is alone too without a base measure or a normalizer, and
        if it compares with draws itself: ``'nce'``, ``'mle'``, ``'annealed'``.
    epsilon : float, default=1e-4
        The step :math:`\epsilon` of the sampler, a squared geodesic length. Euclidean
        coordinates of the manifold are in internal units. The bias of the objective is
        proportional to :math:`\epsilon`, and a larger step gives a smoother density. For
        ``'dsm'`` and ``'deen'`` it is the variance of the noise. Ignored by ``'sm'``,
        ``'ssm'``, ``'ssm-vr'``, ``'nce'``, ``'mle'`` and objects.
    alpha : float, default=1e-4
        Weight of the mean square of the correction :math:`E_\theta` in the loss: the
        regularisation towards the base measure. For an exponential family see
        `ExponentialFamily`.
    energy : str, Module, callable or ExponentialFamily, default='inner_product'
        The correction :math:`E_\theta`, a function of the manifold's features of a point,
        such as cosines and sines of angles (`manifold_.n_features` of them):
        ``'inner_product'``, :math:`u^\top\psi(u)`; ``'mlp'``, a network with one output; a
        module from (n, d) to (n,), which is copied; or a callable that makes one from the
        number of features.

        It may also be an exponential family, which is fitted in closed form to all rows:
        ``'kernel'``, ``'polynomial'`` (with the penalty `alpha`), ``'von_mises_fisher'``,
        ``'bingham'``, ``'fisher_bingham'`` or an `ExponentialFamily`. `objective` must then
        be ``'mvl'`` or ``'sm'``. Parameters of steps and networks are not used: `epsilon`,
        `lr`, `batch_size`, `early_stopping`, `hidden_layer_sizes`, `callbacks` and the
        like.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of the hidden layers of a built-in energy.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Activation of a built-in energy.
    spectral_norm : bool, default=False
        Whether hidden weights of a built-in energy are divided by their spectral norm.
    base : {'auto', 'mixture', 'kernel', 'uniform'} or None, default='auto'
        The base measure :math:`q_0`, or None. A string is one of

        - ``'mixture'``, of von Mises-Fisher components on spheres and their quotients,
          of products of von Mises densities on tori, and of wrapped normals elsewhere;
        - ``'kernel'``, with such a component at each row. Bandwidths are equal, or
          proportional to the distance from a neighbor;
        - ``'uniform'``, the uniform density of a compact manifold;
        - ``'auto'``, the choice of held-out rows (`choose_base`). Candidates are the
          uniform density, mixtures, the kernel estimate and a stack of these. A more
          complex one must be better by more than sampling error.

        On compact manifolds ``'mixture'`` and ``'kernel'`` have a uniform component. In
        Euclidean space ``'mixture'`` is the Gaussian mixture with the lowest BIC, and the
        others are `choose_mixture`.
    normalizer : str, BaseNormalizer or None, default='auto'
        How Z is computed: ``'auto'``, ``'quadrature'``, ``'importance'``, ``'annealed'``
        or an object. With None `score_samples` are unnormalised and `score` is minus the
        Hyvärinen score.
    standardize : bool, default=True
        Whether to train in whitened units of the Euclidean columns, by a shrunk
        covariance. Densities stay in the units of X. In Euclidean space, if
        ``base='auto'`` is mostly a density of transformed columns, these are whitened,
        unless `energy` is an exponential family.
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
        Whether `fit` goes on from the last fit, with its coordinates and base measure.
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
        The frozen energy in float64. It maps points in the ambient coordinates of
        `manifold_`, such as unit quaternions for rotation matrices, to energies of shape
        (n,).
    manifold_ : BaseManifold
        The manifold, with its dimension.
    base_ : BaseMeasure or None
        The base measure, in the internal units of ``energy_.to_internal(x)``.
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
    MVLDensity : The same in Euclidean space.

    Notes
    -----
    Score matching does not determine the relative weights of well-separated modes. The base
    measure supplies them, and the likelihood corrects them. A kernel estimate leaves out
    the row itself where training takes its gradient at the rows. A base with many
    components is cheap in training, but `score_samples` evaluates all components. If the
    correction gains nothing over the base on held-out rows, `correction_scale_` is 0 and
    the base is the model.

    References
    ----------
    [Wang2020]_, [Mardia2000]_

    Examples
    --------
    Uniform directions have density 1 / (4 pi).

    >>> import numpy as np
    >>> from sk_wmvl import RiemannianMVLDensity
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> X /= np.linalg.norm(X, axis=1, keepdims=True)
    >>> density = RiemannianMVLDensity(max_epochs=5, random_state=0).fit(X)
    >>> density.manifold_
    Sphere(dim=2)
    >>> bool(abs(density.score(X) + np.log(4 * np.pi)) < 0.1)
    True
    """

    def __init__(
        self,
        manifold="auto",
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
        super().__init__(
            objective,
            objective_weight=objective_weight,
            epsilon=epsilon,
            alpha=alpha,
            energy=energy,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            spectral_norm=spectral_norm,
            base=base,
            normalizer=normalizer,
            standardize=standardize,
            batch_size=batch_size,
            lr=lr,
            lr_schedule=lr_schedule,
            max_epochs=max_epochs,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            optimizer=optimizer,
            callbacks=callbacks,
            net_params=net_params,
            warm_start=warm_start,
            memory=memory,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.manifold = manifold

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "manifold": [StrOptions({"auto", *MANIFOLDS}), BaseManifold],
        "base": [None, StrOptions({"auto", "mixture", "kernel", "uniform"})],
    }

    def _make_manifold(self, X) -> BaseManifold:
        if not (isinstance(self.manifold, str) and self.manifold == "auto"):
            manifold = self._given_manifold(X)
            manifold.warn_of_units(torch.tensor(X))
            return manifold
        n_columns = X.shape[1]
        norms = np.linalg.norm(X, axis=1)
        if n_columns == 1 or not (abs(norms - 1) <= UNIT_TOLERANCE).all():
            return Euclidean(n_columns)
        if ((X != 0).sum(1) == 1).all():
            warn(
                "manifold='auto' took rows with a single 1 for directions along the axes. "
                "If they code categories, they have no density: drop these columns, or "
                "give the manifold.",
                UserWarning,
            )
        return Sphere(n_columns - 1)

    def _given_manifold(self, X) -> BaseManifold:
        manifold = resolve(self.manifold, MANIFOLDS, BaseManifold, name="manifold")
        return manifold.with_columns(X.shape[1])

    def _check_resumed(self, X) -> None:
        if isinstance(self.manifold, str) and self.manifold == "auto":
            return
        manifold = self._given_manifold(X)
        if isinstance(manifold, Euclidean) and self._setup.columns is not None:
            manifold = Euclidean(int(self._setup.columns.varies.sum()))
        if repr(manifold) != repr(self.manifold_):
            raise ValueError(
                f"Training cannot go on from the last fit, on {self.manifold_!r}: manifold "
                f"is now {manifold!r}. Fit again with warm_start=False."
            )

    def _base_kind(self, base, manifold, objective) -> object:
        if isinstance(manifold, Euclidean) and base != "uniform":
            return "mixture" if self.base == "mixture" else "auto"
        is_blurred = isinstance(objective, AnnealedScoreMatching)
        if base == "auto" and is_blurred and manifold.is_compact:
            # The base is the same at all noise levels. Rows with much noise are nearly
            # uniform, so a base with structure would be wrong for them.
            return "uniform"
        return base
