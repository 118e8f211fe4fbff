"""Spaces that data live on."""

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds.euclidean import Euclidean
from sk_wmvl.manifolds.product import Product
from sk_wmvl.manifolds.sphere import Sphere
from sk_wmvl.manifolds.torus import Torus

MANIFOLDS = {"euclidean": Euclidean, "sphere": Sphere, "torus": Torus}

__all__ = [
    "MANIFOLDS",
    "BaseManifold",
    "Euclidean",
    "LocalChart",
    "Product",
    "Sphere",
    "Torus",
]
