"""The step of an auto-encoder: some updates of the critic, and one of the two networks.

The encoder learns about the prior from the critic alone, so that it diverges if the critic
does. The training therefore copies its whole state from time to time, and restores the copy
when the loss of the critic or of the auto-encoder shows divergence.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sk_wmvl.autoencoders._base import BaseDivergence, BaseEncoder
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.objectives import Batch
from sk_wmvl.training import BaseTask, make_optimizer
from sk_wmvl.training.optimizers import load_optimizer
from sk_wmvl.training.state import to_tensors
from sk_wmvl.training.task import Step

__all__ = ["ORDERS", "STEPS_PER_COPY", "AlternatingTask", "Losses"]

ORDERS = ("autoencoder-first", "critic-first")
STEPS_PER_COPY = 100  # between copies of a good state: a hundredth of the time or less


class Losses(NamedTuple):
    """The outcome of an update of encoder and decoder, without graph.

    Attributes
    ----------
    reconstruction, divergence : Tensor of shape ()
    values : Tensor of shape (n,)
        Minus the log likelihood of each row.
    z : Tensor of shape (n, d)
        The codes.
    """

    reconstruction: Tensor
    divergence: Tensor
    values: Tensor
    z: Tensor


class AlternatingTask(BaseTask):
    """Steps of an encoder and a decoder, in turns with those of the critic.

    The module in training is a list of the encoder and the decoder. An encoder with a
    density has a divergence in closed form, and no critic.

    Parameters
    ----------
    critic : Module or None
        Of the divergence.
    divergence : BaseDivergence or None
        None for explicit encoders.
    conditional : bool
        Whether the divergence is that of each row's code, or of all codes together.
    regularization : float
        Weight of the divergence.
    optimizer : str or type
        The critic's; see `make_optimizer`.
    critic_lr : float
        The critic's learning rate.
    n_critic_updates : int
        Their number after, or before, each update of the auto-encoder.
    order : str
        One of `ORDERS`.
    generator : torch.Generator
        Source of noise, on the CPU.
    """

    remedy = "Lower critic_lr or lr, or raise alpha."

    def __init__(
        self,
        critic: nn.Module | None,
        divergence: BaseDivergence | None,
        *,
        conditional: bool,
        regularization: float,
        optimizer: str | type[torch.optim.Optimizer],
        critic_lr: float,
        n_critic_updates: int,
        order: str,
        generator: torch.Generator,
    ):
        super().__init__(generator)
        self.critic = critic
        self.divergence = divergence
        self.conditional = conditional
        self.regularization = regularization
        self.critic_lr = critic_lr
        self.n_critic_updates = n_critic_updates
        self.order = order
        self.critic_optimizer = (
            None if critic is None else make_optimizer(optimizer, critic, critic_lr)
        )

    def begin(self, module: nn.Module) -> None:
        """Remember the encoder and the decoder."""
        encoder, decoder = module.children()
        self.encoder = cast(BaseEncoder, encoder)
        self.decoder = cast(Decoder, decoder)
        self.latent = self.decoder.latent

    # --- one step ---------------------------------------------------------------------

    def step(self, net, batch: Batch) -> Step:
        """Update both on one batch, and the critic."""
        with torch.no_grad():
            x = self.decoder.likelihood.prepare(batch.x, generator=self.generator)
        critic_loss = x.new_zeros(())
        if self.critic is None:
            losses = self.update_autoencoder(net, batch, x, None)
        elif self.order == "critic-first":
            for _ in range(self.n_critic_updates):
                critic_loss = self.update_critic(self.bind(x), self.encode(x))
            with torch.no_grad():
                critic = self.bind(x)
            losses = self.update_autoencoder(net, batch, x, critic)
        else:
            # Both updates share what the critic computes from the rows, and the codes: the
            # critic has not been trained on them when the encoder learns from it.
            critic = self.bind(x)
            losses = self.update_autoencoder(net, batch, x, critic)
            z = losses.z
            for k in range(self.n_critic_updates):
                if k:
                    critic, z = self.bind(x), self.encode(x)
                critic_loss = self.update_critic(critic, z)
        loss = losses.reconstruction + self.regularization * losses.divergence
        return Step(
            {
                "loss": loss,
                "reconstruction": losses.reconstruction,
                "divergence": losses.divergence,
                "critic_loss": critic_loss,
            },
            losses.values,
        )

    def bind(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the critic of the codes of rows x, or of all codes together."""
        assert self.divergence is not None
        assert self.critic is not None
        return self.divergence.bind(self.critic, x if self.conditional else None)

    def encode(self, x: Tensor) -> Tensor:
        """Return a code for each row, without graph."""
        with torch.no_grad():
            return self.encoder.sample(x, generator=self.generator)

    def update_autoencoder(
        self, net, batch: Batch, x: Tensor, critic: Callable[[Tensor], Tensor] | None
    ) -> Losses:
        """Take one step of encoder and decoder."""
        steps: list[Losses] = []

        def compute() -> Tensor:
            if self.divergence is None:
                posterior = self.encoder.posterior(x)
                z = posterior.sample(generator=self.generator)
                penalty = posterior.kl().mean()
            else:
                z = self.encoder.sample(x, generator=self.generator)
                penalty = self.divergence.penalty(
                    critic, self.latent, z, generator=self.generator
                ).mean()
            values = -self.decoder.log_prob(x, z)
            reconstruction = values.mean()
            parts = (reconstruction, penalty, values, z)
            steps.append(Losses(*(part.detach() for part in parts)))
            return reconstruction + self.regularization * penalty

        net.descend(compute, batch)
        return steps[0]

    def update_critic(self, critic: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """Take one step of the critic; return its loss."""
        assert self.divergence is not None
        assert self.critic_optimizer is not None
        loss = self.divergence.critic_loss(
            critic, self.latent, z, generator=self.generator
        )
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.detach()

    # --- how it goes ------------------------------------------------------------------

    def find_fault(self, row: dict[str, float]) -> str:
        """Return what is wrong with the losses of an epoch; empty if nothing is."""
        if not math.isfinite(row["train_loss"]):
            return f"the auto-encoder's loss became {row['train_loss']}"
        divergence, loss = self.divergence, row["critic_loss"]
        if divergence is not None and divergence.has_diverged(loss, self.latent):
            return f"the critic diverged, with a mean loss of {loss:.3g}"
        return ""

    def get_state(self) -> dict[str, Any]:
        """Return the noise's state and the critic's."""
        state = super().get_state()
        if self.critic is not None and self.critic_optimizer is not None:
            state["critic"] = dict(self.critic.state_dict())
            state["critic_optimizer"] = self.critic_optimizer.state_dict()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Resume from a state, at this task's own learning rate."""
        super().set_state(state)
        if self.critic is not None and self.critic_optimizer is not None:
            device = next(self.critic.parameters()).device
            self.critic.load_state_dict(to_tensors(state["critic"], device))
            load_optimizer(self.critic_optimizer, state["critic_optimizer"])
