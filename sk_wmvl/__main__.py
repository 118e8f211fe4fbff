"""``python -m sk_wmvl``: compare held-out likelihoods with scikit-learn's estimators."""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from tqdm.auto import tqdm

from sk_wmvl._comparison import DataSet, compare, format_table, save_figure

__all__ = ["main"]

MIN_ROWS = 20
N_SPLITS = 5
N_DIGITS_COMPONENTS = 10
N_CANCER_COLUMNS = 10


class BadFileError(Exception):
    """The user's file cannot be used; the message says why in one line."""


def _wine() -> DataSet:
    data = load_wine()
    return DataSet("wine", data.data, list(data.feature_names))


def _digits() -> DataSet:
    data = load_digits()
    note = f"{N_DIGITS_COMPONENTS} principal components of 64 columns"
    names = list(data.feature_names)
    return DataSet("digits", data.data, names, N_DIGITS_COMPONENTS, note)


def _breast_cancer() -> DataSet:
    data = load_breast_cancer()
    # The first columns are means. The others are their standard errors and extremes.
    columns = slice(0, N_CANCER_COLUMNS)
    return DataSet(
        "breast_cancer", data.data[:, columns], list(data.feature_names[columns])
    )


BUNDLED = {"wine": _wine, "digits": _digits, "breast_cancer": _breast_cancer}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_csv(path: Path, columns: list[str] | None) -> DataSet:
    """Read numbers from a comma- or semicolon-separated file; a header is optional.

    Parameters
    ----------
    path : Path
        The file.
    columns : list of str or None
        Names of the columns to keep, or numbers from 0 if there is no header. None keeps
        all.

    Returns
    -------
    data : DataSet

    Raises
    ------
    BadFileError
        If the file cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise BadFileError(f"{path}: cannot be read ({reason}).") from error
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = [r for r in csv.reader(text.splitlines(), delimiter=delimiter) if any(r)]
    if not rows:
        raise BadFileError(f"{path}: the file is empty.")
    header = not all(_is_number(cell) for cell in rows[0] if cell.strip())
    names = (
        [c.strip() for c in rows[0]]
        if header
        else [str(k) for k in range(len(rows[0]))]
    )
    body = rows[1:] if header else rows
    for k, row in enumerate(body, start=1 + header):
        if len(row) != len(names):
            raise BadFileError(
                f"{path}: line {k} has {len(row)} fields, the first has {len(names)}."
            )
    wanted = names if columns is None else columns
    unknown = [c for c in wanted if c not in names]
    if unknown:
        raise BadFileError(
            f"{path}: no column {unknown[0]!r}; there are {', '.join(names)}."
        )
    X = np.empty((len(body), len(wanted)))
    for j, name in enumerate(wanted):
        at = names.index(name)
        for k, row in enumerate(body):
            where = f"{path}: line {k + 1 + header}, column {name!r}"
            if not _is_number(row[at]):
                hint = (
                    "is empty" if not row[at].strip() else f"is {row[at]!r}, no number"
                )
                raise BadFileError(
                    f"{where} {hint}. Mend the file, or choose columns with --columns."
                )
            X[k, j] = float(row[at])
            if not np.isfinite(X[k, j]):
                raise BadFileError(f"{where} is {row[at]}; only finite numbers work.")
    if len(X) < MIN_ROWS:
        raise BadFileError(f"{path}: {len(X)} rows; at least {MIN_ROWS} are needed.")
    for j, name in enumerate(wanted):
        if np.ptp(X[:, j]) == 0:
            raise BadFileError(
                f"{path}: column {name!r} is constant, so it has no density. Leave it out "
                "with --columns."
            )
    return DataSet(path.stem, X, list(wanted))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a finite number > 0; got {text}")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a finite number >= 0; got {text}")
    return value


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sk_wmvl", description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        choices=[*BUNDLED, "all"],
        default="all",
        help="data that scikit-learn ships (default: all)",
    )
    source.add_argument("--csv", type=Path, metavar="FILE", help="a table of your own")
    parser.add_argument("--columns", help="columns of --csv, separated by commas")
    parser.add_argument("--epsilon", type=_positive, help="step size of the objective")
    parser.add_argument("--alpha", type=_not_negative, help="weight of the penalty")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder of the figures"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first split")
    parser.add_argument("--quick", action="store_true", help="one split, few epochs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments. None takes those of the command line.

    Returns
    -------
    status : int
        0, or 2 if the file or the folder cannot be used.
    """
    options = _parse(argv)
    # Parameters that are not given keep the defaults of MVLDensity.
    params = {k: getattr(options, k) for k in ("epsilon", "alpha")}
    params = {k: v for k, v in params.items() if v is not None}
    n_splits = N_SPLITS
    if options.quick:
        params, n_splits = params | {"max_epochs": 2}, 1
    try:
        if options.csv is not None:
            names = options.columns.split(",") if options.columns else None
            sets = [read_csv(options.csv, names)]
        elif options.columns:
            raise BadFileError("--columns goes with --csv FILE.")
        else:
            chosen = BUNDLED if options.data == "all" else [options.data]
            sets = [BUNDLED[name]() for name in chosen]
        options.out.mkdir(parents=True, exist_ok=True)
    except BadFileError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{options.out}: cannot be made ({error.strerror}).", file=sys.stderr)
        return 2
    with tqdm(total=3 * n_splits * len(sets), unit="fit") as progress:
        for data in sets:
            results, density, Z = compare(
                data,
                n_splits=n_splits,
                seed=options.seed,
                params=params,
                progress=progress,
            )
            path = options.out / f"sk_wmvl_{data.name}.png"
            with progress.external_write_mode(file=sys.stdout):
                print(format_table(data, results))
                try:
                    save_figure(data, density, Z, path)
                    print(f"  figure: {path}\n")
                except ImportError:
                    print("  no figure: pip install matplotlib to get one\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
