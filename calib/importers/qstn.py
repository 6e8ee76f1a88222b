"""Tables of QSTN, a framework that puts questionnaires to language models.

What its parsers return, joined with ``create_one_dataframe`` and written with ``to_csv``:
one row an interview and item, with ``questionnaire_name`` (the interview),
``questionnaire_item_id``, ``question`` (the prompt of the item), and the answer as
``answer`` (``parse_json`` with the default field), ``parsed_response`` or ``llm_response``
(``raw_responses``, and rows that could not be parsed, which ``error_col`` marks). Read
against QSTN 0.5.4 and its documentation.

The table has neither options nor group nor model: options come from a table of options,
groups from columns that the user has joined by ``questionnaire_name``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from calib.errors import DataError, Fault
from calib.importers.columns import column_or_one, read_texts, require
from calib.importers.given import Asked, Given
from calib.importers.imported import Imported
from calib.importers.individual import ELICITATION, groups_of, prompt_for, tabulate
from calib.importers.published import read_published
from calib.survey import QuestionKey, Setting

REQUIRED: Final = ("questionnaire_name", "questionnaire_item_id")
ANSWERS: Final = ("answer", "parsed_response", "llm_response")
"""Columns that can hold the answer; the first that is filled in a row counts."""
BATTERY: Final = "-1"
"""The item of a reply to a whole questionnaire that was not taken apart."""


def read(
    source: Path,
    *,
    scales: Path | None = None,
    survey: str | None = None,
    groups: Sequence[str] = (),
    model: str | None = None,
    prompt: str | None = None,
) -> Imported:
    """A QSTN table as a paired table.

    An answer is a label (``Good``), a label behind its code (``1: Good``), a code, or a
    JSON object whose field ``answer`` is one of these. Other texts, empty ones and rows with
    an ``error_col`` are unparsable and counted; where no answer of a question can be read,
    that is a fault. Replies to whole questionnaires (item -1) are left out and counted.

    Parameters
    ----------
    source
        A ``.csv``, ``.parquet`` or ``.jsonl`` file.
    scales
        The table of options, needed here: its ``question_id`` is ``questionnaire_item_id``.
    survey
        By default the only survey of ``scales``, else the name of the file.
    groups
        Columns that tell groups apart; without them all rows are of the group *all*.
    model
        Where the table has no column ``model``.
    prompt
        By default ``sd``, and ``base`` without groups.

    Raises
    ------
    DataError
        With all faults.
    """
    frame = read_texts(source, REQUIRED, "write the table with create_one_dataframe and to_csv")
    require(frame, groups, "join the groups' columns to the table by questionnaire_name", source)
    columns = [name for name in ANSWERS if name in frame]
    if not columns:
        raise DataError(
            Fault(
                "answers stand in a column " + ", ".join(ANSWERS),
                f"columns {', '.join(frame.columns)}"[:500],
                "rename the column that holds the answer to answer; columns of probabilities "
                "by option are not supported",
            ),
            file=source,
        )
    if scales is None:
        raise DataError(
            Fault(
                "the options of each question are known",
                "no --scales; a QSTN table has no options",
                "name a table of options whose question_id is questionnaire_item_id",
            ),
            file=source,
        )
    published = read_published(scales)
    counts: Counter[str] = Counter()
    models = column_or_one(frame, "model", model, None, source)
    name = survey or published.survey or source.stem
    settings = [Setting(one, ELICITATION, prompt_for(groups, prompt)) for one in models]
    given = list(_given(frame, columns, name, groups, settings, counts))
    return tabulate(given, published, counts, source, free_text=True)


def _given(
    frame: pd.DataFrame,
    columns: Sequence[str],
    survey: str,
    groups: Sequence[str],
    settings: Sequence[Setting],
    counts: Counter[str],
) -> Iterator[Given]:
    for number, (row, setting) in enumerate(zip(frame.to_dict("records"), settings, strict=True)):
        item = row["questionnaire_item_id"]
        if item == BATTERY:
            counts["rows_of_whole_questionnaires_left_out"] += 1
            continue
        answer = next((row[name] for name in columns if row[name]), "")
        answer = _field(answer)
        unread = bool(row.get("error_col")) or not answer
        yield Given(
            number,
            Asked(QuestionKey(survey, item), None, None),
            groups_of(row, groups, counts),
            setting,
            answer,
            "unparsable" if unread else "answered",
        )


def _field(answer: str) -> str:
    """The field ``answer`` where the text is a JSON object that has it, else the text."""
    if not answer.startswith("{"):
        return answer
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return str(found["answer"]) if isinstance(found, dict) and "answer" in found else answer
