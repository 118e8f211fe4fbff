"""Exponential families: statistics, estimates written out, honest standard errors."""

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.energies import tangent_derivatives
from sk_wmvl.exponential import (
    FAMILIES,
    ExponentialFamily,
    FisherBinghamFamily,
    GaussianFamily,
    KernelFamily,
    MonomialEnergy,
    PolynomialFamily,
    SectionEnergy,
    VonMisesFisherFamily,
)
from sk_wmvl.exponential._monomials import monomials, normal_covariance
from sk_wmvl.kernels import IMQ, RBF, BaseKernel
from sk_wmvl.manifolds import (
    AxialSphere,
    Circle,
    Euclidean,
    Hyperbolic,
    Rotation,
    Simplex,
    Sphere,
    Torus,
    from_lat_lon,
)

MANIFOLDS = [
    Euclidean(2),
    Sphere(2),
    Torus(2),
    Circle("angle"),
    AxialSphere(2),
    Rotation("quaternion"),
    Hyperbolic(2),
    Simplex(2),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


# --- kernels and their sections -------------------------------------------------------


def test_kernel_without_higher_derivatives():
    class Plain(BaseKernel):
        def __init__(self, length_scale=None):
            self.length_scale = length_scale

        def profile(self, t):
            return torch.exp(-t), -torch.exp(-t)

    with pytest.raises(NotImplementedError, match="no higher derivatives"):
        MVLDensity(energy=KernelFamily(Plain())).fit(np.arange(6.0)[:, None])


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@pytest.mark.parametrize("kernel", [RBF(0.9), IMQ(0.7)], ids=["rbf", "imq"])
def test_sections_by_hand_and_by_autograd(manifold, kernel):
    g = generator()
    y, x = (manifold.random_point(n, generator=g) for n in (6, 5))
    energy = SectionEnergy(kernel, manifold, y, torch.full((6,), 1 / 6).double())
    ours = energy.derivatives(manifold, x)
    theirs = tangent_derivatives(energy.statistics, manifold, x)
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-10)
    gram = energy.gram()  # a Gram matrix, so positive definite
    assert float(torch.linalg.eigvalsh(gram)[0]) > 0


