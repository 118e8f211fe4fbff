"""A correction that does harm is scaled, and the user is told."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.estimators._settle import _standard_error, inflate, scale_correction
from sk_wmvl.manifolds import Euclidean, Product, Sphere, Torus
from sk_wmvl.normalizers import ImportanceNormalizer, QuadratureNormalizer
from sk_wmvl.objectives import Batch
from sk_wmvl.training import TensorData


class Well(nn.Module):
    """A well of depth 20 far from the data, and a tilt of the data's own region."""

    def __init__(self, depth, curvature):
        super().__init__()
        self.depth = depth
        self.curvature = curvature

    def forward(self, x):
        well = -self.depth * torch.exp(-4 * (x - 5).square().sum(-1))
        return well + 0.5 * self.curvature * x.square().sum(-1)


def run(correction, n=500):
    base = GaussianBase(np.zeros(1), np.eye(1))
    energy = CorrectedEnergy(correction, base)
    # Data of variance 1/2: a correction of curvature one is the truth.
    x = torch.tensor(np.random.default_rng(0).normal(size=(n, 1)) / 2**0.5)
    rows = TensorData(Batch(x.float(), torch.ones(n)))
    draws = base.sample(5000, generator=torch.Generator().manual_seed(0))
    estimate = scale_correction(
        energy, lambda: QuadratureNormalizer().estimate(energy, base), rows, draws
    )
    with torch.no_grad():
        gain = float((-energy(x) - estimate.value - base.log_prob(x)).mean())
    return energy.scale, gain


def test_a_good_correction_is_left_alone():
    scale, gain = run(Well(0.0, 1.0))
    assert scale == 1
    assert gain > 0


def test_a_mode_far_from_the_data_is_scaled_away():
    with pytest.warns(ConvergenceWarning, match="correction was scaled by 0"):
        scale, gain = run(Well(40.0, 1.0))
    assert 0 < scale < 1
    assert gain > 0


def test_a_correction_that_never_helps_is_dropped():
    with pytest.warns(ConvergenceWarning, match="scaled by 0 "):
        scale, gain = run(Well(0.0, -0.9))
    assert scale == 0
    assert gain == pytest.approx(0, abs=1e-4)


def test_a_gain_that_nobody_can_see_is_dropped():
    # a quarter of the curvature is gained, far more than its error
    assert run(Well(0.0, 1e-5)) == (0, 0)
    scale, gain = run(Well(0.0, 1e-2))
    assert scale == 1
    assert gain == pytest.approx(2.5e-3, rel=0.2)


def test_held_out_likelihood_is_never_below_the_base():
    # Four rows per dimension, a large rate and no penalty: the network goes astray.
    rng = np.random.default_rng(0)
    X = rng.standard_t(3, size=(60, 6))
    params = {"base": "gaussian", "random_state": 0}
    density = MVLDensity(
        lr=0.05, alpha=0.0, max_epochs=40, early_stopping=False, **params
    )
    with pytest.warns(ConvergenceWarning, match="correction_scale_"):
        density.fit(X)
    assert density.correction_scale_ < 1
    base = MVLDensity(lr=1e-30, max_epochs=1, **params).fit(X)
    assert density.score(X) >= base.score(X) - 0.05


def test_copies_in_one_group_add_no_certainty():
    rng = np.random.default_rng(0)
    weight = torch.tensor(rng.uniform(0.5, 2, 50))
    weight /= weight.sum()
    values = torch.tensor(rng.standard_normal(50))
    values -= (values * weight).sum()
    alone = _standard_error(values, weight, None)
    copies = [t.repeat_interleave(4) for t in (values, weight / 4)]
    groups = np.repeat(np.arange(50), 4)
    assert _standard_error(*copies, groups) == pytest.approx(alone, rel=1e-12)
    assert _standard_error(*copies, None) < 0.6 * alone
    assert _standard_error(values, weight, np.zeros(50, int)) == np.inf


@pytest.mark.statistical
def test_inflated_draws_have_their_density(global_random_seed):
    base = GaussianBase(np.ones(2), np.diag([1.0, 4.0]))
    generator = torch.Generator().manual_seed(global_random_seed)
    far = inflate(base, base.sample(50_000, generator=generator), [0, 1])
    assert far.x.std(0)[0] > 2.5
    # the integrals of the base, and of a normal density three times as wide
    wide = GaussianBase(np.ones(2), 9 * np.diag([1.0, 4.0]))
    for density in (base, wide):
        weight = (density.log_prob(far.x) - base.log_prob(far.x) + far.log_ratio).exp()
        assert abs(weight.mean() - 1) < 4 * weight.std() / 50_000**0.5


def fit_quietly(density, X):
    """Fit; after one epoch the guard may well have something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return density.fit(X)


@pytest.fixture(scope="module")
def cylinder():
    """A direction between two coordinates."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=400), rng.vonmises(1, 2, 400), rng.normal(size=400)]
    factors = [("x", Euclidean(1)), ("direction", Torus(1)), ("y", Euclidean(1))]
    density = RiemannianMVLDensity(
        Product(factors), base="mixture", normalizer="importance", random_state=0
    )
    return fit_quietly(density.set_params(max_epochs=1), X)


def test_euclidean_columns_of_a_product(cylinder):
    assert cylinder.manifold_.flat_columns == [0, 2]
    inside = Product([("a", Product([("s", Sphere(2)), ("x", Euclidean(2))]))])
    assert inside.flat_columns == [3, 4]
    assert Sphere(2).flat_columns == []


