"""ImplicitVAE and WassersteinAutoencoder: closed forms, digits, and what goes wrong."""

import math
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from skorch.callbacks import Callback
from torch import nn

from sk_wmvl import ImplicitVAE, WassersteinAutoencoder
from sk_wmvl.autoencoders import PRESETS, KullbackLeibler
from sk_wmvl.manifolds import Hyperbolic, Product, Sphere, Torus
from sk_wmvl.objectives import SlicedScoreMatching

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "critic_layer_sizes": (8,)}
BOTH = [ImplicitVAE, WassersteinAutoencoder]
both = pytest.mark.parametrize("Estimator", BOTH)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data / 16


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 7


# --- scikit-learn ---------------------------------------------------------------------


@parametrize_with_checks(
    [
        ImplicitVAE(encoder="vmf", **SMALL),
        ImplicitVAE(latent="euclidean", encoder="gaussian", **SMALL),
        ImplicitVAE(latent="torus", order="critic-first", optimizer="adam", **SMALL)
        .set_params(log_likelihood="annealed", n_temperatures=2, n_chains=1)
        .set_params(latent="hyperbolic", log_likelihood="importance"),
        WassersteinAutoencoder(divergence="gan", **SMALL),
        WassersteinAutoencoder(divergence="mmd", cost="squared_error", **SMALL),
    ]
)
def test_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@both
def test_default_passes_every_check_it_runs(Estimator):
    results = check_estimator(Estimator(), on_skip=None)
    assert {r["status"] for r in results} == {"passed"}
    assert len(results) >= 41


@both
@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_estimators_partial_fit_n_features",
        "check_param_validation",
        "check_transformer_get_feature_names_out",
    ],
)
def test_checks_outside_the_default_list(Estimator, name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"this scikit-learn has no {name}")
    check(Estimator.__name__, Estimator(**SMALL))


