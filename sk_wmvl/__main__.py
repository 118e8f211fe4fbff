"""``python -m sk_wmvl``: compare held-out likelihoods with scikit-learn's estimators."""

import argparse
import sys
from pathlib import Path

from tqdm.auto import tqdm

from sk_wmvl._comparison import (
    BUNDLED,
    BadFileError,
    DataSet,
    Stages,
    compare,
    describe,
    format_table,
    leave_out_constant,
    read_table,
    save_figure,
    save_scores,
)

__all__ = ["main"]

N_SPLITS = 3
FITS_PER_SPLIT = 3
SECONDS_PER_REDRAW = 0.5


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
        default="breast_cancer",
        help="data that scikit-learn ships (default: breast_cancer)",
    )
    source.add_argument("--csv", type=Path, metavar="FILE", help="a table of your own")
    parser.add_argument("--columns", help="columns of --csv, separated by commas")
    parser.add_argument("--epsilon", type=_positive, help="step size of the objective")
    parser.add_argument("--alpha", type=_not_negative, help="weight of the penalty")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder of what is written"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first split")
    parser.add_argument("--quick", action="store_true", help="one split, few epochs")
    return parser.parse_args(argv)


def _load(options: argparse.Namespace, n_splits: int) -> list[DataSet]:
    """Return what to compare on; the folder for the results exists then."""
    if options.csv is not None:
        names = options.columns.split(",") if options.columns else None
        sets = [read_table(options.csv, names)]
    elif options.columns:
        raise BadFileError("--columns goes with --csv FILE.")
    else:
        chosen = BUNDLED if options.data == "all" else [options.data]
        sets = [BUNDLED[name]() for name in chosen]
    seed = options.seed
    sets = [leave_out_constant(data, n_splits=n_splits, seed=seed) for data in sets]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise BadFileError(f"{options.out}: cannot be made ({reason}).") from error
    return sets


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
        sets = _load(options, n_splits)
    except BadFileError as error:
        print(error, file=sys.stderr)
        return 2
    with tqdm(
        desc=sets[0].name,
        total=FITS_PER_SPLIT * n_splits * len(sets),
        unit="fit",
        miniters=0,
        mininterval=SECONDS_PER_REDRAW,
        bar_format="{n}/{total} |{bar:6}| {elapsed} {desc}",
    ) as bar:
        for data in sets:
            with bar.external_write_mode(file=sys.stdout):
                print(describe(data), flush=True)
            comparison = compare(
                data,
                n_splits=n_splits,
                seed=options.seed,
                params=params,
                stages=Stages(bar),
            )
            written = []
            stem = f"sk_wmvl_{data.name}"
            bar.set_description_str(f"{data.name}, figure")
            try:
                save_figure(data, comparison, options.out / f"{stem}.png")
                written.append(f"  figure: {options.out / stem}.png")
            except ImportError:
                written.append("  no figure: pip install matplotlib to get one")
            if options.csv is not None:
                save_scores(data, comparison.last, options.out / f"{stem}_scores.csv")
                written.append(
                    f"  log density of each row: {options.out / stem}_scores.csv"
                )
            with bar.external_write_mode(file=sys.stdout):
                print("\n".join([format_table(comparison), *written, ""]), flush=True)
        bar.set_description_str("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
