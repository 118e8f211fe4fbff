r"""The marginal likelihood of a row by importance sampling about its best code.

Codes are proposed from a Student t law in the tangent space at a mode of
:math:`p(x\mid z)p(z)`, with the Gauss-Newton curvature there, and from the prior. The
encoder only says where to start, so it need not have a density.
"""

import hashlib
import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad, pushforward
from sk_wmvl._random import make_generator
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.energies import tangent_basis
from sk_wmvl.manifolds import Euclidean, Hyperbolic, Sphere

__all__ = ["RowLikelihood", "importance_log_likelihood"]

N_NEWTON = 5
STEPS = (1.0, 0.5, 0.2, 0.05)  # of Newton's, of which the best is taken, or none
LONGEST = 1.0  # step, in units of geodesic length
FREEDOM = 10.0  # of the t law
PRIOR_SHARE = 0.1  # of draws, so that weights are bounded by 10 p(x|z)
CHUNK = 4096  # draws at a time


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


class Local:
    """Isometric coordinates w of shape (n, m) of tangent spaces, and where they lead.

    On the sphere to the hemisphere by central projection, elsewhere by exp: maps that are
    one to one, so that a density of w is one of points.
    """

    def __init__(self, manifold: Sphere | Euclidean | Hyperbolic, x: Tensor):
        self.manifold = manifold
        self.x = x
        self.basis = tangent_basis(manifold, x)  # (n, k, m)
        self.m = self.basis.shape[2]

    def vector(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return points and tangent vectors of shape (r n, d) for w of (r, n, m)."""
        v = (self.basis @ w.unsqueeze(-1)).squeeze(-1).flatten(0, -2)
        x = self.x if v.shape[0] == len(self.x) else self.x.repeat(len(w), 1)
        return x, self.manifold.frame(x, v)

    def move(self, w: Tensor) -> Tensor:
        """Return the points of shape (r n, d) that w of shape (r, n, m) leads to."""
        x, u = self.vector(w)
        if isinstance(self.manifold, Sphere):
            return self.manifold.retract(x, u)
        return self.manifold.exp(x, u)

    def log_det(self, w: Tensor) -> Tensor:
        """Return logs of volume elements, of shape (r, n)."""
        if isinstance(self.manifold, Sphere):
            square = w.square().sum(-1)
            return -0.5 * (self.m + 1) * torch.log1p(square)
        x, u = self.vector(w)
        return self.manifold.log_det_exp(x, u).view(w.shape[:-1])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return w of shape (r, n, m) of points (r, n, d), and whether there are such."""
        r, n, d = z.shape
        x = self.x.expand(r, n, d).reshape(-1, d)
        flat = z.reshape(-1, d)
        if isinstance(self.manifold, Sphere):
            cosine = (x * flat).sum(-1, keepdim=True)
            inside = cosine.squeeze(-1) > 1e-6
            u = flat / cosine.clamp(min=1e-6) - x
        else:
            inside = torch.ones(len(flat), dtype=torch.bool, device=z.device)
            u = self.manifold.log(x, flat)
        columns = []
        for k in range(self.m):
            e = self.manifold.frame(self.x, self.basis[:, :, k])
            e = e.expand(r, n, d).reshape(-1, d)
            columns.append(self.manifold.inner(x, u, e))
        return torch.stack(columns, -1).view(r, n, self.m), inside.view(r, n)


def _log_joint(decoder: Decoder, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x, z) of shape (r n,); rows of x are repeated."""
    if len(z) != len(x):
        x = x.repeat(len(z) // len(x), 1)
    return decoder.log_prob(x, z) + decoder.latent.log_prob(z)


def _log_joint_at(decoder: Decoder, x: Tensor, local: Local, w: Tensor) -> Tensor:
    return _log_joint(decoder, x, local.move(w[None]))


def _curvature(decoder: Decoder, local: Local) -> Tensor:
    """Return the Gauss-Newton Hessian of -log p(x, z) in w, of shape (n, m, m)."""
    n, m = len(local.x), local.m
    origin = local.x.new_zeros(n, m)

    def outputs(w: Tensor) -> Tensor:
        return decoder(local.move(w[None]))

    columns = []
    for k in range(m):
        direction = torch.zeros_like(origin)
        direction[:, k] = 1
        columns.append(pushforward(outputs, origin, direction))
    jacobian = torch.stack(columns, -1)  # (n, n_features, m)
    with torch.no_grad():
        weight = decoder.likelihood.curvature(outputs(origin))
    eye = torch.eye(m, dtype=origin.dtype, device=origin.device)
    # the identity: the prior's curvature, or about the size of the sphere
    return torch.einsum("nfi,nf,nfj->nij", jacobian, weight, jacobian) + eye


def _find_mode(decoder: Decoder, x: Tensor, z: Tensor, manifold) -> Local:
    """Return coordinates at a better code: a few damped Gauss-Newton steps."""
    for _ in range(N_NEWTON):
        local = Local(manifold, z)
        hessian = _curvature(decoder, local)
        joint = partial(_log_joint_at, decoder, x, local)
        here, grad = energy_and_grad(joint, z.new_zeros(len(z), local.m))
        step = torch.linalg.solve(hessian, grad)
        length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
        step = step * (LONGEST / length.clamp(min=LONGEST))
        with torch.no_grad():
            tried = torch.stack([t * step for t in STEPS])
            points = local.move(tried).view(len(STEPS), *z.shape)
            value = _log_joint(decoder, x, points.flatten(0, 1)).view(len(STEPS), -1)
            best, which = value.max(0)
            moved = points[which, torch.arange(len(z), device=z.device)]
            z = torch.where((best > here)[:, None], moved, z)
    return Local(manifold, z)


def _row_noise(
    row: Tensor, decoder: Decoder, n_draws: int, n_prior: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return draws of the t law, (n_draws, m), and of the prior, (n_prior, d)."""
    digest = hashlib.blake2b(row.numpy().tobytes(), digest_size=8).digest()
    generator = make_generator(seed, int.from_bytes(digest, "big"))
    shape = n_draws, decoder.latent.dim
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    half = torch.full((n_draws, 1), FREEDOM / 2, dtype=torch.float64)
    chi2 = 2 * torch._standard_gamma(half, generator=generator)
    prior = decoder.latent.sample(n_prior, generator=generator)
    return noise * (FREEDOM / chi2).sqrt(), prior


def importance_log_likelihood(
    decoder: Decoder,
    x: Tensor,
    z: Tensor,
    *,
    n_draws: int,
    seed: int,
) -> RowLikelihood:
    r"""Return estimates of :math:`\log\int p(x\mid z)p(z)\,dz`.

    The likelihood's estimate is unbiased, so its log is too low on average. Each row has a
    generator of its own, seeded by its values too: a row's estimate does not depend on the
    others, and errors of different rows are independent.

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
    seed : int
        Seed of the noise.

    Returns
    -------
    estimate : RowLikelihood

    Raises
    ------
    NotImplementedError
        On other manifolds than Euclidean and hyperbolic space and the sphere.

    References
    ----------
    [Burda2016]_, [Owen2000]_
    """
    manifold = decoder.latent.manifold
    if not isinstance(manifold, Sphere | Euclidean | Hyperbolic):
        raise NotImplementedError(
            f"Importance sampling is not written for codes on {manifold!r}. Use "
            "log_likelihood='annealed'."
        )
    n_prior = max(1, round(PRIOR_SHARE * n_draws))
    size = max(1, CHUNK // n_draws)
    parts = []
    for rows, codes in zip(x.split(size), z.split(size), strict=True):
        noise = [_row_noise(row, decoder, n_draws, n_prior, seed) for row in rows.cpu()]
        t, prior = (torch.stack(draws, 1).to(x) for draws in zip(*noise, strict=True))
        parts.append(_estimate(decoder, rows, codes, t, prior, manifold))
    values, errors = zip(*parts, strict=True)
    return RowLikelihood(torch.cat(values), torch.cat(errors))


def _estimate(decoder, x, z, t, prior, manifold) -> RowLikelihood:
    local = _find_mode(decoder, x, z, manifold)
    m, n = local.m, len(x)
    n_draws, n_prior = len(t), len(prior)
    root = torch.linalg.cholesky(_curvature(decoder, local))
    log_root = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    lead = math.lgamma((FREEDOM + m) / 2) - math.lgamma(FREEDOM / 2)
    lead -= m / 2 * math.log(FREEDOM * math.pi)

    def log_local(w: Tensor) -> Tensor:
        square = torch.einsum("nji,rnj->rni", root, w).square().sum(-1)
        tail = -(FREEDOM + m) / 2 * torch.log1p(square / FREEDOM)
        return lead + log_root + tail - local.log_det(w)

    with torch.no_grad():
        # Rᵀ w = t
        w = torch.linalg.solve_triangular(
            root.mT, t.permute(1, 2, 0), upper=True
        ).permute(2, 0, 1)
        draws = local.move(w)
        u, inside = local.inverse(prior)
        at_prior = torch.where(inside, log_local(u), -math.inf)
        density = torch.cat([log_local(w), at_prior])
        points = torch.cat([draws, prior.flatten(0, 1)])
        log_prior = decoder.latent.log_prob(points).view(-1, n)
        total = n_draws + n_prior
        mixed = torch.logaddexp(
            density + math.log(n_draws / total), log_prior + math.log(n_prior / total)
        )
        log_weight = _log_joint(decoder, x, points).view(-1, n) - mixed
        value = torch.logsumexp(log_weight, 0) - math.log(total)
        relative = (log_weight - value).exp()
        error = relative.std(0) / math.sqrt(total)
    return RowLikelihood(value, error)
