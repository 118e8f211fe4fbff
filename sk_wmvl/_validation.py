"""The border: numpy outside, torch inside, and every private or newer scikit-learn name.

Private names of scikit-learn are imported here and nowhere else, so that a change there is
mended in one place.
"""

import datetime
import numbers
from collections.abc import Callable, Iterator, Mapping, Set
from inspect import signature
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.base import _fit_context as fit_context
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    validate_data,
)
from skorch import NeuralNet
from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]  # the same part, elsewhere
        """Stand-in where scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return the method unchanged."""
        return method


__all__ = [
    "LARGEST",
    "CallbackSupportMixin",
    "HasMethods",
    "Integral",
    "Interval",
    "Real",
    "StrOptions",
    "check_callbacks",
    "check_columns",
    "check_count_of_draws",
    "check_groups",
    "check_net_params",
    "check_optimizer",
    "check_rows",
    "check_weights",
    "check_widths",
    "fit_context",
    "resolve_device",
    "with_callbacks",
]

FLOAT32_MAX = float(np.finfo(np.float32).max)
LARGEST = (
    1e12  # of a parameter on the scale of losses: its square is far below FLOAT32_MAX
)
MOST_ITEMS = 10**7  # of a sequence that is computed item by item, as a range is
MOST_DRAWN = 10**8  # numbers that one call of `sample` returns: 0.8 GB
MOST_LAYERS, MOST_WEIGHTS = 100, 10**8  # of a network; the latter between two layers
DATES = datetime.date | datetime.timedelta | np.datetime64 | np.timedelta64
ENCODE = "Encode it as numbers, or drop it."


def check_rows(estimator, X, *, reset: bool, min_samples: int = 1) -> np.ndarray:
    """Return X as a float64 array of shape (n_samples, n_features), validated.

    Torch tensors are accepted; those that carry a graph or live on a GPU are copied to
    plain arrays first. What holds no numbers is refused, by the name of the argument and
    the place of the first entry that is none.

    Parameters
    ----------
    estimator : estimator
        On which `n_features_in_` and `feature_names_in_` are set or compared.
    X : array-like of shape (n_samples, n_features)
        What the user passed.
    reset : bool
        Whether this is a fit.
    min_samples : int, default=1
        Fewest rows allowed.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        For anything scikit-learn's `validate_data` refuses, for text, ragged rows, complex
        numbers, dates and masked entries, and for values beyond float32.
    TypeError
        For what is no array at all, and for objects in it.
    """
    X = _as_numbers(
        X,
        "X",
        lambda X: validate_data(
            estimator,
            X,
            reset=reset,
            dtype=np.float64,
            order="C",  # a reversed view, say, is no tensor
            ensure_min_samples=min_samples,
        ),
    )
    largest = np.abs(X).max(initial=0.0)
    if largest > FLOAT32_MAX:
        raise ValueError(
            f"Input X contains {largest:.3g}, a value too large for dtype('float32'), in "
            "which the model is trained. Rescale the columns."
        )
    return X


def check_columns(array, name: str) -> np.ndarray:
    """Return an argument beside the rows as a float64 array of two dimensions.

    Parameters
    ----------
    array : array-like of shape (n, n_columns)
        What the user passed.
    name : str
        The name of the argument.

    Raises
    ------
    ValueError, TypeError
        As `check_rows` does.
    """

    def check(array) -> np.ndarray:
        shape = np.shape(array)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"{name} must have rows and columns, at least one of each; got shape "
                f"{shape}. If it has one column, use np.reshape({name}, (-1, 1))."
            )
        return check_array(array, dtype=np.float64, input_name=name)

    return _as_numbers(array, name, check)


def check_weights(sample_weight, X: np.ndarray) -> np.ndarray | None:
    """Return validated weights of shape (n_samples,), or None if there are none.

    Raises
    ------
    ValueError
        If there are more or fewer weights than rows, if a weight is negative or no finite
        number, or if all are zero.
    TypeError
        If they are no array, or hold objects.
    """
    if sample_weight is None:
        return None

    def check(weight) -> np.ndarray:
        if not isinstance(weight, numbers.Number):  # one number weighs all rows
            weight = np.asarray(weight)
            if weight.shape != (len(X),):
                raise ValueError(
                    f"sample_weight must hold one number per row, of shape ({len(X)},); "
                    f"got shape {weight.shape}."
                )
        return _check_sample_weight(
            weight, X, dtype=np.float64, ensure_non_negative=True
        )

    weight = _as_numbers(sample_weight, "sample_weight", check)
    if not weight.any():
        raise ValueError(
            "sample_weight: all weights are zero; at least one must be positive."
        )
    return weight


