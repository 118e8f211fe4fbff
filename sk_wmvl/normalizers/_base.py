"""The interface of a normalizer: log Z with a standard error."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from sk_wmvl._component import BaseComponent
from sk_wmvl._warnings import warn
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.likelihood.gain import log_mean_exp
from sk_wmvl.manifolds import BaseManifold, Euclidean

__all__ = [
    "BaseNormalizer",
    "CountedEnergy",
    "LogNormalizer",
    "NormalizerWarning",
    "find_fault",
    "is_expensive",
    "is_flat",
    "is_over",
    "log_mean_exp",
    "warn_if_unreliable",
]

MANY_COMPONENTS = 1000
# Either limit means an error of about 0.15 nats. Larger errors are themselves uncertain.
MIN_ESS = 50
MAX_STD_ERROR = 0.2


class NormalizerWarning(UserWarning):
    """The estimate of the normalising constant cannot be trusted."""


class LogNormalizer(NamedTuple):
    r"""An estimate of :math:`\log Z = \log\int \exp(-E(x))\,dx`.

    Attributes
    ----------
    value : float
        The estimate, in nats. Infinite if the energy is not normalisable.
    std_error : float
        Its standard error (Monte Carlo) or error estimate (quadrature), in nats.
    n_evaluations : int
        Number of points at which the energy was evaluated.
    effective_sample_size : float
        Kish's effective number of independent draws behind the estimate. Infinite for
        quadrature.
    method : str
        The name of the normalizer that made it.
    problem : str
        The reason not to trust the estimate, as a clause. Empty if there is none.
    """

    value: float
    std_error: float
    n_evaluations: int
    effective_sample_size: float
    method: str
    problem: str = ""


class BaseNormalizer(BaseComponent, ABC):
    r"""Computes the log normalising constant of an energy.

    `proposal` is a normalised density, usually the base measure of the energy. It is an
    `nn.Module` with methods ``sample(n, generator=...)``, of shape (n, d), and
    ``log_prob(x)``, of shape (n,). The energy is evaluated in its dtype and on its device.

    A member implements `estimate`. Users call `log_normalizer`, which also warns.
    """

    def log_normalizer(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z of `energy` with its standard error; warn if it is unreliable.

        The result does not depend on whether the caller has gradients switched on.

        Parameters
        ----------
        energy : Module
            Maps points of shape (n, d) to energies of shape (n,).
        proposal : Module
            A normalised density close to the model, with ``sample`` and ``log_prob``.
        generator : torch.Generator, default=None
            Source of noise, on the CPU.
        manifold : BaseManifold or None, default=None
            The space of the points, of known dimension. Z is the integral with respect to
            its volume. None is Euclidean space.

        Returns
        -------
        log_normalizer : LogNormalizer

        Warns
        -----
        NormalizerWarning
            If the estimate cannot be trusted.
        """
        # Samplers need autograd, which inference mode forbids even under enable_grad.
        with torch.inference_mode(False), torch.no_grad():
            result = self.estimate(
                energy, proposal, generator=generator, manifold=manifold
            )
        warn_if_unreliable(result)
        return result

    @abstractmethod
    def estimate(
        self,
        energy: nn.Module,
        proposal: nn.Module,
        *,
        generator: torch.Generator | None = None,
        manifold: BaseManifold | None = None,
    ) -> LogNormalizer:
        """Return log Z without warnings, under ``no_grad``; see `log_normalizer`."""


class CountedEnergy(nn.Module):
    """An energy that counts the points at which it is evaluated.

    Parameters
    ----------
    energy : callable
        From points of shape (n, d) to energies of shape (n,).

    Attributes
    ----------
    n_evaluations : int
    """

    def __init__(self, energy: Callable[[Tensor], Tensor]):
        super().__init__()
        self.energy = energy
        self.n_evaluations = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        self.n_evaluations += len(x)
        return self.energy(x)


def is_expensive(proposal: nn.Module) -> bool:
    """Return whether a density is expensive to evaluate at every node of a grid."""
    return getattr(proposal, "n_components", 1) > MANY_COMPONENTS


def is_over(energy: nn.Module, proposal: nn.Module) -> TypeGuard[CorrectedEnergy]:
    """Return whether an energy is a correction of this very proposal.

    The ratio of the model to the proposal then depends on the correction alone.
    """
    return isinstance(energy, CorrectedEnergy) and energy.base is proposal


def is_flat(manifold: BaseManifold | None) -> bool:
    """Return whether a manifold is Euclidean space, whose coordinates are global."""
    return manifold is None or isinstance(manifold, Euclidean)


def find_fault(estimate: LogNormalizer, *, min_ess: float = MIN_ESS) -> str:
    """Return why an estimate cannot be trusted; empty if there is no reason."""
    ess, std_error = estimate.effective_sample_size, estimate.std_error
    reasons = [estimate.problem] if estimate.problem else []
    if not reasons and not math.isfinite(estimate.value):
        reasons.append("it is not finite")
    if ess < min_ess:
        reasons.append(f"it rests on only {ess:.1f} effective draws")
    elif not reasons and not std_error <= MAX_STD_ERROR:
        reasons.append("its error is large")
    return "; ".join(reasons)


def warn_if_unreliable(estimate: LogNormalizer, *, min_ess: float = MIN_ESS) -> None:
    """Warn if an estimate has a known problem, is not finite or has a large error."""
    fault = find_fault(estimate, min_ess=min_ess)
    if fault:
        warn(
            f"The {estimate.method} estimate of the log normalising constant, "
            f"{estimate.value:.4g} +- {estimate.std_error:.2g}, should not be trusted: "
            f"{fault}. Use a base measure closer to the data "
            "(base='auto'), a stronger penalty (alpha), a normalizer with more work "
            "(normalizer=AnnealedNormalizer(n_chains=...)), or normalizer=None for "
            "unnormalised log densities.",
            NormalizerWarning,
        )
