"""Variational auto-encoders with codes on a manifold: ImplicitVAE."""

import numpy as np
import torch
from sklearn.base import TransformerMixin

from sk_wmvl._random import make_generator
from sk_wmvl._validation import Integral, Interval, StrOptions
from sk_wmvl._warnings import warn
from sk_wmvl.autoencoders import (
    POSTERIORS,
    BaseDivergence,
    BaseEncoder,
    BaseLikelihood,
    ExplicitEncoder,
    GaussianLikelihood,
    ImplicitEncoder,
    KullbackLeibler,
    LatentSpace,
    RowLikelihood,
    importance_log_likelihood,
)
from sk_wmvl.autoencoders.local_codes import LOCAL_MANIFOLDS
from sk_wmvl.estimators._autoencoder import (
    CHUNK,
    EVALUATION,
    WIDEST,
    BaseAutoencoder,
)
from sk_wmvl.estimators._row_units import RowUnits, choose_likelihood
from sk_wmvl.evaluation import LogLikelihood, annealed_log_likelihood
from sk_wmvl.objectives import OBJECTIVES, BaseObjective

__all__ = ["ImplicitVAE"]

# A standard error in nats, and the proportion of rows that may exceed it without warning.
UNSURE, MANY = 0.5, 0.1


class ImplicitVAE(TransformerMixin, BaseAutoencoder):
    r"""Variational auto-encoder with an implicit encoder and codes on a manifold.

    Maximises the evidence lower bound
    :math:`E_{q(z|x)}[\log p(x|z) + \log p(z)] + H[q(z|x)]` over encoder and decoder. The
    encoder is a function of the row and of noise. Its distribution q can have any shape,
    but its density is unknown. The gradient of its entropy needs only the score
    :math:`\nabla_z\log q(z|x)`, eq. (19) of [Wang2020]_. The score is minus the gradient of
    an energy of codes given rows, which is trained at the same time by (Riemannian) minimum
    velocity.

    Parameters
    ----------
    n_components : int, default=2
        The intrinsic dimension of the latent manifold.
    latent : str or BaseManifold, default='sphere'
        The space of the codes: ``'sphere'``, ``'euclidean'``, ``'torus'``,
        ``'hyperbolic'``, or a manifold. The prior is uniform on compact manifolds, standard
        normal in Euclidean space and wrapped standard normal in hyperbolic space.
    encoder : {'implicit', 'gaussian', 'vmf', 'power_spherical'}, default='implicit'
        The distribution of codes given rows. All but ``'implicit'`` have a divergence from
        the prior in closed form: ``'gaussian'`` in Euclidean space, the von Mises-Fisher
        and the power spherical distribution on the sphere.
    noise_dim : int or None, default=None
        Dimension of the noise of an implicit encoder. None is `n_components`.
    likelihood : {'auto', 'bernoulli', 'gaussian'}, default='auto'
        The distribution of rows given codes: independent binary columns, or independent
        normal columns. The normal ones have one learned standard deviation, in units of
        the columns' standard deviations. ``'auto'`` is Bernoulli if all of X lies in
        [0, 1], else Gaussian; `likelihood_` says which.
    binarize : bool, default=True
        Whether a Bernoulli likelihood takes values between 0 and 1 as probabilities, and
        draws binary rows from them at each step of training. Binary X does not change.
    standardize : bool, default=True
        Whether, for a Gaussian likelihood, the networks see columns with mean zero and
        unit variance.
    hidden_layer_sizes : array-like of int, default=(256, 256)
        Widths of encoder and decoder, or channels of their convolutions with ``'conv'``.
    critic_layer_sizes : array-like of int, default=(256, 256)
        Widths of the energy's network.
    activation : {'tanh', 'relu', 'silu', 'softplus', 'gelu', 'elu'}, default='tanh'
        Activation of all networks. The energy must be smooth, and has tanh instead of relu.
    encoder_network, decoder_network : {'mlp', 'conv'}, Module or callable, default='mlp'
        Feed-forward or convolutional (5x5, stride 2); or a module, which is copied; or a
        callable that makes one from the numbers of inputs and outputs. Inputs of the
        encoder are the columns of X and the noise. Inputs of the decoder are the features
        of a code.
    image_shape : tuple of int or None, default=None
        Shape of a row for ``'conv'``: (height, width) or (channels, height, width).
    rescale : bool, default=True
        Whether networks see codes on the m-sphere multiplied by :math:`\sqrt{m+1}`.
    objective : str or BaseObjective, default='mvl'
        What the energy minimises; see `MVLDensity`. Objectives that need a proposal or
        noise levels (``'nce'``, ``'mle'``, ``'annealed'``), or in which rows act on one
        another, are refused.
    epsilon : float, default=1e-3
        The step of the sampler in the objective, if that is a string.
    alpha : float, default=0.1
        Weight of the mean square of :math:`E+\log p(z)` in the energy's loss, which has
        the scale of
        :math:`\frac12\|\nabla E\|^2-\Delta E`. The authors use 1e-4 with a thousandth of
        this loss.
    n_critic_updates : int, default=1
        Updates of the energy per update of the auto-encoder.
    order : {'autoencoder-first', 'critic-first'}, default='autoencoder-first'
        Which update comes first in a step. With the default the energy learns from the
        codes that the auto-encoder has just used, which saves a second encoding.
    optimizer : str or class, default='rmsprop-debiased'
        The optimiser: ``'adamw'``, ``'adam'``, ``'rmsprop'``, ``'rmsprop-debiased'`` or
        ``'sgd'``. The default is Adam without momentum: RMSProp with decay rate 0.9 and
        Adam's correction of the bias of the first steps.
    lr : float, default=1e-3
        Learning rate.
    critic_lr : float or None, default=None
        Learning rate of the energy. None is five times `lr`, because an energy that lags
        behind the codes has them contract; but at most 5e-3, unless `lr` itself is more.
    averaging : float, default=0.999
        Decay rate of the average of weights that is kept; 0 keeps the last weights.
    batch_size : int, default=128
        Rows per step.
    max_epochs : int, default=100
        Passes over the data.
    callbacks : list of skorch callbacks or None, default=None
        Copied and called during training.
    log_likelihood : {'auto', 'importance', 'annealed'}, default='auto'
        How `score_samples` integrates over codes. ``'importance'`` is importance sampling
        about each row's best code; with more than eight dimensions, rows with a large
        error are annealed from there. ``'annealed'`` is annealed importance sampling from
        the prior, as in the paper. ``'auto'`` is the former in Euclidean and hyperbolic
        space and on spheres and tori, and the latter elsewhere.
    n_draws : int, default=100
        Codes per row in importance sampling.
    n_temperatures : int, default=1000
        Temperatures in annealed importance sampling.
    n_chains : int, default=16
        Chains per row of either kind of annealing. With one chain, importance sampling is
        not followed by annealing.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit.
    device : str or torch.device, default='auto'
        Where to train and evaluate; ``'auto'`` is CUDA when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches, noise and draws. None takes fresh entropy and leaves
        numpy's global stream alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar.

    Attributes
    ----------
    encoder_ : BaseEncoder
        The frozen encoder in float64, with averaged weights.
    decoder_ : Decoder
        The frozen decoder, with ``mean(z)`` and ``log_prob(x, z)`` in standardised units.
    critic_ : Module or None
        The energy of codes given rows. None for an explicit encoder.
    latent_ : LatentSpace
        Prior and manifold.
    manifold_ : BaseManifold
        The latent manifold.
    likelihood_ : str
        The name of the likelihood.
    loss_curve_ : list of float
        Loss per epoch. With an implicit encoder it is no bound, because the energy is
        known up to a constant only.
    history_ : list of dict
        Reconstruction, divergence and the energy's loss per epoch.
    n_iter_ : int
        Number of epochs trained.
    n_steps_ : int
        Number of updates of the auto-encoder.
    device_ : torch.device
        The device of the training.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    WassersteinAutoencoder : Matches the codes of all rows together to the prior.

    Notes
    -----
    ``sk_wmvl.autoencoders.PRESETS`` holds the settings of the paper and of the authors'
    code. If the energy diverges, training ends with a ConvergenceWarning, and the weights
    from before the divergence are restored.

    References
    ----------
    [Wang2020]_, [Kingma2014]_, [Davidson2018]_

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_wmvl import ImplicitVAE
    >>> X = load_digits().data / 16
    >>> vae = ImplicitVAE(2, max_epochs=1, random_state=0).fit(X)
    >>> vae.transform(X).shape  # unit vectors
    (1797, 3)
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "encoder": [StrOptions({"implicit", *POSTERIORS})],
        "objective": [StrOptions(set(OBJECTIVES)), BaseObjective],
        "noise_dim": [None, Interval(Integral, 1, WIDEST, closed="both")],
        "likelihood": [StrOptions({"auto", "bernoulli", "gaussian"})],
        "log_likelihood": [StrOptions({"auto", "importance", "annealed"})],
        "n_draws": [Interval(Integral, 2, 10**6, closed="both")],
        "n_temperatures": [Interval(Integral, 2, 10**6, closed="both")],
        "n_chains": [Interval(Integral, 1, 10**4, closed="both")],
    }
    _divergence_weight = 1.0
    _critic_pace = 5.0
    _draws_rows = True

    def __init__(
        self,
        n_components=2,
        *,
        latent="sphere",
        encoder="implicit",
        noise_dim=None,
        likelihood="auto",
        binarize=True,
        standardize=True,
        hidden_layer_sizes=(256, 256),
        critic_layer_sizes=(256, 256),
        activation="tanh",
        encoder_network="mlp",
        decoder_network="mlp",
        image_shape=None,
        rescale=True,
        objective="mvl",
        epsilon=1e-3,
        alpha=0.1,
        n_critic_updates=1,
        order="autoencoder-first",
        optimizer="rmsprop-debiased",
        lr=1e-3,
        critic_lr=None,
        averaging=0.999,
        batch_size=128,
        max_epochs=100,
        callbacks=None,
        log_likelihood="auto",
        n_draws=100,
        n_temperatures=1000,
        n_chains=16,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.latent = latent
        self.encoder = encoder
        self.noise_dim = noise_dim
        self.likelihood = likelihood
        self.binarize = binarize
        self.standardize = standardize
        self.hidden_layer_sizes = hidden_layer_sizes
        self.critic_layer_sizes = critic_layer_sizes
        self.activation = activation
        self.encoder_network = encoder_network
        self.decoder_network = decoder_network
        self.image_shape = image_shape
        self.rescale = rescale
        self.objective = objective
        self.epsilon = epsilon
        self.alpha = alpha
        self.n_critic_updates = n_critic_updates
        self.order = order
        self.optimizer = optimizer
        self.lr = lr
        self.critic_lr = critic_lr
        self.averaging = averaging
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.callbacks = callbacks
        self.log_likelihood = log_likelihood
        self.n_draws = n_draws
        self.n_temperatures = n_temperatures
        self.n_chains = n_chains
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _choose_likelihood(self, X: np.ndarray) -> str:
        return choose_likelihood(self.likelihood, X, "bernoulli", "gaussian")

    def _make_likelihood(self, units: RowUnits) -> BaseLikelihood:
        if units.is_binary:
            return self._bernoulli()
        return GaussianLikelihood(torch.tensor(units.varies, dtype=torch.float32))

    def _make_encoder(
        self, n_features: int, latent: LatentSpace, seed: int
    ) -> BaseEncoder:
        if self.encoder == "implicit":
            noise_dim = self.n_components if self.noise_dim is None else self.noise_dim
            network = self._encoder_network(n_features, noise_dim, latent.n_raw, seed)
            return ImplicitEncoder(network, latent, noise_dim)
        posterior = POSTERIORS[self.encoder]
        manifold = latent.manifold
        if type(manifold) is not posterior.manifold_class:
            raise ValueError(
                f"encoder={self.encoder!r} makes codes on "
                f"{posterior.manifold_class.__name__}, not on {manifold!r}. Use "
                "encoder='implicit', or another latent."
            )
        n_raw = posterior.n_raw(manifold.ambient_dim)
        network = self._encoder_network(n_features, 0, n_raw, seed)
        return ExplicitEncoder(network, posterior)

    def _make_divergence(self, n_features: int) -> tuple[BaseDivergence | None, int]:
        if self.encoder != "implicit":
            return None, 0
        divergence = KullbackLeibler(self.epsilon, self.alpha, objective=self.objective)
        return divergence, n_features

    def score_samples(self, X, *, return_std=False):
        """Return estimates of the marginal log likelihood of rows, in nats.

        The base measure is Lebesgue measure in the units of X for a Gaussian likelihood,
        without constant columns, and counting measure for Bernoulli. Grey values enter the
        cross-entropy as they are. With importance sampling, the value of a row does not
        depend on the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return standard errors too.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Estimates. The estimate of the likelihood is unbiased, so its log is too low
            on average.
        std_error : ndarray of shape (n_samples,)
            Standard errors in nats, only if `return_std`.
        """
        x = self._check_tensor(X)
        result: RowLikelihood | LogLikelihood
        is_local = isinstance(self.manifold_, LOCAL_MANIFOLDS)
        if self.log_likelihood == "annealed" or not (
            is_local or self.log_likelihood == "importance"
        ):
            result = annealed_log_likelihood(
                self.decoder_.log_prob,
                x,
                self.manifold_,
                self.latent_,
                generator=make_generator(self._seed, EVALUATION),
                n_temperatures=int(self.n_temperatures),
                n_chains=int(self.n_chains),
            )
        else:
            with torch.no_grad():
                z = torch.cat([self.encoder_.code(rows) for rows in x.split(CHUNK)])
            result = importance_log_likelihood(
                self.decoder_,
                x,
                z,
                n_draws=int(self.n_draws),
                n_chains=int(self.n_chains),
                seed=self._seed,
            )
            few = float((result.std_error > UNSURE).double().mean())
            if few > MANY:
                warn(
                    f"For {few:.0%} of the rows importance sampling has a standard error "
                    f"above {UNSURE:g} nats: a few codes have nearly all the weight, and "
                    "the estimates are probably too low. Use log_likelihood='annealed', or "
                    f"more than n_draws={self.n_draws} and n_chains={self.n_chains}.",
                    UserWarning,
                )
        units = self._units
        value = result.value.cpu().numpy() - np.log(units.scale[units.varies > 0]).sum()
        return (value, result.std_error.cpu().numpy()) if return_std else value
