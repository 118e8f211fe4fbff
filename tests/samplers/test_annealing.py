"""The annealing engine and its pilot, on paths between Gaussians."""

import math

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures import GaussianBase
from sk_wmvl.samplers import HMC, MALA, SAMPLERS, evaluate
from sk_wmvl.samplers.annealing import AnnealedPath, AnnealingPlan, anneal
from sk_wmvl.samplers.pilot import FixedStages, HalvingStages, plan_path
from tests.samplers._tools import generator

NORMAL = GaussianBase(np.zeros(2), np.eye(2))
TARGET_SD = 0.3
LOG_Z = 2 * math.log(TARGET_SD)  # of E_1, relative to the standard normal's constant


class Shrink(AnnealedPath):
    """The path from a standard normal in the plane to one of deviation 0.3."""

    def __init__(self):
        super().__init__(NORMAL)

    def difference(self, x):
        return 0.5 * (TARGET_SD**-2 - 1) * x.square().sum(-1)

    def forward(self, x):
        return self.start(x) + self.t * self.difference(x)

    def split(self, x, state=None):
        return evaluate(self.start, x), evaluate(self.difference, x)


def plan(n_temperatures):
    t = np.linspace(0, 1, n_temperatures + 1)[1:] ** 2
    return AnnealingPlan(t, 0.6 / np.sqrt(1 + t * (TARGET_SD**-2 - 1)), math.nan)


def test_the_state_on_the_path_needs_no_evaluation():
    path, x = Shrink(), NORMAL.sample(20, generator=generator(0))
    state = path.move_to(0.3, *path.split(x))
    fresh = evaluate(path, x)
    assert path.t == 0.3
    torch.testing.assert_close(state.energy, fresh.energy)
    torch.testing.assert_close(state.grad, fresh.grad)


@pytest.mark.statistical
@pytest.mark.parametrize("n_transitions", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_mean_weights_are_unbiased_both_ways(
    reverse, n_transitions, global_random_seed
):
    # 4000 chains from exact draws of either end; the mean of w or of 1/w, |z| < 4.
    g = generator(global_random_seed)
    x = NORMAL.sample(4000, generator=g) * (TARGET_SD if reverse else 1)
    log_weights, accept_prob = anneal(
        Shrink(),
        x,
        plan(10),
        HMC(n_leapfrog=2),
        n_transitions=n_transitions,
        reverse=reverse,
        generator=g,
    )
    ratio = (-1 if reverse else 1) * (log_weights - LOG_Z)
    w = ratio.exp()
    assert abs(w.mean() - 1) < 4 * w.std() / math.sqrt(4000)
    assert 0.5 < accept_prob < 1


def test_more_transitions_make_weights_more_equal():
    x = NORMAL.sample(1000, generator=generator(0))
    one, four = (
        anneal(Shrink(), x, plan(10), MALA(), n_transitions=n, generator=generator(1))[
            0
        ].var()
        for n in (1, 4)
    )
    assert four < 0.8 * one


def test_a_single_step_is_importance_sampling():
    path, x = Shrink(), NORMAL.sample(10, generator=generator(0))
    log_weights, accept_prob = anneal(path, x, plan(1), HMC())
    torch.testing.assert_close(log_weights, -path.difference(x))
    assert math.isnan(accept_prob)


# The thermodynamic length is the integral of the standard deviation of the difference
# F = a r^2 / 2, which at t is a / (1 + t a) in the plane: log(1 + a) in all.
LENGTH = math.log(TARGET_SD**-2)


@pytest.mark.statistical
@pytest.mark.parametrize(
    "stages", [HalvingStages(), FixedStages(4)], ids=lambda s: type(s).__name__
)
def test_the_pilot_measures_the_length(stages, global_random_seed):
    # 512 chains. The halving rule measures exp(-length^2) by few and long stages: within
    # a third; speeds of 40 short stages: within a tenth.
    g = generator(global_random_seed)
    found = plan_path(
        Shrink(),
        NORMAL.sample(512, generator=g),
        HMC(n_leapfrog=2),
        stages,
        n_temperatures=None,
        generator=g,
    )
    within = 0.1 if isinstance(stages, FixedStages) else 0.35
    assert found.length == pytest.approx(LENGTH, rel=within)
    assert len(found.t) == len(found.step_sizes) == math.ceil(4 * found.length**2)
    assert found.t[-1] == 1
    assert (np.diff(found.t, prepend=0) > 0).all()
    # steps shrink with the density
    assert 0.15 < found.step_sizes[-1] / found.step_sizes[0] < 0.7


def test_halving_stages_by_hand():
    # F is 0 or 1 with equal weights: the effective sample size after an advance d is
    # (1 + e^-d)^2 / (2 (1 + e^-2d)), never below a half; of 0 or 10, a half at infinity.
    stages = HalvingStages()
    difference = np.r_[np.zeros(50), np.ones(50)]
    assert stages.next_stop([0.0], difference) == 1
    normal = 100 * np.random.default_rng(0).normal(size=10_000)
    stop = stages.next_stop([0.0], normal)
    w = np.exp(-stop * normal)
    assert w.mean() ** 2 / (w**2).mean() == pytest.approx(0.5, rel=2e-3)
    # lost chains count for nothing, and a path without end is cut short
    assert stages.next_stop([0.0], np.r_[normal, math.inf, math.nan]) == stop
    assert stages.next_stop([0.0] * 61, normal) == 1
    lengths = stages.lengths([0.0, stop, 1.0], [normal, difference, difference])
    assert lengths[0] == pytest.approx(math.sqrt(math.log(2)))
    assert 0 < lengths[1] < lengths[0]


def test_a_path_without_a_finite_energy_is_not_tuned():
    class Lost(Shrink):
        def difference(self, x):
            return super().difference(x) * math.nan

    x = NORMAL.sample(5, generator=generator(0))
    found = plan_path(
        Lost(), x, HMC(), HalvingStages(), n_temperatures=7, generator=generator(1)
    )
    assert found.t.tolist() == [1.0]


def test_the_pilot_needs_a_metropolis_test():
    x = NORMAL.sample(8, generator=generator(0))
    with pytest.raises(ValueError, match="no Metropolis test"):
        plan_path(
            Shrink(),
            x,
            SAMPLERS["langevin"](),
            FixedStages(4),
            n_temperatures=3,
            generator=generator(1),
        )
