"""Rows to compare estimators on: those that scikit-learn ships, and users' tables."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

__all__ = ["BUNDLED", "BadFileError", "DataSet", "read_table"]

MIN_ROWS = 20
N_DIGITS_COMPONENTS = 10
N_CANCER_COLUMNS = 10
SEPARATORS = (",", ";", "\t")
# How pandas reads files of other kinds than text, by the end of their names.
READERS = {
    ".feather": "read_feather",
    ".json": "read_json",
    ".parquet": "read_parquet",
    ".xls": "read_excel",
    ".xlsx": "read_excel",
}


class BadFileError(Exception):
    """The user's file cannot be used; the message says why in one line."""


class DataSet(NamedTuple):
    """Rows to compare estimators on.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
    columns : list of str
    n_components : int or None
        The number of principal components on which rows are projected, if given. They are
        fitted to the training rows of each split.
    note : str
        A description of the columns that are compared.
    pictured : tuple of int
        The two columns of the picture.
    left_out : tuple of str
        Columns of the file that are not used, each with the reason.
    """

    name: str
    X: np.ndarray
    columns: list[str]
    n_components: int | None = None
    note: str = ""
    pictured: tuple[int, int] = (0, 1)
    left_out: tuple[str, ...] = ()


def _wine() -> DataSet:
    data = load_wine()
    names = list(data.feature_names)
    pictured = names.index("flavanoids"), names.index("color_intensity")
    return DataSet("wine", data.data, names, pictured=pictured)


def _digits() -> DataSet:
    data = load_digits()
    names = list(data.feature_names)
    note = f"{N_DIGITS_COMPONENTS} principal components of {len(names)} columns"
    return DataSet("digits", data.data, names, N_DIGITS_COMPONENTS, note)


def _breast_cancer() -> DataSet:
    data = load_breast_cancer()
    # The first columns are means. The others are their standard errors and extremes.
    names = list(data.feature_names[:N_CANCER_COLUMNS])
    pictured = names.index("mean radius"), names.index("mean concave points")
    X = data.data[:, :N_CANCER_COLUMNS]
    return DataSet("breast_cancer", X, names, pictured=pictured)


BUNDLED = {"wine": _wine, "digits": _digits, "breast_cancer": _breast_cancer}


def read_table(path: Path, columns: list[str] | None) -> DataSet:
    """Read the columns of numbers of a file.

    Text, compressed or not, is divided by commas, semicolons or tabs; its first line is a
    header unless it has numbers alone. Names that end in ``.parquet``, ``.feather``,
    ``.xlsx``, ``.xls`` or ``.json`` are read as such.

    Parameters
    ----------
    path : Path
        The file.
    columns : list of str or None
        Names of the columns to keep, or numbers from 0 if there is no header. None keeps
        all that can have a density: constant columns, row numbers, text, dates, and
        columns with missing or infinite values are left out.

    Returns
    -------
    data : DataSet

    Raises
    ------
    BadFileError
        If pandas is not installed, the file cannot be read, a column of `columns` does not
        exist or can have no density, no column is left, or there are fewer than 20 rows.
    """
    frame = _read(path)
    names = list(frame.columns)
    wanted = names if columns is None else columns
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise BadFileError(
            f"{path}: no column {unknown[0]!r}; there are {', '.join(names)}."
        )
    if len(frame) < MIN_ROWS:
        raise BadFileError(
            f"{path}: {len(frame)} rows; at least {MIN_ROWS} are needed."
        )
    reasons = {name: _unfit(frame[name]) for name in wanted}
    left_out = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    kept = [name for name, reason in reasons.items() if not reason]
    if columns is not None and left_out:
        raise BadFileError(
            f"{path}: column {left_out[0]}. Leave it out of --columns, or mend the file."
        )
    if not kept:
        raise BadFileError(
            f"{path}: no column can have a density ({'; '.join(left_out)})."
        )
    X = frame[kept].to_numpy(dtype=np.float64)
    name = path.name.split(".")[0]
    return DataSet(name, X, kept, left_out=tuple(left_out))


def _read(path: Path) -> Any:
    """Return the table as a DataFrame whose columns are named by distinct strings."""
    try:
        import pandas as pd
    except ImportError as error:
        raise BadFileError(
            f"{path}: pandas is needed to read it. Use pip install pandas."
        ) from error
    try:
        if path.suffix.lower() in READERS:
            frame = getattr(pd, READERS[path.suffix.lower()])(path)
        else:
            firsts = [
                pd.read_csv(path, sep=sep, nrows=1, header=None) for sep in SEPARATORS
            ]
            first = max(firsts, key=lambda line: line.shape[1])
            sep = next(s for s, f in zip(SEPARATORS, firsts, strict=True) if f is first)
            numbers = [pd.api.types.is_numeric_dtype(kind) for kind in first.dtypes]
            frame = pd.read_csv(path, sep=sep, header=None if all(numbers) else 0)
    # What is raised depends on the kind of file, its compression and its library.
    except Exception as error:
        if isinstance(error, pd.errors.EmptyDataError):
            raise BadFileError(f"{path}: the file is empty.") from error
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BadFileError(f"{path}: cannot be read ({reason}).") from error
    if not isinstance(frame, pd.DataFrame):
        raise BadFileError(f"{path}: cannot be read as a table.")
    if not frame.index.equals(pd.RangeIndex(len(frame))):  # a column without a name
        frame = frame.reset_index()
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise BadFileError(f"{path}: two columns are named {twice[0]!r}.")
    return frame


def _unfit(column: Any) -> str:
    """Return why a column of a DataFrame can have no density; empty if it can."""
    import pandas as pd

    def where(is_bad) -> str:
        return f"row {int(np.argmax(is_bad))} (from 0)"

    is_missing = column.isna().to_numpy()
    present = column[~is_missing]
    if len(present) == 0:
        return "no values"
    if present.nunique() == 1:
        return f"constant, {present.iloc[0]} in every row"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "dates"
    if pd.api.types.is_bool_dtype(column):
        return "true or false, no number"
    if not pd.api.types.is_numeric_dtype(column):
        if _are_dates(present):
            return "dates"
        is_text = pd.to_numeric(column, errors="coerce").isna().to_numpy() & ~is_missing
        if not is_text.any():  # numbers of an exact kind, such as Decimal
            is_text[:] = True
        return f"text, {column.iloc[int(np.argmax(is_text))]!r} in {where(is_text)}"
    if is_missing.any():
        n = is_missing.sum()
        rows = "1 row" if n == 1 else f"{n} rows"
        return f"missing values in {rows}, first in {where(is_missing)}"
    values = column.to_numpy()
    if np.iscomplexobj(values):
        return "complex numbers"
    is_infinite = ~np.isfinite(values.astype(np.float64))
    if is_infinite.any():
        return f"infinite in {where(is_infinite)}"
    if (np.diff(values.astype(np.float64)) == 1).all():
        return "row numbers"
    return ""


def _are_dates(present: Any) -> bool:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats that pandas has to guess
        try:
            parsed = pd.to_datetime(present.astype(str), errors="coerce")
        except (ValueError, TypeError, OverflowError):
            return False
    return bool(parsed.notna().all())
