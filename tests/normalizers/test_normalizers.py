import math
import pickle

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.base import clone
from torch import nn

from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.energies import CorrectedEnergy
from sk_wmvl.normalizers import (
    NORMALIZERS,
    AnnealedNormalizer,
    AutoNormalizer,
    ImportanceNormalizer,
    NormalizerWarning,
    QuadratureNormalizer,
    log_mean_exp,
)
from sk_wmvl.normalizers.importance import pareto_tail_index, summarize_weights
from sk_wmvl.samplers import HMC, MALA


def generator(seed):
    return torch.Generator().manual_seed(seed)


class Normal(nn.Module):
    """Independent normals of one scale, written out by hand."""

    def __init__(self, d, scale=1.0, dtype=torch.float64):
        super().__init__()
        self.d, self.scale, self.dtype = d, scale, dtype

    def log_prob(self, x):
        constant = self.d * (0.5 * math.log(2 * math.pi) + math.log(self.scale))
        return -0.5 * (x / self.scale).square().sum(-1) - constant

    def sample(self, n_samples, *, generator=None):
        shape = (n_samples, self.d)
        return self.scale * torch.randn(shape, generator=generator, dtype=self.dtype)


def gaussian(d, condition):
    """A Gaussian of variances 1 to 1/condition along the axes of a fixed rotation."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    variances = np.geomspace(1, 1 / condition, d)
    precision = torch.tensor(rotation / variances @ rotation.T)
    log_z = 0.5 * d * math.log(2 * math.pi) + 0.5 * np.log(variances).sum()
    return lambda x: 0.5 * ((x @ precision) * x).sum(-1), log_z


def student(d, nu=5):
    """Independent Student t."""
    log_z = 0.5 * math.log(nu * math.pi) + math.lgamma(nu / 2)
    log_z -= math.lgamma((nu + 1) / 2)
    energy = lambda x: 0.5 * (nu + 1) * torch.log1p(x.square() / nu).sum(-1)
    return energy, d * log_z


def mixture(d, center=1.0, scale=0.4):
    """A unit normal and a narrow one of the same height, side by side."""

    def energy(x):
        narrow = -0.5 * ((x - center) / scale).square().sum(-1)
        wide = -0.5 * (x + center).square().sum(-1)
        return -torch.logaddexp(narrow, wide)

    return energy, 0.5 * d * math.log(2 * math.pi) + math.log(1 + scale**d)


def quartic(d):
    """Density exp(-x**4) on each axis, with integral 2 Gamma(5/4)."""
    return lambda x: x.pow(4).sum(-1), d * math.log(2 * math.gamma(1.25))


def wiggle(d):
    """No closed form: one-dimensional quadrature by an independent routine."""
    f = lambda x: math.exp(-0.5 * x**2 + math.sin(3 * x))
    integral = integrate.quad(f, -12, 12, epsabs=1e-13, limit=200)[0]
    energy = lambda x: (0.5 * x.square() - (3 * x).sin()).sum(-1)
    return energy, d * math.log(integral)


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


MONTE_CARLO = [
    pytest.param(ImportanceNormalizer(4000), Normal(3, 1.5), mixture, id="is-mixture"),
    pytest.param(ImportanceNormalizer(4000), Normal(2, 1.5), quartic, id="is-quartic"),
    pytest.param(ImportanceNormalizer(4000), Normal(3, 1.3), wiggle, id="is-wiggle"),
    pytest.param(AnnealedNormalizer(256), Normal(5), gaussian, id="ais-gaussian"),
    # A proposal as narrow as the Student t's center underestimates its tails.
    pytest.param(AnnealedNormalizer(256), Normal(3, 2.0), student, id="ais-student"),
    pytest.param(AnnealedNormalizer(256), Normal(3), mixture, id="ais-mixture"),
    pytest.param(AnnealedNormalizer(256), Normal(4), quartic, id="ais-quartic"),
    pytest.param(
        AnnealedNormalizer(256, 40, sampler=MALA(), n_transitions=2),
        Normal(3),
        wiggle,
        id="ais-mala-wiggle",
    ),
]


# Few draws on purpose: the error is what is tested, not whether the user is told.
@pytest.mark.filterwarnings("ignore::sk_wmvl.normalizers.NormalizerWarning")
@pytest.mark.parametrize(("normalizer", "proposal", "make"), MONTE_CARLO)
def test_monte_carlo_is_within_four_standard_errors(
    global_random_seed, normalizer, proposal, make
):
    energy, log_z = make(proposal.d, *([100] if make is gaussian else []))
    z = normalizer.log_normalizer(
        energy, proposal, generator=generator(global_random_seed)
    )
    assert abs(z.value - log_z) < 4 * z.std_error
    assert z.std_error < 0.5
    assert 0 < z.effective_sample_size < 4000


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("normalizer", "proposal", "make"),
    [MONTE_CARLO[0], MONTE_CARLO[1], MONTE_CARLO[6], MONTE_CARLO[7]],
)
def test_standard_errors_are_calibrated(global_random_seed, normalizer, proposal, make):
    # 50 repeats. If z-scores are standard normal their sum of squares is chi-square
    # with 50 degrees of freedom: between 17 and 110 with probability 1 - 6e-6. The
    # error is allowed to be too large by a third (it is enlarged for heavy tails), not
    # too small. Z itself, not its logarithm, is unbiased: |mean z| < 4 / sqrt(50) with
    # an allowance of half a standard error of a single run for the bias of the
    # logarithm.
    energy, log_z = make(proposal.d)
    scores = []
    for seed in range(50):
        z = normalizer.log_normalizer(
            energy, proposal, generator=generator(1000 * global_random_seed + seed)
        )
        scores.append((z.value - log_z) / z.std_error)
    scores = np.array(scores)
    assert 17 / 1.33**2 < (scores**2).sum() < 110
    assert abs(scores.mean()) < 4 / math.sqrt(50) + 0.5
    assert (np.abs(scores) < 4).all()


def test_annealing_is_unbiased_for_z(global_random_seed):
    # 100 runs of the cheapest kind, two temperatures and one rough transition: the mean
    # of Z / Z_true is one within four standard errors.
    energy, log_z = quartic(2)
    normalizer = AnnealedNormalizer(100, 2, sampler=HMC(n_leapfrog=1))
    ratios = []
    with torch.no_grad():
        for seed in range(100):
            z = normalizer.estimate(
                energy,
                Normal(2),
                generator=generator(1000 * global_random_seed + seed),
            )
            ratios.append(math.exp(z.value - log_z))
    ratios = np.array(ratios)
    assert abs(ratios.mean() - 1) < 4 * ratios.std(ddof=1) / 10


def test_a_path_between_equal_ends_has_no_error():
    # log Z is that of the proposal, zero, plus the constant 3 taken off the energy.
    proposal = Normal(4)
    energy = lambda x: -proposal.log_prob(x) - 3.0
    for name in ("importance", "annealed", "auto"):
        z = NORMALIZERS[name]().log_normalizer(energy, proposal, generator=generator(0))
        assert z.value == pytest.approx(3.0, abs=1e-12)
        assert z.std_error < 1e-12


AUTO = [
    (2, gaussian, "quadrature"),
    (3, mixture, "importance"),
    (10, quartic, "importance"),
    (6, mixture, "annealed"),
]


@pytest.mark.parametrize(("d", "make", "method"), AUTO)
def test_auto_reaches_its_target(global_random_seed, d, make, method):
    energy, log_z = make(d, *([100] if make is gaussian else []))
    proposal = Normal(d, 1.3 if d == 3 else 1.0)
    z = AutoNormalizer().log_normalizer(
        energy, proposal, generator=generator(global_random_seed)
    )
    assert z.method == method
    assert z.std_error <= 0.02
    assert abs(z.value - log_z) < 4 * z.std_error
    assert z.n_evaluations < 1_000_000


def test_auto_turns_to_annealing(global_random_seed):
    # The proposal is ten times too wide on each of eight axes: the chance of a draw
    # near the mode is of the order of 1e-8, and the answer 18.4 nats away.
    energy, log_z = lambda x: 50 * x.square().sum(-1), 4 * math.log(2 * math.pi / 100)
    z = AutoNormalizer(0.1).log_normalizer(
        energy, Normal(8), generator=generator(global_random_seed)
    )
    assert z.method == "annealed"
    assert z.std_error <= 0.1
    assert abs(z.value - log_z) < 4 * z.std_error


def test_importance_knows_a_hopeless_proposal():
    energy = lambda x: 50 * x.square().sum(-1)
    with pytest.warns(NormalizerWarning, match="Pareto index|effective draws"):
        ImportanceNormalizer(2000).log_normalizer(
            energy, Normal(8), generator=generator(0)
        )


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_generator_decides_everything(name):
    energy, _ = quartic(2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.no_grad():
        first, second, other = (
            NORMALIZERS[name]().estimate(energy, Normal(2), generator=generator(seed))
            for seed in (3, 3, 4)
        )
    assert first == second
    assert first.value != other.value
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_the_callers_grad_mode_does_not_matter(name):
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(torch.randn(p.shape, generator=generator(k)))
    energy = lambda x: 0.5 * x.square().sum(-1) + network(x)[:, 0]
    results = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            results.append(
                NORMALIZERS[name]().log_normalizer(
                    energy, Normal(2), generator=generator(0)
                )
            )
    assert results[0] == results[1] == results[2]
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_runs_in_the_proposals_dtype(name):
    seen = set()

    def energy(x):
        seen.add(x.dtype)
        return x.pow(4).sum(-1)

    z = NORMALIZERS[name]().log_normalizer(
        energy, Normal(2, dtype=torch.float32), generator=generator(0)
    )
    assert seen == {torch.float32}
    assert abs(z.value - quartic(2)[1]) < 4 * z.std_error + 1e-4


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_energies_that_are_not_numbers_are_reported(name, bad):
    energy = lambda x: x.sum(-1) * 0 + bad
    with pytest.warns(NormalizerWarning, match="the energy is NaN, or infinite"):
        z = NORMALIZERS[name]().log_normalizer(
            energy, Normal(2), generator=generator(0)
        )
    assert not math.isfinite(z.value)
    assert z.std_error == math.inf


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_evaluations_are_counted(name):
    counter = []

    def energy(x):
        counter.append(len(x))
        return x.pow(4).sum(-1)

    z = NORMALIZERS[name]().log_normalizer(energy, Normal(2), generator=generator(0))
    assert z.n_evaluations == sum(counter)
    assert max(counter) <= 4096


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_is_a_component(name):
    normalizer = NORMALIZERS[name]()
    for copy in (clone(normalizer), pickle.loads(pickle.dumps(normalizer))):
        assert copy.get_params() == normalizer.get_params()


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        (ImportanceNormalizer(10), "n_samples of ImportanceNormalizer"),
        (AnnealedNormalizer(10), "n_chains of AnnealedNormalizer"),
        (AnnealedNormalizer(n_temperatures=0), "n_temperatures of Annealed"),
        (AnnealedNormalizer(n_transitions=0), "n_transitions of Annealed"),
        (AnnealedNormalizer(sampler="nuts"), "sampler='nuts' is not known"),
        (AnnealedNormalizer(sampler="langevin"), "no Metropolis test"),
        (QuadratureNormalizer(4), "n_nodes of QuadratureNormalizer"),
        (QuadratureNormalizer(tol=0.0), "tol of QuadratureNormalizer"),
        (AutoNormalizer(-1.0), "target_std_error of AutoNormalizer"),
    ],
)
def test_wrong_parameters_are_named(normalizer, message):
    with pytest.raises(ValueError, match=message):
        normalizer.log_normalizer(quartic(2)[0], Normal(2), generator=generator(0))


def test_log_mean_exp():
    log_weights = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64) + 1000
    w = np.exp([0.0, 1.0, 3.0])
    value, std_error, ess = log_mean_exp(log_weights)
    assert value == pytest.approx(math.log(w.mean()) + 1000)
    assert std_error == pytest.approx(w.std(ddof=1) / w.mean() / math.sqrt(3))
    assert ess == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert log_mean_exp(torch.full((3,), -torch.inf)) == (-math.inf, math.inf, 0.0)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.8])
def test_pareto_index_of_pareto_weights(global_random_seed, k):
    # 100 000 weights, 949 in the tail: the fit's standard deviation is about
    # (1 + k) / sqrt(949) = 0.06 at most; four of them, and the prior's pull of 0.003.
    uniform = np.random.default_rng(global_random_seed).uniform(size=100_000)
    bound = 4 * (1 + k) / math.sqrt(949) + 0.003
    assert abs(pareto_tail_index(-k * np.log(uniform)) - k) < bound


@pytest.mark.parametrize("n", [100, 1001, 20_000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_pareto_index_agrees_with_arviz(global_random_seed, n, spread):
    az = pytest.importorskip("arviz", reason="the reference is not installed")
    rng = np.random.default_rng(global_random_seed)
    log_weights = spread * rng.normal(size=n)
    expected = float(az.psislw(log_weights.copy())[1])
    assert pareto_tail_index(log_weights) == pytest.approx(expected, rel=1e-6)


def test_errors_allow_for_heavy_tails(global_random_seed):
    # 200 runs with 4096 exact Pareto weights of index 0.7, whose mean is 1 / 0.3. The
    # plain error gives z-scores of root mean square 1.85, the enlarged 1.5: it helps,
    # but the runs that miss the large weights also see a lighter tail. About half are
    # declared unreliable, for their index or their error.
    rng = np.random.default_rng(global_random_seed)
    plain, enlarged = [], []
    for _ in range(200):
        log_weights = torch.tensor(-0.7 * np.log(rng.uniform(size=4096)))
        z = summarize_weights(log_weights, 4096, "importance")
        value, std_error, ess = log_mean_exp(log_weights)
        assert z.value == value
        assert z.std_error >= std_error
        assert z.effective_sample_size <= ess * (1 + 1e-9)
        plain.append((value + math.log(0.3)) / std_error)
        enlarged.append((value + math.log(0.3)) / z.std_error)
    assert np.mean(np.square(enlarged)) < 0.85 * np.mean(np.square(plain))


def test_weights_without_a_mean_are_unreliable(global_random_seed):
    uniform = np.random.default_rng(global_random_seed).uniform(size=4096)
    z = summarize_weights(torch.tensor(-1.2 * np.log(uniform)), 4096, "importance")
    assert "Pareto index" in z.problem


# --- corrections of the proposal itself -----------------------------------------------


class ManyComponents(GaussianBase):
    """A density that claims to be dear, and counts where it is evaluated."""

    def __init__(self, mean, covariance, n_components):
        super().__init__(mean, covariance)
        self.n, self.n_evaluations = n_components, 0

    @property
    def n_components(self):
        return self.n

    def log_prob(self, x):
        self.n_evaluations += len(x)
        return super().log_prob(x)


def tilted(n_components=1):
    """Return a base, and an energy that tilts it: log Z is 0.125."""
    base = ManyComponents(np.zeros(2), np.eye(2), n_components)
    return base, CorrectedEnergy(Tilt(), base)


class Tilt(nn.Module):
    def forward(self, x):
        return 0.5 * x[:, 0]


def test_a_base_cancels_against_itself():
    base, energy = tilted()
    generator = torch.Generator()
    own = ImportanceNormalizer(1000).estimate(
        energy, base, generator=generator.manual_seed(0)
    )
    assert base.n_evaluations == 0
    other, _ = tilted()  # the same density, but another object
    same = ImportanceNormalizer(1000).estimate(
        energy, other, generator=generator.manual_seed(0)
    )
    assert own.value == pytest.approx(same.value, abs=1e-10)
    assert own.std_error == pytest.approx(same.std_error, rel=1e-6)
    assert abs(own.value - 0.125) < 4 * own.std_error


def test_nearly_equal_weights_have_an_index():
    # Half of the tail, 95 weights, differs from its threshold by less than rounding does.
    rng = np.random.default_rng(0)
    low, middle = -3e-9 - 1e-9 * rng.random(904), -2e-9 + 1e-18 * np.arange(60)
    log_weights = np.r_[low, middle, -1e-9 * rng.random(35), 0]
    assert np.isfinite(pareto_tail_index(log_weights))


@pytest.mark.parametrize(
    ("n_components", "method"), [(10, "quadrature"), (5000, "importance")]
)
def test_auto_spares_dear_bases_the_grid(n_components, method):
    base, energy = tilted(n_components)
    generator = torch.Generator().manual_seed(0)
    result = AutoNormalizer().estimate(energy, base, generator=generator)
    assert result.method == method
    assert abs(result.value - 0.125) < max(4 * result.std_error, 1e-6)
    assert (base.n_evaluations == 0) == (method == "importance")
