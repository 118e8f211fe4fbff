r"""What an objective must offer: a value per sample, to be minimised.

One sign and one scale for all that look at the energy about the data: with
:math:`q \propto e^{-E}` the expectation is, up to a constant free of the parameters and to
terms that vanish with the step, the score-matching objective
:math:`\frac12\|\nabla E\|^2 - \Delta E`. Those that compare the model with a proposal are
in nats (`BaseGlobalObjective`).
"""

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from sk_wmvl._component import BaseComponent

__all__ = ["BaseObjective", "warn_below_floor"]


class BaseObjective(BaseComponent, ABC):
    r"""A per-sample loss whose mean is minimised in the parameters of an energy.

    Attributes
    ----------
    is_monitorable : bool
        Whether the value is a loss. If False, only its gradient means something.
    couples_rows : bool
        Whether the loss of a row depends on the rows beside it, which then can have no
        weights of their own.
    sigmas : tuple of float or None
        The least and the largest noise, if the energy is one of points and noise levels.
    learns_normalizer : bool
        Whether the model :math:`e^{-E}` counts as normalised, so that the energy needs a
        free additive constant.
    """

    is_monitorable: ClassVar[bool] = True
    couples_rows: ClassVar[bool] = False
    sigmas: tuple[float, float] | None = None
    learns_normalizer: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        x : Tensor of shape (n, d)
            Data.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.

        Returns
        -------
        loss : Tensor of shape (n,)
            Differentiable in the parameters of `energy` unless the caller is under
            ``torch.no_grad()``.
        """


def warn_below_floor(owner: object, step: float, x: Tensor, floor: float) -> None:
    """Warn if a difference over `step` is lost in the rounding of float32."""
    if step < floor and x.dtype == torch.float32:
        warnings.warn(
            f"{type(owner).__name__} divides a difference by {step:.1e}; below "
            f"{floor:.0e} the rounding error of float32 swamps it. Use a larger step or "
            "float64 tensors.",
            RuntimeWarning,
            stacklevel=3,
        )
