"""Inputs that are not what they should be: arrays, counts, seeds and parameters."""

import datetime
import decimal
import fractions
import itertools

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse
import torch

__all__ = ["ARRAYS", "COUNTS", "SCALARS", "SEEDS"]


class Plain:
    """An object that is no number and no array."""


class Endless:
    """A sequence that claims more items than any memory holds."""

    def __len__(self):
        return 10**15

    def __getitem__(self, k):
        return [0.0, 0.0]


def with_entry(value):
    """Return a maker of rows of objects, one entry of which is a value."""

    def make(X):
        rows = X.astype(object)
        rows[1, 0] = value
        return rows

    return make


def nested():
    """Return a list that holds itself."""
    loop = []
    loop.append(loop)
    return loop


# Makers of odd arrays from good rows of shape (n, 2).
ARRAYS = {
    "None": lambda X: None,
    "number": lambda X: 3.0,
    "text": lambda X: "rows",
    "bytes": lambda X: b"rows",
    "dict": lambda X: {"a": X[:, 0].tolist(), "b": X[:, 1].tolist()},
    "set": lambda X: {1.0, 2.0},
    "generator": lambda X: (row for row in X),
    "endless iterator": lambda X: itertools.count(),
    "range": lambda X: range(10**12),
    "endless sequence": lambda X: Endless(),
    "class": lambda X: Plain,
    "object": lambda X: Plain(),
    "function": lambda X: len,
    "list of objects": lambda X: [[Plain(), 1.0]] * len(X),
    "ragged": lambda X: [[0.0, 1.0], [2.0], *X[2:].tolist()],
    "ragged deep": lambda X: [[0.0, [1.0]], [2.0, 3.0], *X[2:].tolist()],
    "list that holds itself": lambda X: nested(),
    "empty list": lambda X: [],
    "empty rows": lambda X: [[]] * len(X),
    "no rows": lambda X: X[:0],
    "one row": lambda X: X[:1],
    "one dimension": lambda X: X[:, 0],
    "three dimensions": lambda X: X[None],
    "no dimension": lambda X: np.array(1.0),
    "other columns": lambda X: np.c_[X, X],
    "NaN": lambda X: np.where(np.arange(X.size).reshape(X.shape) == 3, np.nan, X),
    "infinity": lambda X: np.where(np.arange(X.size).reshape(X.shape) == 3, np.inf, X),
    "too large": lambda X: 1e300 * X,
    "tiny": lambda X: 1e-300 * X,
    "text column": lambda X: [[str(a), f"name {b}"] for a, b in X],
    "text array": lambda X: np.array([[f"x{a}" for a in row] for row in X]),
    "byte array": lambda X: np.array([[b"x"] * X.shape[1]] * len(X)),
    "None entry": with_entry(None),
    "text entry": with_entry("blue"),
    "dict entry": with_entry({"foo": "bar"}),
    "list entry": with_entry([1, 2]),
    "object entry": with_entry(Plain()),
    "complex entry": with_entry(1 + 2j),
    "date entry": with_entry(datetime.datetime(2020, 1, 1)),
    "huge integer entry": with_entry(10**400),
    "decimals": lambda X: np.array(
        [[decimal.Decimal(repr(float(a))) for a in row] for row in X]
    ),
    "decimal NaN entry": with_entry(decimal.Decimal("sNaN")),
    "fractions": lambda X: np.array(
        [[fractions.Fraction(float(a)) for a in row] for row in X]
    ),
    "complex": lambda X: X.astype(complex),
    "dates": lambda X: np.full(X.shape, np.datetime64("2020-01-01")),
    "differences of dates": lambda X: np.full(X.shape, np.timedelta64(3, "D")),
    "records": lambda X: np.zeros(len(X), dtype=[("a", float), ("b", float)]),
    "booleans": lambda X: X > 0,
    "masked": lambda X: np.ma.masked_array(X, X > 1),
    "void": lambda X: np.zeros(X.shape, dtype="V8"),
    "float16": lambda X: X.astype(np.float16),
    "longdouble": lambda X: X.astype(np.longdouble),
    "reversed": lambda X: X[::-1, ::-1],
    "matrix": lambda X: np.asmatrix(X),
    "sparse": lambda X: scipy.sparse.csr_matrix(X),
    "sparse array": lambda X: scipy.sparse.coo_array(X),
    "tensor": lambda X: torch.tensor(X, requires_grad=True),
    "bfloat16 tensor": lambda X: torch.tensor(X, dtype=torch.bfloat16),
    "complex tensor": lambda X: torch.tensor(X, dtype=torch.complex64),
    "meta tensor": lambda X: torch.empty(X.shape, device="meta"),
    "sparse tensor": lambda X: torch.tensor(X).to_sparse(),
    "quantized tensor": lambda X: torch.quantize_per_tensor(
        torch.tensor(X, dtype=torch.float32), 0.1, 0, torch.qint8
    ),
    "nested tensor": lambda X: torch.nested.nested_tensor(
        [torch.zeros(2), torch.zeros(1)]
    ),
    "list of tensors": lambda X: [torch.tensor(row) for row in X],
    "list of tensors with graphs": lambda X: [
        torch.tensor(row, requires_grad=True) for row in X
    ],
    "frame": lambda X: pd.DataFrame(X, columns=["a", "b"]),
    "frame with text": lambda X: pd.DataFrame({"a": X[:, 0], "name": "blue"}),
    "frame with categories": lambda X: pd.DataFrame(
        {"a": X[:, 0], "kind": pd.Categorical(["x", "y"] * (len(X) // 2))}
    ),
    "frame with dates": lambda X: pd.DataFrame(
        {"a": X[:, 0], "day": pd.Timestamp("2020-01-01")}
    ),
    "frame of dates": lambda X: pd.DataFrame(
        {"day": [pd.Timestamp("2020-01-01")] * len(X)}
    ),
    "frame with missing values": lambda X: (
        pd.DataFrame(X).astype("Float64").mask(X > 1)
    ),
    "frame with mixed names": lambda X: pd.DataFrame(X, columns=["a", 1]),
    "polars frame": lambda X: pl.DataFrame({"a": X[:, 0], "b": X[:, 1]}),
    "polars frame with text": lambda X: pl.DataFrame(
        {"a": X[:, 0], "name": ["blue"] * len(X)}
    ),
    "series": lambda X: pd.Series(X[:, 0]),
}

COUNTS = {
    "None": lambda: None,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "float": lambda: 2.0,
    "fraction": lambda: 1.5,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "text": lambda: "3",
    "huge": lambda: 10**9,
    "beyond 64 bits": lambda: 2**70,
    "list": lambda: [3],
    "array": lambda: np.array([3]),
    "tensor": lambda: torch.tensor(3),
    "complex": lambda: 3 + 0j,
    "numpy integer": lambda: np.int64(3),
    "boolean": lambda: True,
    "object": lambda: Plain(),
    "dict": lambda: {},
}

SEEDS = {
    "negative": lambda: -1,
    "2**32": lambda: 2**32,
    "beyond 64 bits": lambda: 2**70,
    "float": lambda: 1.0,
    "NaN": lambda: float("nan"),
    "text": lambda: "seed",
    "list": lambda: [1, 2],
    "array": lambda: np.array([1, 2]),
    "Generator": lambda: np.random.default_rng(0),
    "torch generator": lambda: torch.Generator(),
    "RandomState": lambda: np.random.RandomState(0),
    "module": lambda: np.random,
    "numpy integer": lambda: np.int64(3),
    "object": lambda: Plain(),
    "class": lambda: Plain,
    "complex": lambda: 1j,
    "tensor": lambda: torch.tensor(1),
    "dict": lambda: {},
}

SCALARS = {
    "None": lambda: None,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "one": lambda: 1,
    "half": lambda: 0.5,
    "infinity": lambda: float("inf"),
    "NaN": lambda: float("nan"),
    "huge integer": lambda: 10**9,
    "beyond 64 bits": lambda: 2**70,
    "text": lambda: "nonsense",
    "empty text": lambda: "",
    "bytes": lambda: b"adam",
    "list of texts": lambda: ["a", "b"],
    "ragged": lambda: [[8], [8, 8]],
    "list": lambda: [3, -1],
    "long list": lambda: [8] * 5000,
    "range": lambda: range(10**12),
    "array": lambda: np.array([[8.5, 8]]),
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "tensor": lambda: torch.tensor(0.5),
    "meta tensor": lambda: torch.empty(2, device="meta"),
    "complex": lambda: 1 + 1j,
    "object": lambda: Plain(),
    "class": lambda: Plain,
    "decimal": lambda: decimal.Decimal("0.5"),
    "generator": lambda: (i for i in range(3)),
    "endless iterator": lambda: itertools.count(),
}
