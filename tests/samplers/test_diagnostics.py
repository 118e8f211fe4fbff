import numpy as np
import pytest

from sk_wmvl.samplers import ess_bulk, ess_tail, mcse_mean, rhat


def autoregressive(rng, n_chains, n_draws, rho):
    """Stationary chains with unit variance and autocorrelation rho**t."""
    x = rng.normal(size=(n_chains, n_draws))
    for t in range(1, n_draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return x


# (n_draws - 1) * 0.05 is no integer for any total below: there the reference's quantile
# misses the order statistic by rounding, and counts one draw less.
@pytest.mark.parametrize("n_draws", [4, 7, 10, 25, 250, 1000])
@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.5, 0.97])
@pytest.mark.parametrize("heavy", [False, True])
def test_agrees_with_arviz(global_random_seed, n_draws, rho, heavy):
    az = pytest.importorskip("arviz", reason="the reference is not installed")
    rng = np.random.default_rng(global_random_seed)
    x = autoregressive(rng, 4, n_draws, rho)
    x = np.tan(1.5 * np.tanh(x)) if heavy else x
    ours = [ess_bulk(x), ess_tail(x), rhat(x), mcse_mean(x)]
    theirs = [
        float(az.ess(x, method="bulk")),
        float(az.ess(x, method="tail")),
        float(az.rhat(x)),
        float(az.mcse(x, method="mean")),
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("statistic", [ess_bulk, ess_tail, rhat, mcse_mean])
def test_features_are_treated_one_by_one(statistic):
    x = np.random.default_rng(0).normal(size=(3, 50, 2)) * [1.0, 100.0]
    expected = [statistic(x[:, :, 0]), statistic(x[:, :, 1])]
    np.testing.assert_array_equal(statistic(x), expected)


def test_ess_of_an_autoregression(global_random_seed):
    # n / tau with tau = (1 + rho) / (1 - rho) = 3. 20 000 draws: the estimator's
    # relative standard deviation, over 40 seeds, was 3 %; bound 5 of them.
    rng = np.random.default_rng(global_random_seed)
    x = autoregressive(rng, 4, 5000, 0.5)
    assert ess_bulk(x) == pytest.approx(20_000 / 3, rel=0.16)
    assert mcse_mean(x) == pytest.approx(np.sqrt(3 / 20_000), rel=0.08)


def test_rhat_sees_different_locations_and_scales(global_random_seed):
    x = np.random.default_rng(global_random_seed).normal(size=(4, 500))
    assert rhat(x) < 1.02
    assert rhat(x + np.array([[0], [0], [0], [2]])) > 1.2
    assert rhat(x * np.array([[1], [1], [1], [5]])) > 1.1


def test_one_chain_that_drifts_disagrees_with_itself():
    assert rhat(np.linspace(0, 1, 100)[None]) > 1.5


def test_constant_and_non_finite_chains():
    assert ess_bulk(np.ones((2, 10))) == 20
    assert mcse_mean(np.ones((2, 10))) == 0
    assert rhat(np.ones((2, 10))) == 1
    assert rhat(np.array([[0.0] * 10, [1.0] * 10])) == np.inf
    assert np.isnan(ess_tail(np.full((2, 10), np.nan)))


@pytest.mark.parametrize("shape", [(10,), (2, 3), (2, 3, 4, 5)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match="must have shape"):
        rhat(np.zeros(shape))
