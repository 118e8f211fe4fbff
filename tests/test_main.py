"""The main job: bad files get one clear line, good ones a table and a figure."""

import numpy as np
import pytest

from sk_wmvl.__main__ import main, read_csv


def write(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def rows(n=40, d=2, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, d))
    return "\n".join(",".join(f"{v:.6f}" for v in x) for x in X) + "\n"


@pytest.mark.parametrize(
    ("text", "extra", "message"),
    [
        (None, [], "cannot be read"),
        ("", [], "the file is empty"),
        ("a,b\n" + rows(), ["--columns", "a,c"], "no column 'c'; there are a, b"),
        ("a,b\n" + rows() + "1.0,red\n", [], "line 42, column 'b' is 'red', no number"),
        ("a,b\n" + rows() + "1.0,\n", [], "line 42, column 'b' is empty"),
        ("a,b\n" + rows() + "1.0,nan\n", [], "only finite numbers"),
        ("a,b\n" + rows() + "1.0\n", [], "line 42 has 1 fields"),
        ("a,b\n" + rows(5), [], "5 rows; at least 20"),
        ("a,b\n" + "1.0,2.0\n" * 30, [], "column 'a' is constant"),
    ],
)
def test_bad_files_get_one_line(tmp_path, capsys, text, extra, message):
    path = tmp_path / "no.csv" if text is None else write(tmp_path, text)
    assert main(["--csv", str(path), "--out", str(tmp_path), *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert str(path) in err


def test_bad_options(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--epsilon", "-1"])
    assert exit_.value.code == 2
    assert "finite number > 0; got -1" in capsys.readouterr().err
    assert main(["--columns", "a", "--out", str(tmp_path)]) == 2
    assert main(["--csv", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    path = write(tmp_path, "a,b\n" + rows())
    assert main(["--csv", str(path), "--out", str(path / "below")]) == 2


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_headers_are_optional(tmp_path, header):
    data = read_csv(write(tmp_path, header + rows()), None)
    assert data.X.shape == (40, 2)
    assert data.columns == (["a", "b"] if header else ["0", "1"])
    last = read_csv(write(tmp_path, header + rows()), [data.columns[1]])
    assert np.array_equal(last.X[:, 0], data.X[:, 1])


def test_semicolons_and_marks_at_the_start(tmp_path):
    text = "\ufeffa;b\n" + rows().replace(",", ";")
    assert read_csv(write(tmp_path, text), None).columns == ["a", "b"]


@pytest.mark.parametrize("d", [1, 3])
def test_table_and_figure(tmp_path, capsys, d):
    path = write(tmp_path, rows(80, d), "mine.csv")
    assert main(["--csv", str(path), "--quick", "--out", str(tmp_path / "new")]) == 0
    out, err = capsys.readouterr()
    for name in (
        "MVLDensity",
        "GaussianMixture (BIC)",
        "KernelDensity (CV)",
        "log Z se",
    ):
        assert name in out
    assert "mine, split 0" in err  # the progress bar
    assert (tmp_path / "new" / "sk_wmvl_mine.png").stat().st_size > 10_000


@pytest.mark.slow
def test_bundled_data(tmp_path, capsys):
    assert main(["--data", "wine", "--quick", "--out", str(tmp_path)]) == 0
    assert "wine: 178 rows, 13 columns" in capsys.readouterr().out
