"""The units of an auto-encoder's rows, and the likelihood that they allow."""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["RowUnits", "check_unit_interval", "choose_likelihood"]

BINARY = ("bernoulli", "cross_entropy")  # likelihoods of values between 0 and 1


@dataclass(frozen=True)
class RowUnits:
    """The likelihood of a row and its units, which the first fit fixes.

    Attributes
    ----------
    likelihood : str
        The name of the likelihood.
    shift, scale : ndarray of shape (n_features,)
        A row is ``shift + scale * u``, where u is what the networks see.
    varies : ndarray of shape (n_features,)
        1 for columns that vary, 0 for constant ones.
    """

    likelihood: str
    shift: np.ndarray
    scale: np.ndarray
    varies: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, likelihood: str, *, standardize: bool) -> "RowUnits":
        """Return the units of rows."""
        d = X.shape[1]
        shift, scale, varies = np.zeros(d), np.ones(d), np.ones(d)
        if likelihood not in BINARY:
            std, largest = X.std(0), np.abs(X).max(0)
            # As in StandardScaler: a spread within rounding of zero is none.
            constant = std <= 10 * np.finfo(float).eps * largest
            varies = (~constant).astype(float)
            if standardize:
                shift, scale = X.mean(0), np.where(constant, 1.0, std)
        return cls(likelihood, shift, scale, varies)

    @property
    def is_binary(self) -> bool:
        """Whether rows hold values between 0 and 1."""
        return self.likelihood in BINARY

    def to_internal(self, X: np.ndarray) -> np.ndarray:
        """Return rows in the units of the networks.

        Raises
        ------
        ValueError
            If a value is impossible under the likelihood.
        """
        if self.is_binary:
            check_unit_interval(X, self.likelihood)
        return (X - self.shift) / self.scale

    def to_user(self, u: torch.Tensor) -> np.ndarray:
        """Return rows in the user's units."""
        return u.cpu().numpy() * self.scale + self.shift


def check_unit_interval(X: np.ndarray, what: str) -> None:
    """Raise ValueError if values lie outside [0, 1], and name the first of them."""
    bad = (X < 0) | (X > 1)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise ValueError(
            f"X holds values outside [0, 1], which are impossible under {what!r}: "
            f"{X[i, j]:.6g} in row {i}, column {j}, and {bad.sum() - 1} more. Scale X, "
            "or choose the other likelihood (cost)."
        )


def choose_likelihood(choice: str, X: np.ndarray, binary: str, real: str) -> str:
    """Return one of two likelihoods, and check that X is possible under it."""
    if choice == "auto":
        return binary if X.min() >= 0 and X.max() <= 1 else real
    if choice == binary:
        check_unit_interval(X, binary)
    return choice
