"""Kernel estimators of scores against formulas written out, and against the truth."""

import numpy as np
import pytest
import scipy.special
import torch
from torch.func import jacrev, vmap

from sk_wmvl.kernels import IMQ, RBF
from sk_wmvl.score_methods import (
    GRID,
    MATRIX_KERNELS,
    SCORE_METHODS,
    CurlFreeKernel,
    DiagonalKernel,
    KernelExponential,
    Landweber,
    NuMethod,
    SpectralCutoff,
    Stein,
    System,
    choose_regularization,
)

RADIAL = [RBF(1.3), IMQ(0.9), IMQ(1.1, exponent=-0.3)]
each_radial = pytest.mark.parametrize("radial", RADIAL, ids=str)
each_structure = pytest.mark.parametrize("structure", sorted(MATRIX_KERNELS))
each_method = pytest.mark.parametrize("name", sorted(SCORE_METHODS))


def normal(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=generator)


def uniform_weights(x):
    return torch.full((len(x),), 1 / len(x), dtype=x.dtype)


def scalar(radial, x, y):
    """Return k at two points, as a textbook writes it."""
    square = ((x - y) ** 2).sum() / radial.length_scale**2
    if isinstance(radial, RBF):
        return torch.exp(-square / 2)
    return (1 + square) ** radial.exponent


def block(structure, radial, x, y):
    """Return the matrix at two points by differentiating k, scaled to I at x = y."""
    if structure == "diagonal":
        return scalar(radial, x, y) * torch.eye(len(x), dtype=x.dtype)

    def mixed(a, b):
        return jacrev(jacrev(scalar, 1), 2)(radial, a, b)

    return mixed(x, y) / mixed(x.detach(), x.detach())[0, 0]


def divergence_in_second(structure, radial, x, y):
    """Return the row sums of the derivative of the block in y."""
    jacobian = jacrev(lambda b: block(structure, radial, x, b))(y)
    return jacobian.diagonal(dim1=1, dim2=2).sum(1)


@each_radial
@each_structure
def test_matrix_kernels_are_derivatives(structure, radial):
    kernel = MATRIX_KERNELS[structure](radial)
    x, y, c, w = normal(3, 2), normal(4, 2, 1), normal(4, 2, 2), normal(4, 1, 3)[:, 0]

    def at_pairs(f):  # (3, 4, ...)
        over_y = vmap(lambda a, b: f(structure, radial, a, b), (None, 0))
        return vmap(over_y, (0, None))(x, y)

    field = torch.einsum("ijkl,jl->ik", at_pairs(block), c)
    source = torch.einsum("ijk,j->ik", at_pairs(divergence_in_second), w)
    torch.testing.assert_close(kernel.apply(x, y, c), field)
    torch.testing.assert_close(kernel.source(x, y, w), source)
    b = kernel.n_blocks(2)
    flat = kernel.gram(x, y) @ (c if b == 1 else c.reshape(-1, 1))
    torch.testing.assert_close(flat.reshape(3, 2), field)
    torch.testing.assert_close(kernel.gram(x, x), kernel.gram(x, x).T)

    def divergence(function):
        jacobian = torch.autograd.functional.jacobian(lambda a: function(a).sum(0), x)
        return jacobian.diagonal(dim1=0, dim2=2).sum(1)

    torch.testing.assert_close(
        kernel.apply_divergence(x, y, c), divergence(lambda a: kernel.apply(a, y, c))
    )
    torch.testing.assert_close(
        kernel.source_divergence(x, y, w), divergence(lambda a: kernel.source(a, y, w))
    )


@each_radial
def test_curl_free_fields_are_gradients(radial):
    kernel = CurlFreeKernel(radial)
    x, y, c, w = normal(3, 2), normal(4, 2, 1), normal(4, 2, 2), normal(4, 1, 3)[:, 0]
    x.requires_grad_()
    (slope,) = torch.autograd.grad(kernel.potential(x, y, c, w).sum(), x)
    torch.testing.assert_close(slope, kernel.apply(x, y, c) + kernel.source(x, y, w))
    with pytest.raises(NotImplementedError, match="not gradients"):
        DiagonalKernel(radial).potential(x, y, c, w)


