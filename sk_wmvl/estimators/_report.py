"""What a fit decided, as a dict, as text and as HTML."""

import html
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from sk_wmvl.estimators._fitted import FittedEnergy
from sk_wmvl.estimators._prepare import Setup

__all__ = ["FitNotes", "FitSummary", "make_report", "timed"]

SHOWN = 5  # candidates, the best


class FitNotes(NamedTuple):
    """What a fit notes on its way, for the report.

    Attributes
    ----------
    n_rows : int
        Of the last fit.
    objective_weight : float or None
        Of the objective beside the likelihood; None if it was alone.
    seconds : dict of str to float
        Wall-clock time of each stage.
    """

    n_rows: int
    objective_weight: float | None
    seconds: dict[str, float]


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage takes."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def make_report(
    setup: Setup,
    fitted: FittedEnergy,
    notes: FitNotes,
    *,
    n_judged: int,
    judges: str,
    n_epochs: int | None,
    left_out: list[str],
) -> dict[str, Any]:
    """Return the report of a fit of a density.

    Parameters
    ----------
    setup : Setup
    fitted : FittedEnergy
    notes : FitNotes
    n_judged : int
        Rows that judged the correction.
    judges : str
        See `settle`.
    n_epochs : int or None
        None for a fit in closed form.
    left_out : list of str
        What was dropped, and why.

    Returns
    -------
    report : dict
    """
    chosen, verdict, estimate = setup.chosen, fitted.verdict, fitted.log_normalizer
    base: dict[str, Any] = {
        "kind": None if setup.base is None else type(setup.base).__name__,
        "n_components": None if setup.base is None else setup.base.n_components,
        "chosen": chosen.chosen or {},
        "candidates": chosen.candidates or {},
    }
    network: dict[str, Any] = {
        "scale": fitted.scale,
        "n_epochs": n_epochs,
        "objective_weight": notes.objective_weight,
    }
    search: dict[str, Any] = {}
    if verdict is not None:
        network |= {
            "gain": verdict.gain if fitted.scale else 0.0,
            "gain_std_error": verdict.std_error if fitted.scale else 0.0,
            "best_gain": verdict.gain,
            "best_scale": verdict.best_scale,
            "needed_gain": verdict.needed,
            "score_gain": verdict.score_gain,
            "is_scaled_back": verdict.is_scaled_back,
        }
        search = {"n_modes": verdict.n_modes, "missed": list(verdict.missed)}
    elif setup.base is not None and estimate is not None:
        network |= {"gain": 0.0, "gain_std_error": 0.0, "is_scaled_back": False}
    normalizer: dict[str, Any] = {}
    if estimate is not None:
        normalizer = {
            "method": estimate.method,
            "log_normalizer": estimate.value,
            "std_error": estimate.std_error,
            "effective_sample_size": estimate.effective_sample_size,
            "n_evaluations": estimate.n_evaluations,
            "problem": estimate.problem,
        }
    return {
        "n_rows": notes.n_rows,
        "n_judged": n_judged,
        "judges": judges,
        "base": base,
        "network": network,
        "search": search,
        "normalizer": normalizer,
        "seconds": dict(notes.seconds),
        "left_out": left_out,
    }


class FitSummary:
    """The report of a fit, to print or to show in a notebook.

    Parameters
    ----------
    name : str
        Of the estimator.
    report : dict
        Its `fit_report_`.
    """

    def __init__(self, name: str, report: dict[str, Any]):
        self.name = name
        self.report = report

    def rows(self) -> list[tuple[str, str]]:
        """Return labels and texts, one pair for each line."""
        report = self.report
        base, network = report["base"], report["network"]
        judges = {
            "held out": f"{report['n_judged']} of them, held out, judge",
            "training": "all of them train and judge",
            "none": "too few to hold some out that judge",
        }[report["judges"]]
        lines = [("rows", f"{report['n_rows']}, {judges}")]
        lines += [("base measure", text) for text in _base_lines(base)]
        lines += [("network", text) for text in _network_lines(network)]
        search, normalizer = report["search"], report["normalizer"]
        if search.get("n_modes") or search.get("missed"):
            text = f"{search['n_modes']} modes found"
            if search["missed"]:
                nats = ", ".join(f"{value:.3g}" for value in search["missed"])
                text += f"; the draws had missed mass of {nats} nats"
            lines.append(("search for modes", text))
        if normalizer:
            text = (
                f"log Z = {normalizer['log_normalizer']:.4g} "
                f"± {normalizer['std_error']:.2g} nats ({normalizer['method']}"
            )
            size = normalizer["effective_sample_size"]
            text += f", {size:.0f} effective draws)" if size < 1e12 else ")"
            if normalizer["problem"]:
                text += f"; {normalizer['problem']}"
            lines.append(("normaliser", text))
        lines.append(
            ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in report["seconds"].items()))
        )
        lines += [("left out", text) for text in report["left_out"]]
        return lines

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        body, last = [], ""
        for label, text in rows:
            body.append(f"  {'' if label == last else label:<{width}}  {text}")
            last = label
        return "\n".join([self.name, *body])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.rows()
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{cells}</table>"


def _base_lines(base: Mapping[str, Any]) -> list[str]:
    if base["kind"] is None:
        return ["none"]
    parts = [
        f"{weight:.2f} x {name}" if len(base["chosen"]) > 1 else name
        for name, weight in base["chosen"].items()
    ]
    lines = parts or [base["kind"]]
    others = sorted(base["candidates"].items(), key=lambda item: -item[1])
    if others:
        best = others[0][1]
        tried = ", ".join(f"{n} ({v - best:+.3f})" for n, v in others[:SHOWN])
        lines.append(f"of {len(others)} tried, nats per row from the best: {tried}")
    return lines


def _network_lines(network: Mapping[str, Any]) -> list[str]:
    if network["n_epochs"] is None:
        what = "fitted in closed form"
    else:
        what = f"{network['n_epochs']} epochs"
        if network["objective_weight"] is not None:
            what += f", objective weight {network['objective_weight']:.3g}"
    if "gain" not in network:
        return [what]
    if network["scale"]:
        found = (
            f"worth {network['gain']:.4f} ± {network['gain_std_error']:.4f} nats per row "
            f"over the base, at scale {network['scale']:.3g}"
        )
        if network["score_gain"] is not None:
            found += (
                "; kept because the Hyvärinen score improves by "
                f"{network['score_gain']:.1f} standard errors"
            )
    else:
        found = "dropped (see below)"
    lines = [what, found]
    if network["is_scaled_back"] and network["scale"]:
        lines.append("scaled back: a larger scale puts mass where there are no data")
    return lines
