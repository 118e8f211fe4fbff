"""Manifolds whose points users write in several ways, told apart by their width."""

from collections.abc import Mapping

from sk_wmvl.manifolds._base import BaseManifold, check_columns

__all__ = ["form_of_width", "width_of_form"]


def width_of_form(
    owner: BaseManifold, forms: Mapping[str, int], form: str | None
) -> int:
    """Return how many columns a form takes; None stands for the first form.

    Raises
    ------
    ValueError
        If there is no such form.
    """
    if form is None:
        return next(iter(forms.values()))
    if form not in forms:
        raise ValueError(
            f"coordinates={form!r} of {type(owner).__name__} is not known. Choose one "
            f"of {sorted(forms)}, or None, which tells them by the number of columns."
        )
    return forms[form]


def form_of_width(
    owner: BaseManifold, forms: Mapping[str, int], form: str | None, n_columns: int
) -> str:
    """Return the form that has so many columns; it must be `form` unless that is None.

    Raises
    ------
    ValueError
        If there is none.
    """
    allowed = (
        list(forms.values()) if form is None else [width_of_form(owner, forms, form)]
    )
    check_columns(owner, n_columns, n_columns in allowed)
    return next(name for name, width in forms.items() if width == n_columns)