def check_groups(groups, X: np.ndarray) -> np.ndarray | None:
    """Return labels of shape (n_samples,), or None if there are no groups.

    They are 0, 1, ... in the order in which the groups appear, whatever their names.

    Raises
    ------
    ValueError
        If there are more or fewer labels than rows, one group only, or a row without one.
    TypeError
        If they are no array, or labels are no numbers or text.
    """
    if groups is None:
        return None
    values = _to_array(_open(groups, "groups"), "groups")
    n = len(X)
    if values.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"groups must hold one label per row, of shape ({n},); got shape "
            f"{values.shape}. For groups of several columns, join these to one label."
        )
    number: dict[Any, int] = {}
    labels = np.empty(n, dtype=int)
    for row, value in enumerate(values.ravel().tolist()):
        try:
            is_missing = value is None or bool(value != value)  # NaN is not itself
            labels[row] = number.setdefault(value, len(number))
        except Exception as error:  # a label may refuse to be compared in its own way
            raise TypeError(
                f"groups holds {_shown(value)} in row {row}, and labels must be numbers or "
                "text, which can be compared. Number the groups."
            ) from error
        if is_missing:
            raise ValueError(
                f"groups holds {value!r} in row {row}, which has no group then. Give it a "
                "label of its own, or drop the row."
            )
    if len(number) < 2:
        raise ValueError(
            f"groups names one group only, {next(iter(number))!r}; rows of at least two "
            "groups are needed to hold one out. Leave groups out if the rows are "
            "independent."
        )
    return labels


def check_count_of_draws(n_samples, n_columns: int) -> int:
    """Return a number of draws as an int.

    Raises
    ------
    ValueError
        If it is no positive integer, or if so many draws of `n_columns` numbers each are
        no matter of one call.
    """
    if not (isinstance(n_samples, Integral) and n_samples >= 1):
        raise ValueError(f"n_samples must be an integer >= 1; got {n_samples!r}.")
    most = MOST_DRAWN // n_columns
    if n_samples > most:
        raise ValueError(
            f"n_samples={n_samples} draws of {n_columns} columns are too many for one "
            f"call, which returns at most {most}. Draw in parts, each with a random_state "
            "of its own."
        )
    return int(n_samples)


# --- what holds numbers, and what does not ------------------------------------------------


