"""What the comparison has found, as text and as a file of scores."""

import csv
import textwrap
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from sk_wmvl._comparison.data import DataSet
from sk_wmvl._comparison.fits import BASE, OURS, Comparison, LastFit
from sk_wmvl.coordinates import find_ties

__all__ = ["describe", "differences", "format_table", "save_scores"]

WIDTH = 92  # of lines of text


def describe(data: DataSet) -> str:
    """Return what is compared: rows, columns, those left out, and what repeats.

    Parameters
    ----------
    data : DataSet

    Returns
    -------
    text : str
    """
    n, d = data.X.shape
    lines = [f"{data.name}: {n} rows, {data.note or _count(d, 'column')}"]
    lines += [f"  left out: {reason}" for reason in data.left_out]
    if data.n_components is not None:
        return "\n".join(lines)
    ties = find_ties(data.X)
    rounded = [
        f"{name} to {step:.3g}"
        for name, step in zip(data.columns, ties.rounding, strict=True)
        if step > 0
    ]
    if rounded:
        what = ", ".join(rounded)
        lines.append(f"  rounded: {what} (which flatters densities that pile up there)")
    if ties.copies > 0:
        lines.append(f"  copies: {ties.copies:.1%} of the rows repeat an earlier one")
    if np.linalg.matrix_rank(StandardScaler().fit_transform(data.X)) < d:
        lines.append(
            "  dependent: some column is a linear combination of others, so that the rows "
            "have no density"
        )
    return "\n".join(lines)


def format_table(comparison: Comparison) -> str:
    """Return the comparison as text.

    Standard errors are over splits; differences are paired by split. The standard error of
    log Z is the root mean square over splits. What `MVLDensity` warned of is below.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    text : str
    """
    results, last = comparison.results, comparison.last
    n_splits = len(results[0].scores)
    head = f"{int(last.is_held_out.sum())} rows held out in {_count(n_splits, 'split')}"
    if n_splits > 1:
        head += ", ± standard error over splits"
    lines = [
        f"  nats per row; {head}",
        f"  {'':22s} {'log-likelihood':>17s}  {'minus MVLDensity':>17s} "
        f"{'log Z se':>10s} {'seconds':>9s}",
    ]
    for result in results:
        apart = differences(comparison)[result.name]
        shown = "" if result.name == OURS else _mean_error(apart)
        error = np.sqrt((result.log_normalizer_std**2).mean())
        own = f"{error:.4f}" if error else "exact"
        lines.append(
            f"  {result.name:22s} {_mean_error(result.scores):>17s}  {shown:>17s} "
            f"{own:>10s} {result.seconds.mean():9.1f}"
        )
    lines += [f"  {_network_line(comparison)}", *_warning_lines(comparison)]
    return "\n".join(lines)


def differences(comparison: Comparison) -> dict[str, np.ndarray]:
    """Return by how much each estimator exceeds MVLDensity, by split, in nats per row.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    differences : dict of str to ndarray of shape (n_splits,)
    """
    ours = comparison.results[0].scores
    return {result.name: result.scores - ours for result in comparison.results}


def save_scores(data: DataSet, last: LastFit, path: Path) -> None:
    """Save the log density of every row under the last fit.

    Log densities are in nats, and with respect to the columns in their own units.

    Parameters
    ----------
    data : DataSet
        Without principal components, whose densities are not those of the columns.
    last : LastFit
    path : Path
        A file of comma-separated values with the columns ``row``, counted from 0,
        ``log_density`` and ``held_out``, which is 1 for rows that the fit has not seen.
    """
    scaler = last.units[-1]
    log_density = last.density.score_samples(last.units.transform(data.X))
    log_density -= np.log(scaler.scale_).sum()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "log_density", "held_out"])
        pairs = zip(log_density, last.is_held_out, strict=True)
        writer.writerows((k, f"{v:.6f}", int(out)) for k, (v, out) in enumerate(pairs))


def _network_line(comparison: Comparison) -> str:
    networks = [report["network"] for report in comparison.reports]
    kept = np.array([network["scale"] > 0 for network in networks])
    line = f"The network was kept in {kept.sum()} of {_count(len(kept), 'split')}"
    if not kept.any():
        return f"{line}: the rows that judge it saw no gain beyond chance."
    added = -differences(comparison)[BASE][kept]
    judged = np.mean([network["gain"] for network in networks if network["scale"] > 0])
    there = "" if kept.all() else " there"
    return (
        f"{line}, and added {_mean_error(added).strip()} nats per row{there} "
        f"({judged:.3f} by the rows that judged it)."
    )


def _warning_lines(comparison: Comparison) -> list[str]:
    if not comparison.warned:
        return []
    # The fits see standardised arrays, whose columns have no names.
    head = f"{OURS} warned (columns count from 0, values are in standard deviations):"
    lines = [f"  {head}"]
    for text in comparison.warned:
        wrapped = textwrap.wrap(
            text, WIDTH, initial_indent="  - ", subsequent_indent="    "
        )
        lines.extend(wrapped)
    return lines


def _mean_error(values: np.ndarray) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():8.3f} ±{values.std(ddof=1) / len(values) ** 0.5:6.3f}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