def test_the_guard_of_a_fit_looks_along_them(cylinder, monkeypatch):
    seen = []

    def note(base, draws, columns):
        seen.append(columns)
        return inflate(base, draws, columns)

    monkeypatch.setattr("sk_wmvl.estimators._settle.inflate", note)
    rows = cylinder.sample(100, random_state=0)
    fit_quietly(clone(cylinder), rows)
    assert seen == [[0, 2]]
    directions = rows / np.linalg.norm(rows, axis=1)[:, None]
    sphere = RiemannianMVLDensity("sphere", max_epochs=1, random_state=0)
    fit_quietly(sphere, directions)
    assert seen == [[0, 2]]  # nothing is flat there


@pytest.mark.statistical
def test_on_a_product_only_euclidean_columns_are_inflated(cylinder, global_random_seed):
    base = cylinder.base_
    generator = torch.Generator().manual_seed(global_random_seed)
    draws = base.sample(50_000, generator=generator)
    far = inflate(base, draws, [0, 2])
    torch.testing.assert_close(far.x[:, 1], draws[:, 1], rtol=0, atol=0)
    assert (far.x[:, [0, 2]].std(0) > 2.5 * draws[:, [0, 2]].std(0)).all()
    # the integrals of the base, and of a function of known integral, 2 pi 4^2 2 pi
    wide = -0.5 * (far.x[:, [0, 2]] / 4).square().sum(1) - math.log(64 * math.pi**2)
    for log_density in (base.log_prob(far.x), wide):
        weight = (log_density - base.log_prob(far.x) + far.log_ratio).exp()
        assert abs(weight.mean() - 1) < 4 * weight.std() / 50_000**0.5


def test_a_well_that_no_draw_sees_is_scaled_out():
    # five standard deviations away: the draws and the normalizer hardly come there
    base = GaussianBase(np.zeros(1), np.eye(1))
    draws = base.sample(5000, generator=torch.Generator().manual_seed(0))
    x = torch.tensor(np.random.default_rng(0).normal(size=(500, 1)) / 2**0.5)
    rows = TensorData(Batch(x.float(), torch.ones(500)))

    def blind():
        return ImportanceNormalizer(4096).estimate(
            energy, base, generator=torch.Generator().manual_seed(1)
        )

    energy = CorrectedEnergy(Well(60.0, 1.0), base)
    scale_correction(energy, blind, rows, draws)
    assert energy.scale == 1
    energy = CorrectedEnergy(Well(60.0, 1.0), base)
    with pytest.warns(ConvergenceWarning, match="correction was scaled by 0"):
        scale_correction(energy, blind, rows, draws, inflate(base, draws, [0]))
    exact = QuadratureNormalizer().estimate(energy, base).value
    # 4 errors of what a thousand draws see of a well; unscaled its mass is e^45
    assert abs(blind().value - exact) < 0.2


@pytest.mark.slow
def test_columns_that_are_powers_of_others():
    # a thin sheet of transformed columns, beside which the model has spurious modes
    rng = np.random.default_rng(2)
    z = rng.normal(size=(400, 2))
    X = np.exp(np.c_[z[:, 0], 2 * z[:, 0] + 1e-3 * rng.normal(size=400), z[:, 1]])
    with pytest.warns(ConvergenceWarning, match="correction was scaled by 0"):
        density = MVLDensity(random_state=0).fit(X)
    # of draws so wide that these modes, of masses up to e^100, are among them
    generator = torch.Generator().manual_seed(0)
    for width in (1.0, 2.0, 4.0):
        wide = GaussianBase(np.zeros(3), width**2 * np.eye(3))
        u = wide.sample(100_000, generator=generator)
        with torch.no_grad():
            log_weight = -density.energy_.energy(u) - wide.log_prob(u)
        mass = (log_weight - density.log_normalizer_).exp().mean()
        assert mass < 1.2


def test_an_expensive_base_is_not_put_on_a_grid():
    # Few draws of the base see a spurious mode; elsewhere the correction is right.
    class Expensive(GaussianBase):
        n_components = 5000

    base = Expensive(np.zeros(1), 4 * np.eye(1))
    energy = CorrectedEnergy(Well(40.0, 1.75), base)
    x = torch.tensor(np.random.default_rng(0).normal(size=(500, 1)) / 2**0.5)
    calls = []

    def normalize():
        calls.append(energy.scale)
        return QuadratureNormalizer().estimate(energy, base)

    draws = base.sample(5000, generator=torch.Generator().manual_seed(0))
    rows = TensorData(Batch(x.float(), torch.ones(500)))
    with pytest.warns(ConvergenceWarning, match="correction was scaled by 0"):
        scale_correction(energy, normalize, rows, draws)
    assert 0 < energy.scale < 1
    assert calls == [energy.scale]  # the last word only


class Wave(nn.Module):
    """A correction that is noise: it has nothing to do with the rows."""

    def __init__(self, frequency):
        super().__init__()
        self.frequency = frequency

    def forward(self, x):
        return 0.5 * torch.cos(self.frequency * x + self.frequency**2).sum(-1)


def test_a_gain_within_its_standard_error_is_dropped():
    # 100 waves, 200 normal rows each: a gain exceeds its error by chance in 16 % of them
    # at most, and zero in half of them; 16 + 4 standard deviations is 31.
    base = GaussianBase(np.zeros(1), np.eye(1))
    draws = base.sample(5000, generator=torch.Generator().manual_seed(0))
    kept = 0
    for seed in range(100):
        x = torch.tensor(np.random.default_rng([seed, 7]).normal(size=(200, 1)))
        energy = CorrectedEnergy(Wave(3.0 + 0.1 * seed), base)
        rows = TensorData(Batch(x.float(), torch.ones(200)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scale_correction(
                energy,
                lambda e=energy: QuadratureNormalizer().estimate(e, base),
                rows,
                draws,
            )
        kept += energy.scale > 0
    assert kept < 31
