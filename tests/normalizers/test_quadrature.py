"""Quadrature against integrals in closed form."""

import math

import pytest
import torch

from sk_wmvl.normalizers import (
    AutoNormalizer,
    NormalizerWarning,
    QuadratureNormalizer,
)
from tests.normalizers._targets import (
    Normal,
    gaussian,
    generator,
    mixture,
    quartic,
    student,
    wiggle,
)

SMALL = [
    (gaussian, 100),
    (student,),
    (mixture,),
    (quartic,),
    (wiggle,),
]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case[0].__name__)
def test_quadrature_is_within_its_tolerance(global_random_seed, case, d):
    make, *rest = case
    energy, log_z = make(d, *rest)
    z = QuadratureNormalizer(tol=1e-6).log_normalizer(
        energy, Normal(d), generator=generator(global_random_seed)
    )
    assert z.method == "quadrature"
    assert z.std_error == 1e-6
    assert abs(z.value - log_z) < 1e-6


@pytest.mark.parametrize(
    ("energy", "log_z"),
    [
        # far from the proposal, far narrower, far wider, with the tails of a Cauchy
        (lambda x: 0.5 * (x - 50).square().sum(-1), math.log(2 * math.pi)),
        (lambda x: 5e9 * (x - 0.3).square().sum(-1), math.log(2 * math.pi / 1e10)),
        (lambda x: 5e-11 * x.square().sum(-1), math.log(2 * math.pi * 1e10)),
        (lambda x: torch.log1p(x.square()).sum(-1), 2 * math.log(math.pi)),
        # a correlation of 0.9998
        gaussian(2, 1e4),
    ],
    ids=["far", "narrow", "wide", "cauchy", "ridge"],
)
def test_quadrature_finds_its_box(energy, log_z):
    z = QuadratureNormalizer().log_normalizer(energy, Normal(2), generator=generator(0))
    assert abs(z.value - log_z) < 1e-5
    assert z.n_evaluations < 200_000


@pytest.mark.parametrize("method", [QuadratureNormalizer, AutoNormalizer])
@pytest.mark.parametrize(
    ("d", "energy"),
    [
        (1, lambda x: x.sum(-1)),
        (2, lambda x: 0 * x.sum(-1)),
        (2, lambda x: 0.5 * x[:, 0].square()),
        (2, lambda x: 0.5 * x[:, 0].square() - 0.1 * x[:, 1].square()),
        (1, lambda x: 0.5 * torch.log1p(x.square()).sum(-1)),
    ],
    ids=["linear", "flat", "ridge", "saddle", "log"],
)
def test_an_energy_without_normaliser_is_reported(method, d, energy):
    with pytest.warns(NormalizerWarning, match="its mass still grows"):
        z = method().log_normalizer(energy, Normal(d), generator=generator(0))
    assert z.value == z.std_error == math.inf


def test_quadrature_that_has_not_converged_says_so():
    with pytest.warns(NormalizerWarning, match="still changed by .* at 16 nodes"):
        z = QuadratureNormalizer(16).log_normalizer(
            gaussian(2, 1e4)[0], Normal(2), generator=generator(0)
        )
    assert z.std_error > 1e-5


def test_quadrature_refuses_four_dimensions():
    with pytest.raises(ValueError, match="1 to 3 dimensions; the model has 4. Use"):
        QuadratureNormalizer().log_normalizer(lambda x: x.sum(-1), Normal(4))
