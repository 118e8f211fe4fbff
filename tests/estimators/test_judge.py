"""The scale of a correction: kept where it pays, and never with mass nobody has seen."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.base_measures import GaussianBase, UniformBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.estimators._judge import _spread, judge
from sk_wmvl.likelihood import Cover, audit
from sk_wmvl.manifolds import Euclidean, Product, Stiefel, Torus
from sk_wmvl.normalizers import (
    AutoNormalizer,
    ImportanceNormalizer,
    LogNormalizer,
    QuadratureNormalizer,
)
from sk_wmvl.objectives import Batch
from sk_wmvl.training import TensorData


class Wells(nn.Module):
    """A curvature that suits the rows, and wells of Gaussian shape elsewhere."""

    def __init__(self, curvature=1.0, depth=0.0, width=0.35, at=()):
        super().__init__()
        self.curvature, self.depth, self.width = curvature, depth, width
        self.register_buffer("at", torch.tensor(at, dtype=torch.float64))

    def forward(self, x):
        value = 0.5 * self.curvature * x.square().sum(-1)
        if not self.depth:
            return value
        square = (x - self.at).square().sum(-1)
        return value - self.depth * torch.exp(-0.5 * square / self.width**2)


def decide(correction, d=1, n=500, normalizer=None, seed=0):
    """Judge a correction of the standard normal density by rows of variance 1/2.

    Return the verdict and the mean gain of the rows, by the verdict's log Z.
    """
    base = GaussianBase(np.zeros(d), np.eye(d))
    energy = CorrectedEnergy(correction.double(), base)
    x = torch.tensor(np.random.default_rng(seed).normal(size=(n, d)) / 2**0.5)
    rows = TensorData(Batch(x.float(), torch.ones(n)))
    normalizer = normalizer or (QuadratureNormalizer() if d < 3 else AutoNormalizer())
    generator = torch.Generator().manual_seed(seed)
    verdict = judge(
        energy,
        rows,
        Cover(base),
        Euclidean(d),
        lambda: normalizer.estimate(
            energy, base, generator=generator, manifold=Euclidean(d)
        ),
        is_enough=lambda estimate: d > 2 and estimate.std_error < 0.02,
        generator=generator,
    )
    assert energy.scale == verdict.scale
    with torch.no_grad():
        gain = float((-energy(x) - verdict.estimate.value - base.log_prob(x)).mean())
    return verdict, gain


def test_a_good_correction_is_left_alone():
    verdict, gain = decide(Wells())
    assert verdict.scale == 1
    assert not verdict.is_scaled_back
    assert verdict.missed == ()
    # log Z of a standard normal density times exp(-x²/2) is -log(2) / 2
    assert verdict.estimate.value == pytest.approx(-0.5 * math.log(2), abs=1e-3)
    assert verdict.gain == pytest.approx(gain, abs=0.01)
    assert gain > verdict.needed


def test_a_correction_that_never_helps_is_dropped():
    verdict, gain = decide(Wells(curvature=-0.9))
    assert verdict.scale == 0
    assert gain == pytest.approx(0, abs=1e-4)
    assert verdict.estimate == LogNormalizer(0.0, 0.0, 0, math.inf, "exact")


def test_a_gain_that_could_be_chance_is_dropped():
    assert decide(Wells(curvature=1e-5))[0].scale == 0
    # With 20 rows the right correction, which is worth 0.15 nats, could be chance.
    few, many = decide(Wells(), n=20)[0], decide(Wells(), n=2000)[0]
    assert (few.scale, many.scale) == (0, 1)
    assert few.needed == pytest.approx(100 * many.needed)


def exact_log_z(correction, d, scale):
    """Return log Z of a well that is far from the curvature's own mass, by algebra."""
    # exp(-s E) = exp(-s |x|²/2) (1 + (exp(s depth g) - 1)), and the last term is summed
    # over a grid along the ray and its radius, where the other factor is Gaussian.
    precision = 1 + scale * correction.curvature
    main = -0.5 * d * math.log(precision)
    t = torch.linspace(0, 8 * correction.width, 4001, dtype=torch.float64)[1:]
    at = float(torch.linalg.vector_norm(correction.at))
    z = torch.linspace(-1, 1, 801, dtype=torch.float64)  # cosine with the ray
    radius, cosine = torch.meshgrid(t, z, indexing="ij")
    square = at**2 + 2 * at * radius * cosine + radius**2
    bump = torch.expm1(
        scale * correction.depth * torch.exp(-0.5 * (radius / correction.width) ** 2)
    ).log()
    surface = math.log(2) + 0.5 * (d - 1) * math.log(math.pi)
    surface -= math.lgamma(0.5 * (d - 1))
    log_f = bump - 0.5 * precision * square - 0.5 * d * math.log(2 * math.pi)
    log_f += (d - 1) * radius.log() + surface
    log_f += 0.5 * (d - 3) * torch.log1p(-cosine.square()).clamp(min=-50)
    cells = math.log(float(t[1] - t[0]) * float(z[1] - z[0]))
    return float(torch.logaddexp(torch.tensor(main), log_f.logsumexp((0, 1)) + cells))


