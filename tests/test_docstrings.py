"""Every public class, function and method has a valid numpydoc docstring."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

MODULES = [
    "sk_wmvl",
    "sk_wmvl.autoencoders",
    "sk_wmvl.datasets",
    "sk_wmvl.energies",
    "sk_wmvl.manifolds",
    "sk_wmvl.metrics",
    "sk_wmvl.normalizers",
    "sk_wmvl.objectives",
    "sk_wmvl.plots",
    "sk_wmvl.samplers",
]

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
NUMPY_SIDE = (
    "sk_wmvl.ImplicitVAE",
    "sk_wmvl.MVLDensity",
    "sk_wmvl.WassersteinAutoencoder",
    "sk_wmvl.metrics.",
)


def public_objects():
    """Yield (path, object) of what the package exports."""
    for name in MODULES:
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
        if not issubclass(value, tuple | Warning):  # results and warnings
            yield path


def ignored(path, docstring):
    plain = "----" not in docstring
    if plain and not path.startswith(NUMPY_SIDE):
        return IGNORED | SECTIONS
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
