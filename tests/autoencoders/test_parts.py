"""Latent spaces, likelihoods, divergences, marginal likelihoods and networks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sk_wmvl.autoencoders import (
    DIVERGENCES,
    BernoulliLikelihood,
    CodeEnergy,
    ConvDecoder,
    ConvEncoder,
    Decoder,
    GaussianLikelihood,
    KullbackLeibler,
    LatentSpace,
    MaximumMeanDiscrepancy,
    SquaredError,
    importance_log_likelihood,
    marginal,
)
from sk_wmvl.manifolds import SPD, Euclidean, Hyperbolic, Product, Sphere, Torus


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- latent spaces --------------------------------------------------------------------

SPACES = [
    Euclidean(3),
    Sphere(3),
    Torus(2),
    Hyperbolic(2),
    Product([("a", Sphere(2)), ("b", Euclidean(1))]),
]


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
def test_latent_spaces(manifold):
    latent = LatentSpace(manifold)
    raw = torch.randn(50, latent.n_raw, dtype=torch.float64, generator=generator())
    raw[0] = 0
    raw.requires_grad_()
    z = latent.from_raw(raw)
    manifold.from_user(manifold.to_user(z.detach()))  # raises where z is off it
    assert latent.features(z).shape == (50, latent.n_features)
    assert latent.log_prob(z).shape == (50,)
    (grad,) = torch.autograd.grad(latent.features(z).sum(), raw)
    assert torch.isfinite(grad).all()
    draws = latent.sample(50, generator=generator())
    assert torch.equal(draws, latent.sample(50, generator=generator()))


def test_priors_against_closed_forms():
    z = [[math.cosh(1.5), math.sinh(1.5), 0.0]]
    z = torch.tensor(z, dtype=torch.float64)
    # wrapped normal on the hyperbolic plane: N(r) over sinh(r)/r
    oracle = -0.5 * 1.5**2 - math.log(2 * math.pi) - math.log(math.sinh(1.5) / 1.5)
    value = LatentSpace(Hyperbolic(2)).log_prob(Hyperbolic(2).from_user(z))
    assert float(value) == pytest.approx(oracle, abs=1e-12)
    assert float(LatentSpace(Sphere(1)).log_prob(z[:, :2])) == pytest.approx(
        -math.log(2 * math.pi)
    )
    with pytest.raises(ValueError, match="no prior"):
        LatentSpace(SPD(2))


@pytest.mark.statistical
def test_rescaled_codes_have_unit_variance(global_random_seed):
    latent = LatentSpace(Sphere(7))
    f = latent.features(latent.sample(20_000, generator=generator(global_random_seed)))
    square = f.square()
    z = (square.mean(0) - 1) / (square.std(0) / math.sqrt(len(f)))
    assert z.abs().max() < 4
    assert LatentSpace(Sphere(7), rescale=False).scale == 1


# --- likelihoods ----------------------------------------------------------------------


def test_likelihoods_against_torch():
    x = torch.rand(6, 4, generator=generator()).round()
    out = torch.randn(6, 4, generator=generator(1))
    oracle = torch.distributions.Bernoulli(logits=out).log_prob(x).sum(1)
    assert torch.allclose(BernoulliLikelihood().log_prob(x, out), oracle, atol=1e-6)
    columns = torch.tensor([1.0, 1.0, 0.0, 1.0])
    gaussian = GaussianLikelihood(columns)
    law = torch.distributions.Normal(out, gaussian.scale())
    oracle = (law.log_prob(x) * columns).sum(1)
    assert torch.allclose(gaussian.log_prob(x, out), oracle, atol=1e-5)
    error = ((x - out)[:, columns > 0] ** 2).sum(1)
    assert torch.allclose(SquaredError(columns).log_prob(x, out), -error, atol=1e-6)
    assert torch.equal(
        gaussian.sample(out, generator=generator())[:, 2].detach(), out[:, 2]
    )


@pytest.mark.statistical
def test_grey_values_are_probabilities(global_random_seed):
    x = torch.tensor([[0.0, 0.2, 0.7, 1.0]]).expand(10_000, 4)
    drawn = BernoulliLikelihood().prepare(x, generator=generator(global_random_seed))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    gap = drawn.mean(0) - x[0]
    assert gap[0] == gap[3] == 0
    z = gap[1:3] / (x[0, 1:3] * (1 - x[0, 1:3]) / len(x)).sqrt()
    assert z.abs().max() < 4
    assert BernoulliLikelihood(binarize=False).prepare(x) is x


def six_columns(manifold, steep):
    """Return a decoder, all 64 rows, and their log likelihoods by quadrature."""
    latent = LatentSpace(manifold)
    network = nn.Linear(latent.n_features, 6).double()
    nn.init.normal_(network.weight, std=steep, generator=generator())
    nn.init.normal_(network.bias, std=0.5, generator=generator(1))
    decoder = Decoder(network, BernoulliLikelihood(), latent).requires_grad_(False)
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 6)
    if isinstance(manifold, Sphere | Torus):
        nodes, log_weights = manifold.quadrature(60)
    else:
        side = torch.linspace(-8, 8, 801, dtype=torch.float64)
        step = math.log(float(side[1] - side[0]))
        if isinstance(manifold, Euclidean):
            side, step = side[::4], step + math.log(4)
            nodes = torch.cartesian_prod(side, side)
            log_weights = torch.full_like(nodes[:, 0], 2 * step)
        else:  # the hyperbola is a line, by arc length
            nodes = manifold.from_user(torch.stack([side.cosh(), side.sinh()], 1))
            log_weights = torch.full_like(side, step)
    at = latent.log_prob(nodes) + log_weights
    exact = torch.stack(
        [
            torch.logsumexp(decoder.log_prob(r.expand(len(nodes), -1), nodes) + at, 0)
            for r in x
        ]
    )
    return decoder, x, exact


ROUND = [Sphere(2), Euclidean(2), Hyperbolic(1), Torus(2)]


@pytest.mark.parametrize("manifold", ROUND, ids=repr)
@pytest.mark.parametrize("steep", [0.3, 3.0])
def test_importance_sampling_against_quadrature(manifold, steep):
    decoder, x, exact = six_columns(manifold, steep)
    start = decoder.latent.sample(len(x), generator=generator(3))
    value, error = importance_log_likelihood(
        decoder, x, start, n_draws=500, n_chains=16, seed=4
    )
    # angles, of which networks see two harmonics, have several modes
    assert error.median() < (0.2 if isinstance(manifold, Torus) else 0.1)
    assert ((value - exact).abs() < 5 * error + 1e-6).all()
    total = (value - exact).sum() / error.square().sum().sqrt()
    assert abs(total) < 4


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("manifold", "n_chains"), [*((m, 16) for m in ROUND), (Sphere(2), 2)], ids=repr
)
def test_bridges_are_unbiased(manifold, n_chains, monkeypatch, global_random_seed):
    # All 64 rows, each with noise of its own: the mean of the ratio to the likelihood is
    # one, |z| < 4.
    monkeypatch.setattr(marginal, "FEW_DIMENSIONS", 0)
    monkeypatch.setattr(marginal, "SURE", 0.0)
    decoder, x, exact = six_columns(manifold, 1.0)
    start = decoder.latent.sample(len(x), generator=generator(3))
    value, error = importance_log_likelihood(
        decoder, x, start, n_draws=20, n_chains=n_chains, seed=global_random_seed
    )
    assert torch.isfinite(error).all()
    ratio = (value - exact).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5


@pytest.mark.statistical
def test_bridges_of_many_dimensions(global_random_seed):
    # x = A z + e with 24 columns and codes of 16 dimensions is normal
    g = generator(global_random_seed)
    latent = LatentSpace(Euclidean(16))
    network = nn.Linear(16, 24, bias=False).double()
    nn.init.normal_(network.weight, generator=g)
    likelihood = GaussianLikelihood(torch.ones(24, dtype=torch.float64)).double()
    decoder = Decoder(network, likelihood, latent).requires_grad_(False)
    A = network.weight.detach()
    cov = A @ A.T + likelihood.scale().square() * torch.eye(24, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(24).double(), cov)
    x = torch.randn(20, 24, generator=g, dtype=torch.float64) @ law.scale_tril.T
    z = torch.zeros(20, 16, dtype=torch.float64)
    value, error = importance_log_likelihood(
        decoder, x, z, n_draws=5, n_chains=16, seed=global_random_seed
    )
    assert error.max() < 0.2  # of five draws alone it is above for most rows
    total = (value - law.log_prob(x)).sum() / error.square().sum().sqrt()
    assert abs(total) < 4
    # A row does not depend on its neighbours.
    some, _ = importance_log_likelihood(
        decoder, x[7:9], z[7:9], n_draws=5, n_chains=16, seed=global_random_seed
    )
    torch.testing.assert_close(some, value[7:9], rtol=1e-9, atol=1e-9)


def test_importance_sampling_is_not_for_every_manifold():
    latent = LatentSpace(Product([("a", Torus(1))]))
    decoder = Decoder(nn.Linear(4, 2), BernoulliLikelihood(), latent)
    with pytest.raises(NotImplementedError, match="annealed"):
        importance_log_likelihood(
            decoder, torch.zeros(1, 2), torch.zeros(1, 1), n_draws=5, n_chains=2, seed=0
        )


# --- hyperbolic codes -----------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2, 5])
def test_networks_see_geodesics_of_hyperbolic_space_as_lines(m):
    # Features of points x, exp_x(u), exp_x(2u) are on a line in the last m columns, as in
    # Klein's model, but in normal coordinates, as Euclidean space would have, are not.
    manifold, latent = Hyperbolic(m), LatentSpace(Hyperbolic(m))
    x = latent.sample(40, generator=generator())
    u = manifold.random_tangent(x, generator=generator(1))
    points = [latent.features(manifold.exp(x, t * u)) for t in (0.0, 1.0, 2.0)]
    one, two = points[1] - points[0], points[2] - points[0]

    def bend(a, b):
        a, b = (nn.functional.normalize(v, dim=1) for v in (a, b))
        return (a - b).norm(dim=1)

    assert bend(one[:, m:], two[:, m:]).max() < 1e-7
    if m > 1:
        assert bend(one[:, :m], two[:, :m]).median() > 0.02
    # two columns of the user's hyperboloid are the oracle of the scale
    rows = manifold.to_user(x)
    klein = math.sqrt(m) * rows[:, 1:] / rows[:, :1]
    assert torch.allclose(points[0][:, m:], klein, atol=1e-12)
    assert torch.isfinite(latent.features(torch.zeros(1, m))).all()


@pytest.mark.parametrize("conditional", [True, False])
def test_energies_of_hyperbolic_codes_know_the_volume(conditional):
    # In polar coordinates of the plane the volume is sinh(r) dr dphi. An untrained energy
    # is that of the prior, which integrates to one over it, and to less over r dr dphi.
    latent = LatentSpace(Hyperbolic(2))
    energy = CodeEnergy(latent, 3 * conditional, (4,), activation="tanh")
    r = torch.linspace(0, 12, 4001, dtype=torch.float64)[1:]
    rows = torch.stack([r.cosh(), r.sinh(), 0 * r], 1)
    z = Hyperbolic(2).from_user(rows)
    context = torch.zeros(1, 3).double() if conditional else None
    density = (-energy.double()(z, context)).exp().detach()
    step = 2 * math.pi * float(r[1] - r[0])
    assert float((density * r.sinh()).sum() * step) == pytest.approx(1, abs=1e-5)
    assert float((density * r).sum() * step) < 0.8


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
def test_energies_start_as_the_prior(manifold):
    latent = LatentSpace(manifold)
    energy = CodeEnergy(latent, 3, (4,), activation="tanh").double()
    z = latent.sample(5, generator=generator())
    values = energy(z, torch.zeros(5, 3).double())
    assert torch.allclose(values, -latent.log_prob(z))
    # so that there is no divergence, and nothing draws codes together
    z.requires_grad_()
    penalty = KullbackLeibler().penalty(
        energy.at(torch.zeros(5, 3).double()), latent, z
    )
    (grad,) = torch.autograd.grad(penalty.sum(), z)
    assert grad.abs().max() < 1e-12


# --- divergences ----------------------------------------------------------------------


def test_context_of_another_number_of_rows():
    latent = LatentSpace(Euclidean(2))
    energy = CodeEnergy(latent, 3, (4,), activation="tanh", generator=generator())
    assert energy.at(torch.zeros(5, 3))(torch.zeros(10, 2)).shape == (10,)
    with pytest.raises(ValueError, match=r"5 row\(s\) and the points 7"):
        energy(torch.zeros(7, 2), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="shape"):
        energy(torch.zeros(5, 2), torch.zeros(5, 4))
    with pytest.raises(ValueError, match="needs the rows"):
        energy(torch.zeros(7, 2))


def test_divergence_by_its_score_has_the_gradient_of_the_closed_form():
    # codes sigma e with e of mean square one and the exact energy: KL = (s^2-1)/2 - log s
    latent = LatentSpace(Euclidean(1))
    sigma = torch.tensor(0.7, requires_grad=True)
    z = sigma * torch.tensor([[-1.0], [1.0]])
    s = 0.7
    penalty = KullbackLeibler().penalty(
        lambda z: 0.5 * z.square().sum(-1) / s**2, latent, z
    )
    (grad,) = torch.autograd.grad(penalty, sigma)
    assert float(grad) == pytest.approx(s - 1 / s, rel=1e-5)


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_penalties_leave_the_critic_alone(name):
    latent, divergence = LatentSpace(Sphere(2)), DIVERGENCES[name]()
    critic = divergence.make_critic(
        latent,
        0,
        hidden_layer_sizes=(8,),
        activation="relu",
        generator=generator(),
    )
    bound = None
    z = latent.sample(30, generator=generator(), dtype=torch.float32).requires_grad_()
    if critic is not None:
        for parameter in critic.parameters():
            nn.init.normal_(parameter, generator=generator(1))
        bound = divergence.bind(critic, None)
        loss = divergence.critic_loss(bound, latent, z.detach(), generator=generator())
        assert loss.shape == ()
        assert not divergence.has_diverged(0.0, latent)
        assert divergence.has_diverged(math.nan, latent)
    penalty = divergence.penalty(bound, latent, z, generator=generator()).mean()
    penalty.backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().max() > 0
    if critic is not None:
        assert all(p.grad is None for p in critic.parameters())


@pytest.mark.statistical
def test_mean_discrepancy_is_unbiased(global_random_seed):
    latent, g = LatentSpace(Sphere(3)), generator(global_random_seed)
    divergence = MaximumMeanDiscrepancy()
    values = [
        float(
            divergence.penalty(
                None, latent, latent.sample(32, generator=g), generator=g
            )
        )
        for _ in range(200)
    ]
    assert abs(np.mean(values) / (np.std(values) / math.sqrt(200))) < 4
    one = latent.sample(1, generator=g).expand(32, -1)
    # 1 - E k, with |f-g|^2 about 8 and twice that as the squared width: 1 - exp(-1/4)
    assert divergence.penalty(None, latent, one, generator=g) > 0.15


# --- networks -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 28, 28)])
def test_convolutions(shape):
    n = math.prod(shape)
    options = {"activation": "relu", "generator": generator()}
    encoder = ConvEncoder(shape, (4, 6, 8), 5, 2, **options)
    decoder = ConvDecoder(5, (4, 6, 8), shape, **options)
    x = torch.randn(3, n + 2, generator=generator())
    assert decoder(encoder(x)).shape == (3, n)
    noisy = x.clone()
    noisy[:, n:] += 1
    assert not torch.equal(encoder(x), encoder(noisy))
