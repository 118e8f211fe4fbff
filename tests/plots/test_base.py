"""What all displays share: conventions, classes, and no matplotlib before drawing."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from numpydoc.validate import validate

from sk_wmvl import plots
from sk_wmvl.plots._base import (
    BaseDisplay,
    BaseFieldDisplay,
    BasePanelsDisplay,
    check_columns,
    compress,
    shading,
)

DISPLAYS = [getattr(plots, name) for name in plots.__all__]


@pytest.mark.parametrize("cls", DISPLAYS, ids=lambda cls: cls.__name__)
def test_displays_are_final_classes_of_one_family(cls):
    assert issubclass(cls, BaseDisplay | BasePanelsDisplay)
    assert not inspect.isabstract(cls)
    assert not cls.__subclasses__()
    assert "plot" not in vars(cls)
    last = list(inspect.signature(cls.from_estimator).parameters)[-1]
    assert last == ("axes" if issubclass(cls, BasePanelsDisplay) else "ax")


@pytest.mark.parametrize("cls", [BaseDisplay, BaseFieldDisplay, BasePanelsDisplay])
def test_bases_are_abstract(cls):
    assert inspect.isabstract(cls)
    errors = validate(f"{cls.__module__}.{cls.__name__}.plot")["errors"]
    # the same rules as in tests/test_docstrings.py, which sees public classes only
    assert {code for code, _ in errors} <= {"ES01", "SA01", "EX01", "RT02"}


@pytest.mark.parametrize(
    "path", sorted(Path(plots.__file__).parent.glob("*.py")), ids=lambda path: path.stem
)
def test_matplotlib_is_imported_only_to_draw(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "matplotlib" not in ast.unparse(node)


def test_shading_ends_six_nats_below_the_top():
    shades = shading(np.array([np.nan, -np.inf, 2.0, 1.0]))
    assert (shades["vmin"], shades["vmax"]) == (-4.0, 2.0)
    with pytest.raises(ValueError, match="nowhere finite"):
        shading(np.full(3, np.nan))


def test_compressed_arrows_keep_their_directions():
    arrows = compress(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(arrows, [[0.6 * np.log(6), 0.8 * np.log(6)], [0, 0]])


@pytest.mark.parametrize("X", [np.zeros(4), np.zeros((2, 3)), np.zeros((2, 2, 2))])
def test_columns_are_checked(X):
    with pytest.raises(ValueError, match=r"^Two, please; got an array of shape \("):
        check_columns(X, (2,), "Two, please")
