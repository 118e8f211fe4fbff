"""The template of auto-encoders, which train on rows, then encode and decode."""

import copy
from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._validation import (
    LARGEST,
    Integral,
    Interval,
    Real,
    StrOptions,
    check_callbacks,
    check_columns,
    check_count_of_draws,
    check_optimizer,
    check_rows,
    check_widths,
    fit_context,
    resolve_device,
)
from sk_wmvl._warnings import warn
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
from sk_wmvl.autoencoders.training import ORDERS, STEPS_PER_COPY, AlternatingTask
from sk_wmvl.energies import freeze
from sk_wmvl.estimators._constraints import EPOCHS
from sk_wmvl.estimators._persistence import PersistenceMixin
from sk_wmvl.estimators._publish import publish
from sk_wmvl.estimators._row_units import RowUnits
from sk_wmvl.manifolds import MANIFOLDS, BaseManifold
from sk_wmvl.objectives import Batch
from sk_wmvl.training import (
    OPTIMIZERS,
    BatchIterator,
    FitProgress,
    TensorData,
    TrainingNet,
    limit_threads,
)

__all__ = ["CHUNK", "EVALUATION", "WIDEST", "BaseAutoencoder"]

# Streams of the one seed that a fit draws from `random_state`.
ENCODER, DECODER, CRITIC, SHUFFLE, NOISE, SAMPLE, EVALUATION, USE = range(8)
CHUNK = 4096  # rows at a time in evaluation
WIDEST = 10_000  # codes or inputs of noise: a layer of 256 then has 3 million weights
FAST = 5e-3  # a learning rate above which a critic's own noise reaches the encoder
# A code is unused if it tells the decoder less than so many nats about a row. Fewer steps
# than these teach a decoder little more than the mean.
UNUSED, MIN_STEPS, N_ROWS = 0.1, 500, 1000


