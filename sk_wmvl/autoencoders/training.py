"""Training by turns: one update of the auto-encoder, some of the critic, and a guard.

A critic that diverges would take the encoder with it, as it is its only teacher about the
prior. So the state is kept every so often, and brought back when the critic's or the
auto-encoder's loss tells that one is lost.
"""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseDivergence, BaseEncoder
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.training.averaging import WeightAverage
from sk_wmvl.training.batches import BatchIterator, TensorData

__all__ = ["OPTIMIZERS", "ORDERS", "AlternatingTrainer", "TrainingOptions"]

# Adam without momentum is RMSProp, its start corrected for; its kernel is fused, which
# RMSProp's is not.
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"fused": True}),
    "rmsprop": (torch.optim.Adam, {"betas": (0.0, 0.9), "fused": True}),
}
ORDERS = ("autoencoder-first", "critic-first")
STEPS_PER_COPY = (
    100  # between copies of a good state: less than a hundredth of the time
)


class TrainingOptions(NamedTuple):
    """How the two are trained.

    Attributes
    ----------
    optimizer : str or type
        A key of `OPTIMIZERS`, or a torch optimizer.
    lr, critic_lr : float
        Learning rates.
    batch_size : int
    regularization : float
        Weight of the divergence.
    n_critic_updates : int
        After, or before, each update of the auto-encoder.
    order : str
        One of `ORDERS`.
    averaging : float
        Memory of the weight average.
    """

    optimizer: str | type
    lr: float
    critic_lr: float
    batch_size: int
    regularization: float
    n_critic_updates: int
    order: str
    averaging: float


