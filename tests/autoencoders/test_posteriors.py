"""Laws of codes: densities, divergences, draws and their gradients, against oracles."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from sk_wmvl.autoencoders import (
    POSTERIORS,
    NormalPosterior,
    PowerSphericalPosterior,
    VonMisesFisherPosterior,
)
from sk_wmvl.autoencoders._bessel import bessel_ratio, log_bessel
from sk_wmvl.autoencoders._quadrature import angle_slope

DIMENSIONS = [2, 3, 9, 33, 128, 512]
CONCENTRATIONS = [1e-3, 0.1, 1.0, 30.0, 1e3, 1e5]
LAWS = [VonMisesFisherPosterior, PowerSphericalPosterior]


def log_area(d):
    return math.log(2) + d / 2 * math.log(math.pi) - special.gammaln(d / 2)


# --- Bessel functions -----------------------------------------------------------------


@pytest.mark.parametrize("d", DIMENSIONS)
def test_bessel_functions_agree_with_scipy(d):
    order, kappa = d / 2 - 1, np.geomspace(1e-3, 1e5, 33)
    scaled = special.ive(order, kappa)
    seen = scaled > 1e-280  # below, scipy loses digits and then all
    assert seen.any()
    value = log_bessel(order, torch.tensor(kappa)).numpy()
    ratio = bessel_ratio(order, torch.tensor(kappa)).numpy()
    assert np.abs(value - np.log(scaled, where=seen, out=value.copy())).max() < 1e-11
    oracle = special.ive(order + 1, kappa[seen]) / scaled[seen]
    assert np.abs(ratio[seen] / oracle - 1).max() < 1e-12


@pytest.mark.parametrize("d", [65, 128, 512])
def test_small_arguments_where_scipy_underflows(d):
    # the power series, I_v(k) = (k/2)^v / Gamma(v+1) (1 + (k/2)^2/(v+1) + ...)
    order, kappa = d / 2 - 1, np.geomspace(1e-3, 1, 9)
    square = (kappa / 2) ** 2
    n = np.arange(12)[:, None]
    terms = n * np.log(square) - special.gammaln(n + 1) - special.gammaln(n + order + 1)
    oracle = order * np.log(kappa / 2) + special.logsumexp(terms, axis=0) - kappa
    value = log_bessel(order, torch.tensor(kappa)).numpy()
    assert np.abs(value / oracle - 1).max() < 1e-13


def test_large_arguments_follow_hankels_expansion():
    kappa = torch.tensor([1e5, 1e6], dtype=torch.float64)
    mu, k = 4 * 0.5**2, kappa.numpy()  # order 1/2: exact, sqrt(2/(pi k)) sinh k
    oracle = -0.5 * np.log(2 * np.pi * k)
    assert mu == 1
    assert np.abs(log_bessel(0.5, kappa).numpy() - oracle).max() < 1e-10


@pytest.mark.parametrize("d", DIMENSIONS)
def test_gradients_of_bessel_functions(d):
    # float32 leaves as in training: log I' = A + v/k - 1, and A' = 1 - A^2 - (d-1)A/k
    order = d / 2 - 1
    kappa = torch.tensor(CONCENTRATIONS, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_bessel(order, kappa).sum(), kappa)
    ratio = bessel_ratio(order, kappa)
    (curve,) = torch.autograd.grad(ratio.sum(), kappa)
    k, a = kappa.detach(), ratio.detach()
    assert torch.allclose(slope + 1 - order / k, a, rtol=1e-5, atol=1e-9)
    middle = (k > 1e-2) & (k < 1e4)  # elsewhere the identity itself cancels
    oracle = 1 - a**2 - (d - 1) / k * a
    assert torch.allclose(curve[middle], oracle[middle], rtol=1e-6)
    assert torch.allclose(curve[-1:], (d - 1) / 2 / k[-1:] ** 2, rtol=0.02)
    assert torch.allclose(curve[:1], torch.tensor([1 / d]).double(), rtol=1e-5)


# --- densities and divergences --------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", [2, 3, 9, 33])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 30.0])
def test_density_integrates_to_one_and_divergence_is_its_integral(law, d, kappa):
    # Gauss and Legendre's rule over the angle to the mean, with nodes drawn to both ends:
    # the power spherical density has a logarithmic slope at the far one.
    n = 150
    nodes, weights = np.polynomial.legendre.leggauss(n)
    s, weights = (nodes + 1) / 2, weights / 2
    angle, weights = math.pi * s**2 * (3 - 2 * s), weights * 6 * math.pi * s * (1 - s)
    z = torch.zeros(n, d, dtype=torch.float64)
    z[:, 0], z[:, 1] = torch.tensor(np.cos(angle)), torch.tensor(np.sin(angle))
    mu = torch.eye(d, dtype=torch.float64)[:1]
    wide = torch.full((n,), kappa, dtype=torch.float64)
    log_density = law(mu.expand(n, d), wide).log_prob(z).numpy()
    # area element of the circle of latitude
    ring = log_area(d - 1) if d > 2 else math.log(2)
    mass = weights * np.exp(log_density + ring + (d - 2) * np.log(np.sin(angle)))
    assert mass.sum() == pytest.approx(1, abs=1e-7)
    value = mass @ (log_density + log_area(d))
    posterior = law(mu, torch.tensor([kappa]).double())
    assert float(posterior.kl()) == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert float(posterior.entropy()) == pytest.approx(log_area(d) - value, abs=1e-7)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_stable_in_float32(law, d):
    kappa = torch.tensor(CONCENTRATIONS, requires_grad=True)
    mu = torch.nn.functional.normalize(torch.ones(len(kappa), d), dim=1)
    mu.requires_grad_()
    posterior = law(mu, kappa)
    z = posterior.sample(generator=torch.Generator().manual_seed(0))
    kl = posterior.kl()
    values = (z, posterior.log_prob(z), kl, posterior.entropy())
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in values)
    assert (z.norm(dim=1) - 1).abs().max() < 1e-6
    assert (kl.detach().diff() > 0).all()
    assert (kl >= 0).all()
    total = z.sum() + posterior.log_prob(z.detach()).sum() + kl.sum()
    for grad in torch.autograd.grad(total, (mu, kappa)):
        assert torch.isfinite(grad).all()
    # float64 as the oracle
    exact = law(mu.double(), kappa.double())
    assert torch.allclose(kl.double(), exact.kl(), rtol=1e-5)
    (slope,) = torch.autograd.grad(posterior.kl().sum(), kappa)
    # a hundredth: at kappa = 1e-3 the divergence is 1e-9 and its rounding error 1e-14
    step = 1e-2 * kappa.detach().double()
    up, down = (
        law(mu.double(), kappa.detach().double() + s * step).kl() for s in (1, -1)
    )
    assert torch.allclose(slope.double(), (up - down) / (2 * step), rtol=1e-3)


def test_von_mises_fisher_against_scipy():
    mu = np.array([0.6, 0.0, 0.8])
    z = stats.vonmises_fisher(mu, 7).rvs(50, random_state=0)
    law = VonMisesFisherPosterior(
        torch.tensor(mu).expand(50, 3), torch.full((50,), 7.0).double()
    )
    oracle = stats.vonmises_fisher(mu, 7)
    assert np.allclose(law.log_prob(torch.tensor(z)).numpy(), oracle.logpdf(z))
    assert float(law.entropy()[0]) == pytest.approx(oracle.entropy())


def test_normal_divergence_against_torch():
    loc, scale = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    law = NormalPosterior(loc, scale)
    other = torch.distributions.Normal(loc, scale)
    prior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    oracle = torch.distributions.kl_divergence(other, prior).sum(1)
    assert torch.allclose(law.kl(), oracle, atol=1e-5)
    z = law.sample()
    assert torch.allclose(law.log_prob(z), other.log_prob(z).sum(1), atol=1e-5)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_codes_start_as_informative_in_any_dimension(law, d):
    # Of a vector s e + N(0, I) the divergence from N(0, I) is s²/2, and sqrt(d) z is such
    # a vector in the limit of large d, with s = kappa / sqrt(d) = 1 + softplus. At 1 +
    # softplus alone the divergence falls like 1/d, to 3e-3 at d = 512.
    raw = torch.zeros(2, d + 1, dtype=torch.float64)
    raw[:, 0] = 1
    raw[1, -1] = -50
    start, least = law.from_raw(raw).kl().tolist()
    assert 0.4 < start < 1.6
    assert 0.2 < least < 0.6
    if d == 512:
        assert start == pytest.approx((1 + math.log(2)) ** 2 / 2, rel=0.15)
        assert least == pytest.approx(0.5, rel=0.1)


# --- draws ----------------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", [2, 3, 9, 128])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 30.0, 1e5])
def test_draws_and_their_gradients(law, d, kappa, global_random_seed):
    # E cos and its derivative in kappa, from 20 000 draws: |z| < 4 each
    n = 20_000
    k = torch.full((n,), kappa, dtype=torch.float64, requires_grad=True)
    mu = torch.eye(d, dtype=torch.float64)[:1].expand(n, d)
    generator = torch.Generator().manual_seed(global_random_seed)
    z = law(mu, k).sample(generator=generator)
    deficit = 0.5 * (z - mu).square().sum(1)  # 1 - cos
    (grad,) = torch.autograd.grad(-deficit.sum(), k)
    if law is VonMisesFisherPosterior:
        mean = bessel_ratio(d / 2 - 1, k[:1])
    else:
        mean = k[:1] / (k[:1] + d - 1)
    (slope,) = torch.autograd.grad(mean.sum(), k)
    expectation = law(mu[:1], k[:1]).expectation()
    assert torch.allclose(expectation, mean[:, None] * mu[:1], rtol=1e-9)
    for sample, truth in ((1 - deficit.detach(), mean), (grad, slope[0])):
        gap = sample.mean() - truth.detach()
        assert abs(gap / (sample.std() / math.sqrt(n))) < 4


@pytest.mark.parametrize("kappa", [1e12, 1e16, 1e20])
def test_draws_keep_their_digits_at_large_concentrations(kappa):
    # kappa |z - mu|^2 is chi-squared with two degrees of freedom: its mean is 2, its
    # standard deviation 2. The arc cosine of a cosine gives zero from about 1e16.
    n = 20_000
    pole = torch.tensor([[0.0, 0.0, 1.0]]).double().expand(n, 3)
    law = VonMisesFisherPosterior(pole, torch.full((n,), kappa).double())
    z = law.sample(generator=torch.Generator().manual_seed(0))
    square = kappa * z[:, :2].square().sum(1)
    assert abs(square.mean() - 2) < 4 * 2 / math.sqrt(n)
    assert abs((square > 2 * math.log(2)).double().mean() - 0.5) < 2 / math.sqrt(n)


@pytest.mark.statistical
def test_directions_are_uniform_about_the_mean(global_random_seed):
    n, d = 20_000, 4
    mu = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), dim=1)
    law = VonMisesFisherPosterior(mu.expand(n, d), torch.full((n,), 5.0))
    z = law.sample(generator=torch.Generator().manual_seed(global_random_seed))
    across = z - (z @ mu.T) * mu
    for k in range(d):
        assert abs(across[:, k].mean() / (across[:, k].std() / math.sqrt(n))) < 4


@pytest.mark.parametrize("d", [2, 3, 9, 128])
def test_slope_of_the_angle_against_the_distribution_function(d):
    kappa, step = 4.0, 1e-4
    angles = np.linspace(0.05, 3.0, 7)

    def levels(k):
        def f(a):
            return math.exp(k * (math.cos(a) - 1)) * math.sin(a) ** (d - 2)

        def integral(a, b):
            return integrate.quad(f, a, b, epsabs=0, epsrel=1e-12)[0]

        peak = math.acos(2 * kappa / (d - 2 + math.hypot(d - 2, 2 * kappa)))
        whole = integral(0, peak) + integral(peak, math.pi)
        # from the nearer end, as levels near one would cancel
        part = [integral(0, a) if a < peak else -integral(a, math.pi) for a in angles]
        return np.array(part) / whole, np.array([f(a) for a in angles]) / whole

    (up, _), (down, _), (_, density) = (
        levels(kappa + step),
        levels(kappa - step),
        levels(kappa),
    )
    seen = density > 1e-6
    oracle = -(up - down) / (2 * step) / density
    k = torch.full((len(angles),), kappa, dtype=torch.float64)
    slope = angle_slope(torch.tensor(angles), k, d).numpy()
    assert seen.sum() >= 2
    assert np.allclose(slope[seen], oracle[seen], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", sorted(POSTERIORS))
def test_laws_of_the_family(name):
    law, d = POSTERIORS[name], 3
    raw = torch.randn(6, law.n_raw(d), generator=torch.Generator().manual_seed(0))
    posterior = law.from_raw(raw)
    z = posterior.sample(generator=torch.Generator().manual_seed(1))
    again = posterior.sample(generator=torch.Generator().manual_seed(1))
    assert torch.equal(z, again)
    assert z.shape == posterior.mean().shape == (6, d)
    assert posterior.kl().shape == posterior.log_prob(z).shape == (6,)
    assert (posterior.kl() > 0).all()
