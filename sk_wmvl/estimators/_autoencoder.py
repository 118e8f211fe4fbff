"""The shared body of auto-encoders: validate, build, train, freeze."""

from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import clone
from torch import nn
from tqdm.auto import tqdm

from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._validation import (
    Integral,
    Interval,
    Real,
    StrOptions,
    check_rows,
    check_widths,
    fit_context,
    resolve_device,
)
from sk_wmvl.autoencoders import (
    BaseDivergence,
    BaseEncoder,
    BaseLikelihood,
    BernoulliLikelihood,
    ConvDecoder,
    ConvEncoder,
    Decoder,
    LatentSpace,
)
from sk_wmvl.autoencoders.networks import (
    NETWORK_ACTIVATIONS,
    build_network,
    check_image_shape,
    make_mlp,
)
from sk_wmvl.autoencoders.training import (
    OPTIMIZERS,
    ORDERS,
    AlternatingTrainer,
    TrainingOptions,
)
from sk_wmvl.energies import freeze
from sk_wmvl.estimators._coding import CodingMixin
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.manifolds import MANIFOLDS, BaseManifold
from sk_wmvl.training.net import limit_threads

__all__ = ["BaseAutoencoder"]

# Streams of the one seed that a fit draws from `random_state`.
ENCODER, DECODER, CRITIC, SHUFFLE, NOISE = range(5)


