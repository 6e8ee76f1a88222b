"""Questions and groups from CSV files, in the form that documents have."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault

QUESTION_COLUMNS: Final = ("question_id", "question", "scale", "option")
FURTHER_COLUMNS: Final = ("survey", "option_index", "option_value", "option_kind")
GROUP_COLUMNS: Final = ("attribute", "group")
FURTHER_GROUP_COLUMNS: Final = ("wording",)


@dataclass(frozen=True)
class QuestionRows:
    """The questions of a CSV file as a document has them, and what is wrong with its rows."""

    survey: str | None
    questions: list[dict[str, Any]]
    faults: list[Fault]


def read_questions_csv(path: Path) -> QuestionRows:
    """Questions from one row an option; the options of one in the order of ``option_index``.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a column.
    """
    rows = _rows(path, QUESTION_COLUMNS, FURTHER_COLUMNS)
    faults: list[Fault] = []
    by_id: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_id.setdefault(row["question_id"], []).append(number)
    faults += _empty(rows, QUESTION_COLUMNS)
    surveys = {row["survey"] for row in rows if row.get("survey")}
    if len(surveys) > 1:
        faults.append(
            Fault(
                "a questionnaire is of one survey",
                ", ".join(sorted(surveys)),
                "write a file for each survey",
                "survey",
            )
        )
    questions = []
    for question_id, numbers in by_id.items():
        for column in ("question", "scale"):
            if len({rows[number][column] for number in numbers}) > 1:
                faults.append(
                    Fault(
                        f"a question has one {column} in all its rows",
                        f"several for {question_id!r}",
                        "give questions that differ different ids",
                        column,
                        tuple(numbers),
                    )
                )
        options = [_option(rows[number], number, faults) for number in numbers]
        if all("index" in option for option in options):
            options.sort(key=lambda option: option["index"])
        first = rows[numbers[0]]
        questions.append(
            {
                "id": question_id,
                "text": first["question"],
                "scale": first["scale"],
                "options": options,
            }
        )
    return QuestionRows(min(surveys, default=None), questions, faults)


def read_groups_csv(path: Path) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """Attributes from one row a group: ``attribute``, ``group`` and ``wording``.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a column.
    """
    rows = _rows(path, GROUP_COLUMNS, FURTHER_GROUP_COLUMNS)
    faults = _empty(rows, GROUP_COLUMNS)
    attributes: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        attribute = attributes.setdefault(row["attribute"], {"groups": []})
        attribute["groups"].append(row["group"])
        wording = row.get("wording")
        if wording and attribute.setdefault("wording", wording) != wording:
            faults.append(
                Fault(
                    "an attribute has one wording",
                    f"a second for {row['attribute']!r}",
                    "repeat the first or leave it empty",
                    "wording",
                    (number,),
                )
            )
    return attributes, faults


def _option(row: Mapping[str, str], number: int, faults: list[Fault]) -> dict[str, Any]:
    option: dict[str, Any] = {"label": row["option"]}
    if row.get("option_kind"):
        option["kind"] = row["option_kind"]
    for column, name in (("option_index", "index"), ("option_value", "value")):
        text = row.get(column)
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        whole = name == "index"
        if not math.isfinite(value) or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            remedy = "correct it, or leave the column empty"
            faults.append(Fault(f"{column} is {kind}", repr(text), remedy, column, (number,)))
        else:
            option[name] = int(value) if whole else value
    return option


def _rows(path: Path, needed: Sequence[str], further: Sequence[str]) -> list[dict[str, str]]:
    def refuse(rule: str, value: str, remedy: str) -> DataError:
        return DataError(Fault(rule, value, remedy), file=path)

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise refuse("the file is CSV in UTF-8", str(error), "correct or name another") from None
    missing = [name for name in needed if name not in names]
    unknown = [name for name in names if name not in (*needed, *further)]
    if missing or unknown or len(set(names)) < len(names):
        raise refuse(
            f"the columns are {', '.join(needed)} and, where wanted, {', '.join(further)}, once",
            ", ".join(names) or "none",
            "correct the header",
        )
    ragged = [number for number, row in enumerate(rows) if None in row or None in row.values()]
    if ragged:
        fault = Fault(
            "each row has a field for each column",
            "more or fewer",
            "put fields with commas in quotes",
            rows=tuple(ragged),
        )
        raise DataError(fault, file=path)
    if not rows:
        raise refuse("the file has rows below its header", "none", "add some")
    return [{name: row[name].strip() for name in names} for row in rows]


def _empty(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[Fault]:
    faults = []
    for column in columns:
        numbers = tuple(number for number, row in enumerate(rows) if not row[column])
        if numbers:
            rule = "the column must be filled in every row"
            faults.append(Fault(rule, "empty", "fill it in", column, numbers))
    return faults
