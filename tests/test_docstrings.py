"""Every public class, function and method has a valid numpydoc docstring."""

import importlib
import inspect
import pkgutil
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from numpydoc.validate import validate

import sk_wmvl

IGNORED = {
    "GL01",  # we start on the line of the opening quotes
    "ES01",  # a summary may say it all
    "SA01",  # See Also only where there is something to see
    "EX01",  # examples are required of classes below
    "RT03",  # a return value named and typed needs no sentence
    "PR07",  # so does a parameter whose type says it all (mean : array of shape (d,))
    "SS06",  # ... and a summary may take a second line
    "RT02",  # we name what we return
}
# Sections are all or nothing. A torch-side function may say its shapes in one line, or
# refer to the method it implements ("see `Base.method`"); what users call may not.
SECTIONS = {"PR01", "PR02", "RT01", "YD01"}
NUMPY_SIDE = ("sk_wmvl.estimators.", "sk_wmvl.metrics.")
GROUPED = {"PR03", "PR04"}  # not for "a, b, c" on one line, "as in" another function

MADE_BY_A_FIT = ("sk_wmvl.base_measures.selection.",)  # classes need no example
INTERNAL = {"sk_wmvl.training"}  # a folder for the developers
API = (Path(__file__).resolve().parent.parent / "doc" / "api.rst").read_text()


def public_modules():
    """Yield the names of the rooms: folders, and files beside them, without "_"."""
    for module in pkgutil.walk_packages(sk_wmvl.__path__, "sk_wmvl."):
        is_room = module.ispkg or module.name.count(".") == 1
        if is_room and "._" not in module.name and module.name not in INTERNAL:
            yield module.name


def public_objects():
    """Yield (path, object) of what the package exports."""
    for name in public_modules():
        module = importlib.import_module(name)
        for attribute in module.__all__:
            value = getattr(module, attribute)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{name}.{attribute}", value


def documented():
    for path, value in public_objects():
        yield path
        if inspect.isclass(value):
            for name, method in vars(value).items():
                if not name.startswith("_") and inspect.isfunction(method):
                    yield f"{path}.{name}"


def made_by_hand():
    for path, value in public_objects():
        if not inspect.isclass(value) or inspect.isabstract(value):
            continue
        is_result = issubclass(value, tuple | Warning) or is_dataclass(value)
        if not is_result and not path.startswith(MADE_BY_A_FIT):
            yield path


def ignored(path, docstring):
    if not path.startswith(NUMPY_SIDE):
        if not re.search(r"^(Parameters|Returns)\n-", docstring, re.M):
            return IGNORED | SECTIONS
        if re.search(r"^\w+(, \w+)+( :|$)", docstring, re.M):
            return IGNORED | GROUPED
    if "Attributes\n" in docstring and "Parameters\n" not in docstring:
        return IGNORED | {"PR01"}  # a result: its attributes are its parameters
    return IGNORED


@pytest.mark.parametrize("path", sorted(set(documented())))
def test_docstring_is_valid(path):
    result = validate(path)
    skip = ignored(path, result["docstring"])
    errors = [f"{code}: {text}" for code, text in result["errors"] if code not in skip]
    assert not errors, "\n".join(errors)


@pytest.mark.parametrize("path", sorted(set(made_by_hand())))
def test_class_has_an_example(path):
    assert "EX01" not in [code for code, _ in validate(path)["errors"]]


def test_every_room_has_a_page():
    listed = re.findall(r"^   (sk_wmvl\.[\w.]+)$", API, re.M)
    assert sorted(listed) == sorted(public_modules())


def test_public_names_are_those_of_the_estimators():
    names = {name for name in sk_wmvl.__all__ if name != "__version__"}
    assert names == set(importlib.import_module("sk_wmvl.estimators").__all__)
