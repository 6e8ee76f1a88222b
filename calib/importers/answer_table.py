"""A plain table of a model's individual answers, one row an answer, in any order.

| column | |
|---|---|
| ``question_id``, ``answer`` | required; the answer is an option's label or code |
| ``survey``, ``model``, ``prompt`` | or one for all rows (``--survey`` and so on) |
| ``question`` | the wording, where no table of options has it |
| ``elicitation`` | ``self_random`` without it |
| ``outcome`` | ``refused``, ``unparsable``, ``failed`` where there is no answer |
| ``attribute``, ``group`` | or group columns of any name, named with ``--groups`` |
"""

from __future__ import annotations

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
from calib.importers.published import NOTHING, read_published
from calib.survey import ELICITATIONS, OUTCOMES, Group, QuestionKey, Setting

REQUIRED: Final = ("question_id", "answer")
_REMEDY: Final = "rename the columns of the table; one row is one answer"


def read(
    source: Path,
    *,
    scales: Path | None = None,
    survey: str | None = None,
    groups: Sequence[str] = (),
    model: str | None = None,
    prompt: str | None = None,
) -> Imported:
    """Individual answers as a paired table.

    Parameters
    ----------
    source
        A ``.csv``, ``.parquet`` or ``.jsonl`` file with the columns above.
    scales
        A table of options, with human answers or without (``published.read_published``).
        Without it the options are the answers that occur: ordinal where all are numbers,
        else nominal, so an option that the model never chose is unknown. Where the table
        has one survey, that is the survey of answers without one.
    survey, model, prompt
        For all rows, where the table has no such column. The survey is the file's name, the
        prompt ``sd`` (``base`` without groups), if nobody says otherwise.
    groups
        Columns that tell groups apart. Without it, ``attribute`` and ``group`` if they are
        there, else all answers are of the group *all*.

    Raises
    ------
    DataError
        With all faults.
    """
    frame = read_texts(source, REQUIRED, _REMEDY)
    require(frame, groups, "name columns of the table with --groups", source)
    by_pair = not groups and ("attribute" in frame or "group" in frame)
    if by_pair:
        require(frame, ("attribute", "group"), "give both, or name group columns", source)
    published = NOTHING if scales is None else read_published(scales)
    counts: Counter[str] = Counter()
    given = list(
        _given(
            frame,
            _groups(frame, groups, by_pair, counts),
            column_or_one(frame, "survey", survey, published.survey or source.stem, source),
            _settings(frame, model, prompt_for(groups or by_pair * ["group"], prompt), source),
            source,
        )
    )
    return tabulate(given, published, counts, source, options_from_answers=True)


def _settings(frame: pd.DataFrame, model: str | None, prompt: str, source: Path) -> list[Setting]:
    models = column_or_one(frame, "model", model, None, source)
    elicitations = column_or_one(frame, "elicitation", None, ELICITATION, source)
    prompts = column_or_one(frame, "prompt", None, prompt, source)
    return [Setting(*setting) for setting in zip(models, elicitations, prompts, strict=True)]


def _groups(
    frame: pd.DataFrame, names: Sequence[str], by_pair: bool, counts: Counter[str]
) -> list[tuple[Group, ...]]:
    if not by_pair:
        return [groups_of(row, names, counts) for row in frame.to_dict("records")]
    pairs = zip(frame["attribute"], frame["group"], strict=True)
    return [(Group(*pair),) if all(pair) else () for pair in pairs]


def _given(
    frame: pd.DataFrame,
    groups: Sequence[tuple[Group, ...]],
    surveys: Sequence[str],
    settings: Sequence[Setting],
    source: Path,
) -> Iterator[Given]:
    nothing = pd.Series("", index=frame.index)
    told = frame.get("outcome", nothing)
    faults = [*_faults(frame, told), *_unknown_elicitations(settings)]
    if faults:
        raise DataError(faults, file=source)
    rows = zip(
        surveys,
        frame["question_id"],
        frame.get("question", nothing),
        groups,
        settings,
        frame["answer"],
        told,
        strict=True,
    )
    for number, (survey, question_id, text, of, setting, answer, outcome) in enumerate(rows):
        asked = Asked(QuestionKey(survey, question_id), text or None, None)
        if not outcome:
            # An answer that is missing for an unknown reason could not be read.
            outcome = "answered" if answer else "unparsable"
        yield Given(number, asked, of, setting, answer, outcome)


def _faults(frame: pd.DataFrame, told: pd.Series) -> Iterator[Fault]:
    for bad, rule, column, remedy in (
        (
            frame["question_id"] == "",
            "question_id is filled in every row",
            "question_id",
            "fill in",
        ),
        (
            ~told.isin(["", *OUTCOMES]),
            "outcome is one of " + ", ".join(OUTCOMES) + " or empty",
            "outcome",
            "use one of these words",
        ),
        (
            (told == "answered") & (frame["answer"] == ""),
            "a row that is answered has an answer",
            "answer",
            "fill it in, or say why there is none in outcome",
        ),
        (
            told.isin([word for word in OUTCOMES if word != "answered"]) & (frame["answer"] != ""),
            "a row that is not answered has no answer",
            "answer",
            "empty the answer, or empty outcome",
        ),
    ):
        rows = bad.to_numpy().nonzero()[0]
        if len(rows):
            found = repr(frame[column].iloc[rows[0]])
            yield Fault(rule, found, remedy, column, tuple(rows.tolist()))


def _unknown_elicitations(settings: Sequence[Setting]) -> Iterator[Fault]:
    bad = [row for row, setting in enumerate(settings) if setting.elicitation not in ELICITATIONS]
    if bad:
        yield Fault(
            "elicitation is one of " + ", ".join(ELICITATIONS),
            repr(settings[bad[0]].elicitation),
            "use one of these words",
            "elicitation",
            tuple(bad),
        )
