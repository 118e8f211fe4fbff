"""Users' tables: what is read, what is left out and why, what is refused in one line."""

import gzip
import sys

import numpy as np
import pytest

from sk_wmvl._comparison import BUNDLED, BadFileError, DataSet, describe, read_table

pd = pytest.importorskip("pandas")

N = 40


def numbers(d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(N, d)).round(6)


def text_of(X, sep=","):
    return "\n".join(sep.join(map(str, row)) for row in X) + "\n"


def write(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_headers_are_optional(tmp_path, header):
    path = write(tmp_path, header + text_of(numbers()))
    data = read_table(path, None)
    assert data.columns == (["a", "b"] if header else ["0", "1"])
    assert np.array_equal(data.X, numbers())
    last = read_table(path, [data.columns[1]])
    assert np.array_equal(last.X, numbers()[:, 1:])
    swapped = read_table(path, data.columns[::-1])
    assert np.array_equal(swapped.X, numbers()[:, ::-1])


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_separators_and_a_mark_at_the_start(tmp_path, sep):
    path = write(tmp_path, f"\ufeffmean a{sep} b\n" + text_of(numbers(), sep))
    data = read_table(path, None)
    assert data.columns == ["mean a", "b"]
    assert np.array_equal(data.X, numbers())


def test_compressed_text(tmp_path):
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress(("a,b\n" + text_of(numbers())).encode()))
    data = read_table(path, None)
    assert data.name == "mine"
    assert np.array_equal(data.X, numbers())


def test_other_kinds_go_by_the_end_of_the_name(tmp_path):
    path = tmp_path / "mine.json"
    pd.DataFrame(numbers(), columns=["a", "b"]).to_json(path, double_precision=15)
    assert np.allclose(read_table(path, None).X, numbers(), rtol=1e-12)


def test_columns_without_density_are_left_out_with_their_reasons(tmp_path):
    a, b = numbers().T
    frame = pd.DataFrame(
        {
            "Unnamed: 0": np.arange(N),
            "a": a,
            "color": ["red", "blue"] * (N // 2),
            "mostly": [*b[:-1], "n/k"],
            "day": pd.date_range("2024-01-30", periods=N).astype(str),
            "kind": 3,
            "gap": [*b[:7], None, *b[8:]],
            "nothing": None,
            "flag": b > 0,
            "far": [*b[:-1], np.inf],
            "b": b,
        }
    )
    path = tmp_path / "mine.csv"
    frame.to_csv(path, index=False)
    data = read_table(path, None)
    assert data.columns == ["a", "b"]
    assert np.array_equal(data.X, np.c_[a, b])
    assert data.left_out == (
        "Unnamed: 0: row numbers",
        "color: text, 'red' in row 0 (from 0)",
        f"mostly: text, 'n/k' in row {N - 1} (from 0)",
        "day: dates",
        "kind: constant, 3 in every row",
        "gap: missing values in 1 row, first in row 7 (from 0)",
        "nothing: no values",
        "flag: true or false, no number",
        f"far: infinite in row {N - 1} (from 0)",
    )
    for reason in data.left_out:
        assert f"left out: {reason}" in describe(data)
    # a column that is asked for is not left out in silence
    with pytest.raises(BadFileError, match="column color: text"):
        read_table(path, ["a", "color"])


def test_an_index_is_a_column(tmp_path):
    """A header that is one name short, as other programs write it."""
    body = "".join(f"r{k},{x},{y}\n" for k, (x, y) in enumerate(numbers()))
    data = read_table(write(tmp_path, "a,b\n" + body), None)
    assert data.columns == ["a", "b"]
    assert np.array_equal(data.X, numbers())
    assert "text, 'r0'" in data.left_out[0]


def test_rounding_and_copies_are_told(tmp_path):
    X = np.c_[numbers(1)[:, 0], np.arange(N) % 4 * 0.5]
    text = describe(read_table(write(tmp_path, "a,b\n" + text_of([*X, X[0]])), None))
    assert "rounded: b to 0.5 (" in text
    assert f"copies: {1 / (N + 1):.1%} of the rows" in text


def test_dependent_columns_are_told():
    X = numbers(3)
    assert "dependent" not in describe(DataSet("mine", X, ["a", "b", "c"]))
    X[:, 2] = 1.8 * X[:, 0] + 32
    assert "dependent: some column" in describe(DataSet("mine", X, ["a", "b", "c"]))


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", None, "the file is empty"),
        ("a,b\n" + text_of(numbers()), ["a", "c"], "no column 'c'; there are a, b"),
        ("a,b\n" + text_of(numbers()) + "1,2,3\n", None, "cannot be read .*line 42"),
        ("a,b\n" + text_of(numbers()[:5]), None, "5 rows; at least 20"),
        ("a\n" + "1.0\n" * 30, None, "no column can have a density .a: constant"),
        ("a,b\n" + "1.0,2.0\n" * 30, ["b"], "column b: constant"),
        ("a, a\n" + text_of(numbers()), None, "two columns are named 'a'"),
    ],
)
def test_bad_tables(tmp_path, text, columns, message):
    path = write(tmp_path, text)
    with pytest.raises(BadFileError, match=message) as info:
        read_table(path, columns)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["no.csv", "no.parquet", "no.xlsx", "no.csv.gz", "."])
def test_files_that_do_not_exist(tmp_path, name):
    with pytest.raises(BadFileError, match="cannot be read") as info:
        read_table(tmp_path / name, None)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip", "a.json", "a.parquet"])
def test_files_of_anything(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(BadFileError) as info:
        read_table(path, None)
    assert "\n" not in str(info.value)


def test_without_pandas(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadFileError, match="pandas is needed to read it"):
        read_table(write(tmp_path, text_of(numbers())), None)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets(name):
    data = BUNDLED[name]()
    assert data.name == name
    assert data.X.shape == (len(data.X), len(data.columns))
    assert max(data.pictured) < (data.n_components or len(data.columns))
