"""Checks of users' rows, with messages that name the row, its defect and the remedy."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold

__all__ = [
    "check_columns",
    "check_defect",
    "check_finite",
    "form_of_width",
    "unit_rows",
    "width_of_form",
]

TOLERANCE = 1e-6  # of a norm: rows are often printed with seven digits


def check_columns(owner: BaseManifold, n_columns: int, fits: bool) -> None:
    """Raise ValueError unless rows with that many columns fit the manifold."""
    if not fits:
        raise ValueError(
            f"X has n_features = {n_columns}, which rows of {owner!r} cannot have: "
            f"{type(owner).columns_hint}."
        )


def check_finite(owner: BaseManifold, x: Tensor) -> None:
    """Raise ValueError if a row holds a NaN or an infinity, naming the first such row."""
    bad = ~torch.isfinite(x).all(-1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"Row {row} given to {type(owner).__name__} holds NaN or infinity: "
            f"{x[row].tolist()}."
        )


def check_defect(
    owner: BaseManifold, defect: Tensor, tolerance: float, *, what: str, remedy: str
) -> None:
    """Raise ValueError if a defect exceeds the tolerance, naming the worst row.

    Parameters
    ----------
    owner : BaseManifold
    defect : Tensor of shape (n,)
        How far each row is off, at least zero.
    tolerance : float
    what : str
        What the defect measures, such as ``"| |x| - 1 |"``.
    remedy : str
        A sentence that says what the user can do.
    """
    bad = ~(defect <= tolerance)
    if bool(bad.any()):
        row = int(defect.argmax())
        raise ValueError(
            f"X has rows that are not points of {owner!r}: {int(bad.sum())} of "
            f"{len(defect)}, the worst is row {row} with {what} = "
            f"{float(defect[row]):.3g}, tolerance {tolerance:g}. {remedy}"
        )


def width_of_form(
    owner: BaseManifold, forms: Mapping[str, int], form: str | None
) -> int:
    """Return the number of columns of a form; None stands for the first form.

    Raises
    ------
    ValueError
        If the form is unknown.
    """
    if form is None:
        return next(iter(forms.values()))
    if form not in forms:
        raise ValueError(
            f"coordinates={form!r} of {type(owner).__name__} is not known. Choose one "
            f"of {sorted(forms)}, or None to tell them by the number of columns."
        )
    return forms[form]


def form_of_width(
    owner: BaseManifold, forms: Mapping[str, int], form: str | None, n_columns: int
) -> str:
    """Return the form with that many columns; it must be `form` unless `form` is None.

    Raises
    ------
    ValueError
        If no form has that many columns.
    """
    allowed = (
        list(forms.values()) if form is None else [width_of_form(owner, forms, form)]
    )
    check_columns(owner, n_columns, n_columns in allowed)
    return next(name for name, width in forms.items() if width == n_columns)


def unit_rows(owner: BaseManifold, x: Tensor, *, project: bool) -> Tensor:
    """Return rows scaled to unit length.

    Raises
    ------
    ValueError
        If a row is zero, or if a row is not of unit length and `project` is False.
    """
    check_finite(owner, x)
    # in units of the largest entry, squares neither overflow nor vanish
    largest = x.abs().amax(-1, keepdim=True)
    zero = (largest == 0).squeeze(-1)
    if bool(zero.any()):
        row = int(zero.nonzero()[0])
        raise ValueError(
            f"Row {row} given to {owner!r} is zero and has no direction. Remove it, or "
            "model the length beside the direction with a Product."
        )
    norm = largest * torch.linalg.vector_norm(x / largest, dim=-1, keepdim=True)
    if not project:
        check_defect(
            owner,
            (norm.squeeze(-1) - 1).abs(),
            TOLERANCE,
            what="| |x| - 1 |",
            remedy="Divide rows by their norm, or use "
            f"{type(owner).__name__}(project=True), which does.",
        )
    return x / norm
