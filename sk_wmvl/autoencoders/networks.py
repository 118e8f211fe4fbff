"""Networks of encoders and decoders: feed-forward, and convolutional for images."""

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from sk_wmvl.energies._network import ACTIVATIONS

__all__ = [
    "NETWORK_ACTIVATIONS",
    "ConvDecoder",
    "ConvEncoder",
    "build_network",
    "check_image_shape",
    "make_mlp",
]

NETWORK_ACTIVATIONS: dict[str, type[nn.Module]] = {**ACTIVATIONS, "relu": nn.ReLU}
KERNEL_SIZE, PADDING, STRIDE = 5, 2, 2


def _initialise(layer, generator: torch.Generator) -> nn.Module:
    """Draw weights uniformly with Glorot's variance [Glorot2010]_; biases are zero."""
    # skip_init left them empty: the stock constructor draws from the global stream
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Module:
    return _initialise(skip_init(nn.Linear, n_in, n_out), generator)


def make_mlp(
    n_in: int,
    hidden_layer_sizes: Sequence[int],
    n_out: int,
    *,
    activation: str,
    generator: torch.Generator,
) -> nn.Sequential:
    """Return a feed-forward network.

    Parameters
    ----------
    n_in, n_out : int
        Inputs and outputs.
    hidden_layer_sizes : sequence of int
        Widths.
    activation : str
        One of `NETWORK_ACTIVATIONS`.
    generator : torch.Generator
        Source of the weights, on the CPU.
    """
    layers: list[nn.Module] = []
    for width in hidden_layer_sizes:
        layers += [_linear(n_in, width, generator), NETWORK_ACTIVATIONS[activation]()]
        n_in = width
    return nn.Sequential(*layers, _linear(n_in, n_out, generator))


def check_image_shape(image_shape, n_features: int) -> tuple[int, int, int]:
    """Return (channels, height, width).

    Raises
    ------
    ValueError
        If there is none, or it does not fit the columns.
    """
    shape = () if image_shape is None else tuple(np.ravel(image_shape).tolist())
    if not all(isinstance(s, int) for s in shape):
        shape = ()
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or math.prod(shape) != n_features:
        raise ValueError(
            "Convolutions need image_shape=(height, width) or (channels, height, width) "
            f"whose product is the number of columns, {n_features}; got {image_shape!r}."
        )
    return shape


class ConvEncoder(nn.Module):
    """Convolutions of stride two, then two dense layers, which see the noise too.

    Parameters
    ----------
    image_shape : tuple of int
        Channels, height and width.
    channels : sequence of int
        Channels of the 5x5 convolutions; the dense layer is twice as wide as the last.
    n_out : int
        Outputs.
    n_noise : int
        Columns after those of the image.
    activation : str
        One of `NETWORK_ACTIVATIONS`.
    generator : torch.Generator
        Source of the weights, on the CPU.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import ConvEncoder
    >>> net = ConvEncoder((1, 8, 8), (4, 8), 3, 2, activation="relu",
    ...                   generator=torch.Generator())
    >>> net(torch.zeros(5, 66)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: Sequence[int],
        n_out: int,
        n_noise: int,
        *,
        activation: str,
        generator: torch.Generator,
    ):
        super().__init__()
        self.image_shape = image_shape
        n_in, height, width = image_shape
        self.n_pixels = n_in * height * width
        layers: list[nn.Module] = []
        for n in channels:
            conv = skip_init(
                nn.Conv2d, n_in, n, KERNEL_SIZE, stride=STRIDE, padding=PADDING
            )
            layers += [_initialise(conv, generator), NETWORK_ACTIVATIONS[activation]()]
            n_in, height, width = n, -(-height // STRIDE), -(-width // STRIDE)
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.head = make_mlp(
            n_in * height * width + n_noise,
            [2 * n_in],
            n_out,
            activation=activation,
            generator=generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (n, n_out)."""
        image, noise = x[:, : self.n_pixels], x[:, self.n_pixels :]
        hidden = self.trunk(image.reshape(-1, *self.image_shape))
        return self.head(torch.cat([hidden, noise], -1))


class ConvDecoder(nn.Module):
    """The reverse of the encoder: a dense layer, then transposed convolutions.

    Parameters
    ----------
    n_in : int
        Inputs.
    channels : sequence of int
        Channels, in the encoder's order.
    image_shape : tuple of int
        Channels, height and width; what the convolutions make too large is cut off.
    activation : str
        One of `NETWORK_ACTIVATIONS`.
    generator : torch.Generator
        Source of the weights, on the CPU.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import ConvDecoder
    >>> net = ConvDecoder(3, (4, 8), (1, 7, 7), activation="relu",
    ...                   generator=torch.Generator())
    >>> net(torch.zeros(5, 3)).shape
    torch.Size([5, 49])
    """

    def __init__(
        self,
        n_in: int,
        channels: Sequence[int],
        image_shape: tuple[int, int, int],
        *,
        activation: str,
        generator: torch.Generator,
    ):
        super().__init__()
        n_out, height, width = image_shape
        factor = STRIDE ** len(channels)
        self.start = channels[-1], -(-height // factor), -(-width // factor)
        self.image_shape = image_shape
        dense = _linear(n_in, math.prod(self.start), generator)
        layers: list[nn.Module] = [dense, NETWORK_ACTIVATIONS[activation]()]
        layers.append(nn.Unflatten(1, self.start))
        widths = [*reversed(channels), n_out]
        for k, (a, b) in enumerate(pairwise(widths)):
            conv = skip_init(
                nn.ConvTranspose2d,
                a,
                b,
                KERNEL_SIZE,
                stride=STRIDE,
                padding=PADDING,
                output_padding=1,
            )
            layers.append(_initialise(conv, generator))
            if k < len(channels) - 1:
                layers.append(NETWORK_ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return outputs of shape (n, n_features)."""
        _, height, width = self.image_shape
        return self.layers(z)[:, :, :height, :width].flatten(1)


def build_network(
    network,
    n_in: int,
    n_out: int,
    *,
    builtins: dict[str, Callable[[], nn.Module]],
    name: str,
) -> nn.Module:
    """Return a built-in network, a copy of a module, or the network a callable makes.

    Parameters
    ----------
    network : str, Module or callable
        What the user chose; a callable takes `n_in` and `n_out`.
    n_in, n_out : int
        Inputs and outputs.
    builtins : dict
        Makers of built-ins.
    name : str
        The parameter's name, for messages.

    Raises
    ------
    ValueError
        If the network does not map (n, n_in) to (n, n_out).
    TypeError
        If a callable returns no module.
    """
    if isinstance(network, str):
        return builtins[network]()
    if isinstance(network, nn.Module):
        module = copy.deepcopy(network).float().cpu()
    else:
        try:
            module = network(n_in, n_out)
        except Exception as error:
            error.add_note(
                f"Raised by {name}={network!r}, called with {n_in}, {n_out}."
            )
            raise
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name}={network!r} returned {type(module).__name__}; a callable must return "
            f"a torch.nn.Module that maps (n, {n_in}) to (n, {n_out})."
        )
    try:
        with torch.no_grad():
            shape = tuple(module(torch.zeros(2, n_in)).shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} must map (n, {n_in}) to (n, {n_out}), but fails at rows of {n_in} "
            f"columns: {error}"
        ) from error
    if shape != (2, n_out):
        raise ValueError(
            f"{name} maps (2, {n_in}) to {shape}; it must return (2, {n_out})."
        )
    return module
