"""Fit an energy in closed form, if it is an exponential family."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sk_wmvl._component import resolve
from sk_wmvl._rows import Rows
from sk_wmvl._warnings import warn
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.estimators._prepare import Setup
from sk_wmvl.exponential import FAMILIES, ExponentialFamily, check_robustness
from sk_wmvl.exponential.solver import Solution, describe, solve
from sk_wmvl.objectives import BaseObjective, Batch, ScoreMatching
from sk_wmvl.training import TensorData

__all__ = [
    "SOLVED_ATTRIBUTES",
    "Solved",
    "check_uniform",
    "closed_form_objective",
    "find_family",
    "is_trained",
    "solve_family",
]

TOO_UNLIKELY = 0.1  # nats below the uniform density
# Attributes that only a fit in closed form publishes.
SOLVED_ATTRIBUTES = (
    "alpha_",
    "natural_parameters_",
    "natural_covariance_",
    "parameters_",
    "standard_errors_",
    "regularization_path_",
    "robust_weights_",
)


def find_family(energy: object, alpha: float) -> ExponentialFamily | None:
    """Return the exponential family that an estimator's `energy` names, or None."""
    if isinstance(energy, str) and energy in FAMILIES:
        family = FAMILIES[energy](alpha)
    elif isinstance(energy, ExponentialFamily):
        family = resolve(energy, {}, ExponentialFamily, name="energy")
    else:
        return None
    check_robustness(family)
    return family


def is_trained(estimator) -> bool:
    """Return True; raise AttributeError, for `available_if`, for a closed form."""
    energy = estimator.energy
    if isinstance(energy, ExponentialFamily) or (
        isinstance(energy, str) and energy in FAMILIES
    ):
        raise AttributeError(
            f"energy={energy!r} is fitted in closed form to all rows, not trained by "
            "epochs: call fit."
        )
    return True


def closed_form_objective(objective: object, energy: object) -> BaseObjective:
    """Return score matching, if `objective` names it or has it as its limit."""
    if objective in ("mvl", "sm") or isinstance(objective, ScoreMatching):
        return ScoreMatching()
    raise ValueError(
        f"energy={energy!r} is fitted in closed form, by exact score matching: objective "
        f"must be 'sm', or 'mvl', whose limit is 'sm'; got {objective!r}."
    )


@dataclass(frozen=True)
class Solved:
    """The result of a fit in closed form.

    Attributes
    ----------
    solution : Solution
        The coefficients, their covariance, the penalty, and the path on which it was
        chosen.
    parameters, standard_errors : dict of str to ndarray
        The family's parameters and their standard errors, in the user's units.
    robust_weights : ndarray of shape (n,) or None
        The weights of the rows in a robust fit.
    proposal : BaseMeasure or None
        The fitted distribution itself, if one can draw from it.
    judged : TensorData
        All rows, in float64.
    """

    solution: Solution
    parameters: dict[str, np.ndarray]
    standard_errors: dict[str, np.ndarray]
    robust_weights: np.ndarray | None
    proposal: BaseMeasure | None
    judged: TensorData

    @property
    def correction(self) -> torch.nn.Module:
        """The energy with its coefficients set."""
        return self.solution.energy

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that are published."""
        path, loss = self.solution.path, self.solution.loss
        chosen = float(path.scores.min())
        published = {
            "alpha_": self.solution.alpha,
            "natural_parameters_": self.solution.energy.coefficients.cpu().numpy(),
            "natural_covariance_": self.solution.covariance.cpu().numpy(),
            "parameters_": self.parameters,
            "standard_errors_": self.standard_errors,
            "regularization_path_": path,
            "n_iter_": 1,
            "loss_curve_": [loss],
            "validation_loss_curve_": [chosen],
            "history_": [{"epoch": 1, "train_loss": loss, "valid_loss": chosen}],
            "_training_state": None,
        }
        if self.robust_weights is not None:
            published["robust_weights_"] = self.robust_weights
        return published


def solve_family(
    family: ExponentialFamily,
    rows: Rows,
    setup: Setup,
    *,
    device: torch.device,
    name: object = None,
) -> Solved:
    """Fit an exponential family in closed form.

    Parameters
    ----------
    family : ExponentialFamily
    rows : Rows
        In internal coordinates.
    setup : Setup
    device : torch.device
    name : object, default=None
        What the user called the family, for messages.

    Raises
    ------
    ValueError
        If the units are those of transformed columns, or if `solve` rejects the rows.
    """
    if setup.coordinates.transform is not None:
        raise ValueError(
            f"energy={name!r} cannot go on from the last fit, in transformed columns: "
            "its parameters are those of the columns as they are. Fit again with "
            "warm_start=False."
        )
    weight = np.ones(len(rows.points)) if rows.weight is None else rows.weight
    batch = Batch(
        torch.tensor(rows.points, device=device),
        torch.tensor(weight / weight.mean(), device=device),
    )
    solution = solve(
        family, rows, setup.manifold, setup.base, device=device, seed=setup.seed
    )
    robust_weights = None
    if family.robustness > 0:
        with torch.no_grad():
            power = -family.robustness * solution.energy(batch.x)
        robust_weights = (power - power.max()).exp().cpu().numpy()
    return Solved(
        solution,
        *describe(family, solution, setup.manifold, setup.coordinates),
        robust_weights,
        family.distribution(solution.energy.coefficients, setup.manifold),
        TensorData(batch, rows.groups),
    )


def check_uniform(energy: object, solved: Solved, fitted: FittedEnergy) -> None:
    """Warn if the rows are less likely than under a uniform density.

    Warns
    -----
    UserWarning
        If they are less likely by more than 0.1 nats, on a compact manifold and without a
        base measure.
    """
    manifold = fitted.manifold
    if not manifold.is_compact or fitted.base or fitted.log_normalizer is None:
        return
    rows = solved.judged
    with torch.no_grad():
        energies = solved.correction(rows.x)
    mean = -float(rows.weight @ energies) / len(energies) - fitted.log_normalizer.value
    gap = -manifold.log_volume() - mean
    if gap > TOO_UNLIKELY:
        warn(
            f"The rows are less likely under energy={energy!r} than under the uniform "
            f"density, by {gap:.3g} nats: most of the mass is where there are no rows. "
            "Score matching underestimates mass there, and cannot distinguish parameters "
            "that have the same effect near the rows. Use a family with fewer parameters, "
            "or a network over a base measure (energy='inner_product').",
            UserWarning,
        )
