"""The scripts of the page "Beyond one machine": the same results as in one process."""

import re
import runpy
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_wmvl import MVLDensity
from sk_wmvl.datasets import Banana

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "doc" / "user_guide" / "beyond_one_machine.rst"


def scripts():
    """Return the page's scripts by name."""
    pattern = r"\.\. code-block:: python\n +:name: (\S+)\n\n((?:(?: .*)?\n)+)"
    found = re.findall(pattern, PAGE.read_text("utf-8"))
    return {name: textwrap.dedent(code) for name, code in found}


def run(name, folder, monkeypatch):
    """Run a script in a folder, as a main program; return its names."""
    monkeypatch.chdir(folder)
    path = folder / "script.py"
    path.write_text(scripts()[name], encoding="utf-8")
    return runpy.run_path(str(path), run_name="__main__")


def results(search):
    """Return what a search found, without the times."""
    return {k: v for k, v in search.cv_results_.items() if "_time" not in k}


def assert_as_in_one_process(names):
    search = names["search"]
    alone = GridSearchCV(clone(search.estimator), search.param_grid, cv=search.cv)
    alone.fit(names["X"])
    expected, found = results(alone), results(search)
    assert list(found) == list(expected)
    for key, values in expected.items():
        assert np.array_equal(found[key], values), key
    # the candidates differ, so that an order mixed up would show
    assert len(set(expected["split0_test_score"])) == len(expected["params"])
    assert search.best_estimator_.score(names["X"]) == alone.score(names["X"])


def test_the_page_has_the_scripts_that_are_tested():
    expected = {"search-by-loky", "search-by-dask", "chunks-of-parquet"}
    assert set(scripts()) == expected
    assert PAGE.read_text("utf-8").count("code-block:: python") == len(expected)


@pytest.mark.slow
def test_search_by_loky(tmp_path, monkeypatch):
    assert_as_in_one_process(run("search-by-loky", tmp_path, monkeypatch))


@pytest.mark.slow
def test_search_by_dask(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="dask's distributed is not installed")
    assert_as_in_one_process(run("search-by-dask", tmp_path, monkeypatch))


@pytest.mark.slow
def test_chunks_of_parquet(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("pandas", reason="pandas is not installed")
    names = run("chunks-of-parquet", tmp_path, monkeypatch)
    X, density = names["X"], names["density"]
    again = MVLDensity(base="gaussian", normalizer=None, random_state=0)
    for _ in range(5):
        for chunk in np.split(X, 4):
            again.partial_fit(chunk)
    again.set_params(normalizer="auto").partial_fit(chunk)
    assert density.n_iter_ == again.n_iter_ == 21
    assert list(density.feature_names_in_) == ["x", "y"]
    new = Banana().sample(2000, random_state=1)
    # the file and the array give the same bits
    frame = type(names["chunk"])(new, columns=["x", "y"])
    log_q = density.score_samples(frame)
    assert np.array_equal(log_q, again.score_samples(new))
    # Most of what a Gaussian misses is learned: the truth is 0.41 above it.
    truth = Banana().log_density(new)
    mean, covariance = X.mean(0), np.cov(X.T)
    residuals = np.linalg.solve(np.linalg.cholesky(covariance), (new - mean).T)
    gaussian = -0.5 * (residuals**2).sum(0)
    gaussian -= np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    assert log_q.mean() - gaussian.mean() > 0.75 * (truth.mean() - gaussian.mean())
