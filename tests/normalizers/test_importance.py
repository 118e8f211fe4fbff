"""Importance sampling: its errors, and the index of its tails."""

import math

import numpy as np
import pytest
import torch

from sk_wmvl.normalizers import (
    ImportanceNormalizer,
    NormalizerWarning,
    log_mean_exp,
)
from sk_wmvl.normalizers.importance import pareto_tail_index, summarize_weights
from tests.normalizers._targets import Normal, generator, tilted


def test_importance_knows_a_hopeless_proposal():
    energy = lambda x: 50 * x.square().sum(-1)
    with pytest.warns(NormalizerWarning, match="Pareto index|effective draws"):
        ImportanceNormalizer(2000).log_normalizer(
            energy, Normal(8), generator=generator(0)
        )


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
