"""The choice of a base measure in Euclidean space."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_wmvl import MVLDensity
from sk_wmvl.base_measures import MixtureBase, StackedBase
from sk_wmvl.base_measures.selection.euclidean import (
    ChosenMixture,
    Sample,
    choose_mixture,
)
from sk_wmvl.base_measures.selection.student_mixture import fit_mixture
from sk_wmvl.coordinates.ties import rounding_steps
from tests.coordinates._cases import MATRIX, SHIFT, TRANSFORM, lognormal_rows


def none_held_out(x):
    return {"weight": np.ones(len(x)), "held_out": np.arange(0)}


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "d"), [(100, 2), (500, 8)])
def test_normal_rows_get_one_normal_density(n, d, global_random_seed):
    x = np.random.default_rng(global_random_seed).normal(size=(n, d))
    assert choose_mixture(x, **none_held_out(x)).is_one_normal


@pytest.mark.slow
@pytest.mark.statistical
def test_heavy_tails_get_a_student_density(global_random_seed):
    student = stats.multivariate_t(np.zeros(2), np.eye(2), 3.0)
    rng = np.random.default_rng(global_random_seed)
    x, new = student.rvs(1000, random_state=rng), student.rvs(4000, random_state=rng)
    base = choose_mixture(x, **none_held_out(x))
    loss = student.logpdf(new) - base.log_prob(new)
    # 5 parameters fitted to 1000 rows cost 0.0025; the Gaussian 0.4
    assert loss.mean() < 0.03
    far = np.array([[200.0, 0.0]])
    assert abs(student.logpdf(far) - base.log_prob(far))[0] < 3


@pytest.mark.slow
@pytest.mark.statistical
def test_averaged_mixtures_beat_single_ones(global_random_seed, monkeypatch):
    # 400 rows about a closed curve in six columns, which no few components fit: 5000 new
    # rows are likelier than under the same choice from one start, by four standard errors.
    # In three columns, where one start suffices, there is hardly a difference.
    rng = np.random.default_rng(global_random_seed)

    def draw(n):
        t = rng.uniform(0, 2 * np.pi, (n, 1)) * [1, 1, 2, 2, 2, 4]
        curve = np.cos(t - np.pi / 2 * np.array([0, 1, 0, 0, 1, 0]))
        return curve + 0.15 * rng.normal(size=(n, 6))

    x, new = draw(400), draw(5000)
    averaged = choose_mixture(x, **none_held_out(x), seed=global_random_seed)
    monkeypatch.setattr("sk_wmvl.base_measures.selection.race.N_AVERAGED", 1)
    single = choose_mixture(x, **none_held_out(x), seed=global_random_seed)
    gain = averaged.log_prob(new) - single.log_prob(new)
    assert gain.mean() > 4 * gain.std() / 5000**0.5


@pytest.mark.statistical
@pytest.mark.parametrize(
    "d",
    [
        2,
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.slow),
    ],
)
def test_weights_of_separated_modes(d, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n = 200 if d == 2 else 1000
    right = rng.random(n) < 0.9
    x = rng.normal(size=(n, d))
    x[:, 0] += np.where(right, 4.0, -4.0)
    base = choose_mixture(x / x.std(0), **none_held_out(x)).plain
    z = base.means[:, 0] / np.sqrt(base.covariances[:, 0, 0])
    mass = base.weights @ stats.t(np.minimum(base.degrees_of_freedom, 1e6)).cdf(z)
    assert abs(mass - right.mean()) < 0.01


def test_groups_are_held_out_whole():
    # 8 subjects of 6 rows each in 2 dimensions, tight around their own places.
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(16, 2))
    x = np.repeat(centers, 6, 0) + 0.05 * rng.normal(size=(96, 2))
    groups = np.repeat(np.arange(16), 6)
    seen = groups < 8
    x_seen, x_new = x[seen], x[~seen]
    by_row = choose_mixture(x_seen, **none_held_out(x_seen))
    by_group = choose_mixture(x_seen, **none_held_out(x_seen), groups=groups[seen])
    assert by_group.log_prob(x_new).mean() > by_row.log_prob(x_new).mean() + 1


def test_no_component_shrinks_onto_a_tied_value():
    rng = np.random.default_rng(0)
    x = np.c_[np.where(rng.random(300) < 0.5, 0.0, rng.normal(size=300).round(1))]
    base = choose_mixture(x, **none_held_out(x))
    assert base.log_prob(x).max() < np.log(1 / np.sqrt(2 * np.pi * 0.01 / 12))


# --- transformed columns --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.statistical
def test_lognormal_columns(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    x, log_density = lognormal_rows(rng, 1000)
    new, _ = lognormal_rows(rng, 4000)
    mixture = choose_mixture(x, np.ones(1000), held_out=np.arange(0))
    assert mixture.transformed_weight > 0.5
    # 9 parameters fitted to 1000 rows cost 0.0045; without transformations 0.09 to 0.13
    assert (log_density(new) - mixture.log_prob(new)).mean() < 0.03


def test_few_rows_are_not_transformed():
    # 49 of 62 are left where five folds hold out 12 or 13
    x, _ = lognormal_rows(np.random.default_rng(0), 62)
    assert choose_mixture(x, np.ones(62), held_out=np.arange(0)).transform is None


def test_no_component_is_narrower_than_rounding():
    rng = np.random.default_rng(0)
    x = np.where(
        rng.random((300, 2)) < 0.7, 0, np.exp(rng.normal(2, 1, (300, 2))).round()
    )
    x = x / x.std(0)
    steps = rounding_steps(x)
    transform, _, _, floor = Sample(x, np.ones(300)).transformed
    grid = np.linspace(-3, 10, 20_001)[:, None] * np.ones(2)
    narrowest = np.sqrt(floor) / transform.slopes(grid).max(0)
    assert (narrowest >= steps / np.sqrt(12)).all()
    mixture = choose_mixture(x, np.ones(300), held_out=np.arange(0))
    assert mixture.transformed_weight > 0.5
    highest = -0.5 * np.log(2 * np.pi * steps**2 / 12).sum()
    assert mixture.log_prob(np.unique(x, axis=0)).max() < highest


@pytest.mark.parametrize("transformed", [False, True])
def test_a_stack_is_the_same_density_in_internal_units(transformed):
    rng = np.random.default_rng(0)
    plain = fit_mixture(
        rng.normal(size=(50, 2)), np.ones(50), 2, 10.0, floor=np.zeros(2), seed=0
    )
    chosen = ChosenMixture(plain, plain, TRANSFORM, 0.4)
    base = chosen.base(SHIFT, MATRIX, transformed=transformed)
    assert isinstance(base, StackedBase)
    u = rng.normal(0, 1, (40, 2))
    z, volume = SHIFT + u @ MATRIX.T, np.log(np.linalg.det(MATRIX))
    if transformed:
        z = TRANSFORM.location + TRANSFORM.scale * np.sinh(
            TRANSFORM.mean + TRANSFORM.std * z
        )
        volume = volume - TRANSFORM.log_det(z)
    expected = chosen.log_prob(z) + volume
    np.testing.assert_allclose(
        base.log_prob(torch.tensor(u)).numpy(), expected, rtol=1e-9
    )


# --- in the estimator -----------------------------------------------------------------


def test_default_base_integrates_to_one_in_the_units_of_X():
    rng = np.random.default_rng(0)
    X = 1e3 + 50 * np.r_[rng.normal(-3, 0.3, 30), rng.normal(2, 1, 30)][:, None]
    density = MVLDensity(random_state=0, max_epochs=3).fit(X)
    assert isinstance(density.base_, MixtureBase)
    grid = np.linspace(0, 2000, 4001)[:, None]
    assert np.exp(density.score_samples(grid)).sum() * 0.5 == pytest.approx(1, abs=1e-3)
