r"""The marginal likelihood of a row by importance sampling about its best code.

Codes are proposed from the prior and from a Student t distribution in the tangent space at
a mode of :math:`p(x\mid z)p(z)`, with the Gauss-Newton curvature there. The encoder only
gives the starting point, so that it need not have a density. With many dimensions a few
codes have nearly all the weight. Chains are then annealed from the t distribution to the
posterior.
"""

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl._random import make_generator
from sk_wmvl.autoencoders.bridging import bridge, draw_noise, stack_noise
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.autoencoders.local_codes import (
    LOCAL_MANIFOLDS,
    Proposal,
    log_joint,
    t_noise,
)
from sk_wmvl.manifolds._angles import Angles

__all__ = ["RowLikelihood", "importance_log_likelihood"]

PRIOR_SHARE = 0.1  # of draws, so that weights are bounded by 10 p(x|z)
# As many draws of the prior find the other modes, which codes of angles often have.
ANGLES_SHARE = 1.0
CHUNK = 4096  # draws at a time
# In few dimensions draws of the prior cover what the t distribution misses.
FEW_DIMENSIONS = 8
SURE = 0.2  # standard error, in nats, above which a row is annealed


class RowLikelihood(NamedTuple):
    """Estimates for rows.

    Attributes
    ----------
    value : Tensor of shape (n,)
        Log likelihoods.
    std_error : Tensor of shape (n,)
        Their standard errors, to first order.
    """

    value: Tensor
    std_error: Tensor


def _row_generator(row: Tensor, seed: int) -> torch.Generator:
    digest = hashlib.blake2b(row.numpy().tobytes(), digest_size=8).digest()
    return make_generator(seed, int.from_bytes(digest, "big"))


def importance_log_likelihood(
    decoder: Decoder,
    x: Tensor,
    z: Tensor,
    *,
    n_draws: int,
    n_chains: int,
    seed: int,
) -> RowLikelihood:
    r"""Return estimates of :math:`\log\int p(x\mid z)p(z)\,dz`.

    The likelihood's estimate is unbiased, so its log is too low on average. With more than
    eight dimensions rows whose standard error is above 0.2 nats are estimated anew, by
    chains from the t distribution to the posterior (`bridge`). Each row has its own
    generator, seeded by the seed and by the row's values. A row's estimate therefore does
    not depend on the others, and errors of different rows are independent.

    Parameters
    ----------
    decoder : Decoder
        In float64.
    x : Tensor of shape (n, n_features)
        Rows.
    z : Tensor of shape (n, d)
        Codes to start from.
    n_draws : int
        Codes per row.
    n_chains : int
        Chains per row that is annealed; with one, which has no standard error, none is.
    seed : int
        Seed of the noise.

    Returns
    -------
    estimate : RowLikelihood

    Raises
    ------
    NotImplementedError
        On other manifolds than Euclidean and hyperbolic space, the sphere and the torus.

    References
    ----------
    [Burda2016]_, [Neal2001]_, [Owen2000]_
    """
    manifold = decoder.latent.manifold
    if not isinstance(manifold, LOCAL_MANIFOLDS):
        raise NotImplementedError(
            f"Importance sampling is not written for codes on {manifold!r}. Use "
            "log_likelihood='annealed'."
        )
    share = ANGLES_SHARE if isinstance(manifold, Angles) else PRIOR_SHARE
    n_prior = max(1, round(share * n_draws))
    size = max(1, CHUNK // n_draws)
    parts = []
    for rows, codes in zip(x.split(size), z.split(size), strict=True):
        generators = [_row_generator(row, seed) for row in rows.cpu()]
        proposal = Proposal(decoder, rows, codes)
        m = proposal.local.m
        t = torch.stack([t_noise(n_draws, m, g) for g in generators], 1)
        prior = [decoder.latent.sample(n_prior, generator=g) for g in generators]
        estimate, log_rest = _estimate(
            decoder, rows, proposal, t.to(x), torch.stack(prior, 1).to(x)
        )
        unsure = torch.nonzero(~(estimate.std_error <= SURE)).flatten()
        if m > FEW_DIMENSIONS and n_chains > 1 and len(unsure):
            noise = [
                draw_noise(decoder.latent, n_chains, generators[i])
                for i in unsure.tolist()
            ]
            some = rows[unsure], proposal.select(unsure)
            value, error = bridge(decoder, *some, stack_noise(noise))
            estimate.value[unsure] = torch.logaddexp(value, log_rest[unsure])
            estimate.std_error[unsure] = error
        parts.append(estimate)
    values, errors = zip(*parts, strict=True)
    return RowLikelihood(torch.cat(values), torch.cat(errors))


@torch.no_grad()
def _estimate(
    decoder: Decoder, x: Tensor, proposal: Proposal, t: Tensor, prior: Tensor
) -> tuple[RowLikelihood, Tensor]:
    """Return estimates, and those of the mass that the proposal cannot reach."""
    local = proposal.local
    n, n_draws, n_prior = len(x), len(t), len(prior)
    w = proposal.color(t)
    u, inside = local.inverse(prior)
    at_prior = torch.where(inside, proposal.log_prob(u), -math.inf)
    density = torch.cat([proposal.log_prob(w), at_prior])
    points = torch.cat([local.move(w), prior.flatten(0, 1)])
    log_prior = decoder.latent.log_prob(points).view(-1, n)
    total = n_draws + n_prior
    mixed = torch.logaddexp(
        density + math.log(n_draws / total), log_prior + math.log(n_prior / total)
    )
    joint = log_joint(decoder, x, points).view(-1, n)
    log_weight = joint - mixed
    value = torch.logsumexp(log_weight, 0) - math.log(total)
    relative = (log_weight - value).exp()
    error = relative.std(0) / math.sqrt(total)
    outside = (joint - log_prior)[n_draws:].masked_fill(inside, -math.inf)
    return RowLikelihood(value, error), outside.logsumexp(0) - math.log(n_prior)
