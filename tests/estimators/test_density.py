"""MVLDensity recovers known densities, in the user's units, and says when it cannot."""

import io
import signal
import warnings
from contextlib import redirect_stderr

import numpy as np
import pytest
import sklearn
import torch
from scipy import integrate, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch import nn

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl._rows import split_rows
from sk_wmvl.metrics import (
    fisher_divergence,
    hyvarinen_score,
    hyvarinen_scorer,
    hyvarinen_values,
)
from sk_wmvl.normalizers import QuadratureNormalizer

SMALL = {"max_epochs": 3, "hidden_layer_sizes": (16,)}


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def banana(n, seed):
    rng = np.random.default_rng([seed, 11])
    x0 = rng.normal(0, 2, n)
    return np.c_[x0, rng.normal(0.2 * (x0**2 - 4), 1)]


def banana_log_density(X):
    mean = 0.2 * (X[:, 0] ** 2 - 4)
    return stats.norm(0, 2).logpdf(X[:, 0]) + stats.norm.logpdf(X[:, 1] - mean)


def banana_score(X):
    r = X[:, 1] - 0.2 * (X[:, 0] ** 2 - 4)
    return np.c_[-X[:, 0] / 4 + 0.4 * X[:, 0] * r, -r]


@pytest.fixture(scope="module")
def fitted():
    # over a Gaussian, which leaves work to the network
    return MVLDensity(base="gaussian", random_state=0, max_epochs=25).fit(
        banana(3000, 0)
    )


@pytest.mark.parametrize("early_stopping", [False, True])
def test_buffers_of_a_users_module_reach_the_fitted_energy(early_stopping):
    linear = nn.Linear(2, 1)
    nn.init.ones_(linear.weight)  # far from right: training is better than none
    energy = nn.Sequential(nn.BatchNorm1d(2), linear, nn.Flatten(0))
    density = MVLDensity(
        energy=energy,
        early_stopping=early_stopping,
        normalizer=None,
        random_state=0,
        **SMALL,
    ).fit(banana(200, 0))
    (norm,) = (m for m in density.energy_.modules() if isinstance(m, nn.BatchNorm1d))
    assert norm.num_batches_tracked > 5  # one is from the check of its shape


# --- it learns ------------------------------------------------------------------------


@pytest.mark.statistical
def test_recovers_the_banana(global_random_seed):
    # 4 000 rows, 5 000 test rows: within 0.03 nats of the truth, where the Gaussian
    # loses 0.5, and a Fisher divergence below 0.1.
    X, T = banana(4000, global_random_seed), banana(5000, global_random_seed + 100)
    density = MVLDensity(random_state=global_random_seed, max_epochs=30).fit(X)
    gap = (banana_log_density(T) - density.score_samples(T)).mean()
    assert gap < 0.03
    assert fisher_divergence(density, T, banana_score(T)) < 0.1


@pytest.mark.statistical
@pytest.mark.parametrize(
    "objective",
    ["mvl-graph", *(slow(name) for name in ("sm", "ssm", "ssm-vr", "fd-ssm"))],
)
def test_every_objective_learns(objective, global_random_seed):
    # A third of the Gaussian's Fisher divergence (0.65) with 2 000 rows and 15 epochs.
    seed = global_random_seed
    X, T = banana(2000, seed), banana(2000, seed + 100)
    density = MVLDensity(
        objective, base="gaussian", random_state=seed, max_epochs=15, lr=5e-3
    ).fit(X)
    assert fisher_divergence(density, T, banana_score(T)) < 0.22


@pytest.mark.statistical
@pytest.mark.parametrize("objective", [slow("dsm"), slow("cd1")])
def test_noisy_objectives_learn(objective, global_random_seed):
    X, T = banana(2000, global_random_seed), banana(2000, global_random_seed + 100)
    density = MVLDensity(
        objective, epsilon=1e-2, random_state=global_random_seed, max_epochs=15, lr=5e-3
    ).fit(X)
    assert fisher_divergence(density, T, banana_score(T)) < 0.3


