"""Seeds of the statistical tests: one by default, all of 0 to 19 on request; SciPy."""

import os

# One of scikit-learn's checks is skipped unless this is set before SciPy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# Processes side by side (pytest -n) have a thread each; read when torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

VARIABLE = "SK_WMVL_TESTS_GLOBAL_RANDOM_SEED"


def _seeds() -> list[int]:
    """Read "all", an integer or a range such as "0-4" from the environment."""
    text = os.environ.get(VARIABLE, "0")
    if text == "all":
        return list(range(20))
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise ValueError(f'{VARIABLE} must be "all", "3" or "0-4"; got {text!r}.')
    return list(range(int(first), int(last or first) + 1))


def pytest_generate_tests(metafunc):
    if "global_random_seed" in metafunc.fixturenames:
        metafunc.parametrize("global_random_seed", _seeds())
