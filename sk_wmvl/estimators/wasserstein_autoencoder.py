"""Wasserstein auto-encoders with codes on a manifold: WassersteinAutoencoder."""

import numpy as np
import torch
from sklearn.base import TransformerMixin

from sk_wmvl._component import resolve
from sk_wmvl._validation import LARGEST, Integral, Interval, Real, StrOptions
from sk_wmvl.autoencoders import (
    DIVERGENCES,
    BaseDivergence,
    BaseEncoder,
    BaseLikelihood,
    ImplicitEncoder,
    LatentSpace,
    SquaredError,
)
from sk_wmvl.estimators._autoencoder import (
    CHUNK,
    WIDEST,
    BaseAutoencoder,
)
from sk_wmvl.estimators._row_units import RowUnits, choose_likelihood

__all__ = ["WassersteinAutoencoder"]


class WassersteinAutoencoder(TransformerMixin, BaseAutoencoder):
    r"""Auto-encoder that matches the codes of all rows together to the prior.

    Minimises :math:`E[c(x, G(z))] + \lambda D(\tilde q, p)`, where :math:`\tilde q` is the
    distribution of the codes of all rows and p the prior [Tolstikhin2018]_. The divergence
    of [Wang2020]_ is that of Kullback and Leibler, by an energy of codes that is trained at
    the same time; see `ImplicitVAE`.

    Parameters
    ----------
    n_components : int, default=2
        The intrinsic dimension of the latent manifold.
    latent : str or BaseManifold, default='sphere'
        The space of the codes; see `ImplicitVAE`.
    divergence : {'kl', 'gan', 'mmd'} or BaseDivergence, default='kl'
        ``'kl'``, the Kullback-Leibler divergence by score estimation; ``'gan'``, by a
        discriminator; ``'mmd'``, the maximum mean discrepancy. An object keeps its own
        parameters.
    regularization : float or None, default=None
        The weight λ of the divergence. None is 1000 for ``'mmd'`` and 10 for the others,
        as the authors have it.
    noise_dim : int, default=0
        Dimension of the encoder's noise. With 0 the code is a function of the row.
    cost : {'auto', 'cross_entropy', 'squared_error'}, default='auto'
        The cost c, summed over columns. ``'auto'`` is the cross-entropy if all of X lies in
        [0, 1], else the squared error; `likelihood_` says which.
    binarize : bool, default=True
        Whether, for the cross-entropy, grey values are probabilities from which binary
        rows are drawn at each step of training.
    standardize : bool, default=True
        Whether, for the squared error, the networks see columns with mean zero and unit
        variance.
    hidden_layer_sizes : array-like of int, default=(256, 256)
        Widths of encoder and decoder, or channels of their convolutions with ``'conv'``.
    critic_layer_sizes : array-like of int, default=(256, 256)
        Widths of the energy or the discriminator.
    activation : {'tanh', 'relu', 'silu', 'softplus', 'gelu', 'elu'}, default='tanh'
        Activation of all networks. An energy must be smooth, and has tanh instead of relu.
    encoder_network, decoder_network : {'mlp', 'conv'}, Module or callable, default='mlp'
        As for `ImplicitVAE`.
    image_shape : tuple of int or None, default=None
        Shape of a row for ``'conv'``: (height, width) or (channels, height, width).
    rescale : bool, default=True
        Whether networks see codes on the m-sphere multiplied by :math:`\sqrt{m+1}`.
    epsilon : float, default=1e-3
        The step of minimum velocity, for ``'kl'``.
    alpha : float, default=0.01
        For ``'kl'``, the weight of the mean square of :math:`E+\log p(z)` in the energy's
        loss. The authors use 1e-5 with a thousandth of this loss. For ``'gan'``, half the
        weight of the mean square of the discriminator at codes, for which the authors use
        1e-5.
    n_critic_updates : int, default=1
        Updates of the critic per update of the auto-encoder.
    order : {'autoencoder-first', 'critic-first'}, default='autoencoder-first'
        Which update comes first in a step.
    optimizer : str or class, default='rmsprop-debiased'
        As for `ImplicitVAE`.
    lr : float, default=1e-3
        Learning rate.
    critic_lr : float or None, default=None
        Learning rate of the critic; None is `lr`.
    averaging : float, default=0.999
        Decay rate of the average of weights that is kept; 0 keeps the last weights.
    batch_size : int, default=128
        Rows per step.
    max_epochs : int, default=100
        Passes over the data.
    callbacks : list of skorch callbacks or None, default=None
        Copied and called during training.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit.
    device : str or torch.device, default='auto'
        Where to train and evaluate; ``'auto'`` is CUDA when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches, noise and draws.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar.

    Attributes
    ----------
    encoder_ : BaseEncoder
        The frozen encoder in float64, with averaged weights.
    decoder_ : Decoder
        The frozen decoder, likewise.
    critic_ : Module or None
        The energy of codes, or the discriminator. None for ``'mmd'``.
    latent_ : LatentSpace
        Prior and manifold.
    manifold_ : BaseManifold
        The latent manifold.
    likelihood_ : str
        The name of the cost.
    loss_curve_ : list of float
        Loss per epoch.
    history_ : list of dict
        Reconstruction, divergence and the critic's loss per epoch.
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
    ImplicitVAE : Has a likelihood.

    References
    ----------
    [Wang2020]_, [Tolstikhin2018]_

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_wmvl import WassersteinAutoencoder
    >>> X = load_digits().data / 16
    >>> wae = WassersteinAutoencoder(2, max_epochs=1, random_state=0).fit(X)
    >>> wae.sample(5).shape
    (5, 64)
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "divergence": [StrOptions(set(DIVERGENCES)), BaseDivergence],
        "regularization": [None, Interval(Real, 0, LARGEST, closed="both")],
        "noise_dim": [Interval(Integral, 0, WIDEST, closed="both")],
        "cost": [StrOptions({"auto", "cross_entropy", "squared_error"})],
    }
    _draws_rows = False
    _critic_pace = 1.0

    def __init__(
        self,
        n_components=2,
        *,
        latent="sphere",
        divergence="kl",
        regularization=None,
        noise_dim=0,
        cost="auto",
        binarize=True,
        standardize=True,
        hidden_layer_sizes=(256, 256),
        critic_layer_sizes=(256, 256),
        activation="tanh",
        encoder_network="mlp",
        decoder_network="mlp",
        image_shape=None,
        rescale=True,
        epsilon=1e-3,
        alpha=0.01,
        n_critic_updates=1,
        order="autoencoder-first",
        optimizer="rmsprop-debiased",
        lr=1e-3,
        critic_lr=None,
        averaging=0.999,
        batch_size=128,
        max_epochs=100,
        callbacks=None,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.latent = latent
        self.divergence = divergence
        self.regularization = regularization
        self.noise_dim = noise_dim
        self.cost = cost
        self.binarize = binarize
        self.standardize = standardize
        self.hidden_layer_sizes = hidden_layer_sizes
        self.critic_layer_sizes = critic_layer_sizes
        self.activation = activation
        self.encoder_network = encoder_network
        self.decoder_network = decoder_network
        self.image_shape = image_shape
        self.rescale = rescale
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
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _divergence_weight(self) -> float:
        if self.regularization is not None:
            return self.regularization
        return self._choose_divergence().default_weight

    def _choose_likelihood(self, X: np.ndarray) -> str:
        return choose_likelihood(self.cost, X, "cross_entropy", "squared_error")

    def _make_likelihood(self, units: RowUnits) -> BaseLikelihood:
        if units.is_binary:
            return self._bernoulli()
        return SquaredError(torch.tensor(units.varies, dtype=torch.float32))

    def _make_encoder(
        self, n_features: int, latent: LatentSpace, seed: int
    ) -> BaseEncoder:
        network = self._encoder_network(n_features, self.noise_dim, latent.n_raw, seed)
        return ImplicitEncoder(network, latent, self.noise_dim)

    def _make_divergence(self, n_features: int) -> tuple[BaseDivergence | None, int]:
        del n_features
        return self._choose_divergence(), 0

    def _choose_divergence(self) -> BaseDivergence:
        if isinstance(self.divergence, str):
            return DIVERGENCES[self.divergence](self.epsilon, self.alpha)
        return resolve(self.divergence, DIVERGENCES, BaseDivergence, name="divergence")

    def score_samples(self, X):
        """Return minus the cost of reconstructing each row from its code.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Minus the cross-entropy in nats, or minus the squared error in standardised
            units.
        """
        parts = []
        with torch.no_grad():
            for u in self._check_tensor(X).split(CHUNK):
                parts.append(self.decoder_.log_prob(u, self.encoder_.code(u)))
        return torch.cat(parts).cpu().numpy()