@pytest.mark.statistical
@pytest.mark.parametrize("d", [2, slow(10), slow(30)])
def test_never_much_worse_than_the_gaussian(d, global_random_seed):
    # 5 000 draws of a Gaussian with condition number of about d^4, 5 000 test rows: at
    # most 0.01 nats below the fitted Gaussian.
    rng = np.random.default_rng([global_random_seed, d])
    A = rng.normal(size=(d, d))
    X, T = rng.normal(size=(5000, d)) @ A.T, rng.normal(size=(5000, d)) @ A.T
    density = MVLDensity(random_state=global_random_seed, max_epochs=20).fit(X)
    gaussian = stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(T).mean()
    assert density.score(T) > gaussian - 0.01


def gaussian_moments(density, d):
    """Read mean and covariance off the linear score of a Gaussian model."""
    at = density.score_fn(np.vstack([np.zeros(d), np.eye(d)]))
    precision = at[0] - at[1:]
    return np.linalg.solve(precision, at[0]), np.linalg.inv(precision)


def test_untrained_model_is_its_base():
    X = banana(500, 0) @ [[1.0, 0.5], [0.0, 1.0]]
    density = MVLDensity(base="gaussian", random_state=0, lr=1e-30, **SMALL).fit(X)
    mean, cov = gaussian_moments(density, 2)
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-8, atol=1e-8)
    expected = np.cov(X.T, ddof=0)
    np.testing.assert_allclose(np.diag(cov), np.diag(expected), rtol=1e-8)
    assert 0.95 < cov[0, 1] / expected[0, 1] <= 1  # shrunk a little
    mixture = GaussianMixture(3, random_state=0).fit(X)
    for base in (mixture, FrozenEstimator(mixture)):
        density = MVLDensity(random_state=0, lr=1e-30, base=base, **SMALL).fit(X)
        np.testing.assert_allclose(
            density.score_samples(X), mixture.score_samples(X), atol=1e-4
        )


def test_blindness_to_mode_weights_and_its_cure():
    # Two far modes with weights 0.8 and 0.2: minimum velocity alone over a Gaussian base
    # splits the mass about evenly or worse. A mixture base gets it right, and so does the
    # likelihood.
    rng = np.random.default_rng(0)
    left = rng.random(3000) < 0.8
    X = np.where(left, -8.0, 8.0)[:, None] + rng.normal(size=(3000, 1))
    grid = np.linspace(-15, 0, 2000)[:, None]
    mass = {}
    cases = ("gaussian", None), ("mixture", None), ("gaussian", "auto")
    for base, weight in cases:
        density = MVLDensity(
            objective_weight=weight, random_state=0, max_epochs=20, base=base
        ).fit(X)
        log_density = density.score_samples(grid)
        mass[base, weight] = integrate.trapezoid(np.exp(log_density), grid[:, 0])
    blind, *cured = (abs(mass[case] - left.mean()) for case in cases)
    assert max(cured) < 0.02 < blind


# --- laws -----------------------------------------------------------------------------


def test_density_integrates_to_one(fitted):
    x, y = np.linspace(-14, 14, 500), np.linspace(-12, 30, 500)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(fitted.score_samples(grid)).reshape(500, 500)
    mass = integrate.trapezoid(integrate.trapezoid(p, y), x)
    assert abs(mass - 1) < 1e-3
    assert fitted.log_normalizer_std_ < 0.01
    assert fitted.normalizer_result_.method


@pytest.mark.parametrize("standardize", [True, False])
def test_score_fn_is_the_gradient_of_score_samples(standardize):
    X = banana(400, 0) * [1.0, 20.0] + [100.0, 0.0]
    density = MVLDensity(
        random_state=0, base="gaussian", standardize=standardize, **SMALL
    ).fit(X)
    X = X[:20]
    numeric = np.zeros_like(X)
    for j, h in enumerate(1e-3 * X.std(0)):
        e = np.eye(2)[j] * h  # a fourth-order central difference
        f = [density.score_samples(X + k * e) for k in (-2, -1, 1, 2)]
        numeric[:, j] = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
    np.testing.assert_allclose(density.score_fn(X), numeric, rtol=1e-8, atol=1e-8)