class AlternatingTrainer:
    """Trains an encoder and a decoder, and by turns the critic.

    Parameters
    ----------
    encoder : BaseEncoder
        With a density, its divergence is the closed form's, and there is no critic.
    decoder : Decoder
    critic : Module or None
    divergence : BaseDivergence or None
        None for explicit encoders.
    conditional : bool
        Whether the divergence is that of each row's code, or of all codes together.
    options : TrainingOptions
    shuffle, noise : torch.Generator
        Sources of randomness, on the CPU.
    """

    def __init__(
        self,
        encoder: BaseEncoder,
        decoder: Decoder,
        critic: nn.Module | None,
        divergence: BaseDivergence | None,
        *,
        conditional: bool,
        options: TrainingOptions,
        shuffle: torch.Generator,
        noise: torch.Generator,
    ):
        self.encoder = encoder
        self.decoder = decoder
        self.latent = decoder.latent
        self.critic = critic
        self.divergence = divergence
        self.conditional = conditional
        self.options = options
        self.shuffle = shuffle
        self.noise = noise
        self.both = nn.ModuleList([encoder, decoder])
        self.average = WeightAverage(self.both, memory=options.averaging)
        self.optimizer = self._make_optimizer(self.both, options.lr)
        self.critic_optimizer = (
            None if critic is None else self._make_optimizer(critic, options.critic_lr)
        )
        self.n_steps = 0
        self.history: list[dict[str, float]] = []

    def _make_optimizer(self, module: nn.Module, lr: float) -> torch.optim.Optimizer:
        kind = self.options.optimizer
        cls, extra = OPTIMIZERS[kind] if isinstance(kind, str) else (kind, {})
        return cls(module.parameters(), lr=lr, **extra)

    # --- one step ---------------------------------------------------------------------

    def step(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Update both on one batch; return reconstruction, divergence, critic's loss."""
        with torch.no_grad():
            x = self.decoder.likelihood.prepare(rows, generator=self.noise)
        critic_loss = x.new_zeros(())
        if self.critic is None:
            return *self.update_autoencoder(x, None)[:2], critic_loss
        if self.options.order == "critic-first":
            for _ in range(self.options.n_critic_updates):
                critic_loss = self.update_critic(self._bind(x), self._encode(x))
            with torch.no_grad():
                critic = self._bind(x)
            loss, penalty, _ = self.update_autoencoder(x, critic)
            return loss, penalty, critic_loss
        # What the critic makes of the rows serves both updates, and so do the codes: the
        # critic has not seen them when the encoder learns from it.
        critic = self._bind(x)
        loss, penalty, z = self.update_autoencoder(x, critic)
        for k in range(self.options.n_critic_updates):
            if k:
                critic, z = self._bind(x), self._encode(x)
            critic_loss = self.update_critic(critic, z)
        return loss, penalty, critic_loss

    def _bind(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        assert self.divergence is not None
        assert self.critic is not None
        return self.divergence.bind(self.critic, x if self.conditional else None)

    def _encode(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.encoder.sample(x, generator=self.noise)

    def update_autoencoder(
        self, x: Tensor, critic: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one step of encoder and decoder; return two losses and the codes."""
        if self.divergence is None:
            posterior = self.encoder.posterior(x)
            z = posterior.sample(generator=self.noise)
            penalty = posterior.kl().mean()
        else:
            z = self.encoder.sample(x, generator=self.noise)
            penalty = self.divergence.penalty(
                critic, self.latent, z, generator=self.noise
            ).mean()
        reconstruction = -self.decoder.log_prob(x, z).mean()
        loss = reconstruction + self.options.regularization * penalty
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_steps += 1
        self.average.update(self.n_steps)
        return reconstruction.detach(), penalty.detach(), z.detach()

    def update_critic(self, critic: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """Take one step of the critic; return its loss."""
        assert self.divergence is not None
        assert self.critic_optimizer is not None
        loss = self.divergence.critic_loss(critic, self.latent, z, generator=self.noise)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.detach()

    # --- epochs -----------------------------------------------------------------------

    def run(self, x: Tensor, n_epochs: int, on_epoch: Callable[[dict], None]) -> None:
        """Train for some epochs; where training diverges, bring back the last good state.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Rows, in float32, on the device.
        n_epochs : int
        on_epoch : callable
            Called with each epoch's losses.

        Warns
        -----
        ConvergenceWarning
            If a loss is not finite, or the critic of no use; training ends there.
        """
        self._set_mode(training=True)
        kept = self.state()
        data = TensorData(x, torch.ones(len(x), device=x.device))
        batches = BatchIterator(
            data, self.options.batch_size, shuffle=True, generator=self.shuffle
        )
        for _ in range(n_epochs):
            row = self._epoch(batches)
            fault = self._find_fault(row)
            if fault:
                self.load(kept)
                warnings.warn(
                    f"Training ended in epoch {row['epoch']}: {fault}. The weights after "
                    f"epoch {len(self.history)} were restored. Lower critic_lr or lr, or "
                    "raise alpha.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
                break
            self.history.append(row)
            on_epoch(row)
            if self.n_steps - kept["n_steps"] >= STEPS_PER_COPY:
                kept = self.state()
        self._set_mode(training=False)

    def _epoch(self, batches: BatchIterator) -> dict[str, float]:
        totals, n_rows = torch.zeros(()), 0
        for x, _ in batches:
            # on the device, so that it is not waited for at every step
            totals = totals.to(x.device) + len(x) * torch.stack(self.step(x))
            n_rows += len(x)
        self.average.copy_buffers()
        reconstruction, penalty, critic = (totals / n_rows).tolist()
        loss = reconstruction + self.options.regularization * penalty
        return {
            "epoch": len(self.history) + 1,
            "loss": loss,
            "reconstruction": reconstruction,
            "divergence": penalty,
            "critic_loss": critic,
        }

    def _find_fault(self, row: dict[str, float]) -> str:
        if not math.isfinite(row["loss"]):
            return f"the auto-encoder's loss became {row['loss']}"
        divergence = self.divergence
        if divergence and divergence.has_diverged(row["critic_loss"], self.latent):
            return f"the critic diverged, with a mean loss of {row['critic_loss']:.3g}"
        return ""

    def _set_mode(self, *, training: bool) -> None:
        for module in (self.both, self.critic):
            if module is not None:
                module.train(training)

    # --- state ------------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        parts = {
            "both": self.both,
            "average": self.average.module,
            "optimizer": self.optimizer,
            "critic": self.critic,
            "critic_optimizer": self.critic_optimizer,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """Return a copy of all that going on needs, on the CPU."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        return {
            **_copy_to_cpu(state),
            "shuffle": self.shuffle.get_state(),
            "noise": self.noise.get_state(),
            "n_steps": self.n_steps,
            "history": list(self.history),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go back, or on, from a state.

        Raises
        ------
        RuntimeError, ValueError, KeyError
            If the state is that of another network or optimiser.
        """
        for name, part in self._parts().items():
            # optimizers keep the tensors they are given
            part.load_state_dict(copy.deepcopy(state[name]))
        # The rates are this trainer's, not those of the one that saved the state.
        self._set_rate(self.optimizer, self.options.lr)
        if self.critic_optimizer is not None:
            self._set_rate(self.critic_optimizer, self.options.critic_lr)
        self.shuffle.set_state(state["shuffle"])
        self.noise.set_state(state["noise"])
        self.n_steps = state["n_steps"]
        self.history = list(state["history"])

    @staticmethod
    def _set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr


def _copy_to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {k: _copy_to_cpu(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_copy_to_cpu(v) for v in value]
    return copy.deepcopy(value)