class BaseAutoencoder(PersistenceMixin, CodingMixin, ABC):
    """Template of an auto-encoder with codes on a manifold.

    A subclass supplies the encoder, the likelihood and the divergence.
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "latent": [StrOptions(set(MANIFOLDS)), BaseManifold],
        "binarize": ["boolean"],
        "standardize": ["boolean"],
        "hidden_layer_sizes": ["array-like"],
        "critic_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(NETWORK_ACTIVATIONS))],
        "encoder_network": [StrOptions({"mlp", "conv"}), nn.Module, callable],
        "decoder_network": [StrOptions({"mlp", "conv"}), nn.Module, callable],
        "image_shape": [None, "array-like"],
        "rescale": ["boolean"],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_critic_updates": [Interval(Integral, 1, None, closed="left")],
        "order": [StrOptions(set(ORDERS))],
        "optimizer": [StrOptions(set(OPTIMIZERS)), type],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "critic_lr": [None, Interval(Real, 0, None, closed="neither")],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _training_state: dict[str, Any]

    # --- fitting ----------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train on rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data; for a Bernoulli likelihood, values from 0 to 1.
        y : None
            Ignored.

        Returns
        -------
        self : estimator
            Fitted.
        """
        resume = self.warm_start and self.__sklearn_is_fitted__()
        X = check_rows(self, X, reset=not resume, min_samples=2)
        return self._fit(X, resume=resume, n_epochs=self.max_epochs)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one epoch, going on exactly where the last call ended.

        The first call fixes the likelihood and the units of the columns. So many calls
        with the same rows do what `fit` does with as many epochs, bit by bit, also with the
        estimator saved and loaded between.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.

        Returns
        -------
        self : estimator
            Fitted.
        """
        resume = self.__sklearn_is_fitted__()
        X = check_rows(self, X, reset=not resume, min_samples=1 if resume else 2)
        return self._fit(X, resume=resume, n_epochs=1)

    def _fit(self, X: np.ndarray, *, resume: bool, n_epochs: int):
        self.device_ = resolve_device(self.device)
        if not resume:
            self._seed = draw_seed(self.random_state)
            self.manifold_ = self._make_manifold()
            self.latent_ = LatentSpace(self.manifold_, rescale=self.rescale)
            self.likelihood_ = self._choose_likelihood(X)
            self._set_units(X)
        u = torch.tensor(self._to_internal(X), dtype=torch.float32, device=self.device_)
        trainer = self._make_trainer(X.shape[1])
        if resume:
            try:
                trainer.load(self._training_state)
            except (RuntimeError, ValueError, KeyError) as error:
                raise ValueError(
                    "Training cannot go on from the last fit: a network or the optimizer "
                    "has changed. Fit anew, with warm_start=False."
                ) from error
        width = max([X.shape[1], *check_widths(self.hidden_layer_sizes)])
        with (
            limit_threads(self.batch_size, width, self.device_),
            tqdm(
                total=n_epochs,
                desc=type(self).__name__,
                unit="epoch",
                disable=not self.verbose,
            ) as bar,
        ):

            def show(row: dict) -> None:
                bar.set_postfix(loss=f"{row['loss']:.4g}", refresh=False)
                bar.update()

            trainer.run(u, n_epochs, show)
        self._training_state = trainer.state()
        encoder, decoder = freeze(trainer.average.module).children()
        self.encoder_ = cast(BaseEncoder, encoder)
        self.decoder_ = cast(Decoder, decoder)
        self.critic_ = None if trainer.critic is None else freeze(trainer.critic)
        self.history_ = trainer.history
        self.loss_curve_ = [row["loss"] for row in self.history_]
        self.n_iter_ = len(self.history_)
        self.n_steps_ = trainer.n_steps
        return self

    def _make_manifold(self) -> BaseManifold:
        manifold = (
            MANIFOLDS[self.latent]()
            if isinstance(self.latent, str)
            else clone(self.latent)
        )
        if manifold.dim is None and "dim" in manifold.get_params():
            manifold.set_params(dim=int(self.n_components))
        if manifold.dim != self.n_components:
            raise ValueError(
                f"latent={self.latent!r} has dimension {manifold.dim}, but n_components="
                f"{self.n_components}; they must agree."
            )
        return manifold

    # --- what a row is ----------------------------------------------------------------

    def _choose(self, choice: str, X: np.ndarray, binary: str, real: str) -> str:
        """Return which of two likelihoods serves, and check that it can."""
        if choice == "auto":
            return binary if X.min() >= 0 and X.max() <= 1 else real
        if choice == binary:
            self._check_unit_interval(X, binary)
        return choice

    def _check_unit_interval(self, X: np.ndarray, what: str) -> None:
        bad = (X < 0) | (X > 1)
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise ValueError(
                f"X holds values outside [0, 1], which {what!r} cannot explain: "
                f"{X[i, j]:.6g} in row {i}, column {j}, and {bad.sum() - 1} more. Scale X, "
                "or choose the other likelihood (cost)."
            )

    @property
    def _is_binary(self) -> bool:
        return self.likelihood_ in ("bernoulli", "cross_entropy")

    def _set_units(self, X: np.ndarray) -> None:
        d = X.shape[1]
        self._shift, self._scale = np.zeros(d), np.ones(d)
        self._columns = np.ones(d)
        if not self._is_binary:
            scale = X.std(0)
            largest = np.abs(X).max(0)
            # as StandardScaler: within rounding of zero is constant
            constant = scale <= 10 * np.finfo(float).eps * largest
            self._columns = (~constant).astype(float)
            self._shift = X.mean(0) if self.standardize else self._shift
            if self.standardize:
                self._scale = np.where(constant, 1.0, scale)

    def _to_internal(self, X: np.ndarray) -> np.ndarray:
        if self._is_binary:
            self._check_unit_interval(X, self.likelihood_)
        return (X - self._shift) / self._scale

    # --- networks ---------------------------------------------------------------------

    def _build(self, network, n_in, n_out, *, conv, name: str, stream: int):
        generator = make_generator(self._seed, stream)
        widths = check_widths(self.hidden_layer_sizes)
        return build_network(
            network,
            n_in,
            n_out,
            builtins={
                "mlp": lambda: make_mlp(
                    n_in, widths, n_out, activation=self.activation, generator=generator
                ),
                "conv": lambda: conv(generator, widths),
            },
            name=name,
        )

    def _encoder_network(self, n_features: int, n_noise: int, n_out: int) -> nn.Module:
        def conv(generator, channels):
            shape = check_image_shape(self.image_shape, n_features)
            return ConvEncoder(
                shape,
                channels,
                n_out,
                n_noise,
                activation=self.activation,
                generator=generator,
            )

        return self._build(
            self.encoder_network,
            n_features + n_noise,
            n_out,
            conv=conv,
            name="encoder_network",
            stream=ENCODER,
        )

    def _decoder_network(self, n_features: int) -> nn.Module:
        n_in = self.latent_.n_features

        def conv(generator, channels):
            shape = check_image_shape(self.image_shape, n_features)
            return ConvDecoder(
                n_in, channels, shape, activation=self.activation, generator=generator
            )

        return self._build(
            self.decoder_network,
            n_in,
            n_features,
            conv=conv,
            name="decoder_network",
            stream=DECODER,
        )

    @abstractmethod
    def _choose_likelihood(self, X: np.ndarray) -> str:
        """Return the name of the likelihood, after a check that X allows it."""

    @abstractmethod
    def _make_likelihood(self) -> BaseLikelihood:
        """Return the likelihood that `likelihood_` names."""

    @abstractmethod
    def _make_encoder(self, n_features: int) -> BaseEncoder:
        """Return an untrained encoder."""

    @abstractmethod
    def _make_divergence(self) -> tuple[BaseDivergence | None, int]:
        """Return the divergence, and how many columns the critic is given."""

    _regularization: float

    def _bernoulli(self) -> BernoulliLikelihood:
        return BernoulliLikelihood(binarize=self.binarize)

    def _make_trainer(self, n_features: int) -> AlternatingTrainer:
        divergence, n_context = self._make_divergence()
        critic = None
        if divergence is not None:
            critic = divergence.make_critic(
                self.latent_,
                n_context,
                hidden_layer_sizes=check_widths(self.critic_layer_sizes),
                activation=self.activation,
                generator=make_generator(self._seed, CRITIC),
            )
        encoder = self._make_encoder(n_features)
        decoder = Decoder(
            self._decoder_network(n_features), self._make_likelihood(), self.latent_
        )
        options = TrainingOptions(
            optimizer=self.optimizer,
            lr=self.lr,
            critic_lr=self.lr if self.critic_lr is None else self.critic_lr,
            batch_size=self.batch_size,
            regularization=self._regularization,
            n_critic_updates=self.n_critic_updates,
            order=self.order,
            averaging=self.averaging,
        )
        return AlternatingTrainer(
            encoder.to(self.device_, torch.float32),
            decoder.to(self.device_, torch.float32),
            None if critic is None else critic.to(self.device_, torch.float32),
            divergence,
            conditional=n_context > 0,
            options=options,
            shuffle=make_generator(self._seed, SHUFFLE),
            noise=make_generator(self._seed, NOISE),
        )
