"""SimBench: answers of populations and groups from twenty studies of human behaviour.

Hu et al., *SimBench* (arXiv 2510.17516), the CSV export of its data set: one row a question
and group, with ``dataset_name``, ``input_template`` (the question), ``human_answer`` (shares or
percentages by option), ``group_prompt_template`` and ``group_prompt_variable_map`` (who was
asked), ``group_size``, and in part of the rows ``answer_options`` (texts by option) and
``wave``. Cells that hold a mapping are Python literals.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault
from calib.importers.columns import require
from calib.importers.human_rows import (
    cell_rows,
    checked_human,
    closed_shares,
    literal,
    numbers_of,
)
from calib.importers.imported import Imported, broken
from calib.importers.scales import guess
from calib.survey import Group, Question
from calib.table import read_frame

COLUMNS: Final = (
    "dataset_name", "input_template", "human_answer", "group_prompt_template",
    "group_prompt_variable_map", "group_size",
)  # fmt: skip
_OPTION: Final = re.compile(r"^\s*\(?([A-Z])\)?\s*[:.)]\s*(\S.*?)\s*$", re.M)
_NAN: Final = re.compile(r"(?<=[:\s])nan(?=\s*[,}])")
_HEADING: Final = re.compile(r"\n\s*Options:\s*$")


def read(source: Path) -> Imported:
    """The human table of a copy of the CSV export; the survey is the study, with its wave.

    Questions have no ids, so one is named by a hash of its text and options. A group is the
    values of its variables joined by a semicolon under their names likewise, or, where there
    are none, the prompt's description of the population. n is the group's size. The labels
    of options are ``answer_options``, else the lines ``(A): Yes`` that end the text, else the
    keys of ``human_answer``. Scales are guessed by ``calib.importers.scales.guess``. Left
    out, with a count: options without data, cells with fewer than two answers, cells whose
    shares do not sum to one, and repeated cells.

    Raises
    ------
    DataError
        With all faults of the file; on a pickle, which is never opened.
    """
    if source.suffix.lower() in (".pkl", ".pickle"):
        raise broken(
            "data are read from formats that run no code",
            f"{source.name}: opening a pickle runs whatever code it holds",
            "use the data set's CSV export (SimBenchPop.csv, SimBenchGrouped.csv)",
            source,
        )
    frame = read_frame(source)
    frame.columns = frame.columns.astype(str)
    require(frame, COLUMNS, "name a copy of SimBenchPop.csv or SimBenchGrouped.csv", source)
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    rows: list[tuple[object, ...]] = []
    seen: set[tuple[object, Group]] = set()
    for row, line in enumerate(frame.to_dict("records")):
        try:
            shares = _answer(line, row, counts)
            variables = _mapping(line, "group_prompt_variable_map", row)
            labels = {
                str(key): str(one) for key, one in _mapping(line, "answer_options", row).items()
            }
            size = _size(line["group_size"], row)
        except DataError as error:
            faults += error.faults
            continue
        asked = _question(line, list(shares), labels, counts)
        found = closed_shares(list(shares.values()), counts) if asked is not None else None
        if asked is None or found is None:
            continue
        question, keys = asked
        share_of = dict(zip(shares, found, strict=True))
        group = _group(variables, _text(line, "group_prompt_template"))
        if (question.key, group) in seen:
            counts["cells_left_out_that_repeat_another"] += 1
            continue
        seen.add((question.key, group))
        counts["cells"] += 1
        rows += cell_rows(question, group, [share_of.get(key, 0.0) for key in keys], size)
    if faults:
        raise DataError(faults, file=source)
    return checked_human(rows, counts, source)


def _text(line: Mapping[Any, Any], column: str) -> str:
    """A cell as text; empty where the column is not there."""
    value = line.get(column, "")
    return "" if value is None or value != value else str(value).strip()


def _mapping(line: Mapping[Any, Any], column: str, row: int) -> dict[Any, Any]:
    found: dict[Any, Any] = literal(_text(line, column) or "{}", dict, row, column)
    return found


def _answer(line: Mapping[Any, Any], row: int, counts: Counter[str]) -> dict[str, float]:
    """Shares by option, those without data left out."""
    text = _NAN.sub("None", _text(line, "human_answer"))
    answer = {str(key): value for key, value in literal(text, dict, row, "human_answer").items()}
    known = {key: value for key, value in answer.items() if value is not None}
    counts["options_left_out_without_data"] += len(answer) - len(known)
    return dict(zip(known, numbers_of(known, row, "human_answer"), strict=True))


def _question(
    line: Mapping[Any, Any], keys: list[str], labels: dict[str, str], counts: Counter[str]
) -> tuple[Question, list[str]] | None:
    """The question with the key of each option; None if left out."""
    text, asked = _text(line, "input_template"), _text(line, "input_template")
    survey = " ".join(filter(None, (_text(line, "dataset_name"), _text(line, "wave"))))
    listed, start = _listed(text)
    if _names(labels, keys):
        options = labels
    elif _names(listed, keys):
        options, asked = listed, _HEADING.sub("", text[:start].rstrip())
    else:
        counts["cells_whose_options_have_no_text"] += 1
        options = {key: key for key in keys}
    scaled = guess(list(options.values()))
    if sum(option.kind == "substantive" for option in scaled.options) < 2:
        counts["cells_left_out_with_fewer_than_two_answers"] += 1
        return None
    counts["shares_0_of_options_without_one"] += len(options) - len(keys)
    counts[f"cells_of_scales_{scaled.origin}"] += 1
    identity = "\n".join([survey, text, *options, *options.values()])
    name = hashlib.sha256(identity.encode()).hexdigest()[:12]
    key_of = {label: key for key, label in options.items()}
    question = Question(survey, name, asked or text, scaled.scale, scaled.options)
    return question, [key_of[option.label] for option in scaled.options]


def _names(labels: Mapping[str, str], keys: list[str]) -> bool:
    """Whether every option has a label of its own."""
    distinct = len(set(labels.values())) == len(labels)
    return set(keys) <= set(labels) and distinct and all(labels.values())


def _listed(text: str) -> tuple[dict[str, str], int]:
    """The options that a text ends with, A, B, C, …, by letter, and where they begin."""
    found = list(_OPTION.finditer(text))
    first = max((place for place, one in enumerate(found) if one[1] == "A"), default=len(found))
    listed = {one[1]: one[2] for one in found[first:]}
    letters = [chr(ord("A") + place) for place in range(len(found) - first)]
    if not letters or list(listed) != letters:
        return {}, len(text)
    return listed, found[first].start()


def _group(variables: Mapping[Any, Any], population: str) -> Group:
    if not variables:
        return Group("population", population) if population else Group("all", "all")
    return Group("; ".join(map(str, variables)), "; ".join(map(str, variables.values())))


def _size(value: object, row: int) -> float | None:
    """A group's size; None where it is empty."""
    text = str(value).strip()
    if text in ("", "nan", "None"):
        return None
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if size > 0:
        return size
    raise DataError(
        Fault(
            "group_size is a positive number or empty",
            repr(value),
            "correct the row",
            "group_size",
            (row,),
        )
    )