@both
def test_not_fitted_and_bad_input(Estimator, X):
    for method in ("transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(NotFittedError):
            getattr(Estimator(), method)(X)
    with pytest.raises(NotFittedError):
        Estimator().sample()
    fitted = Estimator(random_state=0, **SMALL).fit(X)
    bad = X.copy()
    bad[3, 1] = np.nan
    for method in ("transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(ValueError, match="contains NaN"):
            getattr(fitted, method)(bad)
        with pytest.raises(ValueError, match="3 features"):
            getattr(fitted, method)(X[:, :3])
    with pytest.raises(ValueError, match="1 sample"):
        Estimator().fit(X[:1])
    with pytest.raises(ValueError, match="n_samples must be"):
        fitted.sample(0)
    with pytest.raises(ValueError, match=r"row 0 .*norm|row 0 with"):
        fitted.inverse_transform([[2.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="4 columns"):
        fitted.inverse_transform(np.eye(4))


@both
def test_bernoulli_names_what_is_outside(Estimator, X):
    name = "likelihood" if Estimator is ImplicitVAE else "cost"
    value = "bernoulli" if Estimator is ImplicitVAE else "cross_entropy"
    unit = (X - X.min()) / (X.max() - X.min())
    fitted = Estimator(random_state=0, **{name: value}, **SMALL).fit(unit)
    assert fitted.likelihood_ == value
    unit[5, 2] = 1.5
    with pytest.raises(ValueError, match=r"1\.5 in row 5, column 2"):
        fitted.transform(unit)
    with pytest.raises(ValueError, match=r"1\.5 in row 5, column 2"):
        clone(fitted).fit(unit)
    # the choice is made by the data, and said
    assert Estimator(random_state=0, **SMALL).fit(unit).likelihood_ != value


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter"),
        ({"latent": "nowhere"}, "'latent' parameter"),
        ({"latent": Sphere(3)}, "n_components=2"),
        ({"latent": "euclidean", "encoder": "vmf"}, "makes codes on Sphere"),
        ({"encoder": "gaussian"}, "makes codes on Euclidean"),
        ({"latent": "spd", "n_components": 3}, "has dimension|no prior"),
        ({"likelihood": "poisson"}, "'likelihood' parameter"),
        ({"encoder_network": "conv"}, "image_shape"),
        ({"decoder_network": "conv", "image_shape": (3, 3)}, "image_shape"),
        ({"encoder_network": nn.Linear(4, 3)}, "encoder_network"),
        ({"decoder_network": nn.Linear(3, 5)}, "decoder_network maps"),
        ({"averaging": 1.0}, "'averaging' parameter"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"critic_lr": 0.0}, "'critic_lr' parameter"),
    ],
)
def test_bad_parameters_are_named(X, params, message):
    with pytest.raises(ValueError, match=message):
        ImplicitVAE(**{**SMALL, **params}).fit(X)


@pytest.mark.parametrize(
    "estimator",
    [
        ImplicitVAE(**SMALL),
        ImplicitVAE(encoder="vmf", **SMALL),
        WassersteinAutoencoder(**SMALL),
    ],
)
def test_rows_of_zeros_have_a_code(estimator):
    # without biases, as networks start, they have no direction on a sphere
    X = np.zeros((30, 5))
    X[::2] = np.eye(5)[np.arange(15) % 5]
    assert np.isfinite(estimator.fit(X).transform(X)).all()


def test_constant_columns(X):
    X = np.c_[X, np.full(len(X), 3.0)]
    vae = ImplicitVAE(random_state=0, **SMALL).fit(X)
    # as wide a column again would add about 1.4 nats; a constant one adds none
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(WassersteinAutoencoder(**SMALL).fit(X).score(X))
    X[:] = 1.0
    assert np.isfinite(ImplicitVAE(**SMALL).fit(X * 2).transform(X)).all()


@both
def test_same_seed_same_bits_and_exact_resumption(Estimator, X, tmp_path):
    # what pickling loses, resuming would show
    one = Estimator(random_state=3, **{**SMALL, "max_epochs": 3}).fit(X)
    two = Estimator(random_state=3, **SMALL).partial_fit(X).partial_fit(X)
    two = pickle.loads(pickle.dumps(two))
    joblib.dump(two, tmp_path / "model")
    two = joblib.load(tmp_path / "model").partial_fit(X)
    three = Estimator(random_state=3, warm_start=True, **SMALL)
    three.fit(X).set_params(max_epochs=1).fit(X)
    for other in (two, three, clone(one).fit(X)):
        assert np.array_equal(one.transform(X), other.transform(X))
        assert np.array_equal(one.sample(5), other.sample(5))
        assert one.loss_curve_ == other.loss_curve_
        assert other.n_iter_ == 3
    other = Estimator(random_state=4, **SMALL).fit(X)
    assert not np.array_equal(one.transform(X), other.transform(X))


@both
def test_resuming_with_another_network_is_refused(Estimator, X):
    fitted = Estimator(**SMALL, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="warm_start=False"):
        fitted.set_params(hidden_layer_sizes=(9,)).fit(X)


def test_global_state_is_left_alone(X):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    for Estimator in BOTH:
        fitted = Estimator(**SMALL).fit(X)
        fitted.sample(3)
        fitted.score(X)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert threads == torch.get_num_threads()


@both
def test_pipeline_search_and_output(Estimator, X):
    pipe = make_pipeline(StandardScaler(), Estimator(random_state=0, **SMALL))
    name = Estimator.__name__.lower()
    grid = {f"{name}__alpha": [0.01, 0.1], f"{name}__n_components": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    fitted = Estimator(random_state=0, **SMALL).set_output(transform="pandas")
    frame = fitted.fit_transform(pd.DataFrame(X, columns=list("abcd")))
    assert list(frame.columns) == [f"{name}{k}" for k in range(3)]


def test_transform_is_of_each_row_alone(X):
    vae = ImplicitVAE(random_state=0, **SMALL).fit(X)
    codes = vae.transform(X)
    assert np.allclose(np.linalg.norm(codes, axis=1), 1)
    assert np.allclose(codes[7:8], vae.transform(X[7:8]), atol=1e-12)
    assert np.allclose(vae.reconstruct(X), vae.inverse_transform(codes))
    scores = vae.score_samples(X)
    assert np.allclose(scores[7:8], vae.score_samples(X[7:8]), rtol=1e-9)


# --- closed forms ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.statistical
def test_linear_gaussian_model_reaches_its_closed_form(global_random_seed):
    # x = w z + noise: p(x) = N(b, w w' + s^2 I), and the posterior is normal with
    # precision 1 + w'w/s^2
    rng = np.random.default_rng(global_random_seed)
    w = np.array([[1.0, -1.0, 0.5]])
    X = rng.normal(size=(4000, 1)) @ w + 0.5 * rng.normal(size=(4000, 3))
    X = (X - X.mean(0)) / X.std(0)  # so that units are as inside
    vae = ImplicitVAE(
        1,
        latent="euclidean",
        encoder_network=lambda n_in, n_out: _linear(n_in, n_out, global_random_seed),
        decoder_network=lambda n_in, n_out: _linear(n_in, n_out, global_random_seed),
        critic_layer_sizes=(64, 64),
        lr=5e-3,
        max_epochs=30,
        random_state=global_random_seed,
    ).fit(X)
    weight = vae.decoder_.network.weight.numpy()
    bias = vae.decoder_.network.bias.numpy()
    s = float(vae.decoder_.likelihood.scale())
    own = stats.multivariate_normal(bias, weight @ weight.T + s**2 * np.eye(3))
    exact = own.logpdf(X)
    # the best model of the family is probabilistic principal components with one
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))
    best = math.log(values[2]) + 2 * math.log(values[:2].mean()) + 3
    best = -0.5 * (3 * math.log(2 * math.pi) + best)
    assert best - 0.02 < exact.mean() < best + 1e-9
    # importance sampling finds the model's own likelihood
    value, error = vae.score_samples(X[:1000], return_std=True)
    gap = value - exact[:1000]
    assert abs(gap.sum()) < 4 * math.sqrt((error**2).sum())
    assert np.abs(gap / error).max() < 6
    # the implicit encoder's law against the posterior
    precision = 1 + float((weight**2).sum()) / s**2
    mean = (X[:50] - bias) @ weight / s**2 / precision
    x = torch.tensor(X[:50]).repeat(500, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        draws = vae.encoder_.sample(x, generator=generator).view(500, 50).numpy()
    sd = precision**-0.5
    assert np.abs(draws.mean(0) - mean[:, 0]).max() < 0.35 * sd
    assert np.abs(draws.std(0).mean() / sd - 1) < 0.12


def _linear(n_in, n_out, seed):
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(layer.weight, std=0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.statistical
@pytest.mark.parametrize("divergence", ["kl", "gan", "mmd"])
def test_codes_of_all_rows_become_the_prior(divergence, global_random_seed):
    # rows on a circle embedded in 3-d, crowded to one side; the prior is uniform on S^1,
    # so that the mean code and its second moment must come near zero and 1/2
    rng = np.random.default_rng(global_random_seed)
    angle = rng.vonmises(0.0, 1.0, size=2000)
    X = np.c_[np.cos(angle), np.sin(angle), np.cos(angle) + np.sin(angle)]
    wae = WassersteinAutoencoder(
        1,
        divergence=divergence,
        regularization=300.0 if divergence == "mmd" else 3.0,
        alpha=1e-3,
        hidden_layer_sizes=(32, 32),
        critic_layer_sizes=(32, 32),
        max_epochs=40,
        random_state=global_random_seed,
    ).fit(X)
    codes = wae.transform(X)
    # the data's own resultant is 0.45
    assert np.linalg.norm(codes.mean(0)) < 0.15
    assert abs((codes[:, 0] ** 2).mean() - 0.5) < 0.15
    assert wae.score(X) > -0.5  # squared error, of a total variance of 3


# --- digits ---------------------------------------------------------------------------


def test_digits_end_to_end(digits):
    rng = np.random.default_rng(0)
    binary = (digits > rng.random(digits.shape)).astype(float)
    vae = ImplicitVAE(4, max_epochs=25, random_state=0).fit(binary[:1500])
    assert vae.likelihood_ == "bernoulli"
    value, error = vae.score_samples(binary[1500:1600], return_std=True)
    mean = binary[:1500].mean(0).clip(1e-3, 1 - 1e-3)
    rows = binary[1500:1600]
    independent = (rows * np.log(mean) + (1 - rows) * np.log(1 - mean)).sum(1)
    assert value.mean() > independent.mean() + 3  # nats above independent pixels
    assert error.mean() < 0.3
    draws = vae.sample(400, random_state=0)
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert np.abs(draws.mean(0) - mean).mean() < 0.08
    grey = vae.sample(3, mean=True)
    assert ((grey > 0) & (grey < 1)).all()
    assert not np.array_equal(vae.sample(3, random_state=1), draws[:3])
    # codes know the digits
    labels = load_digits().target
    classifier = LogisticRegression(max_iter=1000)
    pipe = make_pipeline(vae, StandardScaler(), classifier)
    codes = pipe[0].transform(binary)
    classifier.fit(codes[:1500], labels[:1500])
    assert classifier.score(codes[1500:], labels[1500:]) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "latent", "n_components"),
    [
        ("vmf", "sphere", 128),
        ("power_spherical", "sphere", 500),
        ("gaussian", "euclidean", 500),
    ],
)
def test_many_components_beat_the_mean(encoder, latent, n_components, digits):
    # The error of new rows over that of their mean; it was 1.19, 0.94 and 0.38.
    vae = ImplicitVAE(n_components, latent=latent, encoder=encoder, random_state=0)
    rows = digits[1200:]
    error = ((vae.fit(digits[:1200]).reconstruct(rows) - rows) ** 2).mean()
    assert error < 0.7 * rows.var(0).mean()
    assert vae.history_[-1]["divergence"] > 1  # nats that the codes say about rows


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("latent", ["euclidean", "sphere"])
def test_implicit_codes_do_not_contract(latent, seed, digits):
    # The error of new rows over that of their mean was 0.74 to 0.85 in Euclidean space.
    # Codes have the prior's variance, one per coordinate in Euclidean space; it was 0.2.
    vae = ImplicitVAE(8, latent=latent, random_state=seed).fit(digits[:1200])
    rows = digits[1200:]
    error = ((vae.reconstruct(rows) - rows) ** 2).mean() / rows.var(0).mean()
    assert error < 0.45
    if latent == "euclidean":
        x = torch.tensor(rows)
        with torch.no_grad():
            z = vae.encoder_.sample(x, generator=torch.Generator().manual_seed(seed))
        assert 0.5 < z.var(0).mean() < 1.5