@each_structure
def test_tikhonov_minimises_its_functional(structure):
    # The minimiser lies in the span of the kernel at the data and of ζ; over it the
    # functional is quadratic, and all its coefficients are derivatives of k.
    radial, lam, n, d = RBF(1.3), 0.05, 5, 2
    x, at = normal(n, d), normal(3, d, 1)

    def source_of(point):
        terms = vmap(lambda b: divergence_in_second(structure, radial, point, b))(x)
        return terms.mean(0)

    def basis(point):  # (d, n d + 1)
        blocks = vmap(lambda b: block(structure, radial, point, b))(x)
        flat = blocks.transpose(0, 1).reshape(d, n * d)
        return torch.cat([flat, source_of(point)[:, None]], 1)

    def divergence(point):
        return torch.einsum("kjk->j", jacrev(basis)(point))

    values, linear = vmap(basis)(x), vmap(divergence)(x).mean(0)
    quadratic = torch.einsum("ika,ikb->ab", values, values) / n
    gram = torch.zeros(n * d + 1, n * d + 1, dtype=torch.float64)
    gram[:-1] = values.reshape(n * d, -1)
    gram[-1] = torch.cat([gram[:-1, -1], linear[-1:]])  # <ζ, ζ> is its mean divergence
    theta = torch.linalg.lstsq(quadratic + lam * gram, -linear, driver="gelsd").solution
    expected = vmap(basis)(at) @ theta

    system = System(MATRIX_KERNELS[structure](radial), x, uniform_weights(x))
    for solver in ("direct", "cg"):
        field = KernelExponential(solver).fit(system, lam)
        torch.testing.assert_close(field(at), expected, rtol=1e-6, atol=1e-6)


@each_structure
@each_radial
def test_solvers_of_tikhonov_agree(structure, radial):
    x, at = normal(40, 3), normal(10, 3, 1)
    system = System(MATRIX_KERNELS[structure](radial), x, uniform_weights(x))
    direct = KernelExponential("direct").fit(system, 1e-3)(at)
    for other in (
        KernelExponential("cg", tol=1e-12),
        KernelExponential("nystrom", n_inducing=40),
    ):
        torch.testing.assert_close(
            other.fit(system, 1e-3)(at), direct, rtol=1e-5, atol=1e-5
        )
    (by_eigenvalues,) = KernelExponential().path(system, np.array([1e-3]))
    torch.testing.assert_close(by_eigenvalues(at), direct, rtol=1e-6, atol=1e-6)
    some = KernelExponential("nystrom", n_inducing=20).fit(system, 1e-3)(at)
    assert (some - direct).abs().max() > 0


def test_spectral_cutoff_is_the_eigenfunction_formula():
    # s(x) = sum_j b_j psi_j(x), psi_j(x) = sqrt(n)/l_j sum_i u_ij k(x, x_i),
    # b_j = -mean of the gradient of psi_j
    x, at, ell = normal(30, 2).numpy(), normal(5, 2, 1).numpy(), 1.4
    n = len(x)

    def k(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(2) / (2 * ell**2))

    values, vectors = np.linalg.eigh(k(x, x))
    expected = np.zeros((5, 2))
    for lam, u in zip(values, vectors.T, strict=True):
        if lam / n <= 0.01:
            continue
        psi = np.sqrt(n) / lam * k(at, x) @ u
        slopes = -(x[:, None] - x) / ell**2 * k(x, x)[:, :, None]
        beta = -(np.sqrt(n) / lam * np.einsum("mid,i->md", slopes, u)).mean(0)
        expected += psi[:, None] * beta
    system = System(
        DiagonalKernel(RBF(ell)), torch.tensor(x), uniform_weights(torch.tensor(x))
    )
    field = SpectralCutoff().fit(system, 0.01)
    np.testing.assert_allclose(field(torch.tensor(at)), expected, rtol=1e-8, atol=1e-8)


def test_stein_is_its_closed_form_at_the_data():
    x, ell, eta = normal(25, 3).numpy(), 0.8, 0.5
    difference = x[:, None] - x
    k = np.exp(-(difference**2).sum(2) / (2 * ell**2))
    sums = (k[:, :, None] * difference / ell**2).sum(
        1
    )  # over x_m of d/dx_m k(x_i, x_m)
    expected = -np.linalg.solve(k + eta * np.eye(25), sums)
    t = torch.tensor(x)
    field = Stein().fit(
        System(DiagonalKernel(RBF(ell)), t, uniform_weights(t)), eta / 25
    )
    np.testing.assert_allclose(field(t), expected, rtol=1e-6, atol=1e-6)


@each_structure
def test_landweber_is_gradient_descent(structure):
    kernel, x = MATRIX_KERNELS[structure](IMQ(1.2)), normal(12, 2)
    system = System(kernel, x, uniform_weights(x))
    matrix = kernel.gram(x, x).numpy() / 12
    h = kernel.source(x, x, uniform_weights(x)).numpy()
    h = h if structure == "diagonal" else h.reshape(-1)
    s = np.zeros_like(h)
    for _ in range(40):
        s = s - (h + matrix @ s)
    for field in (
        Landweber().fit(system, 1 / 40),
        system.field(Landweber().solve(system, 1 / 40), 40.0),
    ):
        np.testing.assert_allclose(field(x).numpy().reshape(h.shape), s, atol=1e-10)


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_residuals_of_the_nu_method_are_jacobi_polynomials(nu, steps):
    sigma = torch.linspace(0, 1, 50, dtype=torch.float64)
    method, lam = NuMethod(nu), steps**-2.0
    g = method.at_zero(lam) + sigma * method.slope(sigma, lam)
    a, b = 2 * nu - 0.5, -0.5
    expected = scipy.special.eval_jacobi(steps, a, b, 1 - 2 * sigma.numpy())
    expected = expected / scipy.special.eval_jacobi(steps, a, b, 1.0)
    np.testing.assert_allclose(1 - sigma * g, expected, atol=1e-10)


