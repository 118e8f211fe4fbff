"""Feed-forward networks that start at zero, drawn from an explicit generator."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, skip_init

__all__ = ["ACTIVATIONS", "SpectralNorm", "make_network", "soft_clip"]

# Twice differentiable, as score matching needs.
ACTIVATIONS = {
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


class SpectralNorm(nn.Module):
    """Divide a weight by its largest singular value.

    In training mode the singular value is followed by power iteration, once each time the
    weight has changed. An objective divides a difference of two evaluations by a small
    step, so both must be of the same energy. In evaluation mode the value is exact, because
    an average of weights along a path has singular vectors that the iteration on that path
    never saw. torch's own spectral norm does not serve: it iterates at every evaluation,
    and draws its start from the global random stream.

    Parameters
    ----------
    weight : Tensor of shape (n_out, n_in)
        The weight at the start.
    generator : torch.Generator or None
        Source of the starting vector, on the CPU.
    """

    v: Tensor
    image: Tensor  # of v under the weight, when it was last iterated

    def __init__(self, weight: Tensor, generator: torch.Generator | None):
        super().__init__()
        v = torch.randn(weight.shape[1], generator=generator).to(weight)
        self.register_buffer("v", v)
        for _ in range(20):  # close enough that the first steps are scaled correctly
            self._iterate(weight.detach())
        self.register_buffer("image", weight.detach() @ self.v, persistent=False)

    def _iterate(self, weight: Tensor) -> None:
        u = nn.functional.normalize(weight @ self.v, dim=0)
        self.v = nn.functional.normalize(weight.T @ u, dim=0)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight divided by the estimate of its spectral norm."""
        if not self.training:
            return weight / torch.linalg.matrix_norm(weight, 2)
        image = weight @ self.v
        # torch's version counter misses the steps of fused optimisers; the image does not.
        if not torch.equal(image, self.image):
            self._iterate(weight.detach())
            image = weight @ self.v
            self.image = image.detach()
        return weight / torch.linalg.vector_norm(image)


def _make_linear(
    n_in: int, n_out: int, *, bias: bool, generator: torch.Generator | None
) -> nn.Linear:
    # skip_init: the stock constructor would draw from the global random stream.
    layer = skip_init(nn.Linear, n_in, n_out, bias=bias)
    bound = 1 / math.sqrt(n_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        if bias:
            layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def make_network(
    n_in: int,
    hidden_layer_sizes: Sequence[int],
    n_out: int,
    *,
    activation: str = "silu",
    spectral_norm: bool = False,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return a feed-forward network whose last layer is zero.

    Hidden layers start at torch's default U(±1/sqrt(n_in)). The zero last layer makes an
    untrained correction vanish, so that the model starts as its base measure.

    Parameters
    ----------
    n_in, n_out : int
        Input and output features.
    hidden_layer_sizes : sequence of int
        Widths.
    activation : {'silu', 'softplus', 'tanh', 'gelu', 'elu'}, default='silu'
        Twice differentiable activation.
    spectral_norm : bool, default=False
        Whether hidden weights are divided by their spectral norm.
    generator : torch.Generator, default=None
        Source of the initial weights, on the CPU.

    Returns
    -------
    network : nn.Sequential
    """
    layers: list[nn.Module] = []
    for width in hidden_layer_sizes:
        layer = _make_linear(n_in, width, bias=True, generator=generator)
        if spectral_norm:
            normalise = SpectralNorm(layer.weight, generator)
            parametrize.register_parametrization(layer, "weight", normalise)
        layers += [layer, ACTIVATIONS[activation]()]
        n_in = width
    last = _make_linear(n_in, n_out, bias=True, generator=generator)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def soft_clip(x: Tensor, radius: float | None) -> Tensor:
    r"""Return :math:`x\,(1 + \|x\|^4/R^4)^{-1/4}`, whose norm is below R.

    Close to the identity for :math:`\|x\| \ll R` (1.5 % at R/2). A network fed with it is
    bounded, so it cannot overcome the tails of the base measure: the model is
    normalisable whatever the weights. None means no clipping.
    """
    if radius is None:
        return x
    square = x.square().sum(-1, keepdim=True) / radius**2
    return x * (1 + square.square()) ** -0.25