def test_sections_and_gram_of_the_gaussian_kernel():
    # In one dimension derivatives of exp(-r²/2) are Hermite functions.
    y = torch.tensor([[0.3], [-0.8], [1.1]], dtype=torch.float64)
    w = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    energy = SectionEnergy(RBF(1.0), Euclidean(1), y, w)

    def kernel(r, order):  # d^order/dr^order of exp(-r²/2)
        hermite = [
            np.ones_like(r),
            -r,
            r**2 - 1,
            -(r**3) + 3 * r,
            r**4 - 6 * r**2 + 3,
        ]
        return hermite[order] * np.exp(-(r**2) / 2)

    r = (y.T - x).numpy()  # differentiating in y: d/dy = d/dr
    expected = np.c_[kernel(r, 1), kernel(r, 2) @ w.numpy()]
    assert np.allclose(energy.statistics(x).numpy(), expected, atol=1e-14)
    r = (y - y.T).numpy()  # of a (row) and b: d/dya d/dyb = -d²/dr²
    first = -kernel(r, 2)
    mixed = kernel(r, 3).T @ w.numpy()  # Δ of b, averaged, along a... of r = b - a
    gram = np.zeros((4, 4))
    gram[:3, :3] = first
    gram[3, :3] = gram[:3, 3] = -mixed
    gram[3, 3] = w.numpy() @ kernel(r, 4) @ w.numpy()
    assert np.allclose(energy.gram().numpy(), gram, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_covariance_of_monomials(n):
    index = monomials(n, (1, 2, 3))
    rng = np.random.default_rng(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    Z = np.stack(np.meshgrid(*[nodes] * n), -1).reshape(-1, n)
    W = np.prod(np.meshgrid(*[weights] * n), 0).ravel()
    T = MonomialEnergy(Euclidean(n), index).statistics(torch.from_numpy(Z)).numpy()
    expected = np.cov(T.T, aweights=W / W.sum(), bias=True)
    assert np.allclose(normal_covariance(index, n).numpy(), expected, atol=1e-10)
    index = monomials(n, (1, 2), on_sphere=True)
    X = torch.from_numpy(unit_rows(rng.normal(size=(50_000, n))))
    T = MonomialEnergy(Sphere(n - 1), index).statistics(X).numpy()
    ours = normal_covariance(index, n, on_sphere=True).numpy()
    assert np.allclose(ours, np.cov(T.T), atol=0.01)
    assert len(index) == n + n * (n + 1) // 2 - 1


# --- estimates by hand ----------------------------------------------------------------


@pytest.mark.parametrize("standardize", [True, False])
def test_gaussian_is_the_sample_moments(standardize):
    rng = np.random.default_rng(0)
    X = rng.standard_t(5, size=(300, 3)) @ rng.normal(size=(3, 3)) + [0, 3, -10]
    w = rng.uniform(0.1, 2, 300)
    density = MVLDensity(
        energy="gaussian", standardize=standardize, normalizer=None, random_state=0
    )
    density.fit(X, sample_weight=w)
    covariance = np.cov(X.T, aweights=w, bias=True)
    found = density.parameters_
    assert np.allclose(found["mean"], np.average(X, axis=0, weights=w), rtol=1e-8)
    assert np.allclose(found["covariance"], covariance, rtol=1e-8, atol=1e-10)
    assert np.allclose(found["precision"], np.linalg.inv(covariance), rtol=1e-8)
    # The classical sandwich of a mean: the sum of squared weighted residuals.
    weight = w / w.sum()
    expected = np.sqrt((weight**2) @ (X - found["mean"]) ** 2)
    assert np.allclose(density.standard_errors_["mean"], expected, rtol=0.05)


def test_gaussian_is_a_density():
    X = np.random.default_rng(1).normal(size=(200, 2)) * [1, 5]
    density = MVLDensity(energy="gaussian", random_state=0).fit(X)
    normal = stats.multivariate_normal(X.mean(0), np.cov(X.T, bias=True))
    assert np.allclose(density.score_samples(X), normal.logpdf(X), atol=1e-6)
    assert density.base_ is None
    assert density.n_iter_ == 1
    assert density.sample(50).shape == (50, 2)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_von_mises_fisher_by_hand(d):
    rng = np.random.default_rng(d)
    X = unit_rows(rng.normal(size=(250, d)) + 1.5 * np.eye(d)[0])
    density = RiemannianMVLDensity(
        Sphere(), energy="von_mises_fisher", normalizer=None, random_state=0
    ).fit(X)
    # E(I - xx') eta = (d - 1) E x
    eta = np.linalg.solve(np.eye(d) - X.T @ X / len(X), (d - 1) * X.mean(0))
    assert np.allclose(density.natural_parameters_, eta, atol=1e-8)
    kappa = np.linalg.norm(eta)
    assert np.allclose(density.parameters_["concentration"], kappa, atol=1e-8)
    assert np.allclose(density.parameters_["mean_direction"], eta / kappa, atol=1e-8)


def test_von_mises_on_the_circle_in_both_forms():
    angle = np.random.default_rng(0).vonmises(1.0, 2.0, size=(400, 1))
    vector = np.c_[np.cos(angle), np.sin(angle)]
    one, two = (
        RiemannianMVLDensity("circle", energy="von_mises_fisher", random_state=0).fit(X)
        for X in (angle, vector)
    )
    mean = one.parameters_["mean_direction"]
    assert np.allclose([np.cos(mean), np.sin(mean)], two.parameters_["mean_direction"])
    # On the circle: the mean of sin²(a - mu) times kappa is the mean resultant.
    s, c = np.sin(angle - mean), np.cos(angle - mean)
    assert np.isclose(one.parameters_["concentration"], c.mean() / (s**2).mean())
    assert abs(s.mean() + one.parameters_["concentration"] * (s * c).mean()) < 1e-10
    expected = stats.vonmises(one.parameters_["concentration"], loc=mean)
    log_density = expected.logpdf(angle[:, 0])
    assert np.allclose(one.score_samples(angle), log_density, atol=1e-6)
    assert one.standard_errors_["mean_direction"].shape == ()
    assert np.isclose(
        np.linalg.norm(two.standard_errors_["mean_direction"]),
        one.standard_errors_["mean_direction"],
    )


def by_least_squares(X, linear):
    """Return (kappa mu, A) by score matching, written with matrices of trace zero.

    f = eta'x + x'Ax has the tangent gradient P(eta + 2Ax), P = I - xx', and the Laplacian
    -(d - 1) eta'x - 2 d x'Ax if tr A = 0.
    """
    n, d = X.shape
    basis = []
    for i in range(d):
        for j in range(i, d):
            E = np.zeros((d, d))
            E[i, j] = E[j, i] = 1.0
            if i == j:
                E[-1, -1] -= 1.0
            if np.any(E):
                basis.append(E)
    P = np.eye(d) - X[:, :, None] * X[:, None]
    G = [2 * np.einsum("nij,jk,nk->ni", P, E, X) for E in basis]
    L = [-2 * d * np.einsum("ni,ij,nj->n", X, E, X) for E in basis]
    if linear:
        G = [P[:, :, i] for i in range(d)] + G
        L = [-(d - 1) * X[:, i] for i in range(d)] + L
    G, L = np.array(G), np.array(L)
    theta = np.linalg.solve(np.einsum("kni,lni->kl", G, G) / n, -L.mean(1))
    eta, rest = (theta[:d], theta[d:]) if linear else (None, theta)
    return eta, sum(t * E for t, E in zip(rest, basis, strict=True))


@pytest.mark.parametrize("d", [2, 3, 4])
def test_bingham_and_fisher_bingham_by_hand(d):
    rng = np.random.default_rng(d)
    X = unit_rows(rng.normal(size=(300, d)) * np.linspace(1, 2, d) + 0.3)
    params = {"normalizer": None, "random_state": 0}
    bingham = RiemannianMVLDensity(Sphere(), energy="bingham", **params).fit(X)
    _, A = by_least_squares(X, linear=False)
    assert np.allclose(bingham.parameters_["matrix"], A, atol=1e-8)
    eigenvalues = bingham.parameters_["eigenvalues"]
    assert np.allclose(eigenvalues, np.linalg.eigvalsh(A), atol=1e-8)
    axial = RiemannianMVLDensity(AxialSphere(), energy="bingham", **params).fit(-X)
    assert np.allclose(axial.parameters_["matrix"], A, atol=1e-8)
    both = RiemannianMVLDensity(Sphere(), energy="fisher_bingham", **params).fit(X)
    eta, A = by_least_squares(X, linear=True)
    assert np.allclose(both.parameters_["matrix"], A, atol=1e-8)
    assert np.allclose(both.natural_parameters_[:d], eta, atol=1e-8)


def test_bingham_of_rotations():
    # A metric of another radius scales the objective, not its minimum.
    Q = unit_rows(np.random.default_rng(0).normal(size=(300, 4)) * [1, 1, 1, 3])
    params = {"energy": "bingham", "normalizer": None, "random_state": 0}
    one = RiemannianMVLDensity("rotation", **params).fit(Q)
    two = RiemannianMVLDensity(AxialSphere(), **params).fit(Q)
    assert np.allclose(one.parameters_["matrix"], two.parameters_["matrix"])


def test_polynomial_of_degree_two_corrects_the_base_to_the_moments():
    # Base Gaussian with the same moments: nothing is left to correct.
    X = np.random.default_rng(0).normal(size=(500, 2))
    params = {"base": "gaussian", "random_state": 0}
    density = MVLDensity(energy=PolynomialFamily(2, alpha=0.0), **params).fit(X)
    assert list(density.parameters_) == ["x0", "x1", "x0^2", "x0 x1", "x1^2"]
    largest = max(abs(float(v)) for v in density.parameters_.values())
    assert largest < 0.05  # the base shrinks its correlations
    penalized = MVLDensity(energy=PolynomialFamily(2, alpha=1e3), **params).fit(X)
    assert np.abs(penalized.natural_parameters_).max() < 1e-3


def test_polynomial_on_the_sphere_nests_fisher_bingham():
    X = unit_rows(np.random.default_rng(0).normal(size=(400, 3)) + [1, 0, 0])
    params = {"normalizer": None, "random_state": 0}
    two = RiemannianMVLDensity(
        "sphere", energy=PolynomialFamily(2, alpha=0.0), base="uniform", **params
    ).fit(X)
    fb = RiemannianMVLDensity("sphere", energy="fisher_bingham", **params).fit(X)
    assert np.allclose(two.natural_parameters_, fb.natural_parameters_)
    assert np.allclose(two.score_fn(X), fb.score_fn(X))


# --- standard errors ------------------------------------------------------------------

N_SETS, N_ROWS = 50, 1000
DIRECTION = np.array([2.0, -1.0, 2.0]) / 3
MATRIX = np.array([[-1.0, 0.4, 0.0], [0.4, 0.2, 0.5], [0.0, 0.5, 0.8]])


def draw_from(log_density, bound, n, rng):
    """Draw from a density on the sphere by rejection."""
    kept = []
    while sum(map(len, kept)) < n:
        X = unit_rows(rng.normal(size=(8 * n, 3)))
        kept.append(X[np.log(rng.uniform(size=len(X))) < log_density(X) - bound])
    return np.concatenate(kept)[:n]


def gaussian_rows(n, rng):
    factor = np.array([[1.0, 0.0], [1.5, 2.0]])
    X = rng.normal(size=(n, 2)) @ factor.T + [3, -4]
    return X, {"mean": [3, -4], "covariance": factor @ factor.T}


def von_mises_fisher_rows(n, rng):
    X = stats.vonmises_fisher(DIRECTION, 4.0).rvs(n, random_state=rng)
    return X, {"mean_direction": DIRECTION, "concentration": 4.0}


def bingham_rows(n, rng):
    bound = np.linalg.eigvalsh(MATRIX)[-1]
    X = draw_from(lambda X: np.einsum("ni,ij,nj->n", X, MATRIX, X), bound, n, rng)
    return X, {"matrix": MATRIX, "eigenvalues": np.linalg.eigvalsh(MATRIX)}


def fisher_bingham_rows(n, rng):
    bound = np.linalg.eigvalsh(MATRIX)[-1] + 1.5

    def log_density(X):
        return np.einsum("ni,ij,nj->n", X, MATRIX, X) + 1.5 * X @ DIRECTION

    X = draw_from(log_density, bound, n, rng)
    truth = {"mean_direction": DIRECTION, "concentration": 1.5, "matrix": MATRIX}
    return X, truth


def quartic_rows(n, rng):
    """Draw from exp(-u⁴ + u) by rejection; mean and scale keep their values."""
    kept = []
    while sum(map(len, kept)) < n:
        u = rng.uniform(-2.5, 2.5, size=8 * n)
        kept.append(u[np.log(rng.uniform(size=len(u))) < u - u**4 - 0.48])
    X = np.concatenate(kept)[:n, None]
    return X, {"x0": 1.0, "x0^2": 0.0, "x0^3": 0.0, "x0^4": -1.0}


SAMPLES = {
    "gaussian": (gaussian_rows, MVLDensity(energy="gaussian")),
    "von_mises_fisher": (
        von_mises_fisher_rows,
        RiemannianMVLDensity("sphere", energy="von_mises_fisher"),
    ),
    "bingham": (bingham_rows, RiemannianMVLDensity("sphere", energy="bingham")),
    "fisher_bingham": (
        fisher_bingham_rows,
        RiemannianMVLDensity("sphere", energy="fisher_bingham"),
    ),
    "polynomial": (
        quartic_rows,
        MVLDensity(energy=PolynomialFamily(4, alpha=0.0), base=None, standardize=False),
    ),
}


@pytest.mark.parametrize("name", ["gaussian", "fisher_bingham"])
def test_standard_errors_are_nearly_those_of_the_jackknife(name):
    """60 rows of unequal weights, left out one at a time; the delta method is linear."""
    make, estimator = SAMPLES[name]
    estimator = clone(estimator).set_params(normalizer=None, random_state=0)
    rng = np.random.default_rng(0)
    X, truth = make(60, rng)
    w = rng.uniform(0.5, 1.5, size=60)
    estimator.fit(X, sample_weight=w)
    keys = truth.keys() & estimator.parameters_.keys()

    def flat(values):
        return np.concatenate([np.ravel(values[key]) for key in sorted(keys)])

    value, error = flat(estimator.parameters_), flat(estimator.standard_errors_)
    moves = []
    for i in range(60):
        kept = np.arange(60) != i
        estimator.fit(X[kept], sample_weight=w[kept])
        moves.append(flat(estimator.parameters_) - value)
    jackknife = np.sqrt(np.square(moves).sum(0))
    np.testing.assert_allclose(error, jackknife, rtol=0.25)


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", list(SAMPLES))
def test_standard_errors_are_honest(name, weighted, global_random_seed):
    make, estimator = SAMPLES[name]
    estimator.set_params(normalizer=None, random_state=0)
    rng = np.random.default_rng([global_random_seed, list(SAMPLES).index(name)])
    squares = []
    for _ in range(N_SETS):
        X, truth = make((4 if weighted else 1) * N_ROWS, rng)
        w = None
        if weighted:
            # rows kept with unequal probabilities, and weighted by their inverse
            kept = 0.5 + 0.5 / (1 + np.exp(-2 * X[:, 0] / X[:, 0].std()))
            chosen = rng.uniform(size=len(X)) < kept
            X, w = X[chosen], 1 / kept[chosen]
        estimator.fit(X, sample_weight=w)
        z = np.concatenate(
            [
                np.ravel(
                    (estimator.parameters_[key] - np.array(value))
                    / estimator.standard_errors_[key]
                )
                for key, value in truth.items()
            ]
        )
        # |z| < 4 for plain rows; for weighted rows the limit that the largest |z| of all
        # data sets exceeds once in 10 000 times
        limit = stats.norm.isf(5e-5 / (N_SETS * len(z))) if weighted else 4
        assert np.abs(z).max() < limit
        squares.append(np.mean(z**2))
    error = np.std(squares, ddof=1) / np.sqrt(N_SETS)
    assert abs(np.mean(squares) - 1) < 4 * error


# --- what it refuses ------------------------------------------------------------------


def test_every_name_makes_a_family():
    for make in FAMILIES.values():
        assert isinstance(make(1e-3), ExponentialFamily)
    assert FAMILIES["kernel"](1e-3).alpha == 1e-3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"energy": "gaussian", "objective": "dsm"}, "objective must be 'sm'"),
        ({"energy": "gaussian", "objective": "mvl-graph"}, "objective must be 'sm'"),
        ({"energy": "kernel", "alpha": 0.0}, "alpha of KernelFamily must be"),
        ({"energy": PolynomialFamily(3)}, "even in Euclidean space"),
        ({"energy": PolynomialFamily(4, alpha=-1.0)}, "alpha of PolynomialFamily"),
        ({"energy": KernelFamily(n_components=0)}, "n_components of KernelFamily"),
        ({"energy": KernelFamily("nope")}, "kernel='nope' is not known"),
        ({"energy": "bingham"}, "BinghamFamily is a family on Sphere"),
        ({"energy": "von_mises_fisher"}, "VonMisesFisherFamily is a family on Sphere"),
    ],
)
def test_bad_parameters_are_named(params, message):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=message):
        MVLDensity(base="gaussian", **params).fit(X)


