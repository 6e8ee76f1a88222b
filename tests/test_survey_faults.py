"""What is wrong with a survey's file or its coding is told with rule, value, remedy and rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError, Fault, MissingExtraError
from calib.microdata.coding import Coding, read_coding
from calib.microdata.human import human_side

PEOPLE = pd.DataFrame(
    {
        "q": ["a", "b", "a", "b"],
        "r": [1, 2, 3, 1],
        "g": ["x", "x", "y", "y"],
        "w": [1.0, 2.0, 1.0, 1.0],
        "h": [1, 1, 2, 2],
        "z": [0.5, 1.5, 2.5, 3.5],
    }
)


def faults(people: pd.DataFrame, folder: Path, text: str = "", **options: Any) -> list[Fault]:
    """Of a run on these people; options override the usual ones."""
    people.to_parquet(folder / "people.parquet")
    (folder / "coding.toml").write_text(text, encoding="utf-8")
    options = {"groups": ["g"], "items": ["q"], "weight": "w"} | options
    with pytest.raises(DataError) as error:
        human_side(folder / "people.parquet", coding=read_coding(folder / "coding.toml"), **options)
    assert error.value.file is not None and error.value.exit_code == 5
    assert all(fault.remedy for fault in error.value.faults)
    return list(error.value.faults)


@pytest.mark.parametrize(
    ("weights", "rule", "rows"),
    [
        ([1, -1, 1, -2], "not negative", (1, 3)),
        ([0, 0, 0, 0], "positive weight", ()),
        ([1, np.inf, 1, 1], "finite", (1,)),
        ([1, np.nan, 1, 1], "whoever answered has a weight", (1,)),
        ([np.nan] * 4, "positive weight", ()),
        (["1", "two", "3", "4"], "holds numbers", (1,)),
    ],
)
def test_weights(weights: list[object], rule: str, rows: tuple[int, ...], tmp_path: Path) -> None:
    [fault] = faults(PEOPLE.assign(w=weights), tmp_path)
    assert rule in fault.rule and fault.rows == rows and fault.column == "w"


@pytest.mark.parametrize(
    ("options", "rule", "column"),
    [
        ({"items": ["qq"]}, "columns of the file", "qq"),
        ({"groups": ["gg"]}, "columns of the file", "gg"),
        ({"weight": "weight"}, "columns of the file", "weight"),
        ({"strata": "s"}, "columns of the file", "s"),
        ({"items": ["z"]}, "question with a few answers", "z"),
        ({"text": "[variables.qq]\nscale = 'nominal'"}, "columns of the file", "qq"),
        ({"text": "[variables.q]\nscale = 'ordinal'"}, "have an order", "variables.q"),
        ({"text": "[variables.q]\norder = ['a']"}, "every answer once", "variables.q"),
        ({"text": "[variables.g]\nattribute = 'all'"}, "name of its own", "all"),
        ({"text": "[variables.r.labels]\n1 = 'low'", "items": ["r"]}, "has a label", "r"),
        (
            {"text": "[variables.r]\nlabels = {1 = 'low', 2 = 'low', 3 = 'high'}", "items": ["r"]},
            "different labels",
            "r",
        ),
        ({"text": "[variables.r]\nscale = 'binary'", "items": ["r"]}, "two answers", "variables.r"),
        ({"text": "[variables.g]\ncut = [1, 2]"}, "holds numbers", "g"),
        ({"text": "[weights]\nby = 'h'\nuse = {1 = 'w'}", "weight": None}, "each value of h", "h"),
        ({"text": "[weights]\nby = 'h'\nuse = {1 = 'w', 2 = 'w'}"}, "said once", None),
        ({"strata": "g", "psu": "h"}, "two sampling units", "g"),
    ],
)
def test_variables(options: dict[str, Any], rule: str, column: str | None, tmp_path: Path) -> None:
    [fault] = faults(PEOPLE, tmp_path, **options)
    assert rule in fault.rule and fault.column == column


def test_unlabelled_codes_are_listed_with_their_rows(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    people = pd.DataFrame({"q": [1.0, 2.0, 3.0, 7.0, 3.0]})
    path = tmp_path / "people.sav"
    pyreadstat.write_sav(people, path, variable_value_labels={"q": {1: "Yes", 2: "No"}})
    with pytest.raises(DataError) as error:
        human_side(path)
    [fault] = error.value.faults
    assert fault.rows == (2, 3, 4) and fault.value == "3, 7 without a label"
    for text in ('[variables.q.labels]\n3 = "Both"\n7 = "Neither"', 'unlabelled = "codes"'):
        (tmp_path / "c.toml").write_text(text, encoding="utf-8")
        assert len(human_side(path, coding=read_coding(tmp_path / "c.toml")).frame) == 4


def test_a_variable_without_labels_is_no_question_unless_told(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    path = tmp_path / "people.sav"
    pyreadstat.write_sav(pd.DataFrame({"q": [1.0, 2.0, 3.0]}), path)
    for options in ({}, {"items": ["q"]}, {"groups": ["q"]}):
        with pytest.raises(DataError, match="label"):
            human_side(path, **options)
    found = human_side(path, coding=Coding(unlabelled="codes"))
    assert found.frame["option"].to_list() == ["1", "2", "3"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = "[variables.r.labels]\n1 = 'low'\n[variables.q]\nscale = 'ordinal'"
    found = faults(PEOPLE.assign(w=[-1, 1, 1, 1]), tmp_path, text, items=["q", "r"])
    assert [fault.column for fault in found] == ["w", "variables.q", "r"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("survey = ", "TOML"),
        ("surveys = 'x'", "known"),
        ("[variables.q]\nscales = 'nominal'", "known"),
        ("[variables.q]\nscale = 'likert'", "ordinal or nominal or binary"),
        ("[variables.q]\ncut = [3, 1]", "rising"),
        ("[variables.q]\ncut = [1, 3]\nnames = ['a']", "each interval"),
        ("[variables.q]\nlabels = [1]", "table"),
        ("[weights]\nby = 'x'", "by, a variable, and use"),
        ("[design]\nsingle_psu = 'ignore'", "certainty or centre"),
        ("missing = { a = 1 }", "list"),
        ("variables = 3", "table"),
        ("[variables]\nq = 3", "table"),
        ("[patterns]\ndont_know = ['(']", "pattern"),
    ],
)
def test_codings(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "coding.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        read_coding(tmp_path / "coding.toml")
    assert error.value.file == str(tmp_path / "coding.toml")


def empty(path: Path) -> None:
    path.write_text("q,g\n", encoding="utf-8")


def duplicate(path: Path) -> None:
    path.write_text("q,q\na,b\n", encoding="utf-8")


def ragged(path: Path) -> None:
    path.write_text("q,g\na,b\na\n", encoding="utf-8")


def semicolons(path: Path) -> None:
    path.write_text("q;g\na;b\n", encoding="utf-8")


def absent(path: Path) -> None:
    """No file at all."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "respondents"),
        (duplicate, "more than once"),
        (ragged, "readable"),
        (semicolons, "with commas"),
        (absent, "check the path"),
    ],
)
def test_files(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path / "people.csv")
    with pytest.raises(DataError, match=message):
        human_side(tmp_path / "people.csv")


@pytest.mark.parametrize("suffix", [".sav", ".dta", ".parquet"])
def test_broken_files(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("pyreadstat")
    (tmp_path / f"people{suffix}").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="readable"):
        human_side(tmp_path / f"people{suffix}")


def test_another_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="convert"):
        human_side(tmp_path / "people.xlsx")


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[survey\]"):
        human_side(tmp_path / "people.sav")
