"""What a fitted auto-encoder does: codes of rows, rows of codes, draws."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_array, check_is_fitted

from sk_wmvl._random import draw_seed, make_generator
from sk_wmvl._validation import Integral, check_rows
from sk_wmvl.autoencoders import BaseEncoder, Decoder, LatentSpace
from sk_wmvl.manifolds import BaseManifold

__all__ = ["CHUNK", "EVALUATION", "SAMPLE", "CodingMixin"]

# Streams of the one seed of a fit, beside those of training.
SAMPLE, EVALUATION = 5, 6
CHUNK = 4096  # rows at a time in evaluation


class CodingMixin(ClassNamePrefixFeaturesOutMixin, BaseEstimator, ABC):
    """Encodes and decodes with fitted networks, in float64."""

    encoder_: BaseEncoder
    decoder_: Decoder
    latent_: LatentSpace
    manifold_: BaseManifold
    device_: torch.device
    _seed: int
    _shift: np.ndarray
    _scale: np.ndarray
    _draws_rows: bool

    @abstractmethod
    def _to_internal(self, X: np.ndarray) -> np.ndarray:
        """Return rows in the units of the networks, checked."""

    def _to_user(self, u: torch.Tensor) -> np.ndarray:
        return u.cpu().numpy() * self._scale + self._shift

    def __sklearn_is_fitted__(self) -> bool:
        return "decoder_" in vars(self)

    @property
    def _n_features_out(self) -> int:
        return self.manifold_.n_columns

    def _check_tensor(self, X) -> torch.Tensor:
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        return torch.tensor(
            self._to_internal(X), dtype=torch.float64, device=self.device_
        )

    def _check_codes(self, Z) -> torch.Tensor:
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Codes have {Z.shape[1]} columns; those of {self.manifold_!r} have "
                f"{self._n_features_out}."
            )
        return self.manifold_.from_user(torch.from_numpy(Z)).to(self.device_)

    @torch.no_grad()
    def transform(self, X) -> np.ndarray:
        """Return the code of each row.

        That at zero noise of an implicit encoder, the mean (direction) of an explicit one:
        the same at each call, whatever the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_codes)
            Points of the latent manifold: `n_components` columns in Euclidean space, one
            more on the sphere.
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
        return self._to_user(torch.cat(parts))

    def reconstruct(self, X) -> np.ndarray:
        """Return rows encoded and decoded.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Means of the rows given their codes.
        """
        with torch.no_grad():
            parts = [
                self.decoder_.mean(self.encoder_.code(u))
                for u in self._check_tensor(X).split(CHUNK)
            ]
        return self._to_user(torch.cat(parts))

    @torch.no_grad()
    def sample(self, n_samples=1, random_state=None, *, mean=False) -> np.ndarray:
        """Draw codes from the prior, and rows from the model given them.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            Seed; None uses the one of the fit, so that calls repeat.
        mean : bool, default=False
            Whether to return the mean rows given the codes, instead of draws. A decoder
            without noise returns them anyway.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Draws, in the units of the training data.
        """
        check_is_fitted(self)
        if not (isinstance(n_samples, Integral) and n_samples >= 1):
            raise ValueError(f"n_samples must be an integer >= 1; got {n_samples!r}.")
        seed = self._seed if random_state is None else draw_seed(random_state)
        generator = make_generator(seed, SAMPLE)
        codes = self.latent_.sample(int(n_samples), generator=generator)
        codes = codes.to(self.device_)
        draw = self._draws_rows and not mean
        parts = [
            self.decoder_.sample(z, generator=generator)
            if draw
            else self.decoder_.mean(z)
            for z in codes.split(CHUNK)
        ]
        return self._to_user(torch.cat(parts))

    @abstractmethod
    def score_samples(self, X) -> np.ndarray:
        """Return how well each row is explained, of shape (n_samples,)."""

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
