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
PRE_COMMIT = (ROOT / ".pre-commit-config.yaml").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


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


def test_one_date_of_release():
    citation = (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.rst").read_text()
    date = re.search(r"^\S+ \((.+)\)\n-+$", changelog, re.M)[1]
    released = re.search(r"^date-released: (.+)$", citation, re.M)
    assert date == (released[1] if released else "unreleased")


def readme_commands():
    """Return the commands of the README's section on them."""
    section = README.split("Two commands\n")[1].split("Three files")[0]
    return re.findall(r"::\n\n    (.+)\n", section)


def test_ci_runs_the_readmes_test_command():
    main_job, tests = readme_commands()
    assert main_job.endswith(" -m sk_wmvl")
    assert tests in CI.splitlines()
    assert f"{tests} -m slow" in CI.splitlines()
    # "python" is what every system of the workflow has
    assert f"- run: {tests.replace('python3', 'python', 1)}\n" in WORKFLOW


def test_workflow_calls_ci_run():
    assert "- run: .ci/run\n" in WORKFLOW
    pythons = re.search(r"python: \[(.+)\]", WORKFLOW)[1].replace('"', "").split(", ")
    metadata = setup_cfg()["metadata"]["classifiers"]
    assert pythons == re.findall(r"Python :: (3\.\d+)$", metadata, re.M)
    assert setup_cfg()["options"]["python_requires"] == f">={pythons[0]}"


def test_contributing_and_readme_name_files_that_exist():
    text = (ROOT / "CONTRIBUTING.rst").read_text() + README
    for path in re.findall(r"<([\w./]+)>`_", text):
        assert (ROOT / path).exists(), path


def test_files_named_in_the_readme_exist():
    for path in re.findall(r"``([\w./]+\.\w+)``", README):
        assert (ROOT / path).exists(), path
    assert (ROOT / re.search(r"image:: (\S+)", README)[1]).exists()


def test_readmes_example_is_found():
    """It is run by .ci/wheel.py, from an environment that has the wheel alone."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
    readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme)
    code = readme.example()
    compile(code, "README.rst", "exec")
    assert len([line for line in code.splitlines() if line]) == 10
    assert "\npython3 .ci/wheel.py" in CI


@pytest.mark.parametrize("requirement", install_requires() + extras(), ids=str)
def test_tested_versions_are_allowed(requirement):
    tested = constraints("constraints.txt")
    assert pinned(tested[canonical(requirement.name)]) in requirement.specifier


@pytest.mark.parametrize("requirement", install_requires(), ids=str)
def test_oldest_versions_are_really_tested(requirement):
    (minimum,) = requirement.specifier
    assert minimum.operator == ">="
    tested = pinned(constraints("constraints-oldest.txt")[requirement.name])
    assert tested.release[:2] == Version(minimum.version).release[:2]


def test_pre_commit_is_the_lint_and_type_steps_of_ci():
    hooks = re.findall(r"entry: python3 \.ci/env\.py lint -m (.+)", PRE_COMMIT)
    steps = CI.split("step 'Lint'")[1].split("step 'Documentation'")[0]
    commands = re.findall(r"^with -m (.+)$", steps, re.M)
    # CI looks at the whole tree and changes nothing
    assert hooks == [re.sub(r"( --check)?( \.)?$", "", c) for c in commands]


def test_pre_commit_has_the_pinned_versions():
    """Its tools come from the environment that .ci/env.py makes, and from there alone."""
    assert re.findall(r"repo: (.+)", PRE_COMMIT) == ["local"]
    assert "rev:" not in PRE_COMMIT
    assert "additional_dependencies" not in PRE_COMMIT
    lint = setup_cfg()["options.extras_require"]["lint"].splitlines()
    pins = constraints("constraints.txt")
    for name in ("ruff", "codespell", "mypy"):
        assert any(requirement.name == name for requirement in requirements(*lint))
        assert pinned(pins[name])


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