class BaseAutoencoder(
    PersistenceMixin, ClassNamePrefixFeaturesOutMixin, BaseEstimator, ABC
):
    """Template of an auto-encoder with codes on a manifold.

    A subclass supplies the encoder, the likelihood and the divergence.
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, WIDEST, closed="both")],
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
        "epsilon": [Interval(Real, 0, LARGEST, closed="right")],
        "alpha": [Interval(Real, 0, LARGEST, closed="both")],
        "n_critic_updates": [Interval(Integral, 1, 1000, closed="both")],
        "order": [StrOptions(set(ORDERS))],
        # L-BFGS calls a closure, which the update of a critic does not provide.
        "optimizer": [StrOptions(set(OPTIMIZERS) - {"lbfgs"}), type],
        "lr": [Interval(Real, 0, LARGEST, closed="right")],
        "critic_lr": [None, Interval(Real, 0, LARGEST, closed="right")],
        "callbacks": [None, list, tuple],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [EPOCHS],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    encoder_: BaseEncoder
    decoder_: Decoder
    latent_: LatentSpace
    manifold_: BaseManifold
    device_: torch.device
    _units: RowUnits
    _seed: int
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
        self._run(X, resume=resume, n_epochs=self.max_epochs)
        if self.n_steps_ >= MIN_STEPS:
            self._check_use(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one more epoch, from where the last call ended.

        The first call fixes the likelihood and the units of the columns. k calls with the
        same rows give the same bits as `fit` with k epochs, even if the estimator is saved
        and loaded in between.

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
        return self._run(X, resume=resume, n_epochs=1)

    def _run(self, X: np.ndarray, *, resume: bool, n_epochs: int):
        """Prepare, train and publish."""
        device = resolve_device(self.device)
        check_optimizer(self.optimizer)
        if resume:
            seed, units, latent = self._seed, self._units, self.latent_
        else:
            seed = draw_seed(self.random_state)
            latent = LatentSpace(self._make_manifold(), rescale=self.rescale)
            likelihood = self._choose_likelihood(X)
            units = RowUnits.fit(X, likelihood, standardize=self.standardize)
        u = torch.tensor(units.to_internal(X), dtype=torch.float32, device=device)
        net, task = self._make_net(units, latent, seed, device, n_epochs)
        if resume:
            try:
                net.set_training_state(self._training_state)
            except (RuntimeError, ValueError, KeyError) as error:
                raise ValueError(
                    "Training cannot go on from the last fit: a network or the optimizer "
                    "has changed. Fit again with warm_start=False."
                ) from error
        rows = TensorData(Batch(u, torch.ones(len(u), device=device)))
        width = max([X.shape[1], *check_widths(self.hidden_layer_sizes)])
        with limit_threads(self.batch_size, width, device):
            net.partial_fit(rows, epochs=n_epochs)
        self._publish(net, task, units, latent, seed, device)
        return self

    def _make_net(
        self,
        units: RowUnits,
        latent: LatentSpace,
        seed: int,
        device: torch.device,
        n_epochs: int,
    ) -> tuple[TrainingNet, AlternatingTask]:
        """Return the networks in a skorch net, and the task that defines its steps."""
        n_features = len(units.shift)
        divergence, n_context = self._make_divergence(n_features)
        critic = None
        if divergence is not None:
            critic = divergence.make_critic(
                latent,
                n_context,
                hidden_layer_sizes=check_widths(
                    self.critic_layer_sizes, name="critic_layer_sizes"
                ),
                activation=self.activation,
                generator=make_generator(seed, CRITIC),
            )
            critic = None if critic is None else critic.to(device, torch.float32)
        task = AlternatingTask(
            critic,
            divergence,
            conditional=n_context > 0,
            regularization=self._divergence_weight,
            optimizer=self.optimizer,
            critic_lr=self._choose_critic_lr(),
            n_critic_updates=self.n_critic_updates,
            order=self.order,
            generator=make_generator(seed, NOISE),
        )
        encoder = self._make_encoder(n_features, latent, seed)
        decoder = Decoder(
            self._decoder_network(n_features, latent, seed),
            self._make_likelihood(units),
            latent,
        )
        both = nn.ModuleList([encoder, decoder]).to(device, torch.float32)
        if isinstance(self.optimizer, str):
            optimizer, options = OPTIMIZERS[self.optimizer]
        else:
            optimizer, options = self.optimizer, {}
        # The user's callbacks are copied, because skorch initialises them in place.
        callbacks = copy.deepcopy(list(self.callbacks or []))
        check_callbacks(callbacks)
        if self.verbose:
            label = type(self).__name__
            callbacks.append(("fit_progress", FitProgress(label, n_epochs)))
        net = TrainingNet(
            both,
            task=task,
            one_cycle=False,
            averaging=self.averaging,
            steps_per_copy=STEPS_PER_COPY,
            optimizer=optimizer,
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            iterator_train=BatchIterator,
            iterator_train__shuffle=True,
            iterator_train__generator=make_generator(seed, SHUFFLE),
            train_split=None,
            callbacks=callbacks,
            device=device,
            verbose=0,
            **{f"optimizer__{k}": v for k, v in options.items()},
        )
        return net.initialize(), task

    def _choose_critic_lr(self) -> float:
        if self.critic_lr is not None:
            return self.critic_lr
        return max(self.lr, min(self._critic_pace * self.lr, FAST))

    def _publish(
        self,
        net: TrainingNet,
        task: AlternatingTask,
        units: RowUnits,
        latent: LatentSpace,
        seed: int,
        device: torch.device,
    ) -> None:
        """Set the fitted attributes, all at once."""
        state = net.get_training_state()
        encoder, decoder = freeze(net.average_.module).children()
        names = ("reconstruction", "divergence", "critic_loss")
        history = [
            {"epoch": row["epoch"], "loss": row["train_loss"]}
            | {name: row[name] for name in names}
            for row in net.history
        ]
        publish(
            self,
            {
                "device_": device,
                "manifold_": latent.manifold,
                "latent_": latent,
                "likelihood_": units.likelihood,
                "encoder_": encoder,
                "decoder_": cast(Decoder, decoder),
                "critic_": None if task.critic is None else freeze(task.critic),
                "history_": history,
                "loss_curve_": [row["loss"] for row in history],
                "n_iter_": len(history),
                "n_steps_": net.n_steps_,
                "_units": units,
                "_seed": seed,
                "_training_state": state,
            },
        )

    @torch.no_grad()
    def _check_use(self, X: np.ndarray) -> None:
        """Warn if rows are as likely given the codes of other rows as given their own."""
        generator = make_generator(self._seed, USE)
        some = torch.randperm(len(X), generator=generator)[:N_ROWS]
        u = self._check_tensor(X)[some.to(self.device_)]
        x = self.decoder_.likelihood.prepare(u, generator=generator)
        z = self.encoder_.sample(x, generator=generator)
        own, other = (self.decoder_.log_prob(x, code) for code in (z, z.roll(1, 0)))
        gain = float((own - other).mean())
        if gain < UNUSED:
            warn(
                f"The code is not used: rows are {gain:.2g} nats more likely given their "
                "own codes than given those of other rows. Reconstructions are hardly "
                "better than the mean row. Use fewer components, a larger lr, more "
                "epochs, or another encoder or latent; columns that are independent of "
                "one another have no code to find.",
                UserWarning,
            )

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

    # --- networks ---------------------------------------------------------------------

    def _build(self, network, n_in, n_out, *, conv, name: str, seed: int, stream: int):
        generator = make_generator(seed, stream)
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

    def _encoder_network(
        self, n_features: int, n_noise: int, n_out: int, seed: int
    ) -> nn.Module:
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
            seed=seed,
            stream=ENCODER,
        )

    def _decoder_network(
        self, n_features: int, latent: LatentSpace, seed: int
    ) -> nn.Module:
        n_in = latent.n_features

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
            seed=seed,
            stream=DECODER,
        )

    # --- what a subclass supplies -----------------------------------------------------

    _draws_rows: bool  # whether a row is random given its code
    _critic_pace: float  # the critic's learning rate, in units of the other, by default

    @property
    @abstractmethod
    def _divergence_weight(self) -> float:
        """The weight of the divergence in the loss."""

    @abstractmethod
    def _choose_likelihood(self, X: np.ndarray) -> str:
        """Return the name of the likelihood, after a check that X allows it."""

    @abstractmethod
    def _make_likelihood(self, units: RowUnits) -> BaseLikelihood:
        """Return the likelihood that the units name."""

    @abstractmethod
    def _make_encoder(
        self, n_features: int, latent: LatentSpace, seed: int
    ) -> BaseEncoder:
        """Return an untrained encoder."""

    @abstractmethod
    def _make_divergence(self, n_features: int) -> tuple[BaseDivergence | None, int]:
        """Return the divergence, and the number of columns that the critic sees."""

    @abstractmethod
    def score_samples(self, X) -> np.ndarray:
        """Return the quality of the fit to each row, of shape (n_samples,)."""

    def _bernoulli(self) -> BernoulliLikelihood:
        return BernoulliLikelihood(binarize=self.binarize)

    # --- codes and rows ---------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "decoder_" in vars(self)

    @property
    def _n_features_out(self) -> int:
        return self.manifold_.n_columns

    def _check_tensor(self, X) -> torch.Tensor:
        """Return validated rows in the units of the networks, on the device."""
        check_is_fitted(self)
        u = self._units.to_internal(check_rows(self, X, reset=False))
        return torch.tensor(u, dtype=torch.float64, device=self.device_)

    def _check_codes(self, Z) -> torch.Tensor:
        check_is_fitted(self)
        Z = check_columns(Z, "Z")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z has {Z.shape[1]} columns; codes on {self.manifold_!r} have "
                f"{self._n_features_out}."
            )
        return self.manifold_.from_user(torch.from_numpy(Z)).to(self.device_)

    @torch.no_grad()
    def transform(self, X) -> np.ndarray:
        """Return the code of each row.

        For an implicit encoder this is the code at zero noise, for an explicit one the
        mean or mean direction. It is the same at each call, whatever the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_codes)
            Points of the latent manifold: `n_components` columns in Euclidean space, and
            one more on the sphere.
        """
        parts = [self.encoder_.code(u) for u in self._check_tensor(X).split(CHUNK)]
        return self.manifold_.to_user(torch.cat(parts)).cpu().numpy()

    @torch.no_grad()
    def inverse_transform(self, Z) -> np.ndarray:
        """Return the mean row of each code.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_codes)
            Points of the latent manifold.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Means, in the units of the training data.
        """
        parts = [self.decoder_.mean(z) for z in self._check_codes(Z).split(CHUNK)]
        return self._units.to_user(torch.cat(parts))

    @torch.no_grad()
    def reconstruct(self, X) -> np.ndarray:
        """Return rows encoded and decoded.

        The decoder gets the code that `transform` returns. For unit vectors with a density
        it gets their expectation, which is the shorter the less certain the code.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Means of the rows given their codes.
        """
        parts = [
            self.decoder_.mean(self.encoder_.center(u))
            for u in self._check_tensor(X).split(CHUNK)
        ]
        return self._units.to_user(torch.cat(parts))

    @torch.no_grad()
    def sample(self, n_samples=1, random_state=None, *, mean=False) -> np.ndarray:
        """Draw codes from the prior, and rows from the model given them.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Seed. None uses the seed of the fit, so that all calls give the same draws.
        mean : bool, default=False
            Whether to return the mean rows given the codes, instead of draws. A decoder
            without noise always returns the mean rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Draws, in the units of the training data.
        """
        check_is_fitted(self)
        n_samples = check_count_of_draws(n_samples, self.n_features_in_)
        seed = self._seed if random_state is None else draw_seed(random_state)
        generator = make_generator(seed, SAMPLE)
        codes = self.latent_.sample(n_samples, generator=generator)
        codes = codes.to(self.device_)
        draw = self._draws_rows and not mean
        parts = [
            self.decoder_.sample(z, generator=generator)
            if draw
            else self.decoder_.mean(z)
            for z in codes.split(CHUNK)
        ]
        return self._units.to_user(torch.cat(parts))

    def score(self, X, y=None):
        """Return the mean of `score_samples`: higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
        """
        return float(self.score_samples(X).mean())
