"""Wider copies of base measures: normalised, of the same kind, wider."""

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures import (
    GaussianBase,
    KernelBase,
    ManifoldMixture,
    MixtureBase,
    StackedBase,
    TransformedBase,
    UniformBase,
)
from sk_wmvl.base_measures._base import InflatedCopy
from sk_wmvl.base_measures.components import VonMises, VonMisesFisher
from sk_wmvl.coordinates import JohnsonColumns, JohnsonTransform
from sk_wmvl.manifolds import Sphere, Torus

MEANS = np.array([[0.0, 1.0], [4.0, -2.0]])
COVARIANCES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 0.4]]])
WEIGHTS = np.array([0.3, 0.7])


def kernels(manifold, family, centers):
    centers = torch.tensor(centers, dtype=torch.float64)
    half = torch.tensor([0.45, 0.45], dtype=torch.float64)
    return ManifoldMixture(manifold, family(manifold, centers, 0.05), half, 0.1)


def bases():
    gaussian = GaussianBase(MEANS[0], COVARIANCES[0])
    mixture = MixtureBase(WEIGHTS, MEANS, COVARIANCES, np.array([np.inf, 5.0]))
    johnson = JohnsonTransform(np.zeros(2), np.ones(2), np.zeros(2), np.ones(2))
    transformed = TransformedBase(
        mixture, JohnsonColumns(johnson), np.zeros(2), np.array([[2.0, 0.5], [0, 1]])
    )
    circle = kernels(Torus(1), VonMises, [[0.0], [2.0]])
    torus = kernels(Torus(4), VonMises, [[0.0, 0, 1, 2], [2.0, 1, 1, 0]])
    sphere = kernels(Sphere(2), VonMisesFisher, [[0.0, 0, 1], [0, 1, 0]])
    return {
        "gaussian": gaussian,
        "mixture": mixture,
        "transformed": transformed,
        "stacked": StackedBase([gaussian, transformed], WEIGHTS),
        "circle": circle,
        "torus": torus,
        "sphere": sphere,
        "kernel": KernelBase(sphere, sphere.components.centers),
        "uniform": UniformBase(Sphere(2)),
    }


@pytest.mark.parametrize("name", bases())
def test_wider_density_is_normalised(name):
    """n = 40 000 draws of the wider density, seed 0: E[base / wider] = 1, |z| < 4."""
    base = bases()[name]
    wider = base.inflated(1.5)
    generator = torch.Generator().manual_seed(0)
    x = wider.sample(40_000, generator=generator)
    ratio = (base.log_prob(x) - wider.log_prob(x)).exp()
    error = float(ratio.std()) / len(ratio) ** 0.5
    assert abs(float(ratio.mean()) - 1) < 4 * error + 1e-12


def test_gaussian_has_standard_deviations_multiplied():
    wider = bases()["gaussian"].inflated(2.0)
    np.testing.assert_allclose(wider.chol @ wider.chol.T, 4 * COVARIANCES[0])
    np.testing.assert_array_equal(wider.mean, MEANS[0])


def test_components_keep_their_centers():
    wider = bases()["mixture"].inflated(3.0)
    np.testing.assert_array_equal(wider.means, MEANS)
    np.testing.assert_allclose(wider.chol @ wider.chol.mT, 9 * COVARIANCES)
    torus = bases()["torus"]
    wider = torus.inflated(2.0)
    torch.testing.assert_close(wider.components.centers, torus.components.centers)
    torch.testing.assert_close(
        wider.components.variances, 4 * torus.components.variances, rtol=0.05, atol=0
    )
    assert wider.background == 0.25


def test_on_few_dimensions_of_a_compact_manifold_the_wider_density_is_uniform():
    for name in ("sphere", "circle", "kernel"):
        assert isinstance(bases()[name].inflated(2.0), UniformBase)


def test_device_and_dtype_are_kept():
    for base in bases().values():
        like = next(base.float().inflated(2.0).buffers())
        assert like.dtype == torch.float32


def test_base_is_unchanged():
    for base in bases().values():
        before = {k: v.clone() for k, v in base.state_dict().items()}
        base.inflated(2.0)
        for name, value in base.state_dict().items():
            torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize("name", bases())
def test_densities_of_copies_at_once_are_those_one_by_one(name):
    base = bases()[name]
    copies = [InflatedCopy(base.inflated(t), t) for t in (1.5, 3.0)]
    x = copies[1].base.sample(50, generator=torch.Generator().manual_seed(0))
    values = base.log_probs(x, copies)
    expected = [base.log_prob(x), *(copy.base.log_prob(x) for copy in copies)]
    torch.testing.assert_close(values, torch.stack(expected, 1))
