"""Networks start at zero, base measures are densities, compositions keep the units."""

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from torch import nn

from sk_wmvl.base_measures import GaussianBase, MixtureBase, from_mixture
from sk_wmvl.energies import ENERGIES, CorrectedEnergy, TransformedEnergy, freeze
from sk_wmvl.energies._network import ACTIVATIONS, soft_clip


def covariance(d, seed=0):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a @ a.T + 0.1 * np.eye(d)


def train_a_little(module):
    """Move the weights away from zero."""
    g = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=g, dtype=p.dtype)
    return module


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_networks_start_at_zero_and_do_not_touch_global_state(name, activation):
    before = torch.get_rng_state()
    make = ENERGIES[name]
    g = [torch.Generator().manual_seed(1) for _ in range(2)]
    kwargs = {"activation": activation, "spectral_norm": True}
    first, second = (make(3, (16, 8), generator=gi, **kwargs) for gi in g)
    x = torch.randn(5, 3, generator=g[0])
    assert torch.equal(first(x), torch.zeros(5))
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
    assert torch.equal(before, torch.get_rng_state())
    first(x).sum().backward()  # the zero layer does learn
    assert any(p.grad.abs().sum() > 0 for p in first.parameters())


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_spectral_norm_is_followed_in_training_and_exact_in_evaluation(name):
    g = torch.Generator().manual_seed(0)
    energy = train_a_little(
        ENERGIES[name](4, (32, 32), spectral_norm=True, generator=g)
    )
    x = torch.randn(8, 4, generator=g)
    # A difference divided by a small step needs both terms from one energy.
    assert torch.equal(energy(x), energy(x))
    optimizer = torch.optim.AdamW(energy.parameters(), lr=1e-4, fused=True)
    for _ in range(50):
        optimizer.zero_grad()
        energy(x).square().sum().backward()
        optimizer.step()
    energy(x)
    hidden = list(energy.network)[:-1:2]
    for layer in hidden:
        assert abs(torch.linalg.matrix_norm(layer.weight, 2) - 1) < 0.01
    energy.eval()
    for layer in hidden:
        assert abs(torch.linalg.matrix_norm(layer.weight, 2) - 1) < 1e-5
    state = copy.deepcopy(energy.state_dict())
    energy(x)
    for k, v in energy.state_dict().items():
        assert torch.equal(v, state[k])  # nothing moves in evaluation mode


def test_spectral_norm_of_averaged_weights_is_one():
    # An average has other singular vectors than the weights whose power iteration ran.
    g = torch.Generator().manual_seed(0)
    energy = ENERGIES["mlp"](4, (32, 32), spectral_norm=True, generator=g)
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.normal_(generator=g)
    for layer in list(freeze(energy).network)[:-1:2]:
        torch.testing.assert_close(
            torch.linalg.svdvals(layer.weight)[0].item(), 1.0, rtol=1e-5, atol=0
        )


def test_freezing_leaves_the_original_as_it_was():
    energy = train_a_little(ENERGIES["mlp"](2, (8,), spectral_norm=True)).eval()
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(2))
    before = energy(x)
    for _ in range(2):
        after = freeze(energy)(x.double()).float()
        torch.testing.assert_close(after, before)
    assert torch.equal(energy(x), before)


def test_inner_product_formula():
    energy = train_a_little(ENERGIES["inner_product"](3, (8,)))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    one = torch.ones(1)
    expected = torch.stack(
        [torch.cat([xi, one]) @ energy.network(xi[None])[0] for xi in x]
    )
    torch.testing.assert_close(energy(x), expected)


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_clipped_energies_are_bounded(name):
    energy = train_a_little(ENERGIES[name](2, (8, 8), radius=3.0))
    u = torch.tensor([[0.6, -0.8]]) * torch.logspace(0, 6, 20)[:, None]
    values = energy(u)
    assert torch.isfinite(values).all()
    assert abs(values[-1] - values[-5]) < 1e-3 * (1 + abs(values[-1]))
    inside = torch.tensor([[0.5, 0.5]])
    torch.testing.assert_close(soft_clip(inside, 3.0), inside, rtol=1e-3, atol=0)
    assert soft_clip(u, 3.0).norm(dim=1).max() <= 3.0 + 1e-5


