"""Energies of a point given a context, for the entropy of an encoder."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.energies._network import make_network, soft_clip

__all__ = ["ConditionalEnergy", "GivenContext", "given_context"]


def repeat_rows(context: Tensor, n_points: int) -> Tensor:
    """Return one row of context per point: point i belongs to context i modulo n.

    Objectives evaluate several moves of each point in one call, stacked as whole batches.
    """
    n = len(context)
    repeats, rest = divmod(n_points, n) if n else (1, n_points)
    if rest or not repeats:
        raise ValueError(
            f"The context has {n} row(s) and the points {n_points}; the points must be "
            "a whole number of moves of each row of the context."
        )
    return context if repeats == 1 else context.repeat(repeats, 1)


class GivenContext(BaseEnergy):
    r"""A conditional energy :math:`E(z\mid x)` with x held fixed: an energy of z alone.

    Objectives, samplers and `TangentSpaceEnergy` take it. They may evaluate several moves
    of each point in one call. Point i belongs to context i modulo the number of contexts.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) and contexts of shape (n, c) to energies of shape (n,).
    context : Tensor of shape (n, c)
        The contexts; a single row serves all points.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import GivenContext
    >>> energy = lambda z, x: 0.5 * ((z - x) ** 2).sum(-1)
    >>> GivenContext(energy, torch.tensor([[1.0], [3.0]]))(torch.zeros(4, 1))
    tensor([0.5000, 4.5000, 0.5000, 4.5000])
    """

    def __init__(self, energy: nn.Module, context: Tensor):
        super().__init__()
        self.energy = energy
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.energy(x, repeat_rows(self.context, len(x)))


class ConditionalEnergy(nn.Module):
    r"""The energy :math:`E(z\mid x) = (\tilde z, 1)^\top\psi(\tilde z, x)`.

    The inner-product energy of the paper (sections 4.2 and 6.1) with a network that sees
    the context x beside the rescaled point :math:`\tilde z = s z`. As in
    `InnerProductEnergy` a constant coordinate is added to the point, so that the energy is
    not pinned at the origin.

    Parameters
    ----------
    n_features : int
        The dimension d of z.
    n_context : int
        The dimension c of x.
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Widths of the hidden layers of :math:`\psi`.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='tanh'
        Twice differentiable activation.
    scale : float, default=1.0
        The factor s. The authors' runs use :math:`\sqrt{d}` for points of a sphere in
        :math:`\mathbb{R}^d`, whose coordinates then have unit variance.
    spectral_norm : bool, default=False
        Whether hidden weights are divided by their spectral norm.
    radius : float or None, default=None
        If a number R, the energy sees :math:`\tilde z\,(1 + \|\tilde z\|^4/R^4)^{-1/4}`
        and is bounded in z.
    generator : torch.Generator, default=None
        Source of the initial weights, on the CPU.

    See Also
    --------
    GivenContext : Any conditional energy with its context held.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    An objective sees the energy of z alone:

    >>> import torch
    >>> from sk_wmvl.energies import ConditionalEnergy
    >>> from sk_wmvl.objectives import ScoreMatching
    >>> energy = ConditionalEnergy(2, 5)
    >>> z, x = torch.ones(3, 2), torch.ones(3, 5)
    >>> ScoreMatching()(energy.given(x), z).detach()  # an untrained one is flat
    tensor([0., 0., 0.])
    """

    def __init__(
        self,
        n_features: int,
        n_context: int,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        *,
        activation: str = "tanh",
        scale: float = 1.0,
        spectral_norm: bool = False,
        radius: float | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a finite number > 0; got {scale!r}.")
        self.n_features = n_features
        self.n_context = n_context
        self.scale = scale
        self.radius = radius
        self.network = make_network(
            n_features + n_context,
            hidden_layer_sizes,
            n_features + 1,
            activation=activation,
            spectral_norm=spectral_norm,
            generator=generator,
        )

    def given(self, context: Tensor) -> BaseEnergy:
        """Return the energy of z with the context held.

        What the context adds to the first layer is computed once, here, however often the
        energy is then evaluated. Gradients reach the parameters through it.

        Parameters
        ----------
        context : Tensor of shape (n, n_context)
            A single row serves all points.

        Returns
        -------
        energy : BaseEnergy
            Maps points of shape (r n, d) to energies of shape (r n,); row i belongs to
            context i modulo n.
        """
        return _Given(self, context)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.given(context)(z)


class _Given(BaseEnergy):
    """A `ConditionalEnergy` with its context already through the first layer."""

    def __init__(self, energy: ConditionalEnergy, context: Tensor):
        super().__init__()
        if context.ndim != 2 or context.shape[1] != energy.n_context:
            raise ValueError(
                f"The context has shape {tuple(context.shape)}; it must be "
                f"(n, {energy.n_context})."
            )
        self.energy = energy
        first = cast(nn.Linear, energy.network[0])
        # Read once: a parametrised weight may differ at the next reading.
        weight, d = first.weight, energy.n_features
        self.weight = weight[:, :d]
        self.share = nn.functional.linear(context, weight[:, d:], first.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (r n,), at points of shape (r n, d)."""
        energy = self.energy
        z = soft_clip(energy.scale * x, energy.radius)
        hidden = z @ self.weight.T + repeat_rows(self.share, len(z))
        psi = energy.network[1:](hidden)
        return (z * psi[:, :-1]).sum(-1) + psi[:, -1]


def given_context(energy: nn.Module, context: Tensor | None) -> nn.Module:
    """Return an energy of the point alone, with the context held if there is one.

    Parameters
    ----------
    energy : Module
        An energy of points, if `context` is None; else a `ConditionalEnergy`, or any
        module that maps points and contexts to energies.
    context : Tensor of shape (n, c) or None

    Returns
    -------
    energy : Module
        Maps points of shape (r n, d) to energies of shape (r n,).
    """
    if context is None:
        return energy
    if isinstance(energy, ConditionalEnergy):
        return energy.given(context)
    return GivenContext(energy, context)
