"""Odd inputs against the messages that name the argument, what came and what to do."""

import datetime
import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.base import BaseEstimator

from sk_wmvl import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    RiemannianMVLDensity,
    WassersteinAutoencoder,
)
from sk_wmvl._random import draw_seed
from sk_wmvl._validation import (
    check_columns,
    check_count_of_draws,
    check_groups,
    check_net_params,
    check_optimizer,
    check_rows,
    check_weights,
    check_widths,
)
from sk_wmvl.metrics import hyvarinen_score

ROWS = np.arange(8.0).reshape(4, 2)
META = torch.empty(4, 2, device="meta")
LOOP = []
LOOP.append(LOOP)


class Endless:
    """A sequence that claims more items than any memory holds."""

    def __len__(self):
        return 10**15

    def __getitem__(self, k):
        return [0.0, 0.0]


def entry(value):
    rows = ROWS.astype(object)
    rows[1, 0] = value
    return rows


# What came, the type of the error, and its message; {} is the name of the argument.
ARRAYS = [
    (None, TypeError, "{} must be an array of numbers; got None"),
    ("rows", TypeError, "{} must be .* got text, 'rows'.*Read the numbers"),
    (b"rows", TypeError, "{} must be .* got text, b'rows'"),
    ({"a": [1, 2]}, TypeError, r"{} must be .* got a dict.*pandas.DataFrame\({}\)"),
    ({1, 2}, TypeError, "{} must be .* got a set, which has no order"),
    ((r for r in ROWS), TypeError, "{} must be .* generator.*Collect the rows"),
    (itertools.count(), TypeError, "{} must be .* got a count"),
    (range(10**12), ValueError, "{} is a range of 1e\\+12 items, too many"),
    (Endless(), ValueError, "{} is a Endless of 1e\\+15 items, too many"),
    (object, TypeError, "{} must be .* type type, which is no array"),
    (object(), TypeError, "{} must be .* of type object, which is no array"),
    (len, TypeError, "{} must be .*, which is no array"),
    ([[0, 1], [2]], ValueError, "{} is ragged: row 0 has 2 values, and row 1 has 1"),
    ([[0, [1]], [2, 3]], TypeError, r"{} holds \[1\] of type list in row 0, column 1"),
    (LOOP, ValueError, "{} .*dimensions"),
    (
        entry(None),
        TypeError,
        "{} holds None .* row 1, column 0.*must be a string or a r",
    ),
    (entry("blue"), ValueError, "{} holds 'blue' .* in row 1, column 0, which is text"),
    (
        entry({"foo": "bar"}),
        TypeError,
        "{} holds .* argument must be a string or a real",
    ),
    (entry(1j), ValueError, "Complex data not supported: {} holds 1j"),
    (entry(datetime.date(2020, 1, 1)), ValueError, "{} holds .* a date, which has no"),
    (entry(10**400), ValueError, "{} holds 1000.*, which is no finite number"),
    (ROWS.astype(complex), ValueError, "Complex data not supported: {} has dtype"),
    (ROWS.astype("M8[D]"), ValueError, "{} holds dates .* Subtract an origin"),
    (ROWS.astype("m8[D]"), ValueError, "{} holds dates or differences of dates"),
    (np.ma.masked_array(ROWS, ROWS > 6), ValueError, "{} has 1 masked entries"),
    (np.asmatrix(ROWS), TypeError, r"{} must be .* numpy.matrix. Use np.asarray\({}\)"),
    (scipy.sparse.dok_array(ROWS), TypeError, r"{} must .* sparse.*{}.toarray\(\)"),
    (META, TypeError, "{} must be a dense tensor.*meta device, which holds no values"),
    (torch.tensor(ROWS).to_sparse(), TypeError, r"{} must .*{}.to_dense\(\)"),
    (torch.tensor(ROWS).cfloat(), ValueError, "Complex data not supported: {} has"),
    (
        torch.nested.nested_tensor(
            [torch.zeros(2), torch.zeros(1)], layout=torch.jagged
        ),
        TypeError,
        "{} must be a dense .*rows differ in length",
    ),
    (
        pd.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]}),
        ValueError,
        r"{} holds 'x' of type str in row 0, column 1 \('name'\), which is text",
    ),
    (
        pl.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]}),
        ValueError,
        r"{} holds 'x' of type str in row 0, column 1 \('name'\), which is text",
    ),
    (
        pd.DataFrame({"a": [1.0], "day": [pd.Timestamp("2020-01-01")]}),
        ValueError,
        r"{} holds dates .* in column 'day'",
    ),
    (
        pl.DataFrame({"day": [datetime.date(2020, 1, 1)]}),
        ValueError,
        "{} holds dates .* in column 'day'",
    ),
]
NAMES = [f"{k}-{type(a).__name__}" for k, (a, *_) in enumerate(ARRAYS)]


