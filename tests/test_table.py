"""Reading and writing the paired table: nothing is lost on the way, and what is broken is told."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import cell, frame_of, toy_table

from calib.errors import DataError, Fault
from calib.files import FORMATS, write_table
from calib.table import COLUMNS, check_table, read_table

SUFFIXES = pytest.mark.parametrize("suffix", FORMATS)


def fault_of(path: Path) -> Fault:
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert caught.value.exit_code == 5
    assert str(path) in str(caught.value)
    (fault,) = caught.value.faults
    return fault


def with_awkward_texts() -> pd.DataFrame:
    """Ids with zeros in front, groups called NA and None, quotes, breaks, other scripts."""
    frame = toy_table().replace(
        {"question_id": {"q1": "007", "q2": "1e5", "q3": "2018-01-01"}},
    )
    frame = frame.replace({"group": {"Democrat": "NA", "Republican": "None"}})
    frame.loc[frame["question_id"] == "007", "question"] = 'A "quoted", split\nline; ü 中 '
    return frame


@SUFFIXES
def test_writing_and_reading_gives_the_same_frame(tmp_path: Path, suffix: str) -> None:
    table = check_table(with_awkward_texts())
    rng = np.random.default_rng(3)
    for rows in ([0, 1, 2, 3], [8, 9], [12, 13, 14]):
        table.loc[rows, "p_llm"] = rng.dirichlet(np.ones(len(rows)))
    table["n_human"] = np.pi
    path = tmp_path / f"table{suffix}"
    write_table(table, path)
    pd.testing.assert_frame_equal(read_table(path), table, check_exact=True)


@SUFFIXES
def test_a_table_of_nulls_survives(tmp_path: Path, suffix: str) -> None:
    frame = frame_of(
        [
            cell(
                "q3", "Democrat", (None, None, None), (None, None, None), outcome="failed", n=None
            ),
            cell("q2", "Democrat", (None, None), (0.1, 0.9), n=None),
        ]
    )
    table = check_table(frame)
    path = tmp_path / f"table{suffix}"
    write_table(table, path)
    pd.testing.assert_frame_equal(read_table(path), table, check_exact=True)
    assert table["p_human"].isna().all()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_texts_of_numbers_carry_every_bit(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(4)
    shares = [5e-324, 1e-17, 0.1 + 0.2, 1 / 3, 1 - 2**-53, *rng.random(50), *rng.random(50) ** 40]
    table = check_table(
        pd.concat(
            frame_of([cell("q2", "Democrat", (share, 1 - share), (1 - share, share))]).assign(
                group=f"group {number}", n_human=rng.lognormal(5, 100)
            )
            for number, share in enumerate(shares)
        )
    )
    path = tmp_path / f"table{suffix}"
    write_table(table, path)
    pd.testing.assert_frame_equal(read_table(path), table, check_exact=True)


def test_columns_that_may_be_absent_and_columns_that_are_too_many(tmp_path: Path) -> None:
    frame = toy_table().query("question_id == 'q3'")
    path = tmp_path / "table.csv"
    write_table(frame.drop(columns=["option_value", "n_human", "p_human"]).assign(note="x"), path)
    table = read_table(path)
    assert tuple(table.columns) == COLUMNS
    assert table[["option_value", "n_human", "p_human"]].isna().all(axis=None)


def test_numbers_as_ids_and_groups_become_text(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    records = toy_table().query("question_id == 'q2'").to_dict("records")
    texts = [{**record, "question_id": 12, "group": 1990} for record in records[:2]]
    path.write_text("\n".join(json.dumps(record) for record in texts) + "\n\n", encoding="utf-8")
    table = read_table(path)
    assert set(table["question_id"]) == {"12"}
    assert set(table["group"]) == {"1990"}


def test_whole_numbers_as_ids_in_parquet_become_text(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    toy_table().replace({"question_id": {"q1": 1, "q2": 2, "q3": 3}}).astype(
        {"question_id": int, "group": "category"}
    ).to_parquet(path)
    table = read_table(path)
    assert sorted(set(table["question_id"])) == ["1", "2", "3"]
    assert sorted(set(table["group"])) == ["Democrat", "Republican"]


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    toy_table().to_csv(path, index=False, encoding="utf-8-sig")
    assert read_table(path).equals(check_table(toy_table()))


def test_the_callers_frame_is_left_alone() -> None:
    frame = toy_table()
    before = frame.copy(deep=True)
    check_table(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_parquet_file(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "table.parquet"
    write_table(toy_table(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    fault = fault_of(path)
    assert "readable .parquet" in fault.rule
    assert "truncated" in fault.remedy


def test_a_truncated_line_of_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write_table(toy_table(), path)
    path.write_text(path.read_text("utf-8")[:-20], encoding="utf-8")
    assert "line 18" in fault_of(path).value


@pytest.mark.parametrize("text", ["[1, 2]\n", "3\n", "not json\n"])
def test_lines_that_are_no_json_objects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(text, encoding="utf-8")
    assert "line 1" in fault_of(path).value


def test_a_truncated_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(toy_table(), path)
    path.write_text(path.read_text("utf-8")[:-15], encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert all(17 in fault.rows for fault in caught.value.faults)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl"):
        path = tmp_path / f"table{suffix}"
        path.write_bytes(b"\xff\xfe\x00\x81" * 20)
        assert "readable" in fault_of(path).rule


@pytest.mark.parametrize("text", ["", "\n", ",".join(COLUMNS) + "\n"])
def test_an_empty_csv_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    assert fault_of(path).remedy


def test_an_empty_json_file(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text("", encoding="utf-8")
    assert "no column" in fault_of(path).value


def test_a_missing_file(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "table.csv").remedy == "check the path"


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    toy_table().drop(columns=["p_llm", "scale"]).to_parquet(path)
    assert "no column scale, p_llm" in fault_of(path).value


@pytest.mark.parametrize("name", ["table.xlsx", "table", "table.parquet.gz"])
def test_another_suffix_is_refused_for_reading_and_writing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert ".parquet, .csv, .jsonl" in fault_of(path).rule
    with pytest.raises(DataError, match="suffix"):
        write_table(toy_table(), path)
    assert path.read_bytes() == b""


def test_a_number_that_is_none_names_its_rows_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    frame = toy_table().astype({"p_llm": object})
    frame.loc[[3, 7], "p_llm"] = "10%"
    frame.to_csv(path, index=False)
    fault = fault_of(path)
    assert (fault.column, fault.rows, fault.value) == ("p_llm", (3, 7), "'10%'")


def test_a_failed_write_leaves_the_former_table(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write_table(toy_table(), path)
    before = path.read_bytes()
    broken = toy_table()
    broken.loc[17, "p_llm"] = np.inf  # JSON has no infinity
    with pytest.raises(ValueError, match="JSON"):
        write_table(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_real_tables_keep_the_rules_and_are_read_quickly(real_data: Path) -> None:
    for name, n_rows in (("opinionqa", 79_786), ("nytimes", 112_800), ("synthbench", 6_784)):
        start = time.perf_counter()
        assert len(read_table(real_data / f"{name}_dev.parquet")) == n_rows
        # About a fifth of this where nothing else runs; ten times slower would be a mistake.
        assert time.perf_counter() - start < 5.0
