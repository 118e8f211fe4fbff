"""What every script does: read options, go down to one core, print and write its rows."""

import argparse
import csv
import os
import platform
from pathlib import Path

import numpy as np
import sklearn
import threadpoolctl
import torch

import sk_wmvl

__all__ = ["Sheet", "options", "show_progress"]


def options(
    doc, *, seeds=(0,), quick="fewer and smaller cases", resume=False, add=None
):
    """Parse the options every script has, and go down to one core.

    Parameters
    ----------
    doc : str
        The script's docstring.
    seeds : sequence of int, default=(0,)
        Seeds unless others are given.
    quick : str, default="fewer and smaller cases"
        What `--quick` does.
    resume : bool, default=False
        Whether there is an option `--resume`.
    add : callable, default=None
        Adds options of the script's own to the parser.

    Returns
    -------
    args : argparse.Namespace
        With `quick`, `out`, `seeds` and `only`, and `resume` if there is one.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--out", type=Path, help="CSV file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--only", nargs="+", help="names of the cases to run")
    if resume:
        text = "keep the rows that --out has; run what is missing, draw all"
        parser.add_argument("--resume", action="store_true", help=text)
    if add is not None:
        add(parser)
    args = parser.parse_args()
    if args.quick and args.out is not None and args.out.exists():
        parser.error(f"--quick does not overwrite {args.out}; give a new file.")
    threadpoolctl.threadpool_limits(1)
    torch.set_num_threads(1)
    return args


def environment():
    """Return the versions and the processor, as one string."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        processor = lines[0].split(":")[1].strip() if lines else processor
    return "; ".join(
        [
            f"sk_wmvl {sk_wmvl.__version__}",
            f"torch {torch.__version__}",
            f"scikit-learn {sklearn.__version__}",
            f"numpy {np.__version__}",
            f"Python {platform.python_version()}",
            f"one core of {processor}",
        ]
    )


class Sheet:
    """Rows that are printed as they come and written to a CSV file.

    The file is written anew after every row, so that a run that is cut off leaves what it
    has found.

    Parameters
    ----------
    out : Path or None
        The file; None prints only.
    resume : bool, default=False
        Whether to start from the rows that the file has.
    """

    def __init__(self, out, *, resume=False):
        self.out = out
        self.rows = []
        self.printed = False
        if resume and out is not None and out.exists():
            with out.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows = [{k: _number(v) for k, v in row.items()} for row in rows]

    def has(self, **values):
        """Return whether there is a row with these values."""
        return any(all(row[k] == v for k, v in values.items()) for row in self.rows)

    def add(self, **row):
        """Print a row and keep it. All rows have the same keys."""
        widths = [max(10, len(key)) for key in row]
        if not self.printed:
            self.printed = True
            print("  ".join(f"{k:>{w}s}" for k, w in zip(row, widths, strict=True)))
        cells = [_cell(value) for value in row.values()]
        line = "  ".join(f"{c:>{w}s}" for c, w in zip(cells, widths, strict=True))
        print(line, flush=True)
        # As they will be read: without what only aligns them in print.
        plain = {k: v.strip() if isinstance(v, str) else v for k, v in row.items()}
        self.rows.append({**plain, "environment": environment()})
        if self.out is None:
            return
        self.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.out.with_suffix(".partial")
        with temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.rows[0])
            for kept in self.rows:
                writer.writerow([_cell(value) for value in kept.values()])
        os.replace(temporary, self.out)


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _cell(value):
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)


def show_progress(text):
    """Print a line about what is under way."""
    print(f"# {text}", flush=True)
