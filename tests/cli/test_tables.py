"""Tables are read as they are written, and what is wrong with them is named: column, line, cell, and what to do."""

import numpy as np
import pytest

from convexnn.cli.tables import read_table, read_target


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_kinds_of_files(write, delimiter, end, encoding):
    rows = [["größe", "b c"], ["1", " -2.5e3 "], [], ["3", "4"]]
    table = read_table(write(end.join(delimiter.join(row) for row in rows), encoding=encoding))
    assert table.columns == ["größe", "b c"]
    assert table.cells.index.tolist() == [2, 4]
    assert table.numbers(["b c", "größe"]).tolist() == [[-2500.0, 1.0], [4.0, 3.0]]


def test_quoted_cells(write):
    table = read_table(write('"a, b",c\n"x ""y"", z",1\n'))
    assert table.cells.to_dict("list") == {"a, b": ['x "y", z'], "c": ["1"]}


def test_one_column(write):
    assert read_table(write("y\n1\n2\n")).numbers(["y"]).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: its first line has to name the columns"),
        ("\n \n", "is empty"),
        ("a,y\n", "has no rows below the names of its columns, 'a', 'y'"),
        ("a,a,y\n1,2,3\n", "has 2 columns named 'a'; its columns are 'a', 'a', 'y'"),
        ("a,y\n1,2\n\n3\n", "Expected 2 fields in line 4, saw 1"),
        ("a,y\n1,2,3\n", "Expected 2 fields in line 2, saw 3"),
        ('a,y\n"1,2\n', "is not a table of text in UTF-8"),
        (b"a,y\n\xff\xfe,1\n", "is not a table of text in UTF-8"),
    ],
)
def test_what_is_no_table(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(text))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        read_table(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1", "Rome", ""],
            r"column 'a' of .*, line 3: 'Rome' is not a number; encode it, as OneHotEncoder .* --drop a$",
        ),
        (["1", "NA", "", "2"], r"line 3: no value \('NA', 2 of 4 are missing\); fill it in, as SimpleImputer"),
        (["1", "?"], r"line 3: no value \('\?', the only one missing\)"),
        (["nan", "1"], r"line 2: no value \('nan', the only one missing\)"),
        (["1,5"], r"line 2: '1,5' is not a number; write it with a decimal point"),
        (["-inf"], r"line 2: '-inf' is not finite"),
        (["1_000"], r"line 2: '1_000' is not a number"),
        (["{x}"], r"line 2: '{x}' is not a number"),
    ],
)
def test_cells_that_are_no_numbers(write, cells, message):
    table = read_table(write("a;y\n" + "".join(f"{cell};1\n" for cell in cells)))
    with pytest.raises(ValueError, match=message):
        table.numbers(["y", "a"])


def test_all_columns_to_look_at_are_named(write):
    with pytest.raises(ValueError, match=r"--drop \"b c\" \(also look at 'a', 'd'\)$"):
        read_table(write("b c,a,y,d\nx,,1,z\n")).numbers(["b c", "a", "y", "d"])


def test_only_options_that_there_are_are_recommended(write):
    table = read_table(write("a,b\n,x\n1,2\n"))
    for options in ([], ["--ignore-missing"], ["--drop"]):
        for name in ("a", "b"):
            with pytest.raises(ValueError, match="in a scikit-learn pipeline") as error:
                table.numbers([name], options=options)
            expected = set(options) & ({"--drop"} if name == "b" else {"--drop", "--ignore-missing"})
            assert {option for option in ("--drop", "--ignore-missing") if option in str(error.value)} == expected


def test_columns_that_are_not_there(write):
    table = read_table(write(",".join(f"c{k}" for k in range(14)) + "\n" + ",".join("1" * 14) + "\n"))
    with pytest.raises(ValueError, match=r"has no column 'y'; its columns are 'c0', .*, 'c11' and 2 more"):
        table.numbers(["y"])
    with pytest.raises(ValueError, match="has no column 'z'"):
        table.without(["c1", "z"])


def test_columns_and_rows_left_out(write):
    table = read_table(write("a,b,y\n1,,x\n2,3,y\n4,5,null\n6,7,z\n"))
    assert table.without(["a", "y"]).cells.to_dict("list") == {"b": ["", "3", "5", "7"]}
    kept = table.without_missing()
    assert kept.cells.to_dict("list") == {"a": ["2", "6"], "b": ["3", "7"], "y": ["y", "z"]}
    assert kept.cells.index.tolist() == [3, 5]
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("cells", "task", "expected"),
    [
        (["1.5", "2"], "auto", "regression"),
        (["1", "2", "3"], "auto", "regression"),  # each of them once
        (["0", "1", "1", "0"], "auto", "classification"),
        (["0", "1.0", "1", "0", "2"], "auto", "regression"),
        ([str(k) for k in range(10)] * 2, "auto", "classification"),
        ([str(k) for k in range(11)] * 2, "auto", "regression"),
        (["3", "3"], "auto", "regression"),  # one value is no class
        (["no", "yes", "no"], "auto", "classification"),
        (["no", "no"], "auto", "classification"),
        (["0", "1", "1", "0"], "regression", "regression"),
        (["1.5", "2", "2"], "classification", "classification"),
        (["1", "x", "1"], "classification", "classification"),
    ],
)
def test_tasks(write, cells, task, expected):
    y, found = read_target(read_table(write("y\n" + "\n".join(cells))), "y", task)
    assert found == expected
    if expected == "regression":
        assert y.tolist() == [float(cell) for cell in cells]
    elif all(cell.isdigit() for cell in cells):
        assert y.dtype == np.int64
        assert y.tolist() == [int(cell) for cell in cells]
    else:
        assert y.tolist() == cells


@pytest.mark.parametrize(
    ("cells", "task", "message"),
    [
        (["1", "x", "2"], "auto", "line 3: 'x' is not a number; where the values are classes, give --task class"),
        (["x", "y"], "regression", "line 2: 'x' is not a number"),
        (
            ["1", "", "na"],
            "auto",
            r"line 3: no value \(2 of 3 are missing\); leave such rows out with --ignore-missing",
        ),
    ],
)
def test_targets_that_are_refused(write, cells, task, message):
    table = read_table(write("y;a\n" + "".join(f"{cell};1\n" for cell in cells)))
    with pytest.raises(ValueError, match=message):
        read_target(table, "y", task)
