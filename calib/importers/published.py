"""The options of questions, and what people answered, from a table that the user has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from calib.errors import DataError, Fault
from calib.rules import CELL_KEY, OPTION_KEY, QUESTION_KEY
from calib.survey import Group, Option, Question, QuestionKey
from calib.table import check_table, read_frame

REQUIRED: Final = ("survey", "question_id", "question", "scale", "option_index", "option")
_FILLED_IN: Final = {
    "option_kind": "substantive",
    "attribute": "all",
    "group": "all",
    "model": "none",
    "elicitation": "self_random",
    "prompt": "none",
    "outcome": "failed",
    "p_llm": None,
}
"""What a table of options need not have, so that the paired table's rules can check it."""


class Human(NamedTuple):
    """What the people of one group answered to one question."""

    shares: Mapping[int, float]
    """By option index."""
    n: float | None


class Published(NamedTuple):
    """Questions with their options, and human answers where the table has some."""

    questions: Mapping[QuestionKey, Question]
    human: Mapping[tuple[QuestionKey, Group], Human]

    @property
    def survey(self) -> str | None:
        """The one survey of the table; none where it has several or none."""
        surveys = {key.survey for key in self.questions}
        return surveys.pop() if len(surveys) == 1 else None


NOTHING: Final = Published({}, {})


def read_published(path: Path) -> Published:
    """Options, and human shares if there are any, from a ``.csv``, ``.parquet`` or ``.jsonl``.

    One row an option with ``survey``, ``question_id``, ``question``, ``scale``,
    ``option_index``, ``option``, and if wanted ``option_value`` and ``option_kind`` (all
    substantive without it): the CSV form of a questionnaire. With ``attribute``, ``group``,
    ``p_human`` and ``n_human``, one row an option and group, it also has the human side;
    a paired table is such a table.

    Raises
    ------
    DataError
        With every fault of the file at once: the rules of the paired table hold.
    """
    frame = read_frame(path)
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise DataError(
            Fault(
                "a table of options has the columns " + ", ".join(REQUIRED),
                f"no column {', '.join(missing)} among {', '.join(map(str, frame.columns))}",
                "add the missing columns; a questionnaire's CSV or a paired table has them",
            ),
            file=path,
        )
    absent = {name: value for name, value in _FILLED_IN.items() if name not in frame}
    try:
        table = check_table(frame.assign(**absent))
    except DataError as error:
        raise error.in_file(path) from None
    options = table.drop_duplicates(OPTION_KEY)
    twice = options[options.duplicated([*QUESTION_KEY, "option"], keep=False)]
    if not twice.empty:
        raise DataError(
            Fault(
                "the options of a question have distinct labels",
                f"{twice['option'].iloc[0]!r} twice in {twice['question_id'].iloc[0]}",
                "correct the labels",
                "option",
                tuple(twice.index.tolist()),
            ),
            file=path,
        )
    return Published(_questions(table), _human(table))


def _questions(table: pd.DataFrame) -> dict[QuestionKey, Question]:
    options = table.drop_duplicates(OPTION_KEY).sort_values("option_index", kind="stable")
    questions: dict[QuestionKey, Question] = {}
    for (survey, question_id), rows in options.groupby(QUESTION_KEY, sort=False):
        first = rows.iloc[0]
        questions[QuestionKey(survey, question_id)] = Question(
            survey,
            question_id,
            first["question"],
            first["scale"],
            tuple(
                Option(int(index), label, None if pd.isna(value) else float(value), kind)
                for index, label, value, kind in zip(
                    rows["option_index"],
                    rows["option"],
                    rows["option_value"],
                    rows["option_kind"],
                    strict=True,
                )
            ),
        )
    return questions


def _human(table: pd.DataFrame) -> dict[tuple[QuestionKey, Group], Human]:
    known = table[table["p_human"].notna()].drop_duplicates([*CELL_KEY, "option_index"])
    human: dict[tuple[QuestionKey, Group], Human] = {}
    for (survey, question_id, attribute, group), rows in known.groupby(CELL_KEY, sort=False):
        n = float(rows["n_human"].iloc[0])
        human[QuestionKey(survey, question_id), Group(attribute, group)] = Human(
            {
                int(index): float(share)
                for index, share in zip(rows["option_index"], rows["p_human"], strict=True)
            },
            None if pd.isna(n) else n,
        )
    return human
