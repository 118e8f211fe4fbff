"""Warnings that point to the line of the user that led to them."""

import sys
import warnings
from types import FrameType

__all__ = ["warn"]

# Between a call of the user's and a warning are this package and those that call it back.
PASSED_OVER = ("contextlib", "joblib", "sk_wmvl", "sklearn", "skorch", "torch")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line outside of the package that led to it.

    The number of calls in between depends on decorators and callbacks, so that no fixed
    number of levels would do.

    Parameters
    ----------
    message : str
    category : type, default=UserWarning
    """
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and _is_passed_over(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_passed_over(module: str) -> bool:
    return module.partition(".")[0] in PASSED_OVER