def test_units_shift_log_densities_by_the_log_scale():
    # The same seed on rescaled columns: -log c each, up to float32 training.
    X, c = banana(600, 0), np.array([1000.0, 0.01])
    params = {"base": "gaussian", "random_state": 0, **SMALL}
    one = MVLDensity(**params).fit(X).score_samples(X)
    two = MVLDensity(**params).fit(X * c).score_samples(X * c)
    np.testing.assert_allclose(two, one - np.log(c).sum(), atol=2e-2)


def test_batches_do_not_matter(fitted):
    X = banana(1000, 3)
    together = fitted.score_samples(X)
    alone = np.concatenate([fitted.score_samples(x[None]) for x in X[:50]])
    np.testing.assert_allclose(alone, together[:50], rtol=1e-11)
    assert together.dtype == np.float64


@pytest.mark.statistical
def test_samples_follow_the_density(fitted, global_random_seed):
    # 4 000 draws; moments of the model by quadrature; |z| < 4.
    x, y = np.linspace(-14, 14, 400), np.linspace(-12, 30, 400)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(fitted.score_samples(grid))
    p /= p.sum()
    draws = fitted.sample(4000, random_state=global_random_seed)
    for f in (lambda X: X, lambda X: X**2, lambda X: X[:, :1] * X[:, 1:]):
        mean = p @ f(grid)
        values = f(draws)
        z = (values.mean(0) - mean) / (values.std(0) / len(draws) ** 0.5)
        assert np.abs(z).max() < 4


def test_sample_arguments(fitted):
    assert fitted.sample().shape == (1, 2)
    assert np.array_equal(fitted.sample(5), fitted.sample(5))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5, random_state=1))
    for bad in (0, -1, 2.5, "ten"):
        with pytest.raises(ValueError, match="n_samples must be an integer >= 1"):
            fitted.sample(bad)


# --- weights --------------------------------------------------------------------------


def test_weights_of_the_gaussian_case_in_closed_form():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ [[1.0, 0.7], [0.0, 0.7]]
    w = rng.integers(0, 4, 400).astype(float)
    params = {"base": "gaussian", "random_state": 0, "lr": 1e-30, "max_epochs": 1}
    weighted = MVLDensity(**params).fit(X, sample_weight=w)
    mean, cov = gaussian_moments(weighted, 2)
    expected = np.cov(X.T, aweights=w, ddof=0)
    np.testing.assert_allclose(mean, np.average(X, axis=0, weights=w), rtol=1e-8)
    np.testing.assert_allclose(np.diag(cov), np.diag(expected), rtol=1e-8)
    assert 0.98 < cov[0, 1] / expected[0, 1] <= 1  # shrunk a little
    # Copies instead of weights.
    copies = MVLDensity(**params).fit(np.repeat(X, w.astype(int), axis=0))
    for one, two in zip(gaussian_moments(copies, 2), (mean, cov), strict=True):
        np.testing.assert_allclose(one, two, rtol=0.01)
    # Rows of weight zero are as good as absent, and only ratios matter.
    T = rng.normal(size=(50, 2))
    absent = MVLDensity(**params).fit(X[w > 0], sample_weight=w[w > 0])
    assert np.array_equal(absent.score_samples(T), weighted.score_samples(T))
    scaled = MVLDensity(**params).fit(X, sample_weight=10 * w)
    np.testing.assert_allclose(scaled.score_samples(T), weighted.score_samples(T))


@pytest.mark.statistical
def test_weights_tilt_what_is_learned(global_random_seed):
    # Importance weights turn N(0, 1) into N(1, 1): 8 000 rows, moments within 0.1.
    rng = np.random.default_rng([global_random_seed, 4])
    X = rng.normal(size=(8000, 1)) * 1.5
    w = np.exp(stats.norm(1, 1).logpdf(X) - stats.norm(0, 1.5).logpdf(X))[:, 0]
    density = MVLDensity(random_state=0, max_epochs=10).fit(X, sample_weight=w)
    grid = np.linspace(-6, 8, 2000)[:, None]
    p = np.exp(density.score_samples(grid))
    p /= p.sum()
    mean = p @ grid[:, 0]
    assert abs(mean - 1) < 0.1
    assert abs(p @ (grid[:, 0] - mean) ** 2 - 1) < 0.15


# --- scores and searches --------------------------------------------------------------


