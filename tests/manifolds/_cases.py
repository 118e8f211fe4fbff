"""The manifolds that the laws of ``test_laws.py`` run over.

To add a manifold, add a line to `CASES`, with a known dimension. Methods that raise
NotImplementedError go to `NOT_OFFERED`. If several coordinates stand for one point, add
to `COPIES` a function of points and a generator that returns other coordinates of the same
points. If geodesics stop being shortest, add to `FAR` a function that returns, for each
point, one where they do. If float32 is inaccurate for a good reason, add to `CONDITION`.
"""

import math

import torch

from sk_wmvl.manifolds import (
    SPD,
    AxialSphere,
    Chart,
    Circle,
    Euclidean,
    Hyperbolic,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Stiefel,
    Torus,
)


def half_plane(y):
    """Return the metric of the hyperbolic plane, with the log of the height."""
    one = torch.ones_like(y[:, 0])
    return torch.diag_embed(torch.stack([(-2 * y[:, 1]).exp(), one], -1))


CASES = {
    "axial-1": AxialSphere(1),
    "axial-2": AxialSphere(2),
    "axial-4": AxialSphere(4),
    "circle-angle": Circle(),
    "chart-half-plane": Chart(metric=half_plane, dim=2),
    "circle-vector": Circle("vector"),
    "euclidean-1": Euclidean(1),
    "euclidean-3": Euclidean(3),
    "hyperbolic-1": Hyperbolic(1),
    "hyperbolic-2": Hyperbolic(2),
    "hyperbolic-4-ball": Hyperbolic(4, model="ball"),
    "product": Product([("a", Sphere(1)), ("b", Torus(1))]),
    "product-mixed": Product([("a", Sphere(2)), ("b", Euclidean(2))]),
    "rotation": Rotation(),
    "rotation-matrix": Rotation("matrix"),
    "rotation-scalar-first": Rotation(scalar_first=True),
    "simplex-1": Simplex(1),
    "simplex-2": Simplex(2),
    "simplex-5": Simplex(5),
    "spd-2": SPD(2),
    "spd-3-matrix": SPD(3, coordinates="matrix"),
    "sphere-1": Sphere(1),
    "sphere-2": Sphere(2),
    "sphere-5": Sphere(5),
    "stiefel-3-2": Stiefel(3, 2),
    "stiefel-5-1": Stiefel(5, 1),
    "stiefel-3-3": Stiefel(3, 3),
    "torus-1": Torus(1),
    "torus-3": Torus(3),
}

# shortest geodesics have no closed form
STIEFEL = {"chart", "dist", "log", "log_det_exp", "quadrature"}

NOT_OFFERED = {
    "chart-half-plane": {
        "dist",
        "exp",
        "geodesic",
        "log",
        "log_det_exp",
        "quadrature",
    },
    "axial-4": {"quadrature"},
    "euclidean-1": {"quadrature"},
    "euclidean-3": {"quadrature"},
    "hyperbolic-1": {"quadrature"},
    "hyperbolic-2": {"quadrature"},
    "hyperbolic-4-ball": {"quadrature"},
    "product-mixed": {"quadrature"},
    "simplex-5": {"quadrature"},
    "spd-2": {"quadrature"},
    "spd-3-matrix": {"quadrature"},
    "sphere-5": {"quadrature"},
    "stiefel-3-2": STIEFEL,
    "stiefel-5-1": STIEFEL,
    "stiefel-3-3": STIEFEL,
}

# coordinates of a cube are offered where quadrature is
for missing in NOT_OFFERED.values():
    if "quadrature" in missing:
        missing |= {"from_cube", "to_cube"}


def turns(x, generator):
    return x + 2 * math.pi * torch.randint(
        -3, 4, x.shape, generator=generator, dtype=x.dtype
    )


def opposite(x, generator):
    del generator
    return -x


def reflections(x, generator):
    return x * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)


COPIES = {
    "axial-1": opposite,
    "axial-2": opposite,
    "axial-4": opposite,
    "circle-angle": turns,
    "circle-vector": turns,
    "rotation": opposite,
    "rotation-scalar-first": opposite,
    "rotation-matrix": opposite,
    "simplex-1": reflections,
    "simplex-2": reflections,
    "simplex-5": reflections,
    "torus-1": turns,
    "torus-3": turns,
}


def at_right_angles(x):
    """Return, for each axis, one at the largest distance."""
    y = torch.zeros_like(x)
    y[:, 0], y[:, 1] = -x[:, 1], x[:, 0]
    return y / y.norm(dim=-1, keepdim=True)


def corner(x):
    """Return the composition with one part only, the smallest of `x`."""
    return torch.eye(x.shape[1], dtype=x.dtype)[x.argmin(-1)]


FAR = {
    "axial-1": at_right_angles,
    "axial-2": at_right_angles,
    "axial-4": at_right_angles,
    "circle-angle": lambda x: x + math.pi,
    "circle-vector": lambda x: x + math.pi,
    "product": lambda x: torch.cat([-x[:, :2], x[:, 2:] + math.pi], -1),
    "rotation": at_right_angles,
    "rotation-matrix": at_right_angles,
    "rotation-scalar-first": at_right_angles,
    "simplex-1": corner,
    "simplex-2": corner,
    "simplex-5": corner,
    "sphere-1": lambda x: -x,
    "sphere-2": lambda x: -x,
    "sphere-5": lambda x: -x,
    "torus-1": lambda x: x + math.pi,
    "torus-3": lambda x: x + math.pi,
}

# Factors of the tolerance of float32. Geodesics that spread enlarge rounding errors: by
# cosh r over a length r, and once more in coordinates that grow like cosh r.
CONDITION = {
    "hyperbolic-2": 10,
    "hyperbolic-4-ball": 10,
    "spd-2": 10,
    "spd-3-matrix": 30,
}
