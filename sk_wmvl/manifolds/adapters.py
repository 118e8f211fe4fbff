"""Translation of the manifold objects of other libraries."""

import math
from collections.abc import Callable
from typing import Any, NoReturn

from sk_wmvl.manifolds._base import BaseManifold
from sk_wmvl.manifolds.euclidean import Euclidean
from sk_wmvl.manifolds.hyperbolic import Hyperbolic
from sk_wmvl.manifolds.product import Product
from sk_wmvl.manifolds.spd import SPD
from sk_wmvl.manifolds.sphere import Sphere
from sk_wmvl.manifolds.stiefel import Stiefel

__all__ = ["from_geoopt"]

ROUNDING = 1e-6  # of a curvature: geoopt keeps it as a logarithm in float32
Shape = tuple[int, ...] | None


def refuse(manifold: Any, why: str) -> NoReturn:
    """Raise a ValueError that says why, and what can be translated."""
    raise ValueError(
        f"from_geoopt cannot translate {manifold!r} ({type(manifold).__name__}): {why}. "
        "It translates Euclidean, Sphere (the whole sphere), PoincareBall and Lorentz of "
        "curvature -1, SymmetricPositiveDefinite of the affine-invariant metric ('AIM'), "
        "EuclideanStiefel, and ProductManifold of these. Write a Chart for other "
        "geometries."
    )


def check_order(manifold: Any, shape: Shape, order: int) -> None:
    """Raise ValueError unless points of that shape have that many axes."""
    if shape is not None and len(shape) != order:
        refuse(manifold, f"its points have {order} axes, but shape={shape} does not")


def euclidean(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's Euclidean space, of vectors, matrices, ..."""
    del manifold
    return Euclidean(None if shape is None else math.prod(shape))


def sphere(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's sphere, unless it is the sphere of a subspace."""
    check_order(manifold, shape, 1)
    if manifold.projector is not None:
        refuse(manifold, "it is the sphere of a subspace: give coordinates there")
    return Sphere(None if shape is None else shape[0] - 1)


def ball(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's Poincaré ball of curvature -1."""
    check_order(manifold, shape, 1)
    k = float(manifold.k)
    if abs(k + 1) > ROUNDING:
        refuse(manifold, f"its curvature is {k:.6g}")
    return Hyperbolic(None if shape is None else shape[0], model="ball")


def hyperboloid(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's hyperboloid of curvature -1/k."""
    check_order(manifold, shape, 1)
    k = float(manifold.k)
    if abs(k - 1) > ROUNDING:
        refuse(manifold, f"its curvature is {-1 / k:.6g}")
    return Hyperbolic(None if shape is None else shape[0] - 1)


def definite(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's positive definite matrices."""
    check_order(manifold, shape, 2)
    if manifold.default_metric.value != "AIM":
        refuse(manifold, f"its metric is {manifold.default_metric.value!r}")
    return SPD(None if shape is None else shape[0], coordinates="matrix")


def stiefel(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate geoopt's frames, which do not know their sizes."""
    if shape is None:
        refuse(manifold, "give shape=(n, p), which the object does not know")
    check_order(manifold, shape, 2)
    return Stiefel(*shape)


def product(manifold: Any, shape: Shape) -> BaseManifold:
    """Translate the factors, each with the shape that the product knows."""
    if shape not in (None, (manifold.n_elements,)):
        refuse(manifold, f"its points have shape ({manifold.n_elements},), not {shape}")
    factors = zip(manifold.manifolds, manifold.shapes, strict=True)
    return Product(
        [
            (f"factor_{i}", from_geoopt(factor, tuple(shape)))
            for i, (factor, shape) in enumerate(factors)
        ]
    )


# Classes are found by name, so that geoopt need not be imported. A subclass is not
# accepted, since it may change the metric. The "Exact" classes differ from the others in
# the retraction, which is not used here.
TRANSLATORS: dict[str, Callable[[Any, Shape], BaseManifold]] = {
    "Euclidean": euclidean,
    "EuclideanStiefel": stiefel,
    "EuclideanStiefelExact": stiefel,
    "Lorentz": hyperboloid,
    "PoincareBall": ball,
    "PoincareBallExact": ball,
    "ProductManifold": product,
    "Sphere": sphere,
    "SphereExact": sphere,
    "Stereographic": ball,
    "StereographicExact": ball,
    "StereographicProductManifold": product,
    "SymmetricPositiveDefinite": definite,
}


def from_geoopt(manifold: Any, shape: tuple[int, ...] | None = None) -> BaseManifold:
    """Return the manifold with the same points and metric as a geoopt manifold.

    The object is translated, not wrapped. Training takes two derivatives at zero velocity
    of a retraction of second order. In geoopt 0.5.1 the first derivative of ``expmap`` on
    the sphere and the second in the ball are NaN there, and ``retr`` in the ball is of
    first order.

    Parameters
    ----------
    manifold : geoopt.Manifold
        A Euclidean space, whole unit sphere, Poincaré ball or hyperboloid of curvature
        -1, positive definite matrices with the affine-invariant metric, frames with the
        Euclidean metric, or a product of these.
    shape : tuple of int or None, default=None
        The shape of one point. Frames need it, and a product knows it. Otherwise None
        takes it from the data.

    Returns
    -------
    manifold : BaseManifold
        Its rows are geoopt's points, flattened row by row.

    Raises
    ------
    TypeError
        If `manifold` is not an object of geoopt.
    ValueError
        If it cannot be translated.

    Notes
    -----
    The extra ``geometry`` installs geoopt. There is no adapter for geomstats: its release
    2.8.0 cannot be imported beside NumPy 2.4.

    Examples
    --------
    >>> import geoopt  # doctest: +SKIP
    >>> from sk_wmvl.manifolds import from_geoopt
    >>> wind = geoopt.ProductManifold(
    ...     (geoopt.Sphere(), 2), (geoopt.Euclidean(), 1)
    ... )  # doctest: +SKIP
    >>> from_geoopt(wind)  # doctest: +SKIP
    Product(factors=[('factor_0', Sphere(dim=1)), ('factor_1', Euclidean(dim=1))])
    """
    kind = type(manifold)
    if isinstance(manifold, type) or kind.__module__.partition(".")[0] != "geoopt":
        call = " (call it)" if isinstance(manifold, type) else ""
        raise TypeError(
            "from_geoopt takes a manifold object of geoopt, such as geoopt.Sphere(); "
            f"got {manifold!r}{call}."
        )
    if kind.__name__ not in TRANSLATORS:
        refuse(manifold, "it has no counterpart here")
    if any(parameter.requires_grad for parameter in manifold.parameters()):
        refuse(manifold, "its curvature is learnable, and here curvatures are fixed")
    return TRANSLATORS[kind.__name__](manifold, None if shape is None else tuple(shape))