@pytest.mark.parametrize(("array", "kind", "message"), ARRAYS, ids=NAMES)
def test_what_holds_no_numbers(array, kind, message):
    with pytest.raises(kind, match=message.replace("{}", "X")):
        check_rows(BaseEstimator(), array, reset=True)
    with pytest.raises(kind, match=message.replace("{}", "context")):
        check_columns(array, "context")
    if array is not None and not (isinstance(array, list) and array is not LOOP):
        flat = (
            array.ravel() if type(array) in (np.ndarray, np.ma.MaskedArray) else array
        )
        text = message.replace("{}", "sample_weight").replace("1, column 0", "2")
        with pytest.raises((kind, ValueError), match=f"{text}|sample_weight must hold"):
            check_weights(flat, np.zeros((8, 2)))


# torch has deprecated the quantized tensors that users may still pass
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_tensors():
    x = torch.quantize_per_tensor(torch.zeros(4, 2), 0.1, 0, torch.qint8)
    with pytest.raises(TypeError, match=r"X must .* quantized.*X.dequantize\(\)"):
        check_rows(BaseEstimator(), x, reset=True)


@pytest.mark.parametrize(
    "array",
    [
        ROWS.tolist(),
        ROWS.astype(object),
        ROWS.astype(str),
        ROWS.astype(np.longdouble),
        ROWS[::-1][::-1],
        np.ma.masked_array(ROWS),
        torch.tensor(ROWS, requires_grad=True),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        [torch.tensor(row, requires_grad=True) for row in ROWS],
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS).astype("Float64"),
        pl.DataFrame(ROWS),
    ],
)
def test_what_holds_numbers_is_read(array):
    np.testing.assert_array_equal(check_rows(BaseEstimator(), array, reset=True), ROWS)
    np.testing.assert_array_equal(check_columns(array, "context"), ROWS)


@pytest.mark.parametrize(
    ("groups", "kind", "message"),
    [
        ([1, 2], ValueError, r"groups must hold one label per row, of shape \(4,\)"),
        (ROWS, ValueError, r"one label per row.*got shape \(4, 2\)"),
        (3, ValueError, "one label per row"),
        ("abcd", TypeError, "groups must be an array"),
        ([[1], [1, 2], [3], [4]], ValueError, "groups is ragged: row 0 has 1"),
        (
            np.array([1, {}, 2, 3], dtype=object),
            TypeError,
            r"groups holds \{\}.* row 1",
        ),
        ([1, None, 2, 3], ValueError, "groups holds None in row 1"),
        ([1, np.nan, 2, 3], ValueError, "groups holds nan in row 1"),
        ([1, 1, 1, 1], ValueError, "groups names one group only, 1"),
        (META[:, 0], TypeError, "groups must be a dense tensor.*meta"),
        (range(10**12), ValueError, "groups is a range of 1e.12 items"),
    ],
)
def test_groups(groups, kind, message):
    with pytest.raises(kind, match=message):
        check_groups(groups, ROWS)


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "a", "b", "c"],
        [2.5, 1, 2.5, 3],
        [[2], [1], [2], [3]],
        np.array(["x", 1, "x", 2.0], dtype=object),
        torch.tensor([5, 4, 5, 6]),
        pd.Series(pd.Categorical(["b", "a", "b", "c"])),
        pl.Series(["b", "a", "b", "c"]),
    ],
)
def test_groups_are_numbered_as_they_appear(groups):
    assert check_groups(groups, ROWS).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "seed", [-1, 2**32, 2**70, 1.0, "seed", [1], 1j, object(), np.random]
)
def test_seeds(seed):
    with pytest.raises(
        ValueError, match=r"random_state=.* is no seed.*0 to 2\*\*32 - 1"
    ):
        draw_seed(seed)


