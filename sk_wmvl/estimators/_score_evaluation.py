"""What a fitted score estimator is asked for, in the user's units."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad, jacobian
from sk_wmvl._validation import check_rows
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.entropy import score_surrogate
from sk_wmvl.estimators._base import BaseEnergyEstimator
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.score_methods import KernelField

__all__ = ["NEURAL", "ScoreEvaluationMixin", "is_gradient", "is_neural"]

# Of the sliced forms the one without the variance of the slices.
NEURAL = {"mvl": "mvl", "ssm": "ssm-vr", "dsm": "dsm"}
CHUNK = 1024  # rows at a time


def is_neural(estimator) -> bool:
    """Return True, or raise AttributeError for methods that are not trained."""
    if isinstance(estimator.method, str) and estimator.method in NEURAL:
        return True
    raise AttributeError(
        f"method={estimator.method!r} is solved for and cannot be updated. Fit it anew to "
        f"the rows of now, or use one of {sorted(NEURAL)}."
    )


def is_gradient(estimator) -> bool:
    """Return True, or raise AttributeError where the field is no gradient."""
    method = estimator.method
    if isinstance(method, str) and method in NEURAL:
        return True
    if estimator._structure == "curl-free":
        return True
    raise AttributeError(
        f"The field of method={method!r} with a diagonal kernel is not the gradient of a "
        "function, so that there is no log density. Use structure='curl-free'; score_fn "
        "and score need none."
    )


class ScoreEvaluationMixin(BaseEstimator):
    """Evaluates the trained energy, or the kernel field, in float64."""

    manifold_: BaseManifold
    model_: BaseEnergyEstimator
    field_: KernelField
    n_context_features_in_: int
    device_: torch.device
    _coordinates: Coordinates
    _context_mean: np.ndarray
    _context_scale: np.ndarray | float

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self) or "field_" in vars(self)

    @property
    def _is_trained(self) -> bool:
        return "model_" in vars(self)

    # --- units ------------------------------------------------------------------------

    def _to_points(self, X: np.ndarray) -> Tensor:
        return self.manifold_.from_user(torch.tensor(X, dtype=torch.float64))

    def _inverse(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.linalg.inv(self._coordinates.scale)).to(x)

    def _to_internal(self, x: Tensor) -> Tensor:
        return (x - torch.from_numpy(self._coordinates.mean).to(x)) @ self._inverse(x).T

    def _scale_context(self, C: np.ndarray) -> np.ndarray:
        return (C - self._context_mean) / self._context_scale

    def _check_context(self, context, X, *, reset: bool) -> np.ndarray:
        """Return the context as an array; without one it has no columns."""
        if context is None:
            C = np.empty((len(X), 0))
        else:
            if self.method not in NEURAL:
                raise ValueError(
                    f"method={self.method!r} takes no context; use one of {sorted(NEURAL)}."
                )
            if isinstance(context, Tensor):
                context = context.detach().cpu().numpy()
            C = check_array(context, dtype=np.float64, input_name="context")
            if len(C) != len(X):
                raise ValueError(
                    f"context has {len(C)} row(s) and X has {len(X)}: each row of X needs "
                    "its own."
                )
        if reset:
            self.n_context_features_in_ = C.shape[1]
        elif C.shape[1] != self.n_context_features_in_:
            raise ValueError(
                f"context has {C.shape[1]} column(s), but the fit was with "
                f"{self.n_context_features_in_}."
            )
        return C

    def _chunks(self, X, context, size: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield points of the manifold and internal contexts, on the device."""
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        C = self._scale_context(self._check_context(context, X, reset=False))
        x = self._to_points(X).to(self.device_)
        yield from zip(
            x.split(size), torch.from_numpy(C).to(x).split(size), strict=True
        )

    # --- internal units ---------------------------------------------------------------

    def _held(self, c: Tensor):
        """Return the energy of points in ambient coordinates, with the context held."""
        energy = self.model_.energy_

        def held(x: Tensor) -> Tensor:
            u = self._to_internal(x)
            if c.shape[1] == 0:
                return energy(u)
            return energy(torch.cat([u, c.repeat(len(x) // len(c), 1)], 1))

        return held

    def _covector(self, x: Tensor, c: Tensor) -> Tensor:
        """Return the derivatives of log q at points of the manifold, in its coordinates."""
        if self._is_trained:
            return -energy_and_grad(self._held(c), x)[1]
        return self.field_(self._to_internal(x)) @ self._inverse(x)

    # --- what users call --------------------------------------------------------------

    def score_fn(self, X, context=None) -> np.ndarray:
        r"""Return the score :math:`\nabla\log q(x)`, in nats per unit of X.

        On a manifold the Riemannian gradient, a tangent vector in the coordinates of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.
        context : array-like of shape (n_samples, n_context), default=None
            What each is conditional on, if the fit had a context.

        Returns
        -------
        score : ndarray of shape (n_samples, n_features)
        """
        scores = []
        for x, c in self._chunks(X, context):
            u = self.manifold_.egrad2rgrad(x, self._covector(x, c))
            scores.append(self.manifold_.push_to_user(x, u))
        return torch.cat(scores).cpu().numpy()

    @available_if(is_gradient)
    def score_samples(self, X, context=None) -> np.ndarray:
        """Return log densities up to a constant, which depends on the context if any.

        Not available for fields that are no gradients: those of diagonal kernels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.
        context : array-like of shape (n_samples, n_context), default=None
            What each is conditional on, if the fit had a context.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, unnormalised.
        """
        values = []
        for x, c in self._chunks(X, context):
            with torch.no_grad():
                if self._is_trained:
                    values.append(-self._held(c)(x))
                else:
                    values.append(self.field_.log_density(self._to_internal(x)))
        return torch.cat(values).cpu().numpy()

    def score(self, X, y=None, context=None) -> float:
        r"""Return minus the mean Hyvärinen score; higher is better.

        :math:`-\frac1n\sum_i\frac12\|s(x_i)\|^2+\nabla\cdot s(x_i)` with s the score, on
        a manifold with norm and divergence of its metric, in the units of X. It involves no
        step size and no regularisation, so that all settings and methods compare. Above 20
        dimensions an energy's divergence is estimated on fixed probes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Held-out draws.
        y : None
            Ignored.
        context : array-like of shape (n_samples, n_context), default=None
            What each is conditional on, if the fit had a context.

        Returns
        -------
        score : float
        """
        del y
        values = []
        for x, c in self._chunks(X, context, size=CHUNK // 4):
            if self._is_trained:
                held = self._held(c)
                values.append(hyvarinen_values(held, x, manifold=self.manifold_))
                continue
            s = self._covector(x, c)

            def field(x: Tensor, c: Tensor = c) -> Tensor:
                return self._covector(x, c)

            slopes = jacobian(field, x, create_graph=False)
            divergence = slopes.diagonal(dim1=1, dim2=2).sum(1)
            values.append(0.5 * s.square().sum(1) + divergence)
        return -float(torch.cat(values).mean())

    def entropy_surrogate(self, z: Tensor, context=None) -> Tensor:
        r"""Return zero, with the gradient of the entropy of an encoder's draws.

        :math:`-\frac1n\sum_i s(z_i)\cdot z_i` with the scores s held constant, less its
        value: its derivative in the parameters behind z is that of the entropy, eq. (19)
        of the paper; on a manifold of the Hausdorff entropy.

        Parameters
        ----------
        z : Tensor of shape (n, n_features)
            Draws, in the units of the fit, which carry the encoder's graph; float32 or
            float64.
        context : Tensor of shape (n, n_context), default=None
            What the encoder saw, if the fit had a context.

        Returns
        -------
        surrogate : Tensor of shape ()
            To be maximised where entropy is a gain. No gradient reaches the estimator
            or the context.

        Examples
        --------
        >>> import torch
        >>> from sk_wmvl import ImplicitScoreEstimator
        >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> estimator = ImplicitScoreEstimator("kef", random_state=0).fit(2 * x)
        >>> sigma = torch.tensor(2.0, requires_grad=True)
        >>> estimator.entropy_surrogate(sigma * x).backward()
        >>> bool(abs(sigma.grad - 0.5) < 0.1)  # of log σ, shrunk
        True
        """
        if not isinstance(z, Tensor):
            raise TypeError(
                "entropy_surrogate differentiates through z, which must be a torch tensor; "
                f"got {type(z).__name__}."
            )
        check_is_fitted(self)
        points = self.manifold_.from_user(z)
        parts = [self._covector(x, c) for x, c in self._chunks(z, context, size=CHUNK)]
        return score_surrogate(torch.cat(parts).to(points), points)
