"""The border: numpy outside, torch inside, and every private or newer scikit-learn name.

Private names of scikit-learn are imported here and nowhere else, so that a change there is
mended in one place.
"""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    column_or_1d,
    validate_data,
)
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
    "CallbackSupportMixin",
    "HasMethods",
    "Integral",
    "Interval",
    "Real",
    "StrOptions",
    "check_callbacks",
    "check_groups",
    "check_rows",
    "check_weights",
    "check_widths",
    "fit_context",
    "resolve_device",
    "with_callbacks",
]

# Names of types begin so in numpy, pandas and polars.
DATES = ("datetime", "timedelta", "date", "duration", "period")
FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_rows(estimator, X, *, reset: bool, min_samples: int = 1) -> np.ndarray:
    """Return X as a float64 array of shape (n_samples, n_features), validated.

    Torch tensors are accepted; those that carry a graph or live on a GPU are copied to
    plain arrays first.

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
        For anything scikit-learn's `validate_data` refuses, and values beyond float32.
    TypeError
        For columns of dates or durations.
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    refuse_dates(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=np.float64,
        order="C",  # a reversed view, say, is no tensor
        ensure_min_samples=min_samples,
    )
    largest = np.abs(X).max(initial=0.0)
    if largest > FLOAT32_MAX:
        raise ValueError(
            f"Input X contains {largest:.3g}, a value too large for dtype('float32'), in "
            "which the model is trained. Rescale the columns."
        )
    return X


def refuse_dates(X) -> None:
    """Raise TypeError if an array or a column of a table holds dates or durations.

    As numbers they would be nanoseconds since 1970, of which 1e18 are to be expected.
    """
    types = [(None, getattr(X, "dtype", ""))]
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        types = list(zip(X.columns, X.dtypes, strict=False))
    for name, dtype in types:
        if str(dtype).lower().startswith(DATES):
            where = "X" if name is None else f"Column {name!r} of X"
            raise TypeError(
                f"{where} holds {dtype}, and the unit and origin of its numbers are "
                "arbitrary. Convert it to a number that means something, such as days "
                "since a first date, or the hour of the day."
            )


def check_weights(sample_weight, X: np.ndarray) -> np.ndarray | None:
    """Return validated weights of shape (n_samples,), or None if there are none.

    Raises
    ------
    ValueError
        If a weight is negative, or all are zero.
    """
    if sample_weight is None:
        return None
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
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
        If there are more or fewer labels than rows, or one group only.
    """
    if groups is None:
        return None
    groups = column_or_1d(groups)
    check_consistent_length(X, groups)
    values, first, labels = np.unique(groups, return_index=True, return_inverse=True)
    if len(values) < 2:
        raise ValueError(
            f"groups names one group only, {values[0]!r}; rows of at least two groups are "
            "needed to hold one out. Leave groups out if the rows are independent."
        )
    return np.argsort(np.argsort(first))[labels]


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


def check_widths(hidden_layer_sizes) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple.

    Raises
    ------
    ValueError
        If one is not a positive integer.
    """
    widths = tuple(np.ravel(hidden_layer_sizes).tolist())
    if not all(isinstance(w, Integral) and w >= 1 for w in widths):
        raise ValueError(
            "hidden_layer_sizes must hold positive integers, such as (128, 128); got "
            f"{hidden_layer_sizes!r}."
        )
    return widths


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
