"""A fit that is solved: what an estimator does when its energy is an exponential family."""

import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from sk_wmvl._component import resolve
from sk_wmvl._rows import Rows
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.coordinates.whitening import Coordinates
from sk_wmvl.exponential import FAMILIES, ExponentialFamily, check_robustness
from sk_wmvl.exponential.solver import describe, solve
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.objectives import BaseObjective, ScoreMatching
from sk_wmvl.training.batches import TensorData
from sk_wmvl.training.net import limit_threads

__all__ = ["SolvedFitMixin", "is_trained"]

TOO_UNLIKELY = 0.1  # nats below the uniform density
ATTRIBUTES = (
    "alpha_",
    "natural_parameters_",
    "natural_covariance_",
    "parameters_",
    "standard_errors_",
    "regularization_path_",
    "robust_weights_",
)


def is_trained(estimator) -> bool:
    """Return True; raise AttributeError, for `available_if`, if the fit is solved."""
    if estimator._family is not None:
        raise AttributeError(
            f"energy={estimator.energy!r} is solved for with all rows at hand, not trained "
            "by epochs: call fit."
        )
    return True


class SolvedFitMixin(BaseEstimator):
    """Fits an exponential family in closed form, where `energy` is one."""

    alpha: float
    energy: object
    objective: object
    base: object
    base_: BaseMeasure | None
    _proposal: BaseMeasure | None
    manifold_: BaseManifold
    device_: torch.device
    _coordinates: Coordinates
    _seed: int

    @property
    def _family(self) -> ExponentialFamily | None:
        """The exponential family that `energy` names, or None."""
        if isinstance(self.energy, str) and self.energy in FAMILIES:
            return FAMILIES[self.energy](self.alpha)
        if isinstance(self.energy, ExponentialFamily):
            return resolve(self.energy, {}, ExponentialFamily, name="energy")
        return None

    @property
    def _is_robust(self) -> bool:
        """Whether rows are weighted by the density."""
        family = self._family
        if family is not None:
            check_robustness(family)
        return family is not None and family.robustness > 0

    @property
    def _wanted_base(self) -> object:
        """The parameter `base`; None for a family that corrects none."""
        family = self._family
        return self.base if family is None or family.takes_base else None

    def _make_solved_objective(self) -> BaseObjective:
        """Return score matching, if that is what `objective` stands for."""
        if self.objective in ("mvl", "sm") or isinstance(self.objective, ScoreMatching):
            return ScoreMatching()
        raise ValueError(
            f"energy={self.energy!r} is fitted in closed form, by exact score matching: "
            "objective must be 'sm', or 'mvl', of which that is the limit; got "
            f"{self.objective!r}."
        )

    def _forget_solution(self) -> None:
        """Delete what only a solved fit leaves."""
        for name in ATTRIBUTES:
            if name in vars(self):
                delattr(self, name)

    def _solve(self, family: ExponentialFamily, rows: Rows) -> None:
        """Fit, and set all that is known afterwards."""
        if self._coordinates.transform is not None:
            raise ValueError(
                f"energy={self.energy!r} cannot go on from the last fit, in transformed "
                "columns: its parameters are those of the columns as they are. Fit anew, "
                "with warm_start=False."
            )
        weight = np.ones(len(rows.points)) if rows.weight is None else rows.weight
        data = TensorData(
            torch.tensor(rows.points, device=self.device_),
            torch.tensor(weight / weight.mean(), device=self.device_),
            groups=rows.groups,
        )
        with limit_threads(1, 1, self.device_):
            solution = solve(
                family,
                rows,
                self.manifold_,
                self.base_,
                device=self.device_,
                seed=self._seed,
            )
            distribution = family.distribution(solution.energy.coefficients)
            if distribution is not None:
                self._proposal = distribution
            parameters = describe(family, solution, self.manifold_, self._coordinates)
            frozen = self._freeze(solution.energy, data)
            if self.manifold_.is_compact and self.base_ is None:
                with torch.no_grad():
                    energies = solution.energy(data.x)
                mean = float(data.weight @ energies) / len(energies)
                self._warn_if_blind(-mean, frozen["log_normalizer_"])
        path = solution.path
        chosen = float(path.scores.min())
        fitted = {
            **frozen,
            "alpha_": solution.alpha,
            "natural_parameters_": solution.energy.coefficients.cpu().numpy(),
            "natural_covariance_": solution.covariance.cpu().numpy(),
            "parameters_": parameters[0],
            "standard_errors_": parameters[1],
            "regularization_path_": path,
            "n_iter_": 1,
            "loss_curve_": [solution.loss],
            "validation_loss_curve_": [chosen],
            "history_": [
                {"epoch": 1, "train_loss": solution.loss, "valid_loss": chosen}
            ],
        }
        if family.robustness > 0:
            with torch.no_grad():
                power = -family.robustness * solution.energy(data.x)
            fitted["robust_weights_"] = (power - power.max()).exp().cpu().numpy()
        for name, value in fitted.items():
            setattr(self, name, value)

    def _warn_if_blind(self, mean: float, log_normalizer: float | None) -> None:
        """Warn if rows, of mean log density `mean` less log Z, were likelier if uniform."""
        if log_normalizer is None:
            return
        gap = -self.manifold_.log_volume() - (mean - log_normalizer)
        if gap > TOO_UNLIKELY:
            warnings.warn(
                f"The rows are less likely under energy={self.energy!r} than under the "
                f"uniform density, by {gap:.3g} nats: most of the mass is where there are "
                "no rows. Score matching cannot see it, and parameters that act alike near "
                "the rows are not told apart. Use a family with fewer, or a network over "
                "its base measure (energy='inner_product').",
                UserWarning,
                stacklevel=2,
            )

    def _freeze(self, correction: nn.Module, rows: TensorData) -> dict:
        raise NotImplementedError
