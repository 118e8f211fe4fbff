"""Generators, points and energies of the samplers' tests."""

import torch

from sk_wmvl._random import make_generator
from sk_wmvl.base_measures import ManifoldMixture
from sk_wmvl.base_measures.components import VonMisesFisher
from sk_wmvl.manifolds import Sphere


def generator(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(*sd):
    sd = torch.tensor(sd, dtype=torch.float64)
    return lambda x: 0.5 * (x / sd).square().sum(-1)


def double_well(x):
    return (x.square() - 1).square().sum(-1) + 0.5 * x.sum(-1)


def normals(n, d, seed):
    return torch.randn(n, d, dtype=torch.float64, generator=generator(seed))


def wavy(x):
    """An energy of any features, with several modes."""
    z = torch.cat([x.cos(), x.sin()], -1)
    return 1.5 * (3 * z[:, 0] * z[:, -1]).sin() - 2 * z[:, -2] * z[:, 1] + z[:, 0]


def on_features(manifold):
    return lambda x: wavy(1.3 * manifold.features(x))


def needles(k=12, seed=3, variance=1e-6):
    """Return a mixture of many needles on the sphere, over a background of 0.3."""
    sphere = Sphere(2)
    centers = sphere.random_point(k, generator=make_generator(seed))
    components = VonMisesFisher(sphere, centers, variance)
    weights = torch.full((k,), 0.7 / k, dtype=torch.float64)
    return ManifoldMixture(sphere, components, weights, 0.3)
