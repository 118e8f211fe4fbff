"""Whether odd inputs get a clear message, and whether every call ends.

Every public estimator gets odd arrays in every method that takes rows, weights, groups,
contexts or codes, odd counts and seeds in `sample`, and odd values for every parameter of
its constructor. `accepted` calls return. A message is `clear` if the package or
scikit-learn's own validation raises it, as a ValueError, TypeError, AttributeError or
NotImplementedError, and if it names the argument or the parameter. All others are
`unclear`, and printed. A call `hangs` if it takes longer than 20 seconds.

    python benchmarks/bench_odd_inputs.py --out benchmarks/results/odd_inputs.csv
"""

import re
import signal
import traceback
import warnings
from collections import Counter
from contextlib import chdir
from tempfile import TemporaryDirectory

import numpy as np
from _lib.odd import ARRAYS, COUNTS, SCALARS, SEEDS
from _lib.script import Sheet, options, show_progress

from sk_wmvl import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    RiemannianMVLDensity,
    WassersteinAutoencoder,
)

SECONDS = 20
N_ROWS, N_COLUMNS = 24, 2
# How scikit-learn's messages on the shape of rows begin, which all its estimators share.
SHAPES = (
    r"Found array with \d|Expected (2D array|a 2-dimensional)|Row \d+ given"
    "|.*entropy_surrogate"
)
ROWS = np.random.default_rng(0).normal(size=(N_ROWS, N_COLUMNS))
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}
CODER = {**SMALL, "critic_layer_sizes": (8,)}
# name: the estimator that a case changes, and its rows
ESTIMATORS = {
    "MVLDensity": (MVLDensity(base="gaussian", **SMALL), ROWS),
    "RiemannianMVLDensity": (
        RiemannianMVLDensity("sphere", base="uniform", **SMALL),
        UNIT,
    ),
    "ImplicitScoreEstimator": (ImplicitScoreEstimator(**SMALL), ROWS),
    "ImplicitVAE": (ImplicitVAE(n_draws=2, n_chains=1, **CODER), ROWS),
    "WassersteinAutoencoder": (WassersteinAutoencoder(**CODER), ROWS),
}
EVALUATIONS = (
    "score_samples",
    "score",
    "energy_samples",
    "score_fn",
    "transform",
    "reconstruct",
    "inverse_transform",
    "entropy_surrogate",
)


class Late(BaseException):
    """A call took too long. It is no Exception, so that nothing swallows it."""


def copy(estimator, **params):
    """Return an unfitted estimator with other parameters, which are not copied."""
    return type(estimator)(**{**estimator.get_params(deep=False), **params})


def cases(name):
    """Yield the argument, the odd value's name and a call, for one estimator."""
    estimator, X = ESTIMATORS[name]
    for odd, make in ARRAYS.items():
        yield "X", odd, lambda m=make: copy(estimator).fit(m(X))
        yield "X", odd, lambda m=make: copy(estimator).partial_fit(m(X))
        if name not in ("ImplicitVAE", "WassersteinAutoencoder"):
            for argument in ("sample_weight", "groups"):
                yield (
                    argument,
                    odd,
                    lambda m=make, a=argument: copy(estimator).fit(
                        X,
                        **{a: m(np.abs(X[:, :1])).ravel()}
                        if isinstance(m(X), np.ndarray)
                        else {a: m(X)},
                    ),
                )
        if name == "ImplicitScoreEstimator":
            yield "context", odd, lambda m=make: copy(estimator).fit(X, context=m(X))
    fitted = copy(estimator).fit(X)
    for method in EVALUATIONS:
        if not hasattr(fitted, method):
            continue
        argument = "Z" if method == "inverse_transform" else "X"
        for odd, make in ARRAYS.items():
            yield argument, odd, lambda m=make, f=method: getattr(fitted, f)(m(X))
    if hasattr(fitted, "sample"):
        for odd, make in COUNTS.items():
            yield "n_samples", odd, lambda m=make: fitted.sample(m())
        for odd, make in SEEDS.items():
            yield "random_state", odd, lambda m=make: fitted.sample(2, m())
    for parameter in estimator.get_params(deep=False):
        for odd, make in SCALARS.items():
            yield (
                parameter,
                odd,
                lambda m=make, p=parameter: copy(estimator, **{p: m()}).fit(X),
            )


def is_clear(error, argument):
    """Return whether a message is ours or scikit-learn's, and names the argument."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1].filename
    raised = "/sk_wmvl/" in last or "/sklearn/utils/" in last
    notes = " ".join(getattr(error, "__notes__", ()))
    named = re.search(rf"\b{argument}\b", f"{error} {notes}")
    if argument == "X":
        named = named or re.match(SHAPES, str(error))
    kinds = ValueError | TypeError | AttributeError | NotImplementedError
    return raised and bool(named) and isinstance(error, kinds)


def attempt(call, argument):
    """Return what became of a call, and its message."""

    def ring(*_):
        raise Late

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Late:
        return "hangs", ""
    except Exception as error:
        kind = "clear" if is_clear(error, argument) else "unclear"
        return kind, f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "accepted", ""


def main():
    args = options(__doc__, quick="every twentieth case")
    sheet = Sheet(args.out and args.out.resolve())
    for name in ESTIMATORS:
        if args.only and name not in args.only:
            continue
        count = Counter()
        for k, (argument, odd, call) in enumerate(cases(name)):
            if args.quick and k % 20:
                continue
            with TemporaryDirectory() as folder, chdir(folder):  # memory="" writes
                kind, message = attempt(call, argument)
            count[kind] += 1
            if kind in ("unclear", "hangs"):
                show_progress(f"{kind}: {name}, {argument}, {odd}: {message[:300]!r}")
        kinds = ("accepted", "clear", "unclear", "hangs")
        sheet.add(
            estimator=name, tried=sum(count.values()), **{k: count[k] for k in kinds}
        )


if __name__ == "__main__":
    main()
