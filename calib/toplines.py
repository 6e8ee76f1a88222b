"""Toplines: what all respondents of a question answered, read beside a paired table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.opinions import SUM_TOLERANCE, Index, Opinions, close
from calib.paired import Counts, pair
from calib.rules import OPTION_KEY, QUESTION_KEY
from calib.survey import Group, Question, QuestionKey, Setting
from calib.table import as_number, read_frame

COLUMNS: Final = (*OPTION_KEY, "p_human")
EVERYBODY: Final = Group("all", "all")
"""The group that a topline is of."""


class Toplines(NamedTuple):
    """Answers of all respondents, one row a question, and what was repaired in them."""

    opinions: Opinions
    """``n`` is NaN where the file does not give it."""
    counts: Counts


def read_toplines(
    path: str | Path, frame: pd.DataFrame, settings: Sequence[Setting] | None = None
) -> Toplines:
    """Read and check toplines of questions of a table.

    Parameters
    ----------
    path
        A ``.parquet``, ``.csv`` or ``.jsonl`` file.
    frame
        From ``calib.table.read_table``.
    settings
        The sources to predict from; all settings of the table if None.

    Raises
    ------
    DataError
        With every fault of the toplines at once.
    """
    questions = pair(frame, settings).index.questions
    toplines = read_frame(path)
    try:
        return check_toplines(toplines, frame, questions)
    except DataError as error:
        raise error.in_file(path) from None


def check_toplines(
    toplines: pd.DataFrame, frame: pd.DataFrame, questions: Sequence[Question]
) -> Toplines:
    """Toplines as opinions; options that are no answer are dropped as in the paired table.

    Don't-know, refused and other options may be there or not; the rest is divided by its
    sum, and ``n_human`` shrinks by the share that was dropped.

    Parameters
    ----------
    toplines
        One row per question and option, with ``survey``, ``question_id``, ``option_index``,
        ``p_human`` and optionally ``n_human``, one value a question; further columns are
        ignored.
    frame
        The checked paired table: has the kinds of all options.
    questions
        Of the pairs made from it.

    Raises
    ------
    DataError
        With every fault of the toplines at once.
    """
    missing = [name for name in COLUMNS if name not in toplines]
    if missing or toplines.empty:
        raise DataError(
            Fault(
                "toplines have the columns " + ", ".join(COLUMNS) + " and at least one row",
                f"no column {', '.join(missing)}" if missing else "no row",
                "add what is missing; n_human is optional",
            )
        )
    by_key = {question.key: question for question in questions}
    no_answer = frame.loc[frame["option_kind"] != "substantive", OPTION_KEY]
    options = {
        *no_answer.itertuples(index=False, name=None),
        *((*asked.key, one.index) for asked in questions for one in asked.options),
    }
    typed, faults = _typed(toplines)
    faults += _faults(typed, faults, by_key, options)
    if faults:
        raise DataError(faults)
    return _opinions(typed, by_key)


def _typed(toplines: pd.DataFrame) -> tuple[pd.DataFrame, list[Fault]]:
    toplines = toplines.reset_index(drop=True)
    columns: dict[str, pd.Series] = {}
    for name in QUESTION_KEY:
        empty = toplines[name].isna() | (toplines[name].astype(str).str.strip() == "")
        columns[name] = toplines[name].astype(str).mask(empty, "")
    faults: list[Fault] = []
    for name in ("option_index", "p_human", "n_human"):
        column = toplines[name] if name in toplines else pd.Series(np.nan, toplines.index)
        columns[name], unreadable = as_number(name, column)
        faults += unreadable
    return pd.DataFrame(columns), faults


def _faults(
    typed: pd.DataFrame,
    told: Sequence[Fault],
    questions: Mapping[QuestionKey, Question],
    options: set[tuple[str, str, int]],
) -> list[Fault]:
    """Faults beyond those told; one cause is told once, under one column."""
    typed = typed.copy()
    faults: list[Fault] = []
    wrong = {name: np.zeros(len(typed), dtype=bool) for name in typed}
    for fault in told:
        wrong[str(fault.column)][list(fault.rows)] = True

    def check(bad: pd.Series | np.ndarray, rule: str, value: str, remedy: str, column: str) -> None:
        """Note the bad rows; ``value`` is filled in from the columns of the first."""
        rows = np.flatnonzero(np.asarray(bad) & ~wrong[column] & ~wrong["question_id"])
        if len(rows):
            found = value.format(**typed.iloc[rows[0]].to_dict())
            faults.append(Fault(rule, found, remedy, column, tuple(rows.tolist())))
            wrong[column][rows] = True

    keys = [QuestionKey(*key) for key in zip(typed["survey"], typed["question_id"], strict=True)]
    check(
        np.array([key not in questions for key in keys]),
        "a topline is of a question of the table that the model's sources were asked",
        "{survey}/{question_id}",
        "check survey and question_id, or take the question out",
        "question_id",
    )
    given = [(*key, option) for key, option in zip(keys, typed["option_index"], strict=True)]
    check(
        np.array([one not in options for one in given]),
        "option_index is one of the question's options in the table",
        "{option_index:g} of {survey}/{question_id}",
        "number the options as the table does, from 0",
        "option_index",
    )
    check(
        typed.duplicated(OPTION_KEY, keep=False),
        "one row per question and option",
        "option {option_index:g} of {survey}/{question_id} more than once",
        "give the topline of one survey once",
        "option_index",
    )
    share, n = typed["p_human"], typed["n_human"]
    check(
        ~((share >= 0) & (share <= 1 + SUM_TOLERANCE)),
        "a share of the topline lies between 0 and 1",
        "{p_human:g}",
        "write shares, not per cent or counts, and 0 for options that nobody chose",
        "p_human",
    )
    check(
        (n <= 0) | np.isinf(n),
        "an effective sample size must be positive",
        "{n_human:g}",
        "leave n_human empty where it is unknown: the topline is then taken as exact",
        "n_human",
    )
    # What concerns a question as a whole needs all its rows in order.
    question = typed.groupby(QUESTION_KEY, sort=False).ngroup()
    for rows in wrong.values():
        rows |= np.isin(question, question[rows])
    known = n.groupby(question)
    mixed = known.transform("count").between(1, known.transform("size"), inclusive="left")
    check(
        mixed | (known.transform("nunique") > 1),
        "n_human is one value a question",
        "several for {survey}/{question_id}",
        "repeat the question's sample size in each of its rows, or leave all empty",
        "n_human",
    )
    there = set(given)
    absent = {
        key: option.index
        for key, asked in questions.items()
        for option in reversed(asked.options)
        if (*key, option.index) not in there
    }
    typed["absent"] = pd.Series([absent.get(key) for key in keys], dtype=float)
    check(
        typed["absent"].notna(),
        "a topline has a share for every substantive option of its question",
        "none for option {absent:g} of {survey}/{question_id}",
        "add the missing options, with share 0 where nobody chose them",
        "option_index",
    )
    wrong["p_human"] |= wrong["option_index"]
    typed["total"] = share.groupby(question).transform("sum")
    check(
        (typed["total"] - 1).abs() > SUM_TOLERANCE,
        "the shares of a topline sum to one over all its options, refusals included",
        "{total:.6g} for {survey}/{question_id}",
        "add the options that are missing, or divide by the sum",
        "p_human",
    )
    return faults


def _opinions(
    typed: pd.DataFrame,
    questions: Mapping[QuestionKey, Question],
) -> Toplines:
    keys = [QuestionKey(*key) for key in zip(typed["survey"], typed["question_id"], strict=True)]
    known = set(keys)
    asked = tuple(question for key, question in questions.items() if key in known)
    row_of = {question.key: row for row, question in enumerate(asked)}
    place_of = {
        (*question.key, option.index): place
        for question in asked
        for place, option in enumerate(question.options)
    }
    mask = np.zeros((len(asked), max(len(question.options) for question in asked)), dtype=bool)
    shares, n = np.zeros(mask.shape), np.full(len(asked), np.nan)
    n_dropped = 0
    for key, option, share, size in zip(
        keys, typed["option_index"], typed["p_human"], typed["n_human"], strict=True
    ):
        n[row_of[key]] = size
        if (*key, option) in place_of:
            at = row_of[key], place_of[*key, option]
            mask[at], shares[at] = True, share
        else:
            n_dropped += 1
    mass = shares.sum(axis=1)
    index = Index(
        questions=asked,
        groups=(EVERYBODY,),
        question_of_row=np.arange(len(asked)),
        group_of_row=np.zeros(len(asked), dtype=int),
        mask=mask,
    )
    counts = {
        "toplines": len(asked),
        "topline_non_substantive_options_dropped": n_dropped,
        "toplines_renormalised": int(((np.abs(mass - 1) > 1e-9) & (mass > 0)).sum()),
        "toplines_without_substantive_answer": int((mass == 0).sum()),
        "toplines_taken_as_exact": int(np.isnan(n).sum()),
    }
    return Toplines(Opinions(index, close(shares, mask), n * np.minimum(mass, 1.0)), counts)
