"""Mixtures on manifolds: normalised, sampled and fitted as they say."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.base_measures import KernelBase, ManifoldMixture, UniformBase
from sk_wmvl.base_measures.components import (
    VonMisesFisher,
    WrappedNormal,
    component_family,
)
from sk_wmvl.base_measures.selection import choose_base, fit_kernel_base
from sk_wmvl.base_measures.selection.manifold import stack_bases
from sk_wmvl.manifolds import (
    SPD,
    AxialSphere,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Torus,
)
from sk_wmvl.metrics import hyvarinen_values
from sk_wmvl.normalizers import AnnealedNormalizer, QuadratureNormalizer
from sk_wmvl.samplers import GeodesicHMC
from sk_wmvl.samplers.annealing import NegativeLogProb

COMPACT = {
    "circle": Circle("angle"),
    "sphere1": Sphere(1),
    "sphere2": Sphere(2),
    "sphere3": Sphere(3),
    "torus2": Torus(2),
    "axial": AxialSphere(2),
    "rotation": Rotation("quaternion"),
    "simplex": Simplex(2),
    "product": Product([("a", Torus(1)), ("b", Sphere(1))]),
}
OPEN = {
    "euclidean": Euclidean(2),
    "hyperbolic": Hyperbolic(2),
    "spd": SPD(2),
    "wind": Product([("a", Torus(1)), ("b", Euclidean(1))]),
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def prior(manifold, value=0.3):
    n_units = component_family(manifold).n_units(manifold)
    return torch.full((n_units,), value, dtype=torch.float64)


def mixture(manifold, seed=0, variance=0.3, k=3):
    centers = manifold.random_point(k, generator=generator(seed))
    parts = component_family(manifold)(manifold, centers, variance)
    background = 0.1 if manifold.is_compact else 0.0
    weights = (1 - background) * torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    return ManifoldMixture(manifold, parts, weights, background)


@pytest.mark.parametrize("name", [*COMPACT, *OPEN])
def test_rows_in_chunks_give_the_same(name, monkeypatch):
    manifold = {**COMPACT, **OPEN}[name]
    x = manifold.random_point(23, generator=generator(5))
    seen = []
    for entries in (10**9, 20):
        monkeypatch.setattr(
            "sk_wmvl.base_measures.components._base.MOST_ENTRIES", entries
        )
        q = mixture(manifold)
        q.step(x, torch.ones(23, dtype=torch.float64), prior(manifold))
        seen.append(q.log_prob(x))
    torch.testing.assert_close(*seen)


@pytest.mark.parametrize("name", COMPACT)
def test_densities_integrate_to_one(name):
    manifold = COMPACT[name]
    q = mixture(manifold)
    nodes, log_weights = manifold.quadrature(80 if manifold.dim == 3 else 300)
    assert abs(float((q.log_prob(nodes) + log_weights).exp().sum()) - 1) < 1e-6


@pytest.mark.statistical
@pytest.mark.parametrize("name", [*COMPACT, *OPEN])
def test_draws_follow_the_density(name, global_random_seed):
    # 20 000 draws and as many of another mixture p: with f = p / (p + q), which lies in
    # (0, 1), E_q[f] = E_p[q / (p + q)] holds for normalised densities only; |z| < 4.
    manifold = {**COMPACT, **OPEN}[name]
    q, p = mixture(manifold, 0), mixture(manifold, 1, variance=0.5)
    x = q.sample(20_000, generator=generator(2 * global_random_seed))
    y = p.sample(20_000, generator=generator(2 * global_random_seed + 1))
    left = torch.sigmoid(p.log_prob(x) - q.log_prob(x))
    right = torch.sigmoid(q.log_prob(y) - p.log_prob(y))
    error = (left.var() / len(left) + right.var() / len(right)).sqrt()
    assert abs(float((left.mean() - right.mean()) / error)) < 4


@pytest.mark.parametrize("d", [2, 3, 4, 20, 100, 768])
@pytest.mark.parametrize("kappa", [0.01, 1.0, 50.0, 1e5])
def test_von_mises_fisher_constant(d, kappa):
    mu = torch.zeros(1, d, dtype=torch.float64)
    mu[0, 0] = 1
    f = VonMisesFisher(Sphere(d - 1), mu, 1 / kappa)
    # the integral over the angle to the mean; beyond 12 widths nothing is left of it
    area = (d - 1) / 2 * np.log(np.pi) + np.log(2) - special.gammaln((d - 1) / 2)
    node, weight = np.polynomial.legendre.leggauss(400)
    top = min(np.pi, 12 * (d / kappa) ** 0.5)
    angle = top * (node + 1) / 2
    log_value = -2 * kappa * np.sin(angle / 2) ** 2 + (d - 2) * np.log(np.sin(angle))
    expected = -area - special.logsumexp(log_value, b=weight * top / 2)
    assert float(f.log_prob(mu)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.statistical
@pytest.mark.parametrize(("d", "kappa"), [(2, 0.5), (3, 4.0), (5, 300.0), (50, 20.0)])
def test_von_mises_fisher_draws(d, kappa, global_random_seed):
    # 20 000 draws: mean cosine against A_d(kappa), |z| < 4.
    mu = torch.zeros(1, d, dtype=torch.float64)
    mu[0, -1] = 1
    f = VonMisesFisher(Sphere(d - 1), mu, 1 / kappa)
    which = torch.zeros(20_000, dtype=torch.int64)
    t = f.sample(which, generator=generator(global_random_seed))[:, -1].numpy()
    expected = special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)
    assert abs(t.mean() - expected) < 4 * t.std() / len(t) ** 0.5


@pytest.mark.parametrize("name", [*COMPACT, *OPEN])
def test_steps_raise_the_likelihood_and_gradients_are_right(name):
    manifold = {**COMPACT, **OPEN}[name]
    q = mixture(manifold)
    x = mixture(manifold, 1).sample(400, generator=generator(1))
    before = float(q.log_prob(x).mean())
    for _ in range(10):
        q.step(x, torch.ones(len(x), dtype=torch.float64), prior(manifold))
    assert float(q.log_prob(x).mean()) > before
    x = x[:10]
    _, grad = energy_and_grad(q, x)
    u = manifold.random_tangent(x, generator=generator(2))
    h = 1e-5
    ahead = q.log_prob(manifold.exp(x, h * u))
    behind = q.log_prob(manifold.exp(x, -h * u))
    slope = (ahead - behind) / (2 * h)
    torch.testing.assert_close((grad * u).sum(-1), slope, rtol=1e-5, atol=1e-5)


@pytest.mark.statistical
def test_a_fit_recovers_two_directions(global_random_seed):
    # 800 rows, 70 % about one pole: weights within 4 binomial standard errors.
    rng = np.random.default_rng(global_random_seed)
    first = stats.vonmises_fisher([0, 0, 1.0], 50).rvs(560, random_state=rng)
    second = stats.vonmises_fisher([1.0, 0, 0], 20).rvs(240, random_state=rng)
    x = torch.tensor(rng.permutation(np.r_[first, second]))
    one = torch.ones(len(x), dtype=torch.float64)
    q = choose_base(
        Sphere(2), x[:640], one[:640], x[640:], one[640:], kinds=("mixture",)
    )
    near = q.components.mu[:, 2] > 0.7
    mass = float(q.log_weights.exp()[near].sum())
    assert abs(mass - 0.7) < 4 * (0.7 * 0.3 / 800) ** 0.5 + 0.01
    truth = special.logsumexp(
        [
            np.log(0.7) + stats.vonmises_fisher([0, 0, 1.0], 50).logpdf(x.numpy()),
            np.log(0.3) + stats.vonmises_fisher([1.0, 0, 0], 20).logpdf(x.numpy()),
        ],
        axis=0,
    )
    assert abs(np.mean(truth - q.log_prob(x).numpy())) < 0.03


@pytest.mark.statistical
def test_uniform_rows_stay_uniform(global_random_seed):
    x = Sphere(2).random_point(300, generator=generator(global_random_seed))
    one = torch.ones(len(x), dtype=torch.float64)
    q = choose_base(Sphere(2), x[:240], one[:240], x[240:], one[240:])
    nodes, log_weights = Sphere(2).quadrature(100)
    log_q = q.log_prob(nodes)
    kl = float(((-np.log(4 * np.pi) - log_q) * log_weights.exp()).sum() / (4 * np.pi))
    assert kl < 0.05
    value = UniformBase(Sphere(2)).log_prob(x[:1]).item()
    assert value == pytest.approx(-np.log(4 * np.pi))


def test_a_weight_of_two_is_two_rows():
    # At equal responsibilities EM sees the same sums.
    x = Torus(2).random_point(50, generator=generator(0))
    weight = torch.ones(50, dtype=torch.float64)
    weight[:10] = 2
    doubled, weighted = mixture(Torus(2)), mixture(Torus(2))
    for _ in range(5):
        weighted.step(x, weight, prior(Torus(2)))
        twice = torch.cat([x, x[:10]])
        doubled.step(twice, torch.ones(60).double(), prior(Torus(2)))
    torch.testing.assert_close(weighted.log_prob(x), doubled.log_prob(x))


def test_wrapped_normal_in_the_plane_is_the_normal():
    f = WrappedNormal(Euclidean(2), torch.tensor([[1.0, 2.0]]).double(), 0.5)
    x = torch.tensor([[0.0, 0.0], [3.0, 1.0]]).double()
    expected = stats.multivariate_normal([1, 2], 0.5 * np.eye(2)).logpdf(x.numpy())
    np.testing.assert_allclose(f.log_prob(x)[:, 0].numpy(), expected)


@pytest.mark.statistical
@pytest.mark.parametrize("name", [*COMPACT, *OPEN])
def test_geodesic_hmc_leaves_the_mixture_invariant(name, global_random_seed):
    # 1000 chains of 10 moves started in equilibrium: means of the features stay, |z| < 4.5
    # as up to a dozen features are looked at.
    manifold = {**COMPACT, **OPEN}[name]
    q = mixture(manifold)

    def energy(x):
        return -q.log_prob(x)

    start = q.sample(1000, generator=generator(global_random_seed))
    fresh = q.sample(1000, generator=generator(global_random_seed + 100))
    sampler = GeodesicHMC(manifold, 0.5, 3)
    g = generator(global_random_seed + 200)
    end = sampler.run(energy, start, n_steps=10, generator=g).state.x
    assert float((manifold.dist(start, end) > 1e-6).double().mean()) > 0.5
    left, right = manifold.features(end), manifold.features(fresh)
    error = (left.var(0) / 1000 + right.var(0) / 1000).sqrt()
    z = (left.mean(0) - right.mean(0)) / error.clamp(min=1e-12)
    assert float(z.abs().max()) < 4.5


@pytest.mark.parametrize("name", [*COMPACT, *OPEN])
def test_joined_components_are_both(name):
    manifold = {**COMPACT, **OPEN}[name]
    first = mixture(manifold, seed=1, variance=0.2).components
    second = mixture(manifold, seed=2, variance=0.05).components
    joined = first.join(second)
    x = manifold.random_point(20, generator=generator(3))
    both = torch.cat([first.log_prob(x), second.log_prob(x)], 1)
    torch.testing.assert_close(joined.log_prob(x), both, rtol=1e-9, atol=1e-9)


# --- kernel estimates -----------------------------------------------------------------


def test_a_kernel_estimate_leaves_rows_and_their_copies_out():
    x = Torus(2).random_point(60, generator=generator(0))
    x = torch.cat([x, x[:10]])
    one = torch.ones(len(x), dtype=torch.float64)
    base = fit_kernel_base(Torus(2), x, one, prior(Torus(2), 1.0), seed=0)
    nodes, log_weights = Torus(2).quadrature(300)
    assert abs(float((base.log_prob(nodes) + log_weights).exp().sum()) - 1) < 1e-6
    # by hand: the others' components, their weights scaled up to one, and the background
    kappa = base.mixture.components.kappa.numpy()
    weight = base.mixture.log_weights.exp().numpy()
    background = base.mixture.background
    X, centers = x.numpy(), base.centers.numpy()
    assert weight.sum() + background == pytest.approx(1, abs=1e-12)
    for i in (0, 30):
        others = [j for j in range(len(centers)) if not (centers[j] == X[i]).all()]
        logs = [
            np.log(weight[j])
            + stats.vonmises.logpdf(X[i], kappa[j], loc=centers[j]).sum()
            for j in others
        ]
        uniform = np.log(background) - 2 * np.log(2 * np.pi)
        expected = np.logaddexp(special.logsumexp(logs), uniform)
        expected -= np.log(weight[others].sum() + background)
        value = base.log_prob_left_out(x[i : i + 1]).item()
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.statistical
def test_stacked_kernels_follow_several_scales(global_random_seed):
    # Half of the rows in a spot of 0.01 radians, half all over the circle.
    rng = np.random.default_rng(global_random_seed)

    def draw(n):
        spot = rng.random(n) < 0.5
        angle = np.where(spot, rng.vonmises(1, 1e4, n), rng.vonmises(-1, 1.0, n))
        return torch.tensor(angle[:, None])

    x, new = draw(1000), draw(4000)
    one = torch.ones(1000, dtype=torch.float64)
    base = fit_kernel_base(Torus(1), x, one, prior(Torus(1), 1.0), seed=0)
    spot = stats.vonmises.pdf(new[:, 0].numpy(), 1e4, loc=1)
    rest = stats.vonmises.pdf(new[:, 0].numpy(), 1.0, loc=-1)
    truth = np.log(0.5 * spot + 0.5 * rest)
    assert 0 < (truth - base.log_prob(new).numpy()).mean() < 0.05


def test_kernel_weights_are_copies():
    x = Torus(2).random_point(40, generator=generator(0))
    copies = torch.cat([x, x[:10]])
    weight = torch.ones(40, dtype=torch.float64)
    weight[:10] = 2
    one = torch.ones(50, dtype=torch.float64)
    a = fit_kernel_base(Torus(2), x, weight, prior(Torus(2), 1.0), seed=0)
    b = fit_kernel_base(Torus(2), copies, one, prior(Torus(2), 1.0), seed=0)
    nodes, _ = Torus(2).quadrature(20)
    torch.testing.assert_close(a.log_prob(nodes), b.log_prob(nodes), atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.statistical
def test_kernels_take_over_where_mixtures_do_not_suffice(global_random_seed):
    # 600 rows along a spiral on the sphere: no few components follow it.
    rng = np.random.default_rng(global_random_seed)
    t = rng.uniform(0, 1, 600)
    z, angle = 1.6 * t - 0.8, 20 * t
    X = np.c_[np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z]
    X += 0.01 * rng.normal(size=X.shape)
    x = torch.tensor(X / np.linalg.norm(X, axis=1, keepdims=True))
    one = torch.ones(600, dtype=torch.float64)
    parts = x[:500], one[:500], x[500:], one[500:]
    both = choose_base(Sphere(2), *parts)
    few = choose_base(Sphere(2), *parts, kinds=("mixture",))
    assert isinstance(both, KernelBase)
    assert both.log_prob(x[500:]).mean() > few.log_prob(x[500:]).mean()


@pytest.mark.slow
@pytest.mark.statistical
def test_a_curve_over_broad_clusters_takes_both(global_random_seed):
    # 3000 rows of four angles: a tenth on a narrow curve, the others in three spots.
    # 4000 new rows are likelier under the stack than under a mixture or kernels alone,
    # and it was put at all rows, also at those that were held out.
    rng = np.random.default_rng(global_random_seed)
    spots = rng.uniform(0, 2 * np.pi, (3, 4))

    def draw(n):
        t = rng.uniform(0, 2 * np.pi, (n, 1))
        curve = t * [1, 3, 2, 1] + 0.05 * rng.normal(size=(n, 4))
        broad = rng.vonmises(spots[rng.integers(3, size=n)], 5.0)
        on_curve = rng.random((n, 1)) < 0.1
        return torch.tensor(np.where(on_curve, curve, broad) % (2 * np.pi))

    x, new = draw(3000), draw(4000)
    one = torch.ones(3000, dtype=torch.float64)
    parts = x[:2500], one[:2500], x[2500:], one[2500:]
    both = choose_base(Torus(4), *parts)
    assert isinstance(both, KernelBase)
    assert len(both.mixture.log_weights) > len(both.centers)
    assert len(torch.unique(both.centers, dim=0)) == 3000
    for kind in ("mixture", "kernel"):
        alone = choose_base(Torus(4), *parts, kinds=(kind,))
        assert both.log_prob(new).mean() > alone.log_prob(new).mean()


def test_a_stack_leaves_out_only_the_kernels_at_a_row():
    x = Torus(2).random_point(60, generator=generator(0))
    one = torch.ones(60, dtype=torch.float64)
    kernel = fit_kernel_base(Torus(2), x, one, prior(Torus(2), 1.0), seed=0)
    other = mixture(Torus(2))
    both = stack_bases([other, kernel], np.array([0.3, 0.7]))
    expected = 0.7 * kernel.log_prob(x).exp() + 0.3 * other.log_prob(x).exp()
    torch.testing.assert_close(both.log_prob(x).exp(), expected)
    # the mass of the kernels at the row, the 60th part of all of them, is gone
    mass = 0.7 * (1 - kernel.mixture.background) / 60
    own = 0.7 * kernel.log_prob_left_out(x).exp() * (1 - mass / 0.7)
    expected = (own + 0.3 * other.log_prob(x).exp()) / (1 - mass)
    torch.testing.assert_close(both.log_prob_left_out(x).exp(), expected)


@pytest.mark.parametrize("seed", range(6))
def test_kernels_at_rounded_rows_in_groups(seed):
    # 15 places, each taken four times, by 12 groups: neighbors are few, copies are many.
    rng = np.random.default_rng(seed)
    x = Sphere(2).random_point(15, generator=generator(seed)).repeat(4, 1)
    groups, one = rng.integers(12, size=60), torch.ones(60, dtype=torch.float64)
    base = choose_base(
        Sphere(2), x, one, x[:0], one[:0], kinds=("kernel",), groups=groups
    )
    assert torch.isfinite(base.log_prob(x)).all()


def test_two_groups_are_enough():
    x = Circle("angle").random_point(100, generator=generator(0))
    one = torch.ones(100, dtype=torch.float64)
    groups = np.arange(100) % 2
    base = choose_base(Circle("angle"), x, one, x[:0], one[:0], groups=groups)
    assert torch.isfinite(base.log_prob(x)).all()


# --- what once went wrong -------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize(
    "kinds",
    [("mixture",), pytest.param(("mixture", "kernel"), marks=pytest.mark.slow)],
    ids=["mixture", "all"],
)
@pytest.mark.parametrize("name", ["product", "torus"])
def test_narrow_and_broad_coordinates_side_by_side(name, kinds, global_random_seed):
    # 600 rows of one component: its likelihood, to 0.1 nats, whatever the units' widths.
    rng = np.random.default_rng(global_random_seed)
    narrow, broad = rng.vonmises(0, 1e5, 600), rng.vonmises(1, 2.0, 600)
    truth = stats.vonmises.logpdf(narrow, 1e5)
    if name == "product":
        manifold = Product([("a", Circle("angle")), ("b", Euclidean(1))])
        speed = rng.normal(size=600)
        x = torch.tensor(np.c_[narrow, speed])
        truth = truth + stats.norm.logpdf(speed)
    else:
        manifold = Torus(2)
        x = torch.tensor(np.c_[narrow, broad])
        truth = truth + stats.vonmises.logpdf(broad, 2.0, loc=1)
    one = torch.ones(600, dtype=torch.float64)
    q = choose_base(manifold, x[:500], one[:500], x[500:], one[500:], kinds=kinds)
    assert abs(np.mean(truth[500:] - q.log_prob(x[500:]).numpy())) < 0.1


def test_components_leave_coordinate_planes():
    rng = np.random.default_rng(0)
    x = Simplex(2).from_user(torch.tensor(rng.dirichlet([20, 20, 20], 400)))
    center = torch.tensor([[0.0, 0.6**0.5, 0.4**0.5]], dtype=torch.float64)
    start = VonMisesFisher.starting_points(Simplex(2), center)
    component = VonMisesFisher(Simplex(2), start, 0.1)
    for _ in range(50):
        component.update(x, torch.ones(400, 1).double(), prior(Simplex(2)))
    assert component.mu.min() > 0.4


def test_second_derivatives_at_a_zero_part():
    q = mixture(Simplex(2))
    x = torch.tensor([[0.0, 0.6, 0.8], [1e-6, 0.6, 0.8]], dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)

    class Energy(torch.nn.Module):
        def forward(self, x):
            return -q.log_prob(x)

    at_zero, nearby = hyvarinen_values(Energy(), x, manifold=Simplex(2))
    assert at_zero == pytest.approx(float(nearby), rel=1e-4)


@pytest.mark.statistical
def test_weak_concentration_in_many_dimensions(global_random_seed):
    # 700 rows in 300 dimensions with kappa = 20: a gain of 0.65 nats over uniform, less
    # what 300 parameters cost.
    mu = np.eye(300)[0]
    X = stats.vonmises_fisher(mu, 20.0).rvs(700, random_state=global_random_seed)
    x, one = torch.tensor(X), torch.ones(700, dtype=torch.float64)
    q = choose_base(
        Sphere(299), x[:560], one[:560], x[560:], one[560:], kinds=("mixture",)
    )
    gain = q.log_prob(x[560:]) + Sphere(299).log_volume()
    assert float(gain.mean()) > 0.3


def test_quadrature_sees_spikes_that_all_its_grids_miss():
    pole = torch.tensor([[0.0, 0.6, 0.8]], dtype=torch.float64)
    spike = VonMisesFisher(Sphere(2), pole, 1e-7)
    weights = torch.tensor([0.99], dtype=torch.float64)
    q = ManifoldMixture(Sphere(2), spike, weights, 0.01)

    def energy(x):
        return -q.log_prob(x)

    z = QuadratureNormalizer(128).estimate(energy, q, manifold=Sphere(2))
    assert z.problem
    assert abs(z.value) <= 1.001 * z.std_error


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["sphere20", "torus7"])
def test_annealed_importance_sampling_in_many_dimensions(name, global_random_seed):
    # Mixtures of known constant, log Z = 0, from uniform draws: error within 4 of the
    # estimate's own standard errors, which are below 0.2 nats. Four moves a temperature:
    # with one, two of eight runs on the torus warned of heavy-tailed weights, as they
    # should, and no error is claimed for an estimate that warns.
    if name == "sphere20":
        manifold, variance = Sphere(20), 1 / 15
    else:
        manifold, variance = Torus(7), 0.4
    q = mixture(manifold, global_random_seed, variance=variance)
    # of one sign and near one another, so that chains can cross
    center = manifold.random_point(1, generator=generator(global_random_seed))
    q.components.mu = manifold.exp(
        center.expand(3, -1).contiguous(),
        0.15 * manifold.random_tangent(center.expand(3, -1), generator=generator(7)),
    )
    estimate = AnnealedNormalizer(512, n_transitions=4).log_normalizer(
        NegativeLogProb(q),
        UniformBase(manifold),
        generator=generator(global_random_seed + 50),
        manifold=manifold,
    )
    assert abs(estimate.value) < 4 * estimate.std_error < 0.8