def test_score_is_the_mean_and_without_normalizer_the_hyvarinen_score(fitted):
    T = banana(500, 9)
    assert fitted.score(T) == pytest.approx(fitted.score_samples(T).mean())
    params = {"base": "gaussian", "normalizer": None, "random_state": 0, **SMALL}
    density = MVLDensity(**params).fit(banana(500, 0))
    assert density.log_normalizer_ is None
    # What counts is the fit, not what the parameter was set to since.
    assert density.set_params(normalizer="auto").score(T) == -hyvarinen_score(
        density, T
    )
    assert density.score(T) == -hyvarinen_score(density, T)
    # An oracle: the divergence of score_fn by finite differences.
    T, h = T[:50], 1e-5
    laplacian = sum(
        (density.score_fn(T + h * e) - density.score_fn(T - h * e))[:, j] / (2 * h)
        for j, e in enumerate(np.eye(2))
    )
    value = 0.5 * (density.score_fn(T) ** 2).sum(1) + laplacian
    assert hyvarinen_score(density, T) == pytest.approx(value.mean(), rel=1e-5)
    pipe = make_pipeline(StandardScaler(), density).fit(banana(500, 0))
    assert np.isfinite(hyvarinen_scorer(pipe, T))


def test_scorer_of_pipelines_of_one_step_and_of_pipelines():
    T = banana(100, 1)
    params = {"base": "gaussian", "normalizer": None, "random_state": 0, **SMALL}
    scaled = make_pipeline(StandardScaler(), MVLDensity(**params)).fit(banana(100, 0))
    density = scaled[-1]
    expected = -hyvarinen_score(density, scaled[:-1].transform(T))
    assert hyvarinen_scorer(scaled, T) == expected
    assert hyvarinen_scorer(make_pipeline(scaled), T) == expected
    alone = make_pipeline(density)
    assert hyvarinen_scorer(alone, T) == -hyvarinen_score(density, T)


@pytest.mark.slow
@pytest.mark.filterwarnings(  # the step of 0.5 is meant to be bad
    "ignore:The learned correction:sklearn.exceptions.ConvergenceWarning"
)
@pytest.mark.parametrize("scoring", [None, hyvarinen_scorer])
def test_grid_search_finds_the_lower_fisher_divergence(scoring):
    # Step sizes three orders apart and a crushing penalty are compared fairly.
    X, T = banana(2000, 0), banana(4000, 1)
    pipe = make_pipeline(
        StandardScaler(),
        MVLDensity(base="gaussian", random_state=0, max_epochs=15, lr=5e-3),
    )
    grid = {"mvldensity__epsilon": [1e-4, 0.5], "mvldensity__alpha": [1e-4, 10.0]}
    search = GridSearchCV(pipe, grid, scoring=scoring, n_jobs=2, cv=3).fit(X)
    truth = {}
    for params in search.cv_results_["params"]:
        one = pipe.set_params(**params).fit(X)
        scale = one[0].scale_
        score = one[1].score_fn(one[0].transform(T)) / scale
        truth[tuple(params.values())] = np.square(score - banana_score(T)).mean()
    assert tuple(search.best_params_.values()) == min(truth, key=truth.get)


# --- training -------------------------------------------------------------------------


def test_partial_fit_and_warm_start_continue():
    X = banana(400, 0)
    density = MVLDensity(base="gaussian", random_state=0, **SMALL)
    for k in range(1, 4):
        density.partial_fit(X)
        assert density.n_iter_ == k
    warm = MVLDensity(base="gaussian", random_state=0, warm_start=True, **SMALL).fit(X)
    before = warm.loss_curve_
    warm.fit(X)
    assert warm.loss_curve_[: len(before)] == before
    assert warm.n_iter_ == 6
    with pytest.raises(ValueError, match="3 features"):
        warm.fit(np.c_[X, X[:, 0]])
    with pytest.raises(ValueError, match="cannot go on from the last fit"):
        warm.set_params(hidden_layer_sizes=(5,)).fit(X)
    longer = MVLDensity(
        base="gaussian", random_state=0, net_params={"max_epochs": 5}, **SMALL
    ).fit(X)
    assert longer.n_iter_ == 5  # net_params win


