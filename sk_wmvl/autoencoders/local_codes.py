"""Coordinates about the best code of a row, and a t distribution like the posterior."""

import copy
import math
from functools import partial

import torch
from torch import Tensor

from sk_wmvl._autodiff import energy_and_grad, pushforward
from sk_wmvl.autoencoders.decoder import Decoder
from sk_wmvl.energies import tangent_basis
from sk_wmvl.manifolds import Euclidean, Hyperbolic, Sphere
from sk_wmvl.manifolds._angles import Angles

__all__ = ["LOCAL_MANIFOLDS", "Local", "Proposal", "coarse", "log_joint", "t_noise"]

LOCAL_MANIFOLDS = Sphere | Euclidean | Hyperbolic | Angles  # those that `Local` knows

N_NEWTON = 5
STEPS = (1.0, 0.5, 0.2, 0.05)  # tried lengths of a Newton step: the best one, or none
LONGEST = 1.0  # step, in units of geodesic length
FREEDOM = 10.0  # degrees of freedom of the t distribution
MESH = 2.0**14  # nodes of the lattice per unit


class Local:
    r"""Isometric coordinates w, of shape (n, m), of tangent spaces, and a map to points.

    The map is the central projection to the hemisphere on a sphere. An angle moves by
    :math:`2\arctan(w/2)`, less than half a turn. Elsewhere the map is exp. It is one to
    one, so that a density of w gives a density of points.
    """

    def __init__(self, manifold: LOCAL_MANIFOLDS, x: Tensor):
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
        if isinstance(self.manifold, Angles):
            u = 2 * (u / 2).atan()
        return self.manifold.exp(x, u)

    def log_det(self, w: Tensor) -> Tensor:
        """Return logs of volume elements, of shape (r, n)."""
        if isinstance(self.manifold, Sphere):
            square = w.square().sum(-1)
            return -0.5 * (self.m + 1) * torch.log1p(square)
        if isinstance(self.manifold, Angles):
            return -torch.log1p((w / 2).square()).sum(-1)
        x, u = self.vector(w)
        return self.manifold.log_det_exp(x, u).view(w.shape[:-1])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return w of shape (r, n, m) of points (r, n, d), and whether it exists."""
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
            if isinstance(self.manifold, Angles):
                u = 2 * (u / 2).tan()
        columns = []
        for k in range(self.m):
            e = self.manifold.frame(self.x, self.basis[:, :, k])
            e = e.expand(r, n, d).reshape(-1, d)
            columns.append(self.manifold.inner(x, u, e))
        return torch.stack(columns, -1).view(r, n, self.m), inside.view(r, n)


def log_joint(decoder: Decoder, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x, z) of shape (r n,); rows of x are repeated."""
    if len(z) != len(x):
        x = x.repeat(len(z) // len(x), 1)
    return decoder.log_prob(x, z) + decoder.latent.log_prob(z)


def _log_joint_at(decoder: Decoder, x: Tensor, local: Local, w: Tensor) -> Tensor:
    return log_joint(decoder, x, local.move(w[None]))


def curvature(decoder: Decoder, local: Local) -> Tensor:
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
    # The identity is the curvature of a normal prior, and sets the scale on a sphere.
    return torch.einsum("nfi,nf,nfj->nij", jacobian, weight, jacobian) + eye


def find_mode(decoder: Decoder, x: Tensor, z: Tensor, manifold) -> Local:
    """Return coordinates at a better code, after a few damped Gauss-Newton steps."""
    for _ in range(N_NEWTON):
        local = Local(manifold, z)
        hessian = curvature(decoder, local)
        joint = partial(_log_joint_at, decoder, x, local)
        here, grad = energy_and_grad(joint, z.new_zeros(len(z), local.m))
        step = torch.linalg.solve(hessian, grad)
        length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
        step = step * (LONGEST / length.clamp(min=LONGEST))
        with torch.no_grad():
            tried = torch.stack([t * step for t in STEPS])
            points = local.move(tried).view(len(STEPS), *z.shape)
            value = log_joint(decoder, x, points.flatten(0, 1)).view(len(STEPS), -1)
            best, which = value.max(0)
            moved = points[which, torch.arange(len(z), device=z.device)]
            z = torch.where((best > here)[:, None], moved, z)
    return Local(manifold, z)


def coarse(x: Tensor) -> Tensor:
    """Return the nearest point of a lattice of mesh 2^-14.

    Rounding errors of a row depend on the rows beside it, and moves of many steps amplify
    them. The lattice removes them, and leapfrog steps are still reversible.
    """
    return (x * MESH).round() / MESH


class Proposal:
    r"""A Student t distribution about the best code of each row, with the curvature there.

    White coordinates v, of shape (r, n, m), have the standard t distribution. Those of the
    tangent space are :math:`w = R^{-\top}v`, with :math:`RR^\top` the Gauss-Newton Hessian.

    Parameters
    ----------
    decoder : Decoder
        In float64.
    x : Tensor of shape (n, n_features)
        Rows.
    z : Tensor of shape (n, d)
        Codes to start from.
    """

    def __init__(self, decoder: Decoder, x: Tensor, z: Tensor):
        manifold = decoder.latent.manifold
        mode = find_mode(decoder, x, z, manifold).x
        self.local = Local(manifold, manifold.projection(coarse(mode)))
        self.root = coarse(torch.linalg.cholesky(curvature(decoder, self.local)))
        self.log_root = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        m = self.local.m
        lead = math.lgamma((FREEDOM + m) / 2) - math.lgamma(FREEDOM / 2)
        self.lead = lead - m / 2 * math.log(FREEDOM * math.pi)

    def select(self, rows: Tensor) -> "Proposal":
        """Return the proposal of some of the rows."""
        other, local = copy.copy(self), copy.copy(self.local)
        local.x, local.basis = local.x[rows], local.basis[rows]
        other.local = local
        other.root, other.log_root = self.root[rows], self.log_root[rows]
        return other

    def color(self, v: Tensor) -> Tensor:
        """Return w of v, both of shape (r, n, m)."""
        solved = torch.linalg.solve_triangular(
            self.root.mT, v.permute(1, 2, 0), upper=True
        )
        return solved.permute(2, 0, 1)

    def whiten(self, w: Tensor) -> Tensor:
        """Return v of w, both of shape (r, n, m)."""
        return torch.einsum("nji,rnj->rni", self.root, w)

    def log_white(self, v: Tensor) -> Tensor:
        """Return log densities of v of shape (..., m), of shape (...)."""
        m = self.local.m
        square = v.square().sum(-1)
        return self.lead - (FREEDOM + m) / 2 * torch.log1p(square / FREEDOM)

    def log_prob(self, w: Tensor) -> Tensor:
        """Return log densities of the points of w, w.r.t. the volume, of shape (r, n)."""
        white = self.log_white(self.whiten(w))
        return white + self.log_root - self.local.log_det(w)


def t_noise(n_draws: int, m: int, generator: torch.Generator) -> Tensor:
    """Return draws of the standard t distribution, (n_draws, m), on the CPU."""
    noise = torch.randn((n_draws, m), generator=generator, dtype=torch.float64)
    half = torch.full((n_draws, 1), FREEDOM / 2, dtype=torch.float64)
    chi2 = 2 * torch._standard_gamma(half, generator=generator)
    return noise * (FREEDOM / chi2).sqrt()
