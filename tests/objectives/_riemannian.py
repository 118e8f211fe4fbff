"""Energies on manifolds with everything written by hand: the oracle of two test files.

Nothing here calls the package's geometry beyond drawing points, and no derivative is
automatic: gradients are ambient ones, inner products those of the metric on
differentials, and Laplacians those of Laplace-Beltrami.
"""

import math

import torch
from torch import nn

from sk_wmvl.manifolds import Chart, Hyperbolic, Product, Rotation, Sphere, Torus


def constants(*shape, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=g)


class Quadratic(nn.Module):
    """f = a'x + x'Bx / 2: von Mises-Fisher and Bingham in one, on level sets of x'x.

    On the unit sphere S^m, lap f = tr B - x'Bx - m x'df; on the hyperboloid, with
    Minkowski's form, lap f = tr(eta B) + x'Bx + m x'df. Radius r divides by r^2.
    """

    def __init__(self, m, *, sign=1, radius=1.0, seed=0):
        super().__init__()
        self.m, self.sign, self.radius = m, sign, radius
        self.a = nn.Parameter(constants(m + 1, seed=seed))
        self.c = nn.Parameter(0.5 * constants(m + 1, m + 1, seed=seed + 1))
        self.eta = torch.ones(m + 1, dtype=torch.float64)
        if sign < 0:
            self.eta[0] = -1

    @property
    def b(self):
        return self.c + self.c.T

    def forward(self, x):
        return x @ self.a + 0.5 * ((x @ self.b) * x).sum(-1)

    def grad(self, x):
        return self.a + x @ self.b

    def inner(self, x, p, q):
        along = (x * p).sum(-1) * (x * q).sum(-1)
        return ((p * self.eta * q).sum(-1) - self.sign * along) / self.radius**2

    def laplacian(self, x):
        trace = (self.eta * self.b.diagonal()).sum()
        radial = ((x @ self.b) * x).sum(-1) + self.m * (x * self.grad(x)).sum(-1)
        return (trace - self.sign * radial) / self.radius**2


class OnHyperboloid(nn.Module):
    """`Quadratic` of points of the hyperboloid, in coordinates (a, t) of the half-plane.

    These are x0 + x2 = (a^2 + h^2) / h, x0 - x2 = 1 / h and x1 = a / h, with h = e^t.
    """

    def __init__(self, *, seed=0):
        super().__init__()
        self.f = Quadratic(2, sign=-1, seed=seed)

    def rows(self, x):
        a, h = x[:, 0], x[:, 1].exp()
        plus, minus = (a**2 + h**2) / h, 1 / h
        return torch.stack([(plus + minus) / 2, a / h, (plus - minus) / 2], -1)

    def forward(self, x):
        return self.f(self.rows(x))

    def grad(self, x):
        a, h = x[:, 0], x[:, 1].exp()
        bend = (h - a**2 / h) / 2
        along_a = torch.stack([a / h, 1 / h, a / h], -1)
        along_t = torch.stack([bend - 0.5 / h, -a / h, bend + 0.5 / h], -1)
        g = self.f.grad(self.rows(x))
        return torch.stack([(g * along_a).sum(-1), (g * along_t).sum(-1)], -1)

    def inner(self, x, p, q):
        return (2 * x[:, 1]).exp() * p[:, 0] * q[:, 0] + p[:, 1] * q[:, 1]

    def laplacian(self, x):
        return self.f.laplacian(self.rows(x))


class Waves(nn.Module):
    """f = sum_j c_j cos(k_j'x + s_j) on a flat torus: lap f = -sum |k_j|^2 ..."""

    def __init__(self, m, *, seed=0):
        super().__init__()
        self.c = nn.Parameter(constants(4, seed=seed))
        self.k = torch.tensor(
            [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [2.0, 1.0]], dtype=torch.float64
        )[:, :m]
        self.s = constants(4, seed=seed + 1)

    def forward(self, x):
        return (x @ self.k.T + self.s).cos() @ self.c

    def grad(self, x):
        return -((x @ self.k.T + self.s).sin() * self.c) @ self.k

    def inner(self, x, p, q):
        return (p * q).sum(-1)

    def laplacian(self, x):
        return -(x @ self.k.T + self.s).cos() @ (self.c * self.k.square().sum(-1))


