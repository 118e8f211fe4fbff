"""Conversions against values worked out by hand, and back."""

import numpy as np
import pytest
import torch

from sk_wmvl.manifolds import (
    Simplex,
    Sphere,
    close_compositions,
    from_lat_lon,
    from_period,
    orbit_normals,
    to_lat_lon,
    to_period,
)


def test_lat_lon_round_trip():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 50), rng.uniform(-180, 180, 50)
    lat[:2] = 90 - 1e-7, -90 + 1e-7  # near the poles
    X = from_lat_lon(lat, lon)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, atol=1e-15)
    back = to_lat_lon(3 * X)
    np.testing.assert_allclose(back[0], lat, atol=1e-12)
    np.testing.assert_allclose(back[1], lon, atol=1e-6)


def test_distance_on_the_globe():
    """Against the haversine formula."""
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-90, 90, (2, 20)), rng.uniform(-180, 180, (2, 20))
    x, y = (torch.from_numpy(from_lat_lon(lat[k], lon[k])) for k in range(2))
    a, b = np.deg2rad(lat), np.deg2rad(lon)
    h = np.sin((a[1] - a[0]) / 2) ** 2
    h += np.cos(a[0]) * np.cos(a[1]) * np.sin((b[1] - b[0]) / 2) ** 2
    expected = 2 * np.arcsin(np.sqrt(h))
    np.testing.assert_allclose(Sphere(2).dist(x, y), expected, atol=1e-12)


@pytest.mark.parametrize("period", [360, 24, 365.25])
def test_period_round_trip(period):
    values = np.array([[0.0, 0.3], [0.5, 0.999]]) * period
    angles = from_period(values + 3 * period, period)
    assert angles.min() >= -np.pi
    assert angles.max() < np.pi
    np.testing.assert_allclose(to_period(angles, period), values, atol=1e-9)
    np.testing.assert_allclose(from_period(period / 4, period), np.pi / 2)
    assert to_period(-1e-20, period) == 0


def test_orbit_normals_are_normal():
    """The line of nodes and a point a quarter turn later span the plane."""
    i, node = np.array([10.0, 120.0]), np.array([33.0, -70.0])
    a, b = np.deg2rad(i), np.deg2rad(node)
    ascending = np.c_[np.cos(b), np.sin(b), 0 * b]
    top = np.c_[-np.sin(b) * np.cos(a), np.cos(b) * np.cos(a), np.sin(a)]
    np.testing.assert_allclose(orbit_normals(i, node), np.cross(ascending, top))


def test_closure_is_what_simplex_does():
    X = np.random.default_rng(0).gamma(1.0, size=(9, 4)) * 100
    x = Simplex(3, close=True).from_user(torch.from_numpy(X))
    np.testing.assert_allclose(close_compositions(X), x.square(), atol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_lat_lon([10, 100], [0, 0]), r"row 1 is 100\. Are lat and lon"),
        (
            lambda: from_lat_lon([np.nan], [0]),
            r"lat holds NaN or infinity, first at \[0\]",
        ),
        (lambda: to_lat_lon([[1.0, 2.0]]), r"three columns.* \(1, 2\)"),
        (lambda: to_lat_lon([[1.0, 0, 0], [0, 0, 0]]), "Row 1 of X is zero"),
        (lambda: from_period([1.0], 0), "period must be a finite number > 0; got 0"),
        (lambda: close_compositions([[1, 2], [3, -1]]), r"X\[1, 1\] is -1"),
        (lambda: close_compositions([[1, 2], [0, 0]]), "Row 1 of X has only zeros"),
        (lambda: close_compositions([1, 2]), r"shape \(n, p\); its shape is \(2,\)"),
    ],
)
def test_bad_units(call, message):
    with pytest.raises(ValueError, match=message):
        call()
