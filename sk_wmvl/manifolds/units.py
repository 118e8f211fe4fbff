"""Conversion of users' units: latitudes, periods, orbits and raw amounts."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "close_compositions",
    "from_lat_lon",
    "from_period",
    "orbit_normals",
    "to_lat_lon",
    "to_period",
]


def _finite(name: str, value: ArrayLike) -> np.ndarray:
    """Return a float64 array, after a check that it is finite."""
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name} holds NaN or infinity, first at {place}: remove it.")
    return array


def from_lat_lon(lat: ArrayLike, lon: ArrayLike) -> np.ndarray:
    """Return places on the globe as unit vectors.

    Parameters
    ----------
    lat : array-like of shape (n,)
        Latitudes in degrees, from -90 to 90.
    lon : array-like of shape (n,)
        Longitudes in degrees, east of the meridian of the x-axis.

    Returns
    -------
    X : ndarray of shape (n, 3)
        Unit vectors for `Sphere`; the last coordinate points north.

    Examples
    --------
    >>> from sk_wmvl.manifolds import from_lat_lon
    >>> from_lat_lon([0, 30], [90, 0]).round(4)
    array([[0.   , 1.   , 0.   ],
           [0.866, 0.   , 0.5  ]])
    """
    degrees = _finite("lat", lat)
    if degrees.size and np.abs(degrees).max() > 90:
        row = int(np.abs(degrees).argmax())
        raise ValueError(
            f"lat must lie in [-90, 90] degrees; row {row} is {degrees.flat[row]:g}. Are "
            "lat and lon in this order?"
        )
    a, b = np.deg2rad(degrees), np.deg2rad(_finite("lon", lon))
    return np.stack(
        np.broadcast_arrays(np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)),
        axis=-1,
    )


def to_lat_lon(X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors as places on the globe.

    Parameters
    ----------
    X : array-like of shape (n, 3)
        Vectors of any length above zero.

    Returns
    -------
    lat : ndarray of shape (n,)
        Latitudes in degrees.
    lon : ndarray of shape (n,)
        Longitudes in degrees, in (-180, 180].

    Examples
    --------
    >>> from sk_wmvl.manifolds import to_lat_lon
    >>> lat, lon = to_lat_lon([[0.0, 2.0, 0.0], [0.0, 0.0, -1.0]])
    >>> lat, lon
    (array([  0., -90.]), array([90.,  0.]))
    """
    V = _finite("X", X)
    if V.ndim != 2 or V.shape[1] != 3:
        raise ValueError(f"X must have three columns, (n, 3); its shape is {V.shape}.")
    zero = ~V.any(axis=1)
    if zero.any():
        raise ValueError(f"Row {int(zero.argmax())} of X is zero: it has no direction.")
    # arctan2 keeps full accuracy at the poles, where arcsin of z does not
    lat = np.arctan2(V[:, 2], np.hypot(V[:, 0], V[:, 1]))
    return np.rad2deg(lat), np.rad2deg(np.arctan2(V[:, 1], V[:, 0]))


def from_period(values: ArrayLike, period: float) -> np.ndarray:
    """Return periodic quantities as angles: degrees, hours of a day, days of a year.

    Parameters
    ----------
    values : array-like of any shape
        Values in the units of `period`.
    period : float
        One turn: 360 for degrees, 24 for hours, 365.25 for days of the year.

    Returns
    -------
    angles : ndarray
        Radians in [-π, π), for `Circle` and `Torus`.

    Examples
    --------
    >>> from sk_wmvl.manifolds import from_period
    >>> from_period([6.0, 18.0], 24)  # a quarter of a day either way
    array([ 1.57079633, -1.57079633])
    """
    period = _period(period)
    centred = np.remainder(_finite("values", values) + period / 2, period) - period / 2
    return 2 * np.pi * (centred / period)


def to_period(angles: ArrayLike, period: float) -> np.ndarray:
    """Return angles in the units of a period, such as degrees or hours.

    Parameters
    ----------
    angles : array-like of any shape
        Radians.
    period : float
        One turn: 360 for degrees, 24 for hours.

    Returns
    -------
    values : ndarray
        Values in [0, period).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_wmvl.manifolds import to_period
    >>> to_period(-np.pi / 2, 360)
    array(270.)
    """
    period = _period(period)
    turns = np.remainder(_finite("angles", angles) / (2 * np.pi), 1.0)
    # the remainder of a tiny negative number rounds to one
    return np.asarray(period * np.where(turns == 1.0, 0.0, turns))


def _period(period: float) -> float:
    if not (np.isfinite(period) and period > 0):
        raise ValueError(f"period must be a finite number > 0; got {period!r}.")
    return float(period)


def orbit_normals(inclination: ArrayLike, node: ArrayLike) -> np.ndarray:
    r"""Return the normals of orbital planes, oriented by the sense of the motion.

    A normal is :math:`(\sin i\,\sin\Omega,\ -\sin i\,\cos\Omega,\ \cos i)`.

    Parameters
    ----------
    inclination : array-like of shape (n,)
        The inclination i in degrees.
    node : array-like of shape (n,)
        The longitude Ω of the ascending node in degrees.

    Returns
    -------
    X : ndarray of shape (n, 3)
        Unit vectors for `Sphere`, or for `AxialSphere` if the sense is unknown.

    Examples
    --------
    >>> from sk_wmvl.manifolds import orbit_normals
    >>> orbit_normals([90.0], [90.0]).round(4) + 0.0
    array([[1., 0., 0.]])
    """
    i = np.deg2rad(_finite("inclination", inclination))
    o = np.deg2rad(_finite("node", node))
    return np.stack(
        np.broadcast_arrays(np.sin(i) * np.sin(o), -np.sin(i) * np.cos(o), np.cos(i)),
        axis=-1,
    )


def close_compositions(X: ArrayLike) -> np.ndarray:
    """Return amounts divided by their sum: the closure of compositional data.

    Parameters
    ----------
    X : array-like of shape (n, p)
        Amounts of p parts, at least zero, in the same unit.

    Returns
    -------
    Y : ndarray of shape (n, p)
        Compositions for `Simplex`, whose rows sum to one.

    Examples
    --------
    >>> from sk_wmvl.manifolds import close_compositions
    >>> close_compositions([[2, 6, 0]])
    array([[0.25, 0.75, 0.  ]])
    """
    amounts = _finite("X", X)
    if amounts.ndim != 2:
        raise ValueError(f"X must be of shape (n, p); its shape is {amounts.shape}.")
    if amounts.size and amounts.min() < 0:
        row, column = np.unravel_index(int(amounts.argmin()), amounts.shape)
        raise ValueError(
            f"Amounts cannot be negative: X[{row}, {column}] is {amounts.min():.3g}."
        )
    empty = ~amounts.any(axis=1)
    if empty.any():
        raise ValueError(f"Row {int(empty.argmax())} of X has only zeros: remove it.")
    # in units of the largest amount, the sum cannot overflow
    parts = amounts / amounts.max(axis=1, keepdims=True)
    return parts / parts.sum(axis=1, keepdims=True)