def test_early_stopping_keeps_the_best_weights():
    X = banana(60, 0)
    density = MVLDensity(random_state=0, max_epochs=200, n_iter_no_change=10, lr=1e-2)
    density.fit(X)
    setup = density._setup
    curve = density.validation_loss_curve_
    assert len(curve) == density.n_iter_ < 200
    # The kept weights have the best held-out score: recompute it from the model.
    _, held = split_rows(60, 0.1, [setup.seed, 3])
    u = setup.coordinates.to_internal(X)[held]
    value = hyvarinen_values(density.energy_.energy, torch.tensor(u)).mean()
    untrained = MVLDensity(random_state=0, lr=1e-30, max_epochs=1).fit(X)
    zero = hyvarinen_values(untrained.energy_.energy, torch.tensor(u)).mean()
    assert float(value) == pytest.approx(min(*curve, float(zero)), rel=1e-4, abs=1e-4)


class Explode(Callback):
    """Poison the weights in the third epoch."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            for p in net.module_.parameters():
                p.data.fill_(torch.nan)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_warns_and_keeps_the_last_good_weights(early_stopping):
    X = banana(300, 0)
    params = {"random_state": 0, "early_stopping": early_stopping, "max_epochs": 5}
    density = MVLDensity(base="gaussian", callbacks=[Explode()], **params)
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 3"):
        density.fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.n_iter_ == 3


class Interrupt(Callback):
    """Press Ctrl-C in the second epoch, once."""

    fits = 0

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            Interrupt.fits += 1
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def ctrl_c():
    """Make SIGINT raise, which it does not in a process started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_grid_search():
    Interrupt.fits = 0
    search = GridSearchCV(
        MVLDensity(base="gaussian", callbacks=[Interrupt()], **SMALL),
        {"alpha": [0.1, 0.2]},
        cv=2,
    )
    with pytest.raises(KeyboardInterrupt):
        search.fit(banana(100, 0))
    assert Interrupt.fits == 1


def test_skorch_callbacks_work_and_are_copied(tmp_path):
    X = banana(300, 0)
    callbacks = [
        ("stop", EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs")),
        ("clip", GradientNormClipping(1.0)),
        ("rate", LRScheduler("StepLR", step_size=1, gamma=0.5)),
        ("save", Checkpoint(dirname=tmp_path)),
        (
            "own",
            EpochScoring(
                lambda net, X, y: float(len(X)), name="rows", use_caching=False
            ),
        ),
    ]
    density = MVLDensity(
        random_state=0, callbacks=callbacks, lr_schedule="constant", max_epochs=9
    ).fit(X)
    assert density.n_iter_ < 9  # skorch's own early stopping
    assert density.history_[0]["rows"] == 30
    assert (tmp_path / "params.pt").exists()
    assert not callbacks[0][1].__dict__.get("dynamic_threshold_")


def test_verbose(capsys):
    X = banana(100, 0)
    MVLDensity(random_state=0, **SMALL).fit(X)
    assert capsys.readouterr() == ("", "")
    err = io.StringIO()
    with redirect_stderr(err):
        MVLDensity(random_state=0, verbose=1, **SMALL).fit(X)
    # one bar, however often it was drawn in the time that the fit took
    assert "MVLDensity: 100%" in err.getvalue()
    assert err.getvalue().count("\n") == 1
    MVLDensity(random_state=0, verbose=2, **SMALL).fit(X)
    out = capsys.readouterr().out
    assert "valid_loss" in out
    assert out.count("\n") >= 5


def test_scikit_learn_callbacks():
    callback = pytest.importorskip(
        "sklearn.callback", reason="scikit-learn 1.9 brought callbacks"
    )
    X = banana(200, 0)
    monitor = callback.ScoringMonitor(scoring=None)
    density = MVLDensity(base="gaussian", random_state=0, **SMALL)
    density.set_callbacks(monitor)
    density.fit(X)
    log = monitor.get_logs()
    assert log is not None
    plain = MVLDensity(base="gaussian", random_state=0, **SMALL).fit(X)
    assert np.array_equal(plain.score_samples(X), density.score_samples(X))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "rmsprop", "sgd", "lbfgs"])
