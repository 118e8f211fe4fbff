"""Where codes live: a manifold, a prior on it, and what networks see of a code."""

import math
from functools import singledispatch

import torch
from torch import Tensor

from sk_wmvl.manifolds import (
    SPD,
    BaseManifold,
    Chart,
    Euclidean,
    Hyperbolic,
    Product,
)
from sk_wmvl.manifolds._unit_vectors import UnitVectors

__all__ = ["LatentSpace", "away_from_zero"]

NEAR = 1e-6  # squared distance from the origin, below which tanh(r)/r is 1 - r²/3


@singledispatch
def seen(manifold: BaseManifold, z: Tensor) -> Tensor:
    """Return what networks see of codes, of shape (n, n_features), before scaling."""
    return manifold.features(z)


@seen.register
def _(manifold: Hyperbolic, z: Tensor) -> Tensor:
    # Normal coordinates alone would undo the exponential map of the encoder, and leave a
    # code of Euclidean space. Far out, those of Klein's model all but lose the distance.
    v = manifold.features(z)
    square = v.square().sum(-1, keepdim=True)
    near = square < NEAR
    r = torch.where(near, 1.0, square).sqrt()
    slope = torch.where(near, 1 - square / 3, r.tanh() / r)
    return torch.cat([v, math.sqrt(manifold._known_dim()) * slope * v], -1)


@seen.register
def _(manifold: Product, z: Tensor) -> Tensor:
    members = manifold._members()
    parts = z.split([m.ambient_dim for m in members], -1)
    return torch.cat([seen(m, p) for m, p in zip(members, parts, strict=True)], -1)


def away_from_zero(raw: Tensor) -> Tensor:
    """Return the vectors, with the first axis in place of zero, which has no direction.

    A new network has zero biases, and gives zero for a row of zeros.
    """
    zero = (raw == 0).all(-1, keepdim=True)
    first = torch.zeros_like(raw)
    first[:, 0] = 1
    return torch.where(zero, first, raw)


def _reference_point(manifold: BaseManifold) -> Tensor:
    """Return one point, always the same, of shape (1, d)."""
    if isinstance(manifold, Hyperbolic):
        return torch.zeros(1, manifold.ambient_dim, dtype=torch.float64)
    return manifold.random_point(1, generator=torch.Generator().manual_seed(0))


@singledispatch
def log_prior(manifold: BaseManifold, z: Tensor) -> Tensor:
    """Return the log density of `random_point`, of shape (n,)."""
    if not manifold.is_compact:
        raise ValueError(
            f"latent={manifold!r} has no prior here: its volume is infinite, and "
            "no density is known of its random points. Use Euclidean(), Hyperbolic(), or a "
            "compact manifold."
        )
    return torch.full_like(z[:, 0], -manifold.log_volume())


@log_prior.register
def _(manifold: Euclidean, z: Tensor) -> Tensor:
    lead = 0.5 * manifold.ambient_dim * math.log(2 * math.pi)
    return -0.5 * z.square().sum(-1) - lead


@log_prior.register
def _(manifold: Hyperbolic, z: Tensor) -> Tensor:
    origin = _reference_point(manifold).to(z).expand_as(z)
    u = manifold.log(origin, z)
    lead = 0.5 * manifold._known_dim() * math.log(2 * math.pi)
    normal = -0.5 * manifold.inner(origin, u, u) - lead
    return normal - manifold.log_det_exp(origin, u)


@log_prior.register
def _(manifold: Product, z: Tensor) -> Tensor:
    members = manifold._members()
    parts = z.split([m.ambient_dim for m in members], -1)
    total = torch.zeros_like(z[:, 0])
    for member, part in zip(members, parts, strict=True):
        total = total + log_prior(member, part)
    return total


class LatentSpace:
    r"""A manifold with a prior: uniform if compact, else (wrapped) standard normal.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    rescale : bool, default=True
        Whether networks see codes on the sphere :math:`S^m` times :math:`\sqrt{m+1}`, so
        that each coordinate has unit variance under the prior.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.autoencoders import LatentSpace
    >>> from sk_wmvl.manifolds import Sphere
    >>> latent = LatentSpace(Sphere(2))
    >>> z = latent.from_raw(torch.tensor([[0.0, 3.0, 4.0]]))
    >>> z, latent.log_prob(z)  # -log(4 pi)
    (tensor([[0.0000, 0.6000, 0.8000]]), tensor([-2.5310]))
    """

    def __init__(self, manifold: BaseManifold, *, rescale: bool = True):
        self.manifold = manifold
        sphere = isinstance(manifold, UnitVectors)
        self.scale = math.sqrt(manifold.ambient_dim) if rescale and sphere else 1.0
        self._is_direct = sphere or isinstance(manifold, Euclidean)
        self._reference = None if self._is_direct else _reference_point(manifold)
        if isinstance(manifold, SPD | Chart):
            # their random points have no known density
            log_prior.dispatch(BaseManifold)(manifold, torch.zeros(1, 1))
        point = manifold.random_point(1, generator=torch.Generator())
        self.log_prob(point)
        self._n_features = seen(manifold, point).shape[1]

    @property
    def dim(self) -> int:
        """The dimension m."""
        return self.manifold._known_dim()

    @property
    def n_raw(self) -> int:
        """The number of outputs of a network that makes a code."""
        direct = self._is_direct
        return self.manifold.ambient_dim if direct else self.manifold.frame_dim

    @property
    def n_features(self) -> int:
        """The number of `features`."""
        return self._n_features

    def from_raw(self, raw: Tensor) -> Tensor:
        """Return the codes, of shape (n, d), given by a network's outputs (n, n_raw).

        On a sphere they are the directions of the outputs, and elsewhere, except in
        Euclidean space, their image under the exponential map from a fixed point.
        """
        if isinstance(self.manifold, Euclidean):
            return raw
        if self._reference is None:
            return self.manifold.projection(away_from_zero(raw))
        origin = self._reference.to(raw).expand(len(raw), -1)
        return self.manifold.exp(origin, self.manifold.frame(origin, raw))

    def features(self, z: Tensor) -> Tensor:
        r"""Return what networks see of codes, of shape (n, n_features).

        They are the features of the manifold. In hyperbolic space, where these are normal
        coordinates, those of Klein's model are added, :math:`\sqrt m\,s/x_0` in terms of
        the hyperboloid: geodesics are straight lines there, and what is linear in them
        divides space by totally geodesic hyperplanes.
        """
        features = seen(self.manifold, z)
        return features if self.scale == 1 else self.scale * features

    @property
    def n_statistics(self) -> int:
        """The number of `statistics`."""
        return self.n_features * (1 if self.manifold.is_compact else 2)

    def statistics(self, z: Tensor) -> Tensor:
        """Return what an energy of codes is linear in, of shape (n, n_statistics).

        They are those of the simplest family of distributions on the manifold. Features
        suffice for von Mises-Fisher distributions. Normal ones need squares too, here
        with mean zero and unit variance under the prior of Euclidean space.
        """
        features = self.features(z)
        if self.manifold.is_compact:
            return features
        return torch.cat([features, (features.square() - 1) / math.sqrt(2)], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the prior's log density w.r.t. the volume, of shape (n,)."""
        return log_prior(self.manifold, z)

    def sample(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return draws from the prior, of shape (n_samples, d), on the CPU."""
        return self.manifold.random_point(n_samples, generator=generator, dtype=dtype)
