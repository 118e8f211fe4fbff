"""The manifolds that the laws of ``test_laws.py`` run over.

To add one, add a line to `CASES`, with the dimension known. A method that it does not
offer, because it raises NotImplementedError, goes to `NOT_OFFERED`. Where points are
identified, add to `COPIES` a function of points and a generator that returns other
coordinates of the same points. Where geodesics stop being shortest, add to `FAR` a
function that returns, for each point, one at which they do.
"""

import math

import torch

from sk_wmvl.manifolds import Euclidean, Sphere, Torus

CASES = {
    "euclidean-1": Euclidean(1),
    "euclidean-3": Euclidean(3),
    "sphere-1": Sphere(1),
    "sphere-2": Sphere(2),
    "sphere-5": Sphere(5),
    "torus-1": Torus(1),
    "torus-3": Torus(3),
}

NOT_OFFERED = {
    "euclidean-1": {"quadrature"},
    "euclidean-3": {"quadrature"},
    "sphere-5": {"quadrature"},
}


def turns(x, generator):
    return x + 2 * math.pi * torch.randint(
        -3, 4, x.shape, generator=generator, dtype=x.dtype
    )


COPIES = {"torus-1": turns, "torus-3": turns}

FAR = {
    "sphere-1": lambda x: -x,
    "sphere-2": lambda x: -x,
    "sphere-5": lambda x: -x,
    "torus-1": lambda x: x + math.pi,
    "torus-3": lambda x: x + math.pi,
}
