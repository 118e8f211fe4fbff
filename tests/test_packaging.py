"""One home for the metadata, one version, and commands that the README tells."""

import configparser
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import sk_wmvl

ROOT = Path(__file__).resolve().parent.parent
CI = (ROOT / ".ci" / "run").read_text()
README = (ROOT / "README.rst").read_text()


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(*lines):
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def install_requires():
    return requirements(*setup_cfg()["options"]["install_requires"].splitlines())


def extras():
    sections = setup_cfg()["options.extras_require"].values()
    return [r for lines in sections for r in requirements(*lines.splitlines())]


def constraints(name):
    lines = (ROOT / ".ci" / name).read_text().splitlines()
    return {canonical(r.name): r.specifier for r in requirements(*lines)}


def canonical(name):
    return name.lower().replace("_", "-")


def pinned(specifiers):
    (specifier,) = SpecifierSet(str(specifiers))
    assert specifier.operator == "=="
    return Version(specifier.version.removesuffix(".*"))


def test_setup_cfg_is_the_only_metadata():
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert set(tomllib.load(file)) == {"build-system", "tool"}
    assert not (ROOT / "setup.py").exists()
    assert (ROOT / "sk_wmvl" / "py.typed").exists()


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.rst").read_text()
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == sk_wmvl.__version__
    newest = re.search(r"^(\S+) \(.+\)\n-+$", changelog, re.M)[1]
    assert newest == sk_wmvl.__version__
    assert setup_cfg()["metadata"]["version"] == "attr: sk_wmvl._version.__version__"


def readme_commands():
    """Return the commands of the README's section on them."""
    section = README.split("Two commands\n")[1].split("Three files")[0]
    return re.findall(r"::\n\n    (.+)\n", section)


def test_ci_runs_the_readmes_test_command():
    main_job, tests = readme_commands()
    assert main_job.endswith(" -m sk_wmvl")
    assert CI.rstrip().splitlines()[-1] == tests


def test_files_named_in_the_readme_exist():
    for path in re.findall(r"``([\w./]+\.\w+)``", README):
        assert (ROOT / path).exists(), path
    assert (ROOT / re.search(r"image:: (\S+)", README)[1]).exists()


@pytest.mark.slow
def test_readmes_example_runs():
    block = README.split(".. code-block:: python\n")[1].split("\nTwo commands")[0]
    code = "\n".join(line[4:] for line in block.splitlines())
    names = {}
    exec(compile(code, "README.rst", "exec"), names)
    assert names["log_q"].shape == (500,)
    assert names["score"].shape == (500, 2)
    assert names["draws"].shape == (1000, 2)
    assert len([line for line in code.splitlines() if line]) == 10


@pytest.mark.parametrize("requirement", install_requires() + extras(), ids=str)
def test_tested_versions_are_allowed(requirement):
    tested = constraints("constraints.txt")
    assert pinned(tested[canonical(requirement.name)]) in requirement.specifier


@pytest.mark.parametrize("name", ["numpy", "scikit-learn", "scipy", "skorch"])
def test_oldest_versions_are_really_tested(name):
    (declared,) = [r.specifier for r in install_requires() if r.name == name]
    (minimum,) = declared
    assert minimum.operator == ">="
    tested = pinned(constraints("constraints-oldest.txt")[name])
    assert tested.release[:2] == Version(minimum.version).release[:2]


def test_pre_commit_takes_its_tools_from_the_pinned_environment():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.+)", text) == ["local"]
    assert set(re.findall(r"entry: (\S+ \S+ \S+)", text)) == {"python3 .ci/env.py lint"}


def test_tables_are_what_the_results_give():
    path = ROOT / "benchmarks" / "tables.py"
    spec = importlib.util.spec_from_file_location("tables", path)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    kept = {file.stem: file.read_text("utf-8") for file in tables.TABLES.glob("*.csv")}
    made = {name: tables.as_text(make()) for name, make in tables.MAKERS.items()}
    assert kept == made, "run python benchmarks/tables.py"
    text = "".join(p.read_text("utf-8") for p in (ROOT / "doc").rglob("*.rst"))
    assert set(re.findall(r":file: (?:\.\./)?tables/(\w+)\.csv", text)) == set(made)
