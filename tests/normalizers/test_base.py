"""Laws that every normalizer obeys."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sk_wmvl.normalizers import (
    NORMALIZERS,
    AnnealedNormalizer,
    AutoNormalizer,
    ImportanceNormalizer,
    NormalizerWarning,
    QuadratureNormalizer,
    log_mean_exp,
)
from sk_wmvl.samplers import MALA
from tests.normalizers._targets import (
    Normal,
    gaussian,
    generator,
    mixture,
    quartic,
    student,
    wiggle,
)

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


# Few draws on purpose: the error is tested, not the warning.
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
@pytest.mark.slow
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


def test_a_path_between_equal_ends_has_no_error():
    # log Z is that of the proposal, zero, plus the constant 3 taken off the energy.
    proposal = Normal(4)
    energy = lambda x: -proposal.log_prob(x) - 3.0
    for name in ("importance", "annealed", "auto"):
        z = NORMALIZERS[name]().log_normalizer(energy, proposal, generator=generator(0))
        assert z.value == pytest.approx(3.0, abs=1e-12)
        assert z.std_error < 1e-12


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
