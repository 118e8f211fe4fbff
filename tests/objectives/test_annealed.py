"""Score matching in space and level: noise, value, weights of modes, estimators."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.base import clone

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.datasets import GaussianMixtures
from sk_wmvl.energies import MLPEnergy
from sk_wmvl.manifolds import (
    AxialSphere,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Sphere,
    Stiefel,
    Torus,
)
from sk_wmvl.objectives import AnnealedScoreMatching
from sk_wmvl.objectives._noise import add_noise

SPACES = {
    "line": Euclidean(1),
    "space": Euclidean(3),
    "circle": Circle(),
    "torus": Torus(2),
    "sphere": Sphere(2),
    "sphere5": Sphere(5),
    "rotation": Rotation(),
    "hyperbolic": Hyperbolic(2),
    "product": Product([("direction", Circle()), ("speed", Euclidean(1))]),
}


def log_density(name, x, x0, sigma):
    """Return log p(x | x0, sigma) for one pair of points, by SciPy."""
    kappa = sigma**-2
    if name in ("line", "space"):
        return stats.norm(x0, sigma).logpdf(x).sum()
    if name in ("circle", "torus"):
        return stats.vonmises(kappa, loc=x0).logpdf(x).sum()
    if name == "product":
        von_mises = stats.vonmises(kappa, loc=x0[0]).logpdf(x[0])
        return von_mises + stats.norm(x0[1], sigma).logpdf(x[1])
    if name == "hyperbolic":  # wrapped normal of the hyperboloid; the time comes first
        space = SPACES[name]
        r = float(space.dist(torch.tensor(x[None]), torch.tensor(x0[None])))
        jacobian = np.log(np.sinh(r) / r)
        return -0.5 * r**2 * kappa - 2 * np.log(sigma) - np.log(2 * np.pi) - jacobian
    d, kappa = len(x), kappa * SPACES[name].radius ** 2
    bessel = np.log(special.ive(d / 2 - 1, kappa)) + kappa
    constant = (d / 2 - 1) * np.log(kappa) - d / 2 * np.log(2 * np.pi) - bessel
    return constant + kappa * x @ x0


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0])
def test_noise_knows_its_derivatives(name, sigma):
    space, g = SPACES[name], torch.Generator().manual_seed(0)
    x0 = space.random_point(3, generator=g)
    sigmas = torch.full((3,), sigma, dtype=torch.float64)
    noised = add_noise(space, x0, sigmas, g, pooled=False)
    u = space.random_tangent(noised.x, generator=g)
    for i in range(6):
        x, start = noised.x[i], x0[i % 3].numpy()
        h = 1e-4 * sigma
        ends = [
            space.exp(x[None], sign * h * u[i][None])[0].numpy() for sign in (1, -1)
        ]
        values = [log_density(name, end, start, sigma) for end in ends]
        slope = (values[0] - values[1]) / (2 * h)
        assert float(noised.grad[i] @ u[i]) == pytest.approx(slope, rel=1e-4, abs=1e-4)
        values = [
            log_density(name, x.numpy(), start, sigma * f) for f in (1.001, 0.999)
        ]
        slope = (values[0] - values[1]) / np.log(1.001 / 0.999)
        assert float(noised.level[i]) == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["circle", "torus", "sphere", "sphere5"])
@pytest.mark.parametrize("sigma", [1e-6, 1e-9, 1e-11])
def test_little_noise_keeps_its_digits(name, sigma, global_random_seed):
    # |y - x|²/σ² is chi-squared with m degrees of freedom: n = 20 000, |z| < 4. Rows are
    # zero or an axis, about which small numbers have all digits.
    space, n = SPACES[name], 20_000
    x0 = torch.zeros(n, space.ambient_dim, dtype=torch.float64)
    if name.startswith("sphere"):
        x0[:, 0] = 1
    noised = add_noise(
        space,
        x0,
        torch.full((n,), sigma, dtype=torch.float64),
        torch.Generator().manual_seed(global_random_seed),
        pooled=False,
    )
    square = (noised.x - x0.repeat(2, 1)).square().sum(1).view(2, n)[0] / sigma**2
    z = (square.mean() - space.dim) / (2 * space.dim / n) ** 0.5
    assert abs(z) < 4


@pytest.mark.statistical
@pytest.mark.parametrize("name", SPACES)
def test_noise_has_that_density(name, global_random_seed):
    # n = 40 000; the derivative in the level, and the gradient along a fixed direction at
    # the start, average to zero only under the right law.
    space, n = SPACES[name], 20_000
    g = torch.Generator().manual_seed(global_random_seed)
    x0 = space.random_point(1, generator=g).repeat(n, 1)
    sigma = torch.full((n,), 0.7, dtype=torch.float64)
    noised = add_noise(space, x0, sigma, g, pooled=False)
    for part in noised.level.view(2, n):
        assert abs(part.mean()) < 4 * part.std() / n**0.5


@pytest.mark.parametrize("name", ["space", "torus", "sphere", "product"])
def test_pooled_derivatives_are_those_of_the_mixture_of_the_batch(name):
    space, g = SPACES[name], torch.Generator().manual_seed(0)
    x0 = space.random_point(5, generator=g)
    sigmas = torch.tensor([0.1, 0.3, 0.6, 1.0, 2.0], dtype=torch.float64)
    noised = add_noise(space, x0, sigmas, g, pooled=True)
    u = space.random_tangent(noised.x, generator=g)

    def log_mixture(x, sigma):
        return special.logsumexp([log_density(name, x, s, sigma) for s in x0.numpy()])

    for i in range(10):
        sigma = float(sigmas[i % 5])
        x, h = noised.x[i], 1e-4 * sigma
        ends = [
            space.exp(x[None], sign * h * u[i][None])[0].numpy() for sign in (1, -1)
        ]
        slope = (log_mixture(ends[0], sigma) - log_mixture(ends[1], sigma)) / (2 * h)
        assert float(noised.grad[i] @ u[i]) == pytest.approx(slope, rel=1e-4, abs=1e-4)
        slope = log_mixture(x.numpy(), 1.001 * sigma) - log_mixture(
            x.numpy(), 0.999 * sigma
        )
        slope /= np.log(1.001 / 0.999)
        assert float(noised.level[i]) == pytest.approx(slope, rel=1e-3, abs=1e-3)


COMPACT = ["circle", "torus", "sphere", "sphere5", "rotation"]
FORMS = {
    "conditional": {"pooled": False},
    "pooled": {"pooled": True},
    "implicit": {"form": "implicit"},
}


def compare(objective, first, second, x, seed, batch):
    """Return the differences of the values of two energies, on the same noise."""
    gains = []
    for i, rows in enumerate(x.split(batch)):
        values = [
            objective(e, rows, generator=torch.Generator().manual_seed(1000 * seed + i))
            for e in (first, second)
        ]
        gains.append((values[0] - values[1]).detach().mean())
    gains = torch.stack(gains)
    return gains.mean(), gains.std() / len(gains) ** 0.5


@pytest.mark.statistical
@pytest.mark.parametrize("form", FORMS)
def test_value_is_the_fisher_divergence_on_a_line(form, global_random_seed):
    # n = 40 000 draws of N(0, 1) in 400 batches. The difference of two energies'
    # values is the difference of weighted Fisher divergences, by quadrature.
    objective = AnnealedScoreMatching(0.3, 2.0, level_weight=0.7, **FORMS[form])
    n, span = 40_000, np.log(2.0 / 0.3)
    g = torch.Generator().manual_seed(global_random_seed)
    x = torch.randn(n, 1, generator=g, dtype=torch.float64)

    def make(a, b):
        def energy(x, t):
            return (
                0.5 * (a + 0.3 * t) * x[:, 0].square() + b * t.square() * x[:, 0].cos()
            )

        return energy

    def divergence(energy):
        t = torch.linspace(0, 1, 401, dtype=torch.float64)
        z = torch.linspace(-8, 8, 801, dtype=torch.float64)
        T, Z = torch.meshgrid(t, z, indexing="ij")
        variance = 1 + objective.sigma(T) ** 2
        X = (Z * variance.sqrt()).reshape(-1, 1).requires_grad_()
        flat = T.reshape(-1).clone().requires_grad_()
        value = energy(X, flat)
        gx, gt = torch.autograd.grad(value.sum(), (X, flat))
        x, t_flat = X.detach()[:, 0], flat.detach()
        v = 1 + objective.sigma(t_flat) ** 2
        dv = 2 * span * objective.sigma(t_flat) ** 2
        gt_true = 0.5 * dv / v - 0.5 * x.square() * dv / v**2
        weight = 4 * t_flat * (1 - t_flat) if form == "implicit" else 1.0
        square = objective.sigma(t_flat) ** 2 * (gx[:, 0] - x / v).square()
        square = square + 0.7 / span**2 * weight * (gt - gt_true).square()
        inner = 0.5 * square.view(T.shape) * torch.exp(-0.5 * Z**2) / (2 * np.pi) ** 0.5
        return float(torch.trapezoid(torch.trapezoid(inner, z), t))

    first, second = make(0.5, 0.4), make(1.2, -0.3)
    gain, error = compare(objective, first, second, x, global_random_seed, 100)
    assert abs(gain - divergence(first) + divergence(second)) < 4 * error


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "form"),
    [
        *itertools.product(COMPACT, ["conditional", "implicit"]),
        ("torus", "pooled"),
        ("sphere", "pooled"),
        *(
            pytest.param(name, "pooled", marks=pytest.mark.slow)
            for name in ("circle", "sphere5", "rotation")
        ),
    ],
)
def test_uniform_data_stay_uniform(name, form, global_random_seed):
    # n = 16 000 uniform points in 160 batches: p_t is uniform, and the value of an energy
    # exceeds that of zero by its own weighted Dirichlet form, by Monte Carlo.
    space, n = SPACES[name], 16_000
    objective = AnnealedScoreMatching(0.2, 1.5, manifold=space, **FORMS[form])
    g = torch.Generator().manual_seed(global_random_seed)
    x = space.random_point(n, generator=g)
    direction = torch.randn(space.n_features, generator=g, dtype=torch.float64)

    def energy(x, t):
        return (1 + t) * (space.features(x) @ direction)

    def zero(x, t):
        return 0 * energy(x, t)

    gain, error = compare(objective, energy, zero, x, global_random_seed, 100)
    at = space.random_point(n, generator=g).requires_grad_()
    t = torch.rand(n, generator=g, dtype=torch.float64).requires_grad_()
    gx, gt = torch.autograd.grad(energy(at, t).sum(), (at, t))
    at, t = at.detach(), t.detach()
    u = space.egrad2rgrad(at, gx)
    weight = 4 * t * (1 - t) if form == "implicit" else 1.0
    square = objective.sigma(t) ** 2 * space.inner(at, u, u)
    square = square + weight * (gt / np.log(1.5 / 0.2)).square()
    expected = 0.5 * square
    error = (error.square() + expected.var() / n).sqrt()
    assert abs(gain - expected.mean()) < 4 * error


def weight_of_second(density, mixture, seed=9, n=4000):
    """Return the mass that the model gives to the second of two modes."""
    mass = []
    for mean, weight in zip(mixture.means, mixture.weights, strict=True):
        X = mean + mixture.sigma * np.random.default_rng(seed).normal(
            size=(n, len(mean))
        )
        ratio = density.score_samples(X) - mixture.log_density(X)
        mass.append(weight * np.exp(ratio).mean())
    return mass[1] / sum(mass)


@pytest.mark.slow
def test_weights_of_separated_modes_are_seen():
    means = np.array([[-4.0, 0.0], [4.0, 0.0]])
    mixture = GaussianMixtures(means, 0.5, [0.9, 0.1])
    X = mixture.sample(4000, random_state=0)
    params = {"base": "gaussian", "random_state": 0, "max_epochs": 60, "lr": 4e-3}
    annealed = MVLDensity("annealed", **params).fit(X)
    assert abs(weight_of_second(annealed, mixture) - 0.1) < 0.02
    alone = MVLDensity("mvl", objective_weight=None, **params).fit(X)
    assert abs(weight_of_second(alone, mixture) - 0.1) > 0.05
    beside = MVLDensity("mvl", **params).fit(X)  # the likelihood, which sees them too
    assert abs(weight_of_second(beside, mixture) - 0.1) < 0.02


FAST = {"max_epochs": 2, "hidden_layer_sizes": (16,), "random_state": 0}


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Return a folder of chosen base measures: one search for each space."""
    return str(tmp_path_factory.mktemp("bases"))


