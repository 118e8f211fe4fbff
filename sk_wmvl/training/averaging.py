"""Exponential averages of weights along a training path."""

import copy

import torch
from torch import Tensor, nn

__all__ = ["AVERAGING", "WeightAverage"]

AVERAGING = 0.995  # a memory of about 200 steps


class WeightAverage:
    r"""A copy of a module that averages the weights along the training path.

    After step t, :math:`\bar\theta \leftarrow \bar\theta + r_t(\theta - \bar\theta)` with
    :math:`r_t = \max(1 - m, 9/(9+t))`, where m is the memory. The rate is larger at first,
    so that the initial weights are soon forgotten.

    Parameters
    ----------
    module : Module
        The module in training.
    memory : float, default=0.995
        One minus the rate in the long run.

    Attributes
    ----------
    module : Module
        The copy, in evaluation mode and without gradients.

    References
    ----------
    [Polyak1992]_
    """

    def __init__(self, module: nn.Module, *, memory: float = AVERAGING):
        self.memory = memory
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self._pairs = list(
            zip(self.module.parameters(), module.parameters(), strict=True)
        )
        self._source = module

    @torch.no_grad()
    def update(self, n_steps: int) -> None:
        """Move the average after the given step."""
        rate = max(1 - self.memory, 9 / (9 + n_steps))
        for mean, parameter in self._pairs:
            mean.lerp_(parameter, rate)

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Copy what is not trained, such as the state of a power iteration."""
        # Not paired beforehand: a module may replace its buffers.
        pairs = zip(self.module.buffers(), self._source.buffers(), strict=True)
        for mean, buffer in pairs:
            mean.copy_(buffer)

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the average, with the buffers of the module in training."""
        self.copy_buffers()
        return {k: v.clone() for k, v in self.module.state_dict().items()}