def test_optimizers(optimizer):
    density = MVLDensity(
        "sm",
        base="gaussian",
        optimizer=optimizer,
        random_state=0,
        lr=1e-3,
        alpha=0,  # the penalty has fresh noise, which L-BFGS cannot stand
        batch_size=400,
        **SMALL,
    ).fit(banana(400, 0))
    assert density.loss_curve_[-1] < density.loss_curve_[0] + 0.1


def test_user_modules_are_copied_never_trained_in_place():
    module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    before = [p.clone() for p in module.parameters()]
    X = banana(200, 0)
    density = MVLDensity(energy=module, random_state=0, max_epochs=3)
    with warnings.catch_warnings():  # three epochs from any weights may well do harm
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    for p, q in zip(before, module.parameters(), strict=True):
        assert torch.equal(p, q)
    assert density.energy_.energy.correction is not module


def test_degenerate_columns_do_not_break_a_fit():
    X = banana(100, 0)
    with_constant = np.c_[X, np.full(100, 7.0)]
    with_copy = np.c_[X, 2 * X[:, 0]]
    for bad in (with_constant, with_copy):
        for base in ("auto", "gaussian"):
            density = MVLDensity(base=base, random_state=0, **SMALL)
            with pytest.warns(
                UserWarning, match=r"Constant columns|exact linear functions"
            ):
                density.fit(bad)
            assert np.isfinite(density.score_samples(bad)).all()


def test_normalizer_object():
    density = MVLDensity(
        base="gaussian", normalizer=QuadratureNormalizer(), random_state=0, **SMALL
    ).fit(banana(300, 0))
    assert density.normalizer_result_.effective_sample_size == np.inf


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_and_cpu_agree():
    X = banana(500, 0)
    params = {"random_state": 0, "max_epochs": 3}
    cuda = MVLDensity(device="cuda", **params).fit(X)
    cpu = MVLDensity(device="cpu", **params).fit(X)
    assert cuda.device_.type == "cuda"
    np.testing.assert_allclose(cuda.score_samples(X), cpu.score_samples(X), atol=0.05)
    assert cuda.sample(3).shape == (3, 2)


# --- rows in groups -------------------------------------------------------------------


def grouped(seed, n_groups=30, size=20):
    """Return rows that scatter little around the centres of their groups."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    centres = rng.standard_normal((n_groups, 2))
    return centres[groups] + 0.1 * rng.standard_normal((len(groups), 2)), groups


@pytest.mark.slow
def test_groups_are_never_divided():
    X, groups = grouped(0)
    # A mixture of 30 narrow clusters, found by rows of known groups, is worth nothing here.
    new, _ = grouped(1)
    params = {"manifold": "torus", "max_epochs": 2, "random_state": 0}
    apart = RiemannianMVLDensity(**params).fit(X)
    together = RiemannianMVLDensity(**params).fit(X, groups=groups)
    assert apart.score(X) > together.score(X)
    assert together.score(new) > apart.score(new)
    names = np.array([f"subject {g}" for g in groups])
    again = RiemannianMVLDensity(**params).fit(X, groups=names)
    assert again.score(new) == pytest.approx(together.score(new), abs=1e-12)


def test_groups_reach_fit_through_a_pipeline_and_a_search():
    X, groups = grouped(0)
    Z = StandardScaler().fit_transform(X)
    params = {"base": "gaussian", "normalizer": None, "random_state": 0, **SMALL}
    direct = MVLDensity(**params).fit(Z, groups=groups).score(Z)
    assert direct != MVLDensity(**params).fit(Z).score(Z)
    with sklearn.config_context(enable_metadata_routing=True):
        density = MVLDensity(**params).set_fit_request(groups=True)
        pipe = make_pipeline(StandardScaler(), density).fit(X, groups=groups)
        search = GridSearchCV(density, {"alpha": [1e-4]}, cv=GroupKFold(3))
        search.fit(Z, groups=groups)
    assert pipe.score(X) == search.score(Z) == direct


@pytest.mark.parametrize(
    ("groups", "message"),
    [([0] * 600, "one group only"), ([0, 1], "one label per row")],
)
def test_groups_are_checked(groups, message):
    X, _ = grouped(0)
    with pytest.raises(ValueError, match=message):
        MVLDensity().fit(X, groups=groups)