class Deaf(nn.Module):
    """An encoder that ignores its rows."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(n_out))

    def forward(self, x):
        return self.bias.expand(len(x), -1)


@pytest.mark.parametrize(
    "estimator", [ImplicitVAE(1), WassersteinAutoencoder(1, divergence="mmd")]
)
def test_codes_that_are_not_used_are_named(estimator):
    # a bit that is copied is a code, in 500 steps
    X = (np.random.default_rng(0).random((500, 1)) < 0.5).astype(float).repeat(4, 1)
    estimator = (
        clone(estimator)
        .set_params(**SMALL)
        .set_params(batch_size=50, max_epochs=50, lr=1e-2, random_state=0)
    )
    estimator.fit(X)
    with pytest.warns(UserWarning, match="code is not used"):
        estimator.set_params(encoder_network=Deaf).fit(X)


def test_each_divergence_has_its_own_weight(X):
    for divergence, weight in (("kl", 10), ("gan", 10), ("mmd", 1000)):
        by_default, given = (
            WassersteinAutoencoder(
                divergence=divergence, regularization=value, random_state=0, **SMALL
            ).fit(X)
            for value in (None, weight)
        )
        assert np.array_equal(by_default.transform(X), given.transform(X))
        preset = PRESETS[f"wae-{divergence}"]
        assert preset["regularization"] == weight


@pytest.mark.slow
def test_unsure_importance_sampling_says_so(digits):
    vae = ImplicitVAE(16, max_epochs=10, n_draws=4, n_chains=1, random_state=0)
    vae.fit(digits)
    with pytest.warns(UserWarning, match="log_likelihood='annealed'"):
        alone = vae.score_samples(digits[:50])
    vae.set_params(n_chains=16)  # rows are annealed from their best codes
    value, error = vae.score_samples(digits[:50], return_std=True)
    assert np.median(error) < 0.5
    assert value.mean() > alone.mean()
    # A row does not depend on its neighbours.
    np.testing.assert_allclose(vae.score_samples(digits[3:5]), value[3:5], rtol=1e-9)


def test_annealed_and_importance_agree(digits):
    binary = (digits[:300] > 0.5).astype(float)
    vae = ImplicitVAE(2, max_epochs=20, random_state=0, n_draws=400).fit(binary)
    rows = binary[:12]
    one, se1 = vae.score_samples(rows, return_std=True)
    vae.set_params(log_likelihood="annealed", n_temperatures=100, n_chains=8)
    two, se2 = vae.score_samples(rows, return_std=True)
    z = (one - two).sum() / math.sqrt((se1**2).sum() + (se2**2).sum())
    assert abs(z) < 4


@pytest.mark.parametrize(
    ("latent", "n_components", "columns"),
    [
        ("torus", 2, 2),
        ("circle", 1, 1),
        ("hyperbolic", 2, 3),
        (Hyperbolic(model="ball"), 2, 2),
        ("rotation", 3, None),
        (Product([("a", Sphere(2)), ("b", Torus(1))]), 3, 4),
    ],
)
def test_other_manifolds(X, latent, n_components, columns):
    vae = ImplicitVAE(n_components, latent=latent, n_temperatures=5, n_chains=2)
    vae.set_params(random_state=0, **SMALL)
    assert np.isfinite(vae.fit(X).score(X[:5]))
    for Estimator in BOTH:
        fitted = Estimator(n_components, latent=latent, random_state=0, **SMALL).fit(X)
        codes = fitted.transform(X)
        assert columns is None or codes.shape == (len(X), columns)
        assert np.allclose(
            fitted.inverse_transform(codes), fitted.reconstruct(X), atol=1e-6
        )
        assert fitted.sample(4).shape == (4, 4)
        assert fitted.get_feature_names_out().shape == (codes.shape[1],)


def test_likelihoods_on_a_torus_agree(digits):
    binary = (digits[:300] > 0.5).astype(float)
    vae = ImplicitVAE(2, latent="torus", max_epochs=20, random_state=0, n_draws=1000)
    rows = binary[:12]
    one, se1 = vae.fit(binary).score_samples(rows, return_std=True)
    vae.set_params(log_likelihood="annealed", n_temperatures=100, n_chains=8)
    two, se2 = vae.score_samples(rows, return_std=True)
    assert abs((one - two).sum() / math.sqrt((se1**2).sum() + (se2**2).sum())) < 4


@both
def test_hyperbolic_codes_are_not_euclidean_ones(Estimator, X):
    # The encoder's outputs are normal coordinates of hyperbolic space, and the codes of
    # Euclidean space. From the same weights the same decoder must not see the same.
    plane = Hyperbolic(2)
    codes = {}
    for latent in ("euclidean", "hyperbolic"):
        fitted = Estimator(latent=latent, random_state=0, **SMALL)
        codes[latent] = fitted.fit(X).transform(X)
    flat = plane.features(plane.from_user(torch.tensor(codes["hyperbolic"])))
    assert not np.allclose(flat.numpy(), codes["euclidean"], rtol=1e-3)
    assert fitted.decoder_.network[0].in_features == 4  # the plane's, and Klein's


@both
def test_convolutions_on_small_images(Estimator, digits):
    fitted = Estimator(
        2,
        encoder_network="conv",
        decoder_network="conv",
        image_shape=(8, 8),
        hidden_layer_sizes=(4, 8),
        activation="relu",
        critic_layer_sizes=(16,),
        max_epochs=2,
        random_state=0,
    ).fit(digits[:200])
    assert fitted.transform(digits[:5]).shape == (5, 3)
    assert fitted.sample(3).shape == (3, 64)
    color = np.random.default_rng(0).random((30, 3 * 5 * 7))
    fitted.set_params(image_shape=(3, 5, 7)).fit(color)
    assert fitted.reconstruct(color).shape == color.shape


def test_modules_are_copied_and_callables_called(X):
    encoder, decoder = nn.Linear(6, 3), nn.Linear(3, 4)
    before = encoder.weight.clone()
    vae = ImplicitVAE(
        2, encoder_network=encoder, decoder_network=decoder, random_state=0, **SMALL
    ).fit(X)
    assert torch.equal(encoder.weight, before)
    assert vae.transform(X).shape == (len(X), 3)
    with pytest.raises(TypeError, match="must return a torch.nn.Module"):
        ImplicitVAE(encoder_network=lambda a, b: "a net", **SMALL).fit(X)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_parameters(name, X):
    preset = {**PRESETS[name], **SMALL}
    Estimator = ImplicitVAE if name.startswith("vae") else WassersteinAutoencoder
    if name == "vae-explicit":
        preset["encoder"] = "vmf"
    Estimator(**preset).fit(X)


# --- failure --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("lr", [1.0, 1e3, 1e12])
def test_a_diverging_energy_does_not_take_the_encoder_along(Estimator, lr, digits):
    fitted = Estimator(2, random_state=0, max_epochs=3).fit(digits[:400])
    good, codes = fitted.reconstruct(digits), fitted.transform(digits)
    fitted.set_params(critic_lr=lr, warm_start=True, max_epochs=5)
    with pytest.warns(ConvergenceWarning, match="diverged|became"):
        fitted.fit(digits[:400])
    assert fitted.n_iter_ == 3
    assert np.array_equal(fitted.reconstruct(digits), good)
    assert np.array_equal(fitted.transform(digits), codes)


def test_an_autoencoder_that_diverges_is_restored(X):
    fitted = ImplicitVAE(random_state=0, **SMALL).fit(X)
    before = fitted.transform(X)
    fitted.set_params(lr=1e12, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        fitted.fit(X)
    assert np.array_equal(fitted.transform(X), before)


def test_divergence_objects(X):
    divergence = KullbackLeibler(alpha=0.5, objective="ssm")
    wae = WassersteinAutoencoder(divergence=divergence, random_state=0, **SMALL).fit(X)
    assert "divergence__alpha" in wae.get_params()
    with pytest.raises(ValueError, match="'divergence' parameter"):
        WassersteinAutoencoder(divergence="wrong").fit(X)


@pytest.mark.parametrize("objective", ["mvl-graph", "sm", "ssm-vr", "dsm", "cd1"])
@pytest.mark.parametrize("latent", ["sphere", "euclidean", "hyperbolic", "torus"])
def test_objectives_of_the_energy(X, objective, latent):
    options = {"latent": latent, "random_state": 0, **SMALL, "max_epochs": 4}
    default = ImplicitVAE(**options).fit(X).transform(X)
    codes = ImplicitVAE(objective=objective, **options).fit(X).transform(X)
    assert np.isfinite(codes).all()
    assert not np.array_equal(codes, default)


def test_objectives_are_objects_too_or_refused(X):
    params = ImplicitVAE(objective=SlicedScoreMatching(n_projections=2), **SMALL)
    assert params.fit(X).get_params()["objective__n_projections"] == 2
    for objective, words in (
        ("nce", "proposal or noise levels"),
        ("annealed", "proposal or noise levels"),
        ("mvl-svgd", "act on one another"),
    ):
        with pytest.raises(ValueError, match=words):
            ImplicitVAE(latent="euclidean", objective=objective, **SMALL).fit(X)
    with pytest.raises(ValueError, match="'objective' parameter"):
        ImplicitVAE(objective="wrong", **SMALL).fit(X)


class Stop(Callback):
    """Ends a training after two epochs, and counts batches."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, net, batch, **kwargs):
        self.seen.append(len(batch.x))

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


@both
def test_callbacks(Estimator, X):
    stop = Stop()
    fitted = Estimator(callbacks=[("stop", stop)], random_state=0, max_epochs=9)
    fitted.set_params(hidden_layer_sizes=(8,), critic_layer_sizes=(8,)).fit(X)
    assert fitted.n_iter_ == 2
    assert stop.seen == []  # copied
    same = Estimator(random_state=0, **SMALL).fit(X)
    assert np.array_equal(fitted.transform(X), same.transform(X))
    with pytest.raises(TypeError, match="skorch callbacks"):
        Estimator(callbacks=["stop"], **SMALL).fit(X)


def test_progress_bar(X, capsys):
    ImplicitVAE(verbose=1, **SMALL).fit(X)
    assert "ImplicitVAE" in capsys.readouterr().err