def test_families_know_their_spaces():
    X = unit_rows(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(ValueError, match="GaussianFamily is a family on Euclidean"):
        RiemannianMVLDensity(energy=GaussianFamily()).fit(X)
    for family in (VonMisesFisherFamily(), FisherBinghamFamily()):
        with pytest.raises(ValueError, match="is a family on Sphere, Circle, not on"):
            RiemannianMVLDensity("axial", energy=family).fit(X)


# the columns are told to depend on one another before the family is asked
@pytest.mark.filterwarnings("ignore:X has columns that are exact")
def test_rows_that_do_not_determine_the_parameters():
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ValueError, match="do not determine the 5 parameters"):
        MVLDensity(energy="gaussian").fit(np.c_[X[:, 0], 2 * X[:, 0]])
    family = PolynomialFamily(4, alpha=0.0)
    with pytest.raises(ValueError, match="alpha=0 is too small"):
        MVLDensity(energy=family, normalizer=None).fit(X[:3])


def test_partial_fit_says_to_call_fit():
    assert not hasattr(MVLDensity(energy="gaussian"), "partial_fit")
    assert hasattr(MVLDensity(), "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit"):
        MVLDensity(energy="gaussian").partial_fit(np.eye(3))


def test_a_network_forgets_the_solution():
    X = np.random.default_rng(0).normal(size=(60, 1))
    density = MVLDensity(energy="gaussian", random_state=0).fit(X)
    density.set_params(energy="mlp", max_epochs=1, hidden_layer_sizes=(4,)).fit(X)
    assert not hasattr(density, "parameters_")