@pytest.mark.parametrize(("d", "width"), [(3, 0.3), (3, 1.0), (5, 1.0), (8, 1.0)])
@pytest.mark.parametrize("distance", [2.5, 5.0])
@pytest.mark.parametrize("log_mass", [3.0, 30.0])
def test_no_density_sums_to_more_than_one(d, distance, width, log_mass):
    """A well of mass e^3 or e^30 is found, or scaled until it is no harm."""
    at = np.full(d, distance / d**0.5)
    # mass of a well of depth D is about exp(D - r²) (2 pi w²/D)^(d/2) / (2 pi)^(d/2)
    depth = log_mass + distance**2
    for _ in range(30):
        depth = log_mass + distance**2 - 0.5 * d * math.log(width**2 / depth)
    correction = Wells(depth=depth, width=width, at=at)
    verdict, _ = decide(correction, d=d)
    if verdict.scale == 0:
        return
    exact = exact_log_z(correction, d, verdict.scale)
    assert abs(verdict.estimate.value - exact) < 0.1


def test_a_mode_that_no_draw_sees_is_found():
    # Eight standard deviations away, where neither draws nor the normalizer come.
    correction = Wells(depth=100.0, width=0.2, at=(8.0,))
    blind = ImportanceNormalizer(4096)
    verdict, gain = decide(correction, normalizer=blind)
    if verdict.scale:
        base = GaussianBase(np.zeros(1), np.eye(1))
        energy = CorrectedEnergy(correction, base, scale=verdict.scale)
        exact = QuadratureNormalizer().estimate(energy, base).value
        assert verdict.estimate.value == pytest.approx(exact, abs=0.05)
        assert gain > 0


class Wave(nn.Module):
    """A correction that is noise: it has nothing to do with the rows."""

    def __init__(self, frequency):
        super().__init__()
        self.frequency = frequency

    def forward(self, x):
        return 0.5 * torch.cos(self.frequency * x + self.frequency**2).sum(-1)


def test_a_correction_that_is_noise_is_dropped():
    # 100 waves, 200 rows of the base measure each. A gain exceeds 4/n if a normal variable
    # exceeds sqrt(8): in 0.5 % of them on both sides; 4 of 100 would be six errors off.
    base = GaussianBase(np.zeros(1), np.eye(1))
    kept = 0
    for seed in range(100):
        x = torch.tensor(np.random.default_rng([seed, 7]).normal(size=(200, 1)))
        energy = CorrectedEnergy(Wave(3.0 + 0.1 * seed), base)
        rows = TensorData(Batch(x.float(), torch.ones(200)))
        verdict = judge(
            energy,
            rows,
            Cover(base),
            Euclidean(1),
            lambda e=energy: QuadratureNormalizer().estimate(e, base),
            is_enough=lambda estimate: True,
            generator=torch.Generator().manual_seed(seed),
        )
        kept += verdict.scale > 0
    assert kept < 4


def test_copies_in_one_group_add_no_certainty():
    rng = np.random.default_rng(0)
    share = torch.tensor(rng.uniform(0.5, 2, 50))
    share /= share.sum()
    values = torch.tensor(rng.standard_normal(50))
    values -= (values * share).sum()
    alone, n_effective = _spread(values, share, None)
    copies = [t.repeat_interleave(4) for t in (values, share / 4)]
    groups = np.repeat(np.arange(50), 4)
    assert _spread(*copies, groups) == pytest.approx((alone, n_effective), rel=1e-12)
    assert _spread(*copies, None)[0] < 0.6 * alone
    assert _spread(values, share, np.zeros(50, int))[0] == np.inf