def _as_numbers(value, name: str, check: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Return what `check` makes of a value; say which entry is no number if it fails."""
    value = _open(value, name)
    try:
        return check(value)
    except NotFittedError:
        raise
    except Exception as error:  # numpy, pandas and objects each have their own
        reason = _find_reason(value, name)
        if reason is None:
            raise
        raise reason from error


def _open(value, name: str):
    """Return a value that numpy can read, without tensors; raise an error for others."""
    if isinstance(value, torch.Tensor):
        return _from_tensor(value, name)
    if isinstance(value, list | tuple):
        if any(isinstance(item, torch.Tensor) for item in value):
            return [
                _from_tensor(v, name) if isinstance(v, torch.Tensor) else v
                for v in value
            ]
        return value
    what, remedy = None, f"Use np.asarray({name}) if it holds numbers."
    if value is None:
        what, remedy = "None", "Leave it out only where it is optional."
    elif isinstance(value, str | bytes):
        what, remedy = f"text, {_shown(value)}", "Read the numbers in it first."
    elif scipy.sparse.issparse(value):  # some are mappings
        what, remedy = "a sparse matrix", f"Use {name}.toarray()."
    elif isinstance(value, Mapping):
        what = f"a {type(value).__name__}"
        remedy = f"Use pandas.DataFrame({name}), or np.column_stack of its values."
    elif isinstance(value, Set | Iterator):
        what = f"a {type(value).__name__}, which has no order or no known end"
        remedy = "Collect the rows in a list first."
    elif isinstance(value, np.matrix):
        what = "a numpy.matrix"
    elif isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} has {int(np.ma.getmaskarray(value).sum())} masked entries, which have "
            "no value. Fill them in, or drop their rows."
        )
    elif not (isinstance(value, numbers.Number) or _is_array_like(value)):
        what = f"{_shown(value)}, which is no array"
    elif not hasattr(value, "__array__") and hasattr(value, "__len__"):
        n = _length(value)
        if n > MOST_ITEMS:
            raise ValueError(
                f"{name} is a {type(value).__name__} of {n:.3g} items, too many to read "
                f"one by one. {remedy}"
            )
    if what is not None:
        raise TypeError(f"{name} must be an array of numbers; got {what}. {remedy}")
    _refuse_dates(value, name)
    return value


def _is_array_like(value) -> bool:
    if isinstance(value, type):
        return False
    return any(
        hasattr(value, k) for k in ("__array__", "__len__", "__array_interface__")
    )


def _length(value) -> int:
    """Return a length, which for a range may exceed what len() can say."""
    if isinstance(value, range):
        return max(0, (value.stop - value.start) // value.step)
    return len(value)


def _from_tensor(x: torch.Tensor, name: str) -> np.ndarray:
    """Return a tensor as an array of its own dtype, or of float64 where numpy has none."""
    what, remedy = None, ""
    if x.is_nested:
        what, remedy = (
            "a nested tensor, whose rows differ in length",
            "Pad or drop rows.",
        )
    elif x.is_meta:
        what, remedy = "a tensor on the meta device, which holds no values", "Make it."
    elif x.layout != torch.strided:
        what, remedy = "a sparse tensor", f"Use {name}.to_dense()."
    elif x.is_quantized:
        what, remedy = "a quantized tensor", f"Use {name}.dequantize()."
    if what is not None:
        raise TypeError(
            f"{name} must be a dense tensor of numbers; got {what}. {remedy}"
        )
    x = x.detach().cpu()
    if x.is_floating_point() and x.dtype not in (torch.float16, torch.float32):
        x = x.double()  # of bfloat16, say, numpy knows nothing
    return x.resolve_conj().resolve_neg().numpy()


def _refuse_dates(value, name: str) -> None:
    """Raise ValueError for columns of dates, which would pass as numbers of 1e18."""
    dtypes = getattr(value, "dtypes", [])
    dtypes = [value.dtype] if hasattr(value, "dtype") else list(dtypes)
    names = list(getattr(value, "columns", []))
    for k, dtype in enumerate(dtypes):
        is_date = str(getattr(dtype, "kind", "")) in ("m", "M")
        if is_date or str(dtype).lower().startswith(
            ("date", "duration", "time", "period")
        ):
            where = f" in column {names[k]!r}" if names else ""
            raise ValueError(
                f"{name} holds dates or differences of dates ({dtype}){where}, which have "
                "no unit as numbers. Subtract an origin, and divide by a unit such as "
                "np.timedelta64(1, 'D')."
            )


def _to_array(value, name: str) -> np.ndarray:
    """Return an array of any dtype; raise ValueError if rows differ in length."""
    try:
        return np.asarray(value)
    except Exception as error:
        raise _find_reason(value, name) or ValueError(
            f"{name} cannot be read as an array: {error}"
        ) from error


def _find_reason(value, name: str) -> Exception | None:
    """Return the error that says which entry is no number, or None if all are."""
    try:
        array = np.asarray(value, dtype=object)
    except Exception as error:
        return ValueError(
            f"{name} cannot be read as an array ({error}). Give all rows the same columns."
        )
    if hasattr(value, "dtype") and np.iscomplexobj(value):
        return ValueError(
            f"Complex data not supported: {name} has dtype {value.dtype}. Give real and "
            "imaginary parts as columns of their own."
        )
    if array.ndim == 1 and any(isinstance(row, list | tuple) for row in array):
        lengths = [len(row) if hasattr(row, "__len__") else 1 for row in array]
        other = next((k for k, n in enumerate(lengths) if n != lengths[0]), 0)
        return ValueError(
            f"{name} is ragged: row 0 has {lengths[0]} values, and row {other} has "
            f"{lengths[other]}. Give all rows the same columns."
        )
    if array.ndim > 2:
        return ValueError(
            f"{name} has {array.ndim} dimensions, and rows and columns are two. Reshape it."
        )
    names = list(getattr(value, "columns", []))
    for index, entry in np.ndenumerate(array):
        try:
            float(entry)
        except Exception as error:
            where = "".join(
                f", {axis} {k}"
                for axis, k in zip(("row", "column"), index, strict=False)
            )
            if names and len(index) == 2:
                where += f" ({names[index[1]]!r})"
            where = where.replace(",", " in", 1)
            return _not_a_number(entry, f"{name} holds {_shown(entry)}{where}", error)
    return None


def _not_a_number(entry, found: str, error: Exception) -> Exception:
    """Return the error for an entry that is no number."""
    if isinstance(entry, str | bytes):
        return ValueError(f"{found}, which is text and no number. {ENCODE}")
    if isinstance(entry, DATES):
        return ValueError(
            f"{found}, a date, which has no unit as a number. Subtract an origin, and "
            "divide by a unit."
        )
    if isinstance(entry, complex):
        return ValueError(
            f"Complex data not supported: {found}. Give real and imaginary parts as "
            "columns of their own."
        )
    if isinstance(error, TypeError):
        return TypeError(
            f"{found}: an argument must be a string or a real number. {ENCODE}"
        )
    return ValueError(f"{found}, which is no finite number ({error}). {ENCODE}")


def _shown(value) -> str:
    """Return a value and its type in few words."""
    text = repr(value)
    text = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{text} of type {type(value).__name__}"


# --- parameters ---------------------------------------------------------------------------


def resolve_device(device) -> torch.device:
    """Return the torch device a parameter names; 'auto' is CUDA when there is one.

    Parameters
    ----------
    device : str or torch.device
        The user's parameter.

    Raises
    ------
    ValueError
        If the device does not exist here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:  # no such device, or no CUDA build
        raise ValueError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}). "
            "Use device='auto' or 'cpu'."
        ) from error
    return resolved


