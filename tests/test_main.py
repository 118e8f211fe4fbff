"""The main job: bad files get one clear line, good ones a table and a figure."""

import numpy as np
import pytest

from sk_wmvl.__main__ import main
from sk_wmvl._comparison import DataSet, fits, leave_out_constant

pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    """No more of the peers' settings than a quick test needs."""
    monkeypatch.setattr(fits, "MAX_COMPONENTS", 2)
    monkeypatch.setattr(fits, "BANDWIDTHS", np.array([0.3, 1.0]))


def write(tmp_path, n=40, d=2, name="data.csv"):
    path = tmp_path / name
    X = np.random.default_rng(0).normal(size=(n, d))
    header = ",".join("abcdef"[:d])
    np.savetxt(path, X, delimiter=",", header=header, comments="")
    return path


def test_bad_files_get_one_line(tmp_path, capsys):
    good = write(tmp_path)
    for arguments, message in (
        (["--csv", str(tmp_path / "no.csv")], "cannot be read"),
        (["--csv", str(tmp_path)], "cannot be read"),
        (["--csv", str(write(tmp_path, 5, name="few.csv"))], "5 rows; at least 20"),
        (["--csv", str(good), "--columns", "a,c"], "no column 'c'"),
        (["--csv", str(good), "--out", str(good / "below")], "cannot be made"),
        (["--columns", "a"], "goes with --csv"),
    ):
        assert main(["--out", str(tmp_path), *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1


def test_bad_options(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--epsilon", "-1"])
    assert exit_.value.code == 2
    assert "finite number > 0; got -1" in capsys.readouterr().err


def test_table_figure_and_scores(tmp_path, capsys):
    path = write(tmp_path, 80, 3, name="mine.csv")
    arguments = ["--csv", str(path), "--columns", "c,a", "--out", str(tmp_path / "new")]
    assert main([*arguments, "--quick"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mine: 80 rows, 2 columns\n")
    for name in (
        "MVLDensity",
        "its base alone",
        "GaussianMixture (BIC)",
        "KernelDensity (CV)",
        "log Z se",
        "The network was kept in",
    ):
        assert name in out
    for stage in ("base", "network", "normaliser"):  # on the progress bar
        assert f"mine, split 1/1: MVLDensity, {stage}" in err
    assert (tmp_path / "new" / "sk_wmvl_mine.png").stat().st_size > 10_000
    lines = (tmp_path / "new" / "sk_wmvl_mine_scores.csv").read_text().splitlines()
    assert lines[0] == "row,log_density,held_out"
    assert len(lines) == 81
    assert sum(line.endswith(",1") for line in lines) == 16


def test_column_that_is_constant_in_training_rows(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(60, 3)).round(6)
    for row in range(60):  # until one is held out
        X[:, 2] = np.arange(60) == row
        data = DataSet("mine", X, ["a", "b", "flag"])
        if leave_out_constant(data, n_splits=1, seed=0).left_out:
            break
    path = tmp_path / "mine.csv"
    np.savetxt(path, X, "%g", delimiter=",", header="a,b,flag", comments="")
    assert main(["--csv", str(path), "--out", str(tmp_path), "--quick"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine: 60 rows, 2 columns\n  left out: flag: constant, 0 in")
    assert "KernelDensity (CV)" in out


@pytest.mark.slow
def test_bundled_data(tmp_path, capsys):
    assert main(["--data", "wine", "--quick", "--out", str(tmp_path)]) == 0
    assert "wine: 178 rows, 13 columns" in capsys.readouterr().out
