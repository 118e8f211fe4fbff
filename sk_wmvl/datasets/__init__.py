"""Data to try estimators on."""

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
    "Banana",
    "BaseDistribution",
    "CorrelatedGaussian",
    "Cosine",
    "Funnel",
    "GaussianMixtures",
    "Rings",
    "eight_gaussians",
    "twenty_dimensional_mixture",
]