class SphereTimesAngle(nn.Module):
    """f = (1 + a'x) (c + cos t) on S^2 x S^1: neither factor alone knows it."""

    def __init__(self, *, seed=0):
        super().__init__()
        self.a = nn.Parameter(constants(3, seed=seed))
        self.c = nn.Parameter(constants(1, seed=seed + 1)[0])

    def forward(self, x):
        return (1 + x[:, :3] @ self.a) * (self.c + x[:, 3].cos())

    def grad(self, x):
        linear, wave = 1 + x[:, :3] @ self.a, self.c + x[:, 3].cos()
        return torch.cat(
            [wave[:, None] * self.a, -(linear * x[:, 3].sin())[:, None]], 1
        )

    def inner(self, x, p, q):
        x = x[:, :3]
        along = (x * p[:, :3]).sum(-1) * (x * q[:, :3]).sum(-1)
        return (p * q).sum(-1) - along

    def laplacian(self, x):
        t, ax = x[:, 3], x[:, :3] @ self.a
        return -2 * ax * (self.c + t.cos()) - (1 + ax) * t.cos()


def graph(y):
    """Return the surface z = h(y) = (y_1^2 + y_1 y_2) / 2, of shape (n, 3)."""
    return torch.cat([y, 0.5 * (y[:, :1] * y.sum(-1, keepdim=True))], -1)


class OnGraph(nn.Module):
    """f = a'X(y), linear in the position on the surface `graph`, in coordinates y.

    The Laplacian of the position is the sum of curvatures times the normal, and
    G = I + s s' with s the slope, inverted by Sherman and Morrison.
    """

    def __init__(self, *, seed=0):
        super().__init__()
        self.a = nn.Parameter(constants(3, seed=seed))

    def forward(self, y):
        return graph(y) @ self.a

    def slope(self, y):
        return torch.stack([y[:, 0] + 0.5 * y[:, 1], 0.5 * y[:, 0]], -1)

    def grad(self, y):
        return self.a[:2] + self.a[2] * self.slope(y)

    def inner(self, y, p, q):
        s = self.slope(y)
        along = (p * s).sum(-1) * (q * s).sum(-1)
        return (p * q).sum(-1) - along / (1 + s.square().sum(-1))

    def laplacian(self, y):
        hx, hy = self.slope(y).T
        square = 1 + hx**2 + hy**2
        curvature = (1 + hy**2) * 1.0 - 2 * hx * hy * 0.5  # h_xx = 1, h_xy = 1/2
        normal = torch.stack([-hx, -hy, torch.ones_like(hx)], -1)  # times the root
        return curvature / square**2 * (normal @ self.a)


# name: (manifold, a maker of functions on it, given a seed)
CASES = {
    "S1": (Sphere(1), lambda seed: Quadratic(1, seed=seed)),
    "S2": (Sphere(2), lambda seed: Quadratic(2, seed=seed)),
    "S5": (Sphere(5), lambda seed: Quadratic(5, seed=seed)),
    "T2": (Torus(2), lambda seed: Waves(2, seed=seed)),
    "H2": (Hyperbolic(2), lambda seed: OnHyperboloid(seed=seed)),
    "SO3": (Rotation(), lambda seed: Quadratic(3, radius=2.0, seed=seed)),
    "S2 x S1": (
        Product([("direction", Sphere(2)), ("angle", Torus(1))]),
        lambda seed: SphereTimesAngle(seed=seed),
    ),
    "chart": (Chart(graph, dim=2), lambda seed: OnGraph(seed=seed)),
}


def points(manifold, n, seed):
    """Return points of a manifold; on a hyperboloid not so far out that e^r rules."""
    if isinstance(manifold, Chart):
        return constants(n, 2, seed=seed)
    x = manifold.random_point(n, generator=torch.Generator().manual_seed(seed))
    if isinstance(manifold, Hyperbolic):
        space = manifold.to_user(x)[:, 1:]
        space = space / (1 + 0.5 * space.norm(dim=-1, keepdim=True))
        time = (1 + space.square().sum(-1, keepdim=True)).sqrt()
        x = manifold.from_user(torch.cat([time, space], -1))
    return x


def score_matching(f, x):
    """Return |grad E|^2 / 2 - lap E, by hand."""
    g = f.grad(x)
    return 0.5 * f.inner(x, g, g) - f.laplacian(x)


def generator_of(f, energy, x, beta):
    """Return what Langevin dynamics aimed at exp(-beta E) does to the mean of f."""
    return f.laplacian(x) - beta * f.inner(x, f.grad(x), energy.grad(x))


def design(shape, dtype=torch.float64):
    """Return nodes that stand in for normal noise: exact up to third moments.

    Of shape (2k, k) for coordinates (n, k) with n = 2k: plus and minus sqrt(k) e_i.
    """
    n, k = shape
    assert n == 2 * k
    eye = math.sqrt(k) * torch.eye(k, dtype=dtype)
    return torch.cat([eye, -eye])
