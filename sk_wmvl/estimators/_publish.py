"""Set fitted attributes, all at once, as the last step of a fit."""

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
        The attributes of this fit, by name.
    forget : iterable of str, default=()
        Names of attributes to delete, which an earlier fit of another kind may have set.
    """
    for name in forget:
        estimator.__dict__.pop(name, None)
    estimator.__dict__.update(attributes)