def test_kernel_family_on_places():
    # Directions on Earth, clustered in two places.
    rng = np.random.default_rng(0)
    places = (
        np.repeat([[0.0, 0.0], [40.0, 100.0]], 100, 0) + rng.normal(size=(200, 2)) * 9
    )
    X = from_lat_lon(*places.T)
    density = RiemannianMVLDensity(
        energy=KernelFamily(n_components=60), base="uniform", random_state=0
    ).fit(X)
    at, between = density.score_samples(from_lat_lon([0.0, 20.0], [0.0, 50.0]))
    assert at > between + 1
    assert density.parameters_ == {}


@pytest.mark.statistical
def test_spurious_modes_draw_a_warning(global_random_seed):
    # on a small cap score matching may put a spurious mode at the antipode
    rng = np.random.default_rng(global_random_seed)
    vmf = stats.vonmises_fisher([0, 0, 1.0], 500.0)
    spurious = 0
    for _ in range(5):
        X = vmf.rvs(1000, random_state=rng)
        density = RiemannianMVLDensity(energy="fisher_bingham", random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            density.fit(X)
        warned = [w for w in caught if "less likely" in str(w.message)]
        assert len(warned) == (density.score(X) < -np.log(4 * np.pi) - 0.1)
        spurious += len(warned)
    assert spurious > 0
    density = RiemannianMVLDensity(energy="von_mises_fisher", random_state=0).fit(X)
    assert density.score(X) > 1