@pytest.mark.parametrize("d", [1, 2, 5])
def test_gaussian_base_against_scipy(d):
    mean, cov = np.arange(d) - 1.0, covariance(d)
    base = GaussianBase(mean, cov)
    X = np.random.default_rng(0).normal(size=(20, d)) * 3
    expected = stats.multivariate_normal(mean, cov).logpdf(X).reshape(-1)
    np.testing.assert_allclose(base(torch.tensor(X)).numpy(), expected, rtol=1e-10)


@pytest.mark.statistical
@pytest.mark.parametrize("k", [1, 3])
def test_base_samples_have_the_base_moments(k, global_random_seed):
    # 100 000 draws; |z| < 4 for each mean and each second moment.
    rng = np.random.default_rng(5)
    weights, means = rng.dirichlet(np.ones(k)), rng.normal(size=(k, 2)) * 3
    covs = np.stack([covariance(2, i) for i in range(k)])
    base = MixtureBase(weights, means, covs)
    if k == 1:
        base = GaussianBase(means[0], covs[0])
    x = base.sample(
        100_000, generator=torch.Generator().manual_seed(global_random_seed)
    )
    x = x.numpy()
    moments = np.c_[x, x**2, x[:, :1] * x[:, 1:]]
    m = weights @ means
    second = np.einsum("k,kij->ij", weights, covs + means[:, :, None] * means[:, None])
    truth = np.r_[m, np.diag(second), second[0, 1]]
    z = (moments.mean(0) - truth) / (moments.std(0) / len(x) ** 0.5)
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
def test_mixture_from_scikit_learn(mixture, kind):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) * 0.5 + 4]
    fitted = mixture(
        n_components=3, covariance_type=kind, random_state=0, max_iter=500
    ).fit(X)
    mean, scale = np.array([1.0, -2.0]), np.array([[2.0, 0.3], [0.0, 0.5]])
    base = from_mixture(fitted, mean, scale)
    u = rng.normal(size=(50, 2))
    # The plug-in density; a Bayesian mixture's own score is not normalised.
    expand = {
        "full": lambda c, k: c[k],
        "tied": lambda c, k: c,
        "diag": lambda c, k: np.diag(c[k]),
        "spherical": lambda c, k: c[k] * np.eye(2),
    }[kind]
    parts = [
        np.log(fitted.weights_[k])
        + stats.multivariate_normal(
            fitted.means_[k], expand(fitted.covariances_, k)
        ).logpdf(mean + u @ scale.T)
        for k in range(3)
    ]
    expected = np.logaddexp.reduce(parts) + np.linalg.slogdet(scale)[1]
    if mixture is GaussianMixture:
        own = fitted.score_samples(mean + u @ scale.T) + np.linalg.slogdet(scale)[1]
        np.testing.assert_allclose(own, expected, rtol=1e-8)
    np.testing.assert_allclose(base(torch.tensor(u)).numpy(), expected, rtol=1e-8)


def test_affine_energy_keeps_the_normaliser():
    # A quartic in one dimension, in two units: the same integral by scipy's quadrature.
    inner = nn.Module()
    inner.forward = lambda u: (u**4).sum(-1)
    outer = TransformedEnergy(inner, np.array([3.0]), np.array([[0.25]]))

    def integral(f, lo, hi):
        def value(t):
            return float(torch.exp(-f(torch.tensor([[t]], dtype=torch.float64))))

        return integrate.quad(value, lo, hi)[0]

    np.testing.assert_allclose(
        integral(inner.forward, -5, 5), integral(outer, 2, 4), rtol=1e-8
    )
    u = torch.randn(4, 1, dtype=torch.float64)
    torch.testing.assert_close(outer.to_internal(outer.to_user(u)), u)


def test_corrected_energy():
    base = GaussianBase(np.zeros(2), np.eye(2)).float()
    network = train_a_little(ENERGIES["mlp"](2, (4,)))
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        CorrectedEnergy(network, base)(x), network(x) - base.log_prob(x)
    )
    torch.testing.assert_close(CorrectedEnergy(network, None)(x), network(x))
    pickle.loads(pickle.dumps(CorrectedEnergy(network, base)))
