"""Auto-encoders with latent codes on a manifold: ImplicitVAE, WassersteinAutoencoder."""

from sklearn.base import BaseEstimator, TransformerMixin

__all__ = ["ImplicitVAE", "WassersteinAutoencoder"]


class ImplicitVAE(TransformerMixin, BaseEstimator):
    r"""Variational auto-encoder: parameters as they will be; the body follows.

    Fitted: `encoder_`, `decoder_` (with ``log_prob(x, z)``, ``mean(z)`` and
    ``sample(z, generator=)``), `latent_` (with ``sample(n, generator=, dtype=)``,
    ``log_prob(z)`` and ``manifold``), `manifold_`, `critic_`, `likelihood_`,
    `loss_curve_`, `n_iter_` (epochs), `n_steps_` (updates). Torch sides in float64.
    ``sample(n_samples=1, random_state=None, *, mean=False)``;
    `score_samples` is log p(x) by ``log_likelihood``.
    """

    def __init__(
        self,
        n_components=2,
        *,
        latent="sphere",
        encoder="implicit",
        noise_dim=None,
        likelihood="auto",
        binarize=True,
        hidden_layer_sizes=(256, 256),
        activation="tanh",
        encoder_network="mlp",
        decoder_network="mlp",
        image_shape=None,
        rescale=True,
        epsilon=1e-3,
        alpha=0.1,
        n_critic_updates=1,
        order="autoencoder-first",
        optimizer="rmsprop",
        lr=1e-3,
        critic_lr=None,
        averaging=0.999,
        batch_size=128,
        max_epochs=100,
        log_likelihood="importance",
        n_draws=100,
        n_temperatures=1000,
        n_chains=16,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        raise NotImplementedError


class WassersteinAutoencoder(TransformerMixin, BaseEstimator):
    """Wasserstein auto-encoder: parameters as they will be; the body follows.

    As `ImplicitVAE`; `sample` returns decoded prior draws. `regularization` is lambda.
    """

    def __init__(
        self,
        n_components=2,
        *,
        latent="sphere",
        divergence="kl",
        regularization=10.0,
        noise_dim=0,
        cost="auto",
        binarize=True,
        hidden_layer_sizes=(256, 256),
        activation="tanh",
        encoder_network="mlp",
        decoder_network="mlp",
        image_shape=None,
        rescale=True,
        epsilon=1e-3,
        alpha=0.01,
        n_critic_updates=1,
        order="autoencoder-first",
        optimizer="rmsprop",
        lr=1e-3,
        critic_lr=None,
        averaging=0.999,
        batch_size=128,
        max_epochs=100,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        raise NotImplementedError
