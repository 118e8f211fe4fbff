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
from sk_wmvl.base_measures import BaseMeasure
from sk_wmvl.energies import BaseEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.normalizers import BaseNormalizer
from sk_wmvl.objectives import BaseObjective
from sk_wmvl.samplers import BaseSampler

PACKAGE = Path(sk_wmvl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 600  # a file is as long as its one idea; a longer one gives its reason here
LONGER: dict[str, str] = {}

# From the ground up. A room is a folder of the package, or a file beside the folders. It
# imports from rooms on lower floors, or from itself; the tools, on the ground, may import
# one another. A new room gets its floor here and its line in doc/design.rst.
FLOORS = [
    [
        "_autodiff",
        "_component",
        "_random",
        "_rows",
        "_validation",
        "_version",
        "_warnings",
        "kernels",
    ],
    ["manifolds"],
    ["coordinates"],
    ["base_measures.components"],
    ["base_measures"],
    ["base_measures.selection", "energies"],
    ["exponential", "samplers", "entropy", "metrics", "likelihood"],
    ["objectives", "normalizers"],
    ["evaluation"],
    ["training"],
    ["score_methods", "autoencoders"],
    ["estimators"],
    ["__init__"],
    ["datasets", "plots"],
    ["_comparison"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MAX_PRIVATE = 8  # files of the hall that start with an underscore
MAIN_JOB = {"__main__", "_comparison"}
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
    """Return the room that a module lives in; a folder in a folder may be one."""
    parts = module.split(".")
    inner = ".".join(parts[1:3])
    return inner if inner in FLOOR else parts[1] if len(parts) > 1 else "__init__"


def parse(path):
    return ast.parse(path.read_text(), filename=str(path))


def located_imports(path):
    """Yield (line, module, name) of every import, inside functions too."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, node.module, alias.name


def imports(path):
    """Yield (module, name) of every import."""
    for _, module, name in located_imports(path):
        yield module, name


def own_imports(path):
    """Yield (line, module) of every import from the package."""
    modules = {module_name(f) for f in FILES}
    for line, module, name in located_imports(path):
        if module.split(".")[0] != "sk_wmvl":
            continue
        yield line, f"{module}.{name}" if f"{module}.{name}" in modules else module


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
    assert here in FLOOR, f"{path}: give the room {here} a floor in FLOORS"
    for line, module in own_imports(path):
        there = room(module)
        if there == here:
            continue
        where = f"{path}:{line}: {here} imports {module}"
        assert there not in LEAVES or here in MAIN_JOB, f"{where}, a leaf"
        lower = FLOOR[there] < FLOOR[here]
        assert lower or FLOOR[there] == FLOOR[here] == 0, (
            f"{where}, from above or beside"
        )


def test_no_import_cycles():
    graph = {
        module_name(path): {module for _, module in own_imports(path)} for path in FILES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the cycle


def test_hall_is_not_crowded():
    private = [f.name for f in PACKAGE.glob("_*.py") if not f.name.startswith("__")]
    assert len(private) <= MAX_PRIVATE, f"a room for some of {sorted(private)}"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name
)
def test_every_folder_says_what_lives_there(path):
    if path.parent != PACKAGE:
        title, _, rule = ast.get_docstring(parse(path)).partition("\n\n")
        assert ":" in title, f"{path}: the first line names the room and what is in it"
        assert rule.startswith("Imports "), f"{path}: the next says what it may import"


@each_file
def test_one_idea_per_file(path):
    name = str(path.relative_to(PACKAGE))
    n_lines = len(path.read_text().splitlines())
    assert n_lines <= MAX_LINES or LONGER.get(name), f"{path}: {n_lines} lines"


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
    assert not {name for name in FLOOR if name.split(".")[-1] not in picture}