@each_method
@each_structure
def test_products_give_what_eigenvalues_give(name, structure):
    x, at = normal(20, 2), normal(6, 2, 1)
    system = System(MATRIX_KERNELS[structure](RBF(1.0)), x, uniform_weights(x))
    method = SCORE_METHODS[name]()
    (dense,) = method.path(system, np.array([0.01]))
    products = system.field(method.solve(system, 0.01), method.at_zero(0.01))
    torch.testing.assert_close(products(at), dense(at), rtol=1e-6, atol=1e-6)


@each_method
@each_structure
def test_a_weight_is_a_number_of_copies(name, structure):
    x, at = normal(12, 2), normal(5, 2, 1)
    counts = torch.tensor([1, 2, 3] * 4)
    kernel, method = MATRIX_KERNELS[structure](RBF(1.0)), SCORE_METHODS[name]()
    weighted = method.fit(System(kernel, x, counts / counts.sum().double()), 0.02)
    copies = x.repeat_interleave(counts, 0)
    repeated = method.fit(System(kernel, copies, uniform_weights(copies)), 0.02)
    torch.testing.assert_close(weighted(at), repeated(at), rtol=1e-6, atol=1e-6)


@each_method
@each_structure
def test_hyvarinen_values_are_exact(name, structure):
    x, at = normal(15, 2), normal(4, 2, 1)
    system = System(MATRIX_KERNELS[structure](IMQ(1.0)), x, uniform_weights(x))
    field = SCORE_METHODS[name]().fit(system, 0.05)
    jacobian = torch.autograd.functional.jacobian(lambda a: field(a).sum(0), at)
    trace = jacobian.diagonal(dim1=0, dim2=2).sum(1)
    expected = 0.5 * field(at).square().sum(1) + trace
    torch.testing.assert_close(field.hyvarinen_values(at), expected)


@pytest.mark.statistical
@each_method
def test_errors_fall_with_the_sample_size(name, global_random_seed):
    method = SCORE_METHODS[name]()
    at, errors = normal(300, 2, 10_000 + global_random_seed), []
    for n in (40, 640):
        x = normal(n, 2, global_random_seed)
        kernel = MATRIX_KERNELS[method.default_structure](RBF(1.6))
        w = uniform_weights(x)
        choice = choose_regularization(
            method, kernel, x, w, grid=GRID[:13], seed=global_random_seed
        )
        field = method.fit(System(kernel, x, w), choice.regularization)
        errors.append(float((field(at) + at).square().sum(1).mean()))
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.5  # the score itself has a mean square of two


@each_structure
def test_the_choice_is_the_best_of_the_grid_and_repeats(structure):
    kernel, method, x = (
        MATRIX_KERNELS[structure](RBF(1.0)),
        KernelExponential(),
        normal(60, 2),
    )
    w = uniform_weights(x)
    first = choose_regularization(method, kernel, x, w, seed=3)
    again = choose_regularization(method, kernel, x, w, seed=3)
    assert first.regularization == again.regularization == GRID[first.scores.argmin()]
    assert first.scores.min() < 0  # the truth has -1, no estimate zero
    groups = np.repeat(np.arange(12), 5)
    grouped = choose_regularization(method, kernel, x, w, groups=groups, seed=3)
    assert np.isfinite(grouped.scores).all()
    one = choose_regularization(method, kernel, x, w, groups=np.zeros(60, int))
    assert one.regularization == GRID[0]


def test_what_is_too_large_or_unknown_is_refused():
    x = normal(5, 2)
    system = System(DiagonalKernel(RBF(1.0)), x, uniform_weights(x))
    with pytest.raises(ValueError, match="solver must be one of"):
        KernelExponential("lu").fit(system, 0.1)
    with pytest.warns(UserWarning, match="Conjugate gradients did not reach"):
        KernelExponential("cg", max_iter=1, tol=1e-14).fit(system, 1e-6)
    system.x = x.expand(5, 2).repeat(4001, 1)  # only its size matters
    with pytest.raises(
        ValueError, match="needs all eigenvectors of a matrix with 20005"
    ):
        Stein().solve(system, 0.1)


@each_structure
def test_copies_do_not_help_to_choose(structure):
    # Rows twice, at half the weight: the same folds, the same fields, the same scores. A
    # copy on the other side would favour a weaker regularisation.
    x = normal(40, 2)
    twice = x.repeat_interleave(2, 0)
    kernel, grid = MATRIX_KERNELS[structure](RBF(0.7)), GRID[:6]
    once, again = (
        choose_regularization(
            KernelExponential(), kernel, rows, uniform_weights(rows), grid=grid, seed=1
        )
        for rows in (x, twice)
    )
    assert again.regularization == once.regularization
    np.testing.assert_allclose(again.scores, once.scores, rtol=1e-5)