@pytest.mark.parametrize("form", ["conditional", "implicit"])
@pytest.mark.parametrize(
    "space",
    [Sphere(2), AxialSphere(2), Torus(2), Hyperbolic(2), SPACES["product"]],
    ids=repr,
)
def test_estimator_on_manifolds(space, form, memory):
    g = torch.Generator().manual_seed(0)
    X = space.to_user(space.random_point(40, generator=g)).numpy()
    # A kernel estimate is quicker than the search for mixtures, which compact spaces, with
    # their uniform density, do not make.
    base = "auto" if space.is_compact else "kernel"
    params = {"base": base, "memory": memory, **FAST}
    density = RiemannianMVLDensity(space, AnnealedScoreMatching(form=form), **params)
    values = density.fit(X).score_samples(X[:5])
    assert np.isfinite(values).all()
    assert np.isfinite(density.validation_loss_curve_).all()
    assert np.array_equal(
        pickle.loads(pickle.dumps(density)).score_samples(X[:5]), values
    )
    again = clone(density).fit(X)
    assert np.array_equal(again.score_samples(X[:5]), values)


def test_estimator_goes_on_and_takes_weights_and_networks():
    X = np.random.default_rng(0).normal(size=(200, 2))
    params = {"base": "gaussian", **FAST}
    density = MVLDensity("annealed", **params).partial_fit(X).partial_fit(X)
    assert density.n_iter_ == 2
    weight = np.random.default_rng(1).uniform(size=200)
    with pytest.raises(ValueError, match="sample_weight cannot be used"):
        density.fit(X, sample_weight=weight)
    alone = AnnealedScoreMatching(pooled=False)
    for energy in ("mlp", MLPEnergy):
        density = MVLDensity(alone, energy=energy, **params)
        density.fit(X, sample_weight=weight)
        assert density.log_normalizer_ is not None
    assert density.objective_.manifold.dim == 2
    assert alone.manifold is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sigma_min": 0.0}, "sigma_min"),
        ({"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_max must exceed sigma_min"),
        ({"form": "both"}, "form must be one of"),
        ({"level_weight": -1.0}, "level_weight"),
        ({"epsilon": 0.0}, "epsilon"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        MVLDensity(AnnealedScoreMatching(**params), **FAST).fit(np.eye(5))


def test_unknown_transition_density_says_what_to_do():
    space = Stiefel(3, 2)
    X = space.to_user(space.random_point(50)).numpy()
    with pytest.raises(NotImplementedError, match="form='implicit'"):
        RiemannianMVLDensity(space, "annealed", **FAST).fit(X)
