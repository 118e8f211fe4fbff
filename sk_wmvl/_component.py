"""Parameter objects: components that clone, print and grid-search like estimators.

A component's ``__init__`` only assigns, and a component is never fitted. `resolve` makes a
component from a user's value: the name of a built-in or an object.
"""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, TypeVar

from sklearn.base import BaseEstimator, clone

__all__ = [
    "BaseComponent",
    "check_count",
    "check_positive",
    "check_unit_interval",
    "resolve",
]

T = TypeVar("T")


class BaseComponent(BaseEstimator):
    """The base class of parameter objects: objectives, samplers, manifolds and others."""


def resolve(
    value: Any, registry: Mapping[str, Callable[..., T]], base: type, *, name: str
) -> T:
    """Return a fresh component from a name or an object.

    Parameters
    ----------
    value : str or instance of `base`
        A key of `registry`, or an object, which is cloned.
    registry : mapping of str to callable
        The built-in members by name. Each value makes a component when called.
    base : type
        The base class of the family.
    name : str
        The name of the parameter, for error messages.

    Returns
    -------
    component : instance of `base`

    Raises
    ------
    ValueError
        If `value` is a string but not the name of a built-in member.
    TypeError
        If `value` is neither a string nor an instance of `base`.
    """
    if isinstance(value, str):
        if value not in registry:
            raise ValueError(
                f"{name}={value!r} is not known. Choose one of {sorted(registry)}, or "
                f"pass an instance of {base.__name__}."
            )
        return registry[value]()
    if isinstance(value, base):
        return clone(value)
    received = (
        f"the class {value.__name__} (call it: {value.__name__}())"
        if isinstance(value, type)
        else f"{value!r} of type {type(value).__name__}"
    )
    raise TypeError(
        f"{name} must be one of {sorted(registry)} or an instance of {base.__name__}; "
        f"got {received}."
    )


def check_positive(owner: object, **values: float) -> None:
    """Raise ValueError unless each named value is a finite number above zero."""
    for name, value in values.items():
        if not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise ValueError(
                f"{name} of {type(owner).__name__} must be a finite number > 0; "
                f"got {value!r}."
            )


def check_count(owner: object, **values: int | None) -> None:
    """Raise ValueError unless each named value is an integer above zero."""
    for name, value in values.items():
        if not (isinstance(value, Integral) and value >= 1):
            raise ValueError(
                f"{name} of {type(owner).__name__} must be an integer >= 1; got {value!r}."
            )


def check_unit_interval(owner: object, **values: float) -> None:
    """Raise ValueError unless each named value lies in [0, 1]."""
    for name, value in values.items():
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ValueError(
                f"{name} of {type(owner).__name__} must lie in [0, 1]; got {value!r}."
            )
