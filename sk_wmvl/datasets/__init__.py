"""Data sets: distributions whose density and score are known.

Imports any room; nothing imports it but the main job.
"""

from sk_wmvl.datasets.directional import (
    MANIFOLD_DISTRIBUTIONS,
    VonMisesFisherMixture,
    VonMisesMixture,
    circle_mixture,
    sphere_mixture,
    torus_mixture,
    twenty_dimensional_sphere_mixture,
)
from sk_wmvl.datasets.synthetic import (
    DISTRIBUTIONS,
    Banana,
    BaseDistribution,
    CorrelatedGaussian,
    Cosine,
    Funnel,
    GaussianMixtures,
    Rings,
    eight_gaussians,
    twenty_dimensional_mixture,
)

__all__ = [
    "DISTRIBUTIONS",
    "MANIFOLD_DISTRIBUTIONS",
    "Banana",
    "BaseDistribution",
    "CorrelatedGaussian",
    "Cosine",
    "Funnel",
    "GaussianMixtures",
    "Rings",
    "VonMisesFisherMixture",
    "VonMisesMixture",
    "circle_mixture",
    "eight_gaussians",
    "sphere_mixture",
    "torus_mixture",
    "twenty_dimensional_mixture",
    "twenty_dimensional_sphere_mixture",
]
