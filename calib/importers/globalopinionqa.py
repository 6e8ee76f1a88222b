"""GlobalOpinionQA: answers of countries to questions of the Pew Global Attitudes and World Values.

Durmus et al., *Towards Measuring the Representation of Subjective Global Opinions in Language
Models* (arXiv 2306.16388): one row a question, with ``question``, ``selections`` (shares of
the options by country, as a Python literal), ``options`` and ``source`` (GAS or WVS).
"""

from __future__ import annotations

import re
from collections import Counter
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
from calib.importers.imported import Imported
from calib.importers.scales import guess
from calib.survey import Group, Option, Question
from calib.table import read_frame

COLUMNS: Final = ("question", "selections", "options", "source")
_INNER: Final = re.compile(r"\s*(?:defaultdict\(\s*<class 'list'>\s*,\s*)?(\{.*\})\s*\)?\s*", re.S)
_MISSING: Final = re.compile(r"\W*(missing|not asked|not applicable|not available)\b.*", re.I)


def read(source: Path, *, survey: str = "globalopinionqa") -> Imported:
    """The human table of a copy of the data set, as CSV or Parquet.

    Questions have no ids, so a question is its place in the file, counted from 0, behind its
    source: ``WVS-12``. Groups are countries as they are named there; n is unknown. Scales
    are guessed by ``calib.importers.scales.guess``. Left out, each with a count: questions
    with fewer than two answers or an option twice, and cells whose list is empty, is of
    another length than the options or does not sum to one.

    Raises
    ------
    DataError
        With all faults of the file.
    """
    frame = read_frame(source)
    frame.columns = frame.columns.astype(str)
    require(frame, COLUMNS, "name a copy of data/global_opinions.csv", source)
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    rows: list[tuple[object, ...]] = []
    for row, line in enumerate(frame.to_dict("records")):
        try:
            asked = _question(line, row, survey, counts)
            shares = _selections(line["selections"], row)
        except DataError as error:
            faults += error.faults
            continue
        counts["questions_read"] += 1
        if asked is None:
            continue
        question, places = asked
        for country, values in shares.items():
            if len(values) != len(places):
                counts["cells_left_out_of_another_length_than_the_options"] += 1
                continue
            found = closed_shares(values, counts)
            if found is not None:
                counts["cells"] += 1
                ordered = [found[place] for place in places]
                rows += cell_rows(question, Group("country", country), ordered, None)
    if faults:
        raise DataError(faults, file=source)
    return checked_human(rows, counts, source)


def _question(
    line: dict[Any, Any], row: int, survey: str, counts: Counter[str]
) -> tuple[Question, list[int]] | None:
    """The question and the place of each of its options in the file; None if left out."""
    labels = [str(one).strip() for one in literal(line["options"], list, row, "options")]
    if len(set(labels)) < len(labels) or not all(labels):
        counts["questions_left_out_with_an_option_twice"] += 1
        return None
    absent = [label for label in labels if _MISSING.fullmatch(label)]
    scaled = guess([label for label in labels if label not in absent])
    options = [*scaled.options]
    options += [Option(len(options) + i, label, None, "other") for i, label in enumerate(absent)]
    if sum(option.kind == "substantive" for option in options) < 2:
        counts["questions_left_out_with_fewer_than_two_answers"] += 1
        return None
    counts[f"scales_{scaled.origin}"] += 1
    question = Question(
        survey, f"{line['source']}-{row}", str(line["question"]), scaled.scale, tuple(options)
    )
    return question, [labels.index(option.label) for option in options]


def _selections(text: object, row: int) -> dict[str, list[float]]:
    """Shares by country; of ``defaultdict(…, {…})`` the inner literal alone is read."""
    inner = _INNER.fullmatch(text) if isinstance(text, str) else None
    found = literal(inner[1] if inner else text, dict, row, "selections")
    return {
        str(country): numbers_of(literal(values, list, row, "selections"), row, "selections")
        for country, values in found.items()
    }
