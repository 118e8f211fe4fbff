"""Kernels against formulas written out, and the length scales they refuse."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_wmvl.kernels import IMQ, KERNELS, RBF, median_length_scale

CASES = [
    pytest.param(RBF(1.3), lambda r: np.exp(-(r**2) / (2 * 1.3**2)), id="rbf"),
    pytest.param(IMQ(0.7), lambda r: 1 / np.sqrt(1 + r**2 / 0.49), id="imq"),
    pytest.param(
        IMQ(2.0, exponent=-0.3), lambda r: (1 + r**2 / 4) ** -0.3, id="imq, flatter"
    ),
]


def points(n, d=3, seed=0):
    return torch.tensor(np.random.default_rng([seed, 5]).normal(size=(n, d)))


@pytest.mark.parametrize(("kernel", "formula"), CASES)
def test_values_and_gradients(kernel, formula):
    x, y = points(6), points(4, seed=1)
    gram = kernel.gram(x, y)
    gradient = 2 * gram.slope[:, :, None] * (x[:, None] - y)
    for i, j in np.ndindex(6, 4):
        a, b = x[i].numpy(), y[j].numpy()
        assert float(gram.value[i, j]) == pytest.approx(formula(np.linalg.norm(a - b)))
        for k, e in enumerate(1e-6 * np.eye(3)):
            rise = formula(np.linalg.norm(a + e - b)) - formula(
                np.linalg.norm(a - e - b)
            )
            assert float(gradient[i, j, k]) == pytest.approx(rise / 2e-6, abs=1e-8)


@pytest.mark.parametrize("kernel", [case.values[0] for case in CASES], ids=repr)
def test_derivatives_of_any_order(kernel):
    t = torch.linspace(0, 3, 7, dtype=torch.float64, requires_grad=True)
    values = [kernel.derivative(t, order) for order in range(5)]
    for value, following in itertools.pairwise(values):
        (slope,) = torch.autograd.grad(value.sum(), t, retain_graph=True)
        torch.testing.assert_close(slope, following)
    torch.testing.assert_close(values[:2], list(kernel.profile(t)))


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gram_is_a_constant_of_its_own_dtype(name, dtype):
    x = points(20).to(dtype).requires_grad_()
    kernel = KERNELS[name]()
    gram = kernel.gram(x)
    assert gram.value.dtype == gram.slope.dtype == dtype
    assert not gram.value.requires_grad
    assert not gram.slope.requires_grad
    assert torch.equal(gram.value, gram.value.T)
    assert torch.equal(gram.value.diagonal(), torch.ones(20, dtype=dtype))
    assert torch.linalg.eigvalsh(gram.value).min() > -1e-5
    assert clone(kernel).get_params() == kernel.get_params()


def test_median_heuristic():
    x = torch.tensor([[0.0], [1.0], [4.0]])  # distances 1, 3, 4
    assert median_length_scale(x) == 3
    torch.testing.assert_close(RBF().gram(x), RBF(3.0).gram(x))
    assert median_length_scale(10 * x) == 30
    many = points(101)
    distances = [np.linalg.norm(a - b) for i, a in enumerate(many) for b in many[:i]]
    assert median_length_scale(many) == pytest.approx(np.median(distances), rel=1e-3)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_points_that_coincide(name):
    kernel = KERNELS[name]()
    for x in (torch.zeros(5, 2), torch.tensor([[0.0]] * 9 + [[3.0]])):
        gram = kernel.gram(x)
        assert torch.isfinite(torch.stack(gram)).all()
        assert torch.equal(gram.value[0, :5], torch.ones(5))
    assert median_length_scale(torch.zeros(5, 2)) == 1
    assert median_length_scale(x) == 3  # 36 pairs at zero, 9 at three


def test_squares_do_not_cancel_far_from_the_origin():
    near = points(10)
    far = (near + 1e6).float()
    torch.testing.assert_close(
        RBF(1.0).gram(far).value, RBF(1.0).gram(far.double()).value.float()
    )
    assert torch.equal(RBF(1.0).gram(far).value.diagonal(), torch.ones(10))


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "scott"])
@pytest.mark.parametrize("cls", [RBF, IMQ])
def test_length_scale_is_a_positive_number(cls, value):
    with pytest.raises(ValueError, match=f"length_scale of {cls.__name__} must be"):
        cls(value).gram(points(5))


@pytest.mark.parametrize("cls", [RBF, IMQ])
def test_absurd_length_scales_are_refused_with_a_reason(cls):
    x = points(30)
    reason = r"too small.*neighbors lie .* apart.*length_scale=None"
    with pytest.raises(ValueError, match=reason):
        cls(1e-9).gram(x)
    with pytest.raises(ValueError, match=r"too large.*only the mean"):
        cls(1e5).gram(x)
    crowd = torch.cat([x, x[:1] + 1e-9])  # one pair in sight does not excuse the rest
    with pytest.raises(ValueError, match="half of the points have no other"):
        cls(1e-9).gram(crowd)
    for unlike in (0.05, 100.0):  # narrow and wide, not absurd
        assert torch.isfinite(cls(unlike).gram(x).value).all()


@pytest.mark.parametrize("value", [0.0, -1.0, -1.5, 0.5, "half"])
def test_exponent_of_imq(value):
    with pytest.raises(ValueError, match=r"exponent of IMQ must lie in \(-1, 0\)"):
        IMQ(1.0, exponent=value).gram(points(5))
