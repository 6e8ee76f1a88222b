"""What is said when something is wrong."""

from __future__ import annotations

import json

import pytest

from calib.errors import (
    CalibError,
    DataError,
    Fault,
    FitError,
    MissingExtraError,
    abbreviate,
)

FAULT = Fault("shares sum to one", "1.2", "divide by the sum", "p_human", (3, 4, 5))


def test_one_fault_is_one_line_with_place_rule_value_and_remedy() -> None:
    assert str(DataError(FAULT, file="table.csv")) == (
        "table.csv: column p_human, rows 3-5 (3 in all): "
        "shares sum to one; found 1.2; remedy: divide by the sum"
    )
    assert str(Fault("a rule", "a value", "a remedy")) == "a rule; found a value; remedy: a remedy"
    assert str(Fault("r", "v", "m", rows=(7,))) == "row 7: r; found v; remedy: m"


def test_several_faults_are_listed_under_their_number() -> None:
    lines = str(DataError([FAULT, FAULT])).splitlines()
    assert lines[0] == "2 faults"
    assert lines[1:] == [f"  - {FAULT}"] * 2


def test_the_file_can_be_named_later() -> None:
    error = DataError([FAULT]).in_file("t.csv")
    assert error.file == "t.csv"
    assert error.faults == (FAULT,)
    assert str(error).startswith("t.csv: ")


def test_a_fault_is_plain_json_with_all_its_rows() -> None:
    assert json.loads(json.dumps(FAULT.as_dict())) == {
        "column": "p_human",
        "rows": [3, 4, 5],
        "rule": "shares sum to one",
        "value": "1.2",
        "remedy": "divide by the sum",
    }


def test_exit_codes() -> None:
    assert (CalibError.exit_code, FitError.exit_code, DataError.exit_code) == (1, 1, 5)
    assert issubclass(DataError, CalibError)


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    error = MissingExtraError("calib demo", package="xllamacpp", extra="demo")
    assert "pip install 'opinion-calibration[demo]'" in str(error)
    assert "'xllamacpp'" in str(error)


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([], " (0 in all)"),
        ([4], "4"),
        ([4, 4], "4"),
        ([1, 0], "0-1 (2 in all)"),
        ([0, 2, 4], "0, 2, 4 (3 in all)"),
        (range(0, 20, 2), "0, 2, 4, 6, 8, 10, … (10 in all)"),
        (range(1000), "0-999 (1000 in all)"),
    ],
)
def test_row_numbers_are_shown_as_runs(numbers: list[int], shown: str) -> None:
    assert abbreviate(numbers) == shown
