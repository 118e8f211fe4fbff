"""Imports run one way, files stay small, nothing global is touched."""

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sk_wmvl
from sk_wmvl.energies import BaseEnergy, BaseMeasure
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers import BaseNormalizer
from sk_wmvl.objectives import BaseObjective
from sk_wmvl.samplers import BaseSampler

PACKAGE = Path(sk_wmvl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400

# A room imports from rooms with a lower number, or from itself; those numbered 0 may
# import one another. A new file or folder at the top of the package gets a number here
# and a place in the picture of doc/design.rst.
LEVELS = {
    "_autodiff": 0,
    "_averaging": 0,
    "_batches": 0,
    "_component": 0,
    "_coordinates": 0,
    "_grid": 0,
    "_johnson": 0,
    "_net_params": 0,
    "_persistence": 0,
    "_progress": 0,
    "_random": 0,
    "_validation": 0,
    "_version": 0,
    "kernels": 0,
    "manifolds": 1,
    "score_methods": 1,
    "energies": 2,
    "entropy": 3,
    "samplers": 3,
    "_quadratic": 3,
    "evaluation": 4,
    "metrics": 4,
    "normalizers": 4,
    "objectives": 4,
    "_windham": 4,
    "_backtracking": 5,
    "autoencoders": 5,
    "_evaluation": 5,
    "_solver": 5,
    "_trainer": 5,
    "_constraints": 6,
    "_solved_fit": 6,
    "_base": 7,
    "_coding": 7,
    "_base_autoencoder": 8,
    "_energy_score": 8,
    "_score_evaluation": 8,
    "_base_density": 8,
    "_autoencoder": 9,
    "_density": 9,
    "_wasserstein_autoencoder": 9,
    "_riemannian_density": 9,
    "_score_estimator": 9,
    "__init__": 10,
    "datasets": 10,
    "plots": 10,
    "_report": 11,
    "__main__": 12,
}
MAIN_JOB = {"__main__", "_report"}
LEAVES = {"datasets", "plots"}  # only the main job imports them

GLOBAL_STATE = {
    "np.random.seed",
    "numpy.random.seed",
    "torch.manual_seed",
    "torch.random.fork_rng",
    "torch.random.manual_seed",
    "torch.set_default_device",
    "torch.set_default_dtype",
    "torch.set_num_threads",
}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    """Return the file or folder at the top of the package that a module lives in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def parse(path):
    return ast.parse(path.read_text(), filename=str(path))


def imports(path):
    """Yield (module, name) of every import, inside functions too."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                yield node.module, alias.name


def own_imports(path):
    """Yield the modules of the package that a file imports."""
    modules = {module_name(f) for f in FILES}
    for module, name in imports(path):
        if module.split(".")[0] != "sk_wmvl":
            continue
        yield f"{module}.{name}" if f"{module}.{name}" in modules else module


def dotted(node):
    """Return 'torch.autograd.grad' for such an expression, '' for others."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


each_file = pytest.mark.parametrize("path", FILES, ids=module_name)


@each_file
def test_imports_run_one_way(path):
    here = room(module_name(path))
    assert here in LEVELS, f"give {here} a level"
    for module in own_imports(path):
        there = room(module)
        if there == here:
            continue
        assert there not in LEAVES or here in MAIN_JOB, f"{module} is a leaf"
        lower = LEVELS[there] < LEVELS[here]
        assert lower or LEVELS[there] == LEVELS[here] == 0, f"{here} imports {module}"


def test_no_import_cycles():
    graph = {module_name(path): set(own_imports(path)) for path in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the cycle


@each_file
def test_one_idea_per_file(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@each_file
def test_module_says_what_it_adds(path):
    assert ast.get_docstring(parse(path))


@each_file
def test_global_state_is_left_alone(path):
    used = {dotted(node) for node in ast.walk(parse(path))}
    assert not used & GLOBAL_STATE


@each_file
def test_only_autodiff_differentiates(path):
    if path.name == "_autodiff.py":
        return
    used = {dotted(node) for node in ast.walk(parse(path))}
    imported = {module for module, _ in imports(path)}
    assert not {u for u in used | imported if u.startswith("torch.autograd")}
    assert not {u for u in used if u.startswith("torch.func.")}


@each_file
def test_only_validation_imports_private_names_of_sklearn(path):
    if path.name == "_validation.py":
        return
    for module, name in imports(path):
        parts = [*module.split("."), name or ""]
        if parts[0] == "sklearn":
            assert not any(part.startswith("_") for part in parts), f"{module}.{name}"


@each_file
def test_all_is_sorted_and_exists(path):
    module = importlib.import_module(module_name(path))
    names = getattr(module, "__all__", None)
    if names is None:
        assert path.name in ("__main__.py", "_version.py"), "no __all__"
        return

    def rank(name):  # as ruff sorts: CONSTANTS, Classes, functions
        return (0 if name.isupper() else 1 if name[0].isupper() else 2), name

    assert list(names) == sorted(names, key=rank)
    for name in names:
        assert hasattr(module, name), name


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.name == "__init__.py"], ids=module_name
)
def test_packages_list_all_they_import(path):
    module = importlib.import_module(module_name(path))
    own = f"{module_name(path)}."
    imported = {name for owner, name in imports(path) if owner.startswith(own)}
    public = {name for name in imported if name and not name.startswith("_")}
    assert public <= set(module.__all__)


def concrete_subclasses(base):
    found = set()
    for cls in base.__subclasses__():
        found |= concrete_subclasses(cls)
        if not inspect.isabstract(cls) and cls.__module__.startswith("sk_wmvl."):
            found.add(cls)
    return found


@pytest.mark.parametrize(
    "base",
    [
        BaseEnergy,
        BaseManifold,
        BaseMeasure,
        BaseNormalizer,
        BaseObjective,
        BaseSampler,
    ],
    ids=lambda base: base.__name__,
)
def test_classes_are_abstract_or_final(base):
    members = concrete_subclasses(base)
    assert members
    for cls in members:
        ours = [c for c in cls.__subclasses__() if c.__module__.startswith("sk_wmvl.")]
        assert not ours, f"{cls.__name__} is extended by {ours}"


IMPORT_LEAVES_NO_TRACE = """
import sys
import numpy as np
import torch

before = (
    torch.get_rng_state().tolist(),
    np.random.get_state()[1].tolist(),
    torch.get_default_dtype(),
    torch.get_num_threads(),
    torch.is_grad_enabled(),
)
import sk_wmvl
after = (
    torch.get_rng_state().tolist(),
    np.random.get_state()[1].tolist(),
    torch.get_default_dtype(),
    torch.get_num_threads(),
    torch.is_grad_enabled(),
)
assert before == after, "importing changed global state"
for name in ("matplotlib", "sk_wmvl.plots"):
    assert name not in sys.modules, f"importing brought in {name}"
"""


def test_import_leaves_no_trace():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_LEAVES_NO_TRACE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_picture_names_every_room():
    picture = (PACKAGE.parent / "doc" / "design.rst").read_text()
    assert not {name for name in LEVELS if name not in picture}