def test_held_out_likelihood_is_never_below_the_base():
    # Four rows per dimension, a large rate and no penalty: the network goes astray.
    rng = np.random.default_rng(0)
    X, new = rng.standard_t(3, size=(2, 60, 6))
    params = {"base": "gaussian", "random_state": 0}
    density = MVLDensity(lr=0.05, alpha=0.0, max_epochs=40, **params).fit(X)
    base = MVLDensity(lr=1e-30, max_epochs=1, **params).fit(X)
    assert density.score(new) >= base.score(new) - 0.05


def test_a_fit_on_a_product_is_searched_too():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=400), rng.vonmises(1, 2, 400), rng.normal(size=400)]
    factors = [("x", Euclidean(1)), ("direction", Torus(1)), ("y", Euclidean(1))]
    density = RiemannianMVLDensity(
        Product(factors), base="mixture", max_epochs=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(X)
    report = density.fit_report_
    if report["network"]["scale"]:
        assert report["search"]["n_modes"] >= 1


def test_a_space_without_components_is_no_hiding_place():
    """A mode of mass e^20 on a Stiefel manifold, where nothing can be drawn from."""
    space = Stiefel(4, 2)
    base = UniformBase(space)
    at = space.random_point(1, generator=torch.Generator().manual_seed(5)).double()

    class Well(nn.Module):
        def forward(self, x):
            return -60 * torch.exp(-0.5 * (x - at).square().sum(-1) / 0.25**2)

    energy = CorrectedEnergy(Well(), base)
    points = space.random_point(400, generator=torch.Generator().manual_seed(6))
    rows = TensorData(Batch(points.float(), torch.ones(400)))
    rows.x[:300] = at.float()  # so that the well pays
    verdict = judge(
        energy,
        rows,
        Cover(base),
        space,
        lambda: ImportanceNormalizer(4096).estimate(
            energy, base, generator=torch.Generator().manual_seed(1), manifold=space
        ),
        is_enough=lambda estimate: False,
        generator=torch.Generator().manual_seed(0),
    )
    assert verdict.missed or verdict.is_scaled_back or verdict.scale == 0


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_the_units_of_the_columns_do_not_matter(unit):
    d = 6
    base = GaussianBase(np.zeros(d), unit**2 * np.eye(d))
    correction = Wells(depth=40.0, width=0.6, at=np.full(d, 3 / d**0.5))

    class Scaled(nn.Module):
        def forward(self, x):
            return correction(x / unit)

    energy = CorrectedEnergy(Scaled(), base)
    cover = Cover(base)
    pool = cover.draw(8192, generator=torch.Generator().manual_seed(0))
    found = audit(
        energy, cover, pool, Euclidean(d), generator=torch.Generator().manual_seed(1)
    )
    assert abs(found.log_z - exact_log_z(correction, d, 1.0)) < 0.3


@pytest.mark.slow
def test_rows_of_one_gaussian_lose_nothing():
    """40 default fits of 500 normal rows of 5 columns; the mean loss is below 0.002."""
    losses = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, new = rng.normal(size=(500, 5)), rng.normal(size=(20_000, 5))
        density = MVLDensity(base="gaussian", random_state=seed).fit(X)
        x = density._fitted.points(new)
        base = density.base_.log_prob(density.energy_.to_internal(x))
        base = (base - density.energy_.log_det(x)).numpy()
        losses.append((base - density.score_samples(new)).mean())
    assert np.mean(losses) < 0.002


@pytest.mark.slow
def test_columns_that_are_powers_of_others():
    # a thin sheet of transformed columns, beside which the model may have spurious modes
    rng = np.random.default_rng(2)
    z = rng.normal(size=(400, 2))
    X = np.exp(np.c_[z[:, 0], 2 * z[:, 0] + 1e-3 * rng.normal(size=400), z[:, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density = MVLDensity(random_state=0).fit(X)
    # of draws so wide that modes, of masses up to e^100, would be among them
    generator = torch.Generator().manual_seed(0)
    for width in (1.0, 2.0, 4.0):
        wide = GaussianBase(np.zeros(3), width**2 * np.eye(3))
        u = wide.sample(100_000, generator=generator)
        with torch.no_grad():
            log_weight = -density.energy_.energy(u) - wide.log_prob(u)
        mass = (log_weight - density.log_normalizer_).exp().mean()
        assert mass < 1.2
