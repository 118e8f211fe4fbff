"""Annealing from a distribution about a row's best code to the posterior of its codes.

`sk_wmvl.samplers.annealing` draws its noise for all chains at once. Here each row has noise
of its own, drawn beforehand, so that its value does not depend on the other rows of a call.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.autoencoders.latent import LatentSpace
from sk_wmvl.autoencoders.local_codes import Proposal, coarse, t_noise
from sk_wmvl.evaluation._weights import log_mean_weight
from sk_wmvl.manifolds import Sphere

__all__ = ["Noise", "bridge", "draw_noise", "stack_noise"]

N_STOPS, N_LEAPFROG = 128, 2
PRIOR_PART = 8  # one chain in so many starts at the prior
STEP = 1.0  # times m^(-1/4): in white coordinates the posterior has about unit width


class Noise(NamedTuple):
    """All random numbers of the chains of rows, on the CPU.

    Attributes
    ----------
    t : Tensor of shape (n_chains, n, m)
        Draws of the proposal, in white coordinates.
    prior : Tensor of shape (n_prior, n, d)
        Draws of the prior, from which so many chains start instead.
    normal : Tensor of shape (n_chains, n_stops, n, m)
        Momenta.
    uniform : Tensor of shape (n_chains, n_stops, n)
        Numbers of the Metropolis tests.
    """

    t: Tensor
    prior: Tensor
    normal: Tensor
    uniform: Tensor


def draw_noise(latent: LatentSpace, n_chains: int, generator: torch.Generator) -> Noise:
    """Return the noise of one row, without the axis of rows."""
    shape = n_chains, N_STOPS - 1
    return Noise(
        t_noise(n_chains, latent.dim, generator),
        latent.sample(n_chains // PRIOR_PART, generator=generator),
        torch.randn((*shape, latent.dim), generator=generator),
        torch.rand(shape, generator=generator),
    )


def stack_noise(noise: list[Noise]) -> Noise:
    """Return the noise of several rows."""
    t, prior, normal, uniform = zip(*noise, strict=True)
    return Noise(
        torch.stack(t, 1),
        torch.stack(prior, 1),
        torch.stack(normal, 2),
        torch.stack(uniform, 2),
    )


def bridge(
    decoder: Decoder, x: Tensor, proposal: Proposal, noise: Noise
) -> tuple[Tensor, Tensor]:
    r"""Return estimates of log p(x), as far as the proposal reaches, and their errors.

    Annealed importance sampling [Neal2001]_ along

    .. math:: q_t(v) \propto q_0(v)^{1-t}\,p(x, v)^t,

    with densities in the proposal's white coordinates v, in 128 equal steps of t with
    Hamiltonian moves between. :math:`q_0` is a mixture of the proposal and the prior, which
    has a weight of one eighth. The proposal approximates the posterior about its mode, so
    that the path is much shorter than one from the prior.

    Parameters
    ----------
    decoder : Decoder
        In float64.
    x : Tensor of shape (n, n_features)
        Rows.
    proposal : Proposal
        The proposal of these rows.
    noise : Noise
        The noise of their chains.

    Returns
    -------
    value, std_error : Tensor of shape (n,)
        The mean weight is unbiased for p(x), so the value is too low on average.
    """
    n_chains, n, m = noise.t.shape
    n_prior = len(noise.prior)
    step = STEP * m**-0.25
    local = proposal.local
    # Central projection covers half of the sphere, where the prior is twice as dense.
    half = math.log(2) if isinstance(local.manifold, Sphere) else 0.0
    log_own = math.log(1 - n_prior / n_chains)
    log_other = math.log(n_prior / n_chains) + half if n_prior else -math.inf
    wide = x.repeat(n_chains, 1)

    def log_prior(v: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes of shape (r n, d), and the prior w.r.t. dv, of shape (r, n)."""
        w = proposal.color(v)
        z = local.move(w)
        volume = local.log_det(w) - proposal.log_root
        return z, decoder.latent.log_prob(z).view(n_chains, n) + volume

    def log_p(flat: Tensor) -> Tensor:
        z, log_density = log_prior(flat.view(n_chains, n, m))
        return decoder.log_prob(wide, z) + log_density.flatten()

    def log_q(flat: Tensor) -> Tensor:
        v = flat.view(n_chains, n, m)
        own, other = proposal.log_white(v), log_prior(v)[1]
        return torch.logaddexp(own + log_own, other + log_other).flatten()

    def evaluate(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log p and log q_0, of shape (r, n), and their gradients."""
        flat = v.view(-1, m)
        (p, grad_p), (q, grad_q) = (energy_and_grad(f, flat) for f in (log_p, log_q))
        shape = n_chains, n
        return p.view(shape), grad_p.view_as(v), q.view(shape), grad_q.view_as(v)

    with torch.inference_mode(False), torch.no_grad():
        v = noise.t.to(x)
        if n_prior:
            z = noise.prior.to(x)
            if isinstance(local.manifold, Sphere):
                z = torch.where((z * local.x).sum(-1, keepdim=True) < 0, -z, z)
            u, _ = local.inverse(z)
            v = torch.cat([v[n_prior:], proposal.whiten(u)])
        v = coarse(v)
        state = evaluate(v)
        log_weight = torch.zeros_like(state[0])
        for k in range(1, N_STOPS + 1):
            log_weight += (state[0] - state[2]) / N_STOPS
            if k == N_STOPS:  # a move at the end would change no weight
                break
            t = k / N_STOPS
            momentum = noise.normal[:, k - 1].to(x)
            before = _blend(t, state[0], state[2]) - 0.5 * momentum.square().sum(-1)
            moved, there = v, state
            for _ in range(N_LEAPFROG):
                momentum = momentum + 0.5 * step * _blend(t, there[1], there[3])
                moved = coarse(moved + step * momentum)
                there = evaluate(moved)
                momentum = momentum + 0.5 * step * _blend(t, there[1], there[3])
            after = _blend(t, there[0], there[2]) - 0.5 * momentum.square().sum(-1)
            # a comparison with NaN is false, so moves that are not finite are rejected
            accepted = noise.uniform[:, k - 1].to(x) < (after - before).exp()
            each = accepted[..., None]
            v = torch.where(each, moved, v)
            state = (
                torch.where(accepted, there[0], state[0]),
                torch.where(each, there[1], state[1]),
                torch.where(accepted, there[2], state[2]),
                torch.where(each, there[3], state[3]),
            )
        return log_mean_weight(log_weight)


def _blend(t: float, end: Tensor, start: Tensor) -> Tensor:
    return t * end + (1 - t) * start
