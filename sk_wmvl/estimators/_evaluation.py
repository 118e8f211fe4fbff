"""What a fitted energy is asked for: its values and its derivatives at rows of X."""

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl._validation import check_rows
from sk_wmvl.energies import TransformedEnergy
from sk_wmvl.manifolds import BaseManifold

__all__ = ["EVALUATION_CHUNK", "EvaluationMixin"]

EVALUATION_CHUNK = 8192  # rows at a time, so that memory does not grow with X


class EvaluationMixin(BaseEstimator):
    """Evaluates the fitted `energy_` in float64."""

    energy_: TransformedEnergy
    manifold_: BaseManifold
    device_: torch.device

    def __sklearn_is_fitted__(self) -> bool:
        return "energy_" in vars(self)

    def _to_points(self, X: np.ndarray) -> torch.Tensor:
        """Return points of the manifold, in its ambient coordinates."""
        return self.manifold_.from_user(torch.tensor(X, dtype=torch.float64))

    def _check_tensor(self, X) -> torch.Tensor:
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        return self._to_points(X).to(self.device_)

    def energy_samples(self, X) -> np.ndarray:
        """Return the energy: minus the unnormalised log density, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points, in the units of the training data.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
        """
        x = self._check_tensor(X)
        with torch.no_grad():
            values = [self.energy_(rows) for rows in x.split(EVALUATION_CHUNK)]
        return torch.cat(values).cpu().numpy()

    def score_fn(self, X) -> np.ndarray:
        r"""Return the score :math:`\nabla\log q(x)`, in nats per unit of X.

        On a manifold the Riemannian gradient, a tangent vector in the coordinates of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points, in the units of the training data.

        Returns
        -------
        score : ndarray of shape (n_samples, n_features)
        """
        scores = []
        for x in self._check_tensor(X).split(EVALUATION_CHUNK):
            _, grad = energy_and_grad(self.energy_, x)
            u = self.manifold_.egrad2rgrad(x, -grad)
            scores.append(self.manifold_.push_to_user(x, u))
        return torch.cat(scores).cpu().numpy()
