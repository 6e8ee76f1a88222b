"""SimBench: answers of populations and groups from twenty studies of human behaviour.

Hu et al., *SimBench* (data set ``pitehu/SimBench``), its CSV export: one row a question and
group, with ``dataset_name``, ``input_template`` (the question, its options as lines such as
``(A): Yes``), ``human_answer`` (shares by letter), ``group_prompt_variable_map`` (what tells
the group, by variable; both Python literals) and ``group_size``.
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
    "dataset_name", "input_template", "human_answer", "group_prompt_variable_map", "group_size",
)  # fmt: skip
_OPTION: Final = re.compile(r"^\s*\(?([A-Z])\)?\s*[:.)]\s*(\S.*?)\s*$", re.M)
_HEADING: Final = re.compile(r"\n\s*Options:\s*$")


def read(source: Path) -> Imported:
    """The human table of a copy of the CSV export; the survey is the ``dataset_name``.

    Questions have no ids, so one is named by a hash of its text and letters. A group is the
    values of its variables joined by a semicolon under their names likewise; all, where
    there are none. n is the group's size. Labels are the letters where the text does not
    list the options. Scales are guessed by ``calib.importers.scales.guess``. Left out, with
    a count: questions with fewer than two answers, cells whose shares do not sum to one, and
    repeated cells.

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
            answer = literal(line["human_answer"], dict, row, "human_answer")
            shares = dict(
                zip(map(str, answer), numbers_of(answer, row, "human_answer"), strict=True)
            )
            variables = literal(
                line["group_prompt_variable_map"] or "{}", dict, row, "group_prompt_variable_map"
            )
            size = _size(line["group_size"], row)
        except DataError as error:
            faults += error.faults
            continue
        asked = _question(line, list(shares), counts)
        found = closed_shares(list(shares.values()), counts) if asked is not None else None
        if asked is None or found is None:
            continue
        question, letters = asked
        share_of = dict(zip(shares, found, strict=True))
        group = _group(variables)
        if (question.key, group) in seen:
            counts["cells_left_out_that_repeat_another"] += 1
            continue
        seen.add((question.key, group))
        counts["cells"] += 1
        rows += cell_rows(question, group, [share_of.get(letter, 0.0) for letter in letters], size)
    if faults:
        raise DataError(faults, file=source)
    return checked_human(rows, counts, source)


def _question(
    line: Mapping[Any, Any], letters: list[str], counts: Counter[str]
) -> tuple[Question, list[str]] | None:
    """The question with the letter of each option; None if left out."""
    text = str(line["input_template"]).strip()
    survey = str(line["dataset_name"])
    listed, start = _listed(text)
    if set(letters) <= set(listed) and len(set(listed.values())) == len(listed):
        name, asked = text, _HEADING.sub("", text[:start].rstrip())
    else:
        counts["cells_whose_options_are_letters"] += 1
        # The text does not say what is offered, so the letters belong to the identity.
        name, asked, listed = "\n".join([text, *letters]), text, {one: one for one in letters}
    scaled = guess(list(listed.values()))
    if sum(option.kind == "substantive" for option in scaled.options) < 2:
        counts["cells_left_out_with_fewer_than_two_answers"] += 1
        return None
    counts["shares_0_of_options_without_one"] += len(listed) - len(letters)
    counts[f"cells_of_scales_{scaled.origin}"] += 1
    key = hashlib.sha256(f"{survey}\n{name}".encode()).hexdigest()[:12]
    letter_of = {label: letter for letter, label in listed.items()}
    question = Question(survey, key, asked or text, scaled.scale, scaled.options)
    return question, [letter_of[option.label] for option in scaled.options]


def _listed(text: str) -> tuple[dict[str, str], int]:
    """The options that a text ends with, A, B, C, …, by letter, and where they begin."""
    found = list(_OPTION.finditer(text))
    first = max((place for place, one in enumerate(found) if one[1] == "A"), default=len(found))
    listed = {one[1]: one[2] for one in found[first:]}
    letters = [chr(ord("A") + place) for place in range(len(found) - first)]
    if not letters or list(listed) != letters:
        return {}, len(text)
    return listed, found[first].start()


def _group(variables: Mapping[Any, Any]) -> Group:
    if not variables:
        return Group("all", "all")
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
