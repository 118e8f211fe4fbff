"""What a fit found is set on its estimator, all at once, when nothing can fail any more."""

from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["publish"]


def publish(
    estimator: BaseEstimator, attributes: Mapping[str, Any], forget: Iterable[str] = ()
) -> None:
    """Set fitted attributes.

    Parameters
    ----------
    estimator : estimator
    attributes : mapping of str to object
        What this fit found.
    forget : iterable of str, default=()
        What an earlier fit of another kind may have left.
    """
    for name in forget:
        estimator.__dict__.pop(name, None)
    estimator.__dict__.update(attributes)