def test_a_generator_is_no_seed_and_stays_as_it_is():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="random_state=Generator"):
        draw_seed(generator)
    assert generator.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    "n", [0, -1, 2.0, np.nan, "3", None, [3], np.array([3]), 3 + 0j]
)
def test_counts_of_draws(n):
    with pytest.raises(ValueError, match="n_samples must be an integer >= 1; got"):
        check_count_of_draws(n, 2)


@pytest.mark.parametrize("n", [10**9, 2**70])
def test_more_draws_than_a_call_returns(n):
    with pytest.raises(ValueError, match="at most 50000000. Draw in parts"):
        check_count_of_draws(n, 2)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([[8], [8, 8]], r"must hold positive integers, such as .* got \[\[8\]"),
        ([8.5], "must hold positive integers"),
        ([3, -1], "must hold positive integers"),
        ("ab", "must hold positive integers"),
        (META, "must hold positive integers"),
        ([8] * 5000, "has 5e.03 layers; at most 100"),
        (range(10**12), "has 1e.12 layers; at most 100"),
        ((10**5, 10**5), "layer of 1e.10 weights; at most 1e.08"),
    ],
)
def test_widths(widths, message):
    with pytest.raises(ValueError, match=f"critic_layer_sizes.*{message}"):
        check_widths(widths, name="critic_layer_sizes")


def test_optimizers_and_parameters_of_the_net():
    with pytest.raises(TypeError, match="optimizer=.* is no optimizer"):
        check_optimizer(object)
    with pytest.raises(ValueError, match="net_params has the key 'a', which is no"):
        check_net_params({"a": 1})
    with pytest.raises(TypeError, match="net_params must have keys of type str; got 1"):
        check_net_params({1: 1})
    check_net_params({"optimizer__weight_decay": 0.1, "verbose": 1})
    check_optimizer(torch.optim.SGD)
    check_optimizer("adam")


ESTIMATORS = [
    MVLDensity(base="gaussian"),
    RiemannianMVLDensity("sphere", base="uniform"),
    ImplicitScoreEstimator(),
    ImplicitVAE(),
    WassersteinAutoencoder(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_estimators_name_what_is_wrong(estimator):
    with pytest.raises(ValueError, match=r"'max_epochs' .* range \[1, 1000000\]"):
        type(estimator)(max_epochs=10**9).fit(ROWS)
    with pytest.raises(ValueError, match="X is ragged"):
        estimator.fit([[0, 1], [2]])
    with pytest.raises(ValueError, match="'alpha' parameter"):
        type(estimator)(alpha=2**70).fit(ROWS)
    with pytest.raises(TypeError, match="optimizer=.* is no optimizer"):
        type(estimator)(optimizer=object).fit(ROWS / np.linalg.norm(ROWS + 1))


def test_methods_of_fitted_estimators():
    X = np.random.default_rng(0).normal(size=(20, 2))
    small = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    density = MVLDensity(base="gaussian", **small).fit(X)
    for method in (density.score_samples, density.score_fn, density.score):
        with pytest.raises(TypeError, match="X must be a dense tensor"):
            method(META)
    with pytest.raises(ValueError, match="random_state=-1 is no seed"):
        density.sample(2, random_state=-1)
    with pytest.raises(ValueError, match="n_samples=1000000000 draws of 2 columns"):
        density.sample(10**9)
    with pytest.raises(TypeError, match="sample_weight must be an array"):
        hyvarinen_score(density, X, sample_weight={"a": 1})
    with pytest.raises(ValueError, match="context is ragged"):
        ImplicitScoreEstimator().fit(X, context=[[0, 1], [2]])
    coder = WassersteinAutoencoder(critic_layer_sizes=(4,), **small).fit(X)
    with pytest.raises(ValueError, match="Z must have rows and columns"):
        coder.inverse_transform([])
    with pytest.raises(ValueError, match="random_state=4294967296 is no seed"):
        coder.sample(2, random_state=2**32)


def test_errors_of_callables_say_which():
    def broken(*_):
        raise KeyError("my own")

    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(KeyError, match="my own") as caught:
        MVLDensity(energy=broken, base="gaussian").fit(X)
    assert "Raised by energy=" in caught.value.__notes__[0]
    with pytest.raises(KeyError, match="my own") as caught:
        WassersteinAutoencoder(encoder_network=broken).fit(X)
    assert "Raised by encoder_network=" in caught.value.__notes__[0]
