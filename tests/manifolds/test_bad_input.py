"""Rows that are not points: which row, by how much, what to do."""

import warnings

import numpy as np
import pytest
import torch

from sk_wmvl.manifolds import (
    AxialSphere,
    Circle,
    Euclidean,
    Product,
    Rotation,
    Simplex,
    Sphere,
    Torus,
)

EYE = np.eye(3).ravel()


def good(width, kind):
    return {
        "unit": np.eye(width)[0],
        "angle": np.full(width, 0.5),
        "matrix": EYE,
        "parts": np.full(width, 1 / width),
    }[kind]


# manifold, its kind of good row, a bad one, the message
BAD = [
    (Sphere(2), "unit", [1.31, 0, 0], r"worst is row 2 with \| \|x\| - 1 \| = 0.31"),
    (
        Sphere(2),
        "unit",
        [0, 0, 0],
        r"Row 2 .* is zero and has no direction\. Remove it",
    ),
    (Sphere(2, project=True), "unit", [0, 0, 0], "Row 2 .* has no direction"),
    (
        AxialSphere(2),
        "unit",
        [0, -0.5, 0],
        r"row 2 .* = 0.5, .*AxialSphere\(project=True",
    ),
    (AxialSphere(2, project=True), "unit", [0, 0, 0], "Row 2 .* has no direction"),
    (Circle("vector"), "unit", [3, 0], r"row 2 .* = 2, .*Circle\(project=True"),
    (Circle("vector"), "unit", [0, 0], "Row 2 .* has no direction"),
    (Rotation(), "unit", [1, 1, 0, 0], r"row 2 .* = 0.414, .*Rotation\(project=True"),
    (Rotation(), "unit", [0, 0, 0, 0], "Row 2 .* is zero"),
    (Rotation("matrix"), "matrix", 1.1 * EYE, r"row 2 .*max \|R R\^T - I\| = 0.21"),
    (Rotation("matrix"), "matrix", -EYE, "row 2 .*reflection, not a rotation"),
    (Rotation("matrix", project=True), "matrix", -2 * EYE, "row 2 .*reflection"),
    (
        Rotation("matrix", project=True),
        "matrix",
        np.diag([1, 1, 0]).ravel(),
        "row 2 .*singular matrix: remove",
    ),
    (
        Rotation("matrix", project=True),
        "matrix",
        0 * EYE,
        "row 2 .*singular matrix: remove",
    ),
    (Simplex(2), "parts", [50, 30, 20], r"row 2 .* = 99, .*Simplex\(close=True"),
    (Simplex(2), "parts", [1.2, -0.2, 0], "row 2 .*smallest part.*cannot be negative"),
    (Simplex(2, close=True), "parts", [2, -1, 0], "row 2 .* = 0.5.*cannot be negative"),
    (Simplex(2, close=True), "parts", [0, 0, 0], "Row 2 .*only zero parts"),
    (Simplex(2, close=True), "parts", [-1, -1, 0], "cannot be negative"),
]

FINITE = [
    (Sphere(2), "unit"),
    (AxialSphere(2, project=True), "unit"),
    (Torus(2), "angle"),
    (Circle(), "angle"),
    (Circle("vector", project=True), "unit"),
    (Rotation(), "unit"),
    (Rotation("matrix", project=True), "matrix"),
    (Simplex(2, close=True), "parts"),
]


def rows(manifold, kind, bad):
    row = good(manifold.n_columns, kind)
    return torch.from_numpy(np.vstack([row, row, bad, row]).astype(np.float64))


@pytest.mark.parametrize(("manifold", "kind", "bad", "message"), BAD, ids=repr)
def test_bad_row(manifold, kind, bad, message):
    X = rows(manifold, kind, bad)
    with pytest.raises(ValueError, match=message):
        manifold.from_user(X)
    manifold.from_user(X[[0, 1, 3]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("manifold", "kind"), FINITE, ids=repr)
def test_not_finite(manifold, kind, value):
    bad = good(manifold.n_columns, kind).copy()
    bad[-1] = value
    with pytest.raises(ValueError, match="Row 2 given to .* holds NaN or infinity"):
        manifold.from_user(rows(manifold, kind, bad))


@pytest.mark.parametrize(
    ("manifold", "widths"),
    [
        (Sphere(2), [1, 2, 4]),
        (Sphere(), [0, 1]),
        (AxialSphere(2), [1, 2, 4]),
        (AxialSphere(), [0, 1]),
        (Circle(), [0, 3]),
        (Circle("angle"), [2]),
        (Circle("vector"), [1]),
        (Rotation(), [3, 5, 16]),
        (Rotation("quaternion"), [9]),
        (Rotation("matrix"), [4]),
        (Simplex(2), [2, 4]),
        (Simplex(), [1]),
        (Torus(2), [3]),
    ],
    ids=repr,
)
def test_wrong_number_of_columns(manifold, widths):
    for width in widths:
        with pytest.raises(
            ValueError,
            match=rf"X has n_features = {width}, which .* cannot have: (an?|it) ",
        ):
            manifold.with_columns(width)


@pytest.mark.parametrize("manifold", [Circle("vector"), Rotation("matrix")], ids=repr)
def test_rows_of_another_form(manifold):
    with pytest.raises(ValueError, match="X has n_features = 1"):
        manifold.from_user(torch.zeros(2, 1))


@pytest.mark.parametrize("cls", [Circle, Rotation])
def test_unknown_form(cls):
    with pytest.raises(ValueError, match=r"coordinates='euler' .* Choose one of \['"):
        cls("euler").n_columns  # noqa: B018 - a property


def test_degrees_draw_a_warning():
    X = torch.tensor([[10.0], [350.0]])
    wind = Product([("speed", Euclidean(1)), ("bearing", Circle("angle"))])
    for manifold, rows in (
        (Circle("angle"), X),
        (Torus(1), X),
        (wind, torch.cat([X, X], 1)),
    ):
        with pytest.warns(UserWarning, match="are they degrees"):
            manifold.warn_of_units(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Circle("vector").warn_of_units(torch.cat([X, X], 1))
        wind.warn_of_units(torch.cat([X, 0 * X], 1))
        Torus(1).from_user(X)  # many calls would warn many times


def test_unknown_dimension():
    for manifold in (Sphere(), AxialSphere(), Simplex(), Torus()):
        with pytest.raises(ValueError, match="call with_columns"):
            manifold.log_volume()