def check_widths(sizes, *, name: str = "hidden_layer_sizes") -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple.

    Raises
    ------
    ValueError
        If one is not a positive integer, or if layers are too many or too wide.
    """
    if not isinstance(sizes, Integral | torch.Tensor):
        n = _length(sizes) if hasattr(sizes, "__len__") else 1
        if n > MOST_LAYERS:
            raise ValueError(
                f"{name} has {n:.3g} layers; at most {MOST_LAYERS} can be trained one "
                "after the other. Use fewer, wider ones."
            )
    try:
        widths = tuple(np.ravel(_open(sizes, name)).tolist())
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must hold positive integers, such as (128, 128); got {sizes!r}."
        ) from error
    if not all(isinstance(w, Integral) and w >= 1 for w in widths):
        raise ValueError(
            f"{name} must hold positive integers, such as (128, 128); got {sizes!r}."
        )
    largest = max((a * b for a, b in pairwise((1, *widths, 1))), default=1)
    if largest > MOST_WEIGHTS:
        raise ValueError(
            f"{name}={sizes!r} makes a layer of {largest:.3g} weights; at most "
            f"{MOST_WEIGHTS:.0e} are allowed. Use narrower layers."
        )
    return widths


def check_optimizer(optimizer) -> None:
    """Raise TypeError if a class is no optimizer of torch's."""
    if isinstance(optimizer, type) and not issubclass(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"optimizer={optimizer!r} is no optimizer. Use a name, or a class that derives "
            "from torch.optim.Optimizer."
        )


def check_net_params(net_params) -> None:
    """Raise an error for keys of `net_params` that skorch's NeuralNet does not have."""
    known = set(signature(NeuralNet).parameters)
    for key in net_params or {}:
        if not isinstance(key, str):
            raise TypeError(
                f"net_params must have keys of type str; got {_shown(key)}."
            )
        if key not in known and "__" not in key:
            prefix = next((k for k in known if key.startswith(f"{k}_")), None)
            meant = f"{prefix}__{key[len(prefix) + 1 :]}" if prefix else None
            raise ValueError(
                f"net_params has the key {key!r}, which is no parameter of skorch's "
                f"NeuralNet{f', did you mean {meant}?' if meant else '.'} Use one of "
                f"{sorted(known - {'args', 'kwargs'})}, or a prefix of one with two "
                "underscores."
            )


def check_callbacks(callbacks: list) -> None:
    """Raise TypeError unless each entry is a skorch callback or a (name, callback) pair."""
    for entry in callbacks:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                "callbacks must hold skorch callbacks or (name, callback) pairs; got "
                f"{entry!r}."
            )
