"""Manifolds: the spaces that data live on.

Imports the tools only.
"""

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds.adapters import from_geoopt
from sk_wmvl.manifolds.axial import AxialSphere
from sk_wmvl.manifolds.chart import Chart
from sk_wmvl.manifolds.circle import Circle
from sk_wmvl.manifolds.euclidean import Euclidean
from sk_wmvl.manifolds.hyperbolic import Hyperbolic
from sk_wmvl.manifolds.product import Product
from sk_wmvl.manifolds.rotation import Rotation
from sk_wmvl.manifolds.simplex import Simplex
from sk_wmvl.manifolds.spd import SPD
from sk_wmvl.manifolds.sphere import Sphere
from sk_wmvl.manifolds.stiefel import Stiefel
from sk_wmvl.manifolds.torus import Torus
from sk_wmvl.manifolds.units import (
    close_compositions,
    from_lat_lon,
    from_period,
    orbit_normals,
    to_lat_lon,
    to_period,
)

MANIFOLDS = {
    "axial": AxialSphere,
    "circle": Circle,
    "euclidean": Euclidean,
    "hyperbolic": Hyperbolic,
    "rotation": Rotation,
    "simplex": Simplex,
    "spd": SPD,
    "sphere": Sphere,
    "torus": Torus,
}

__all__ = [
    "MANIFOLDS",
    "SPD",
    "AxialSphere",
    "BaseManifold",
    "Chart",
    "Circle",
    "Euclidean",
    "Hyperbolic",
    "LocalChart",
    "Product",
    "Rotation",
    "Simplex",
    "Sphere",
    "Stiefel",
    "Torus",
    "close_compositions",
    "from_geoopt",
    "from_lat_lon",
    "from_period",
    "orbit_normals",
    "to_lat_lon",
    "to_period",
]
