"""The rules that a paired table must keep; every breach is found, none repaired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Int

from calib.errors import Fault
from calib.opinions import SUM_TOLERANCE
from calib.survey import ELICITATIONS, OPTION_KINDS, OUTCOMES, SCALES

QUESTION_KEY: Final = ["survey", "question_id"]
OPTION_KEY: Final = [*QUESTION_KEY, "option_index"]
SETTING_KEY: Final = ["model", "elicitation", "prompt"]
CELL_KEY: Final = [*QUESTION_KEY, "attribute", "group"]
ANSWER_KEY: Final = [*CELL_KEY, *SETTING_KEY]

VOCABULARIES: Final = {
    "scale": SCALES,
    "option_kind": OPTION_KINDS,
    "elicitation": ELICITATIONS,
    "outcome": OUTCOMES,
}


def faults_of_table(frame: pd.DataFrame) -> list[Fault]:
    """All faults of a typed table (one row per setting, group, question and option).

    Rules that need keys are checked only where the keys themselves are in order, so that
    one cause is told once.
    """
    faults = [*_empty_keys(frame), *_vocabularies(frame), *_option_indices(frame)]
    if faults:
        return [*faults, *_share_domains(frame)]
    number = Numbers(frame)
    answer = number(ANSWER_KEY)
    faults += _duplicates(frame, number)
    faults += _share_domains(frame)
    faults += _questions(frame, number)
    faults += _outcomes(frame, answer)
    if not any(fault.column in ("p_human", "p_llm", "option_index") for fault in faults):
        faults += _sums(frame, answer)
        faults += _human_side(frame, number)
    return faults


class Numbers:
    """Numbers of the distinct values of keys, row by row: 0, 1, … as they first appear.

    Each column's texts are looked at once, whatever the number of keys that it is part of.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self._known: dict[tuple[str, ...], Int[np.ndarray, " row"]] = {}

    def __call__(self, key: Sequence[str]) -> Int[np.ndarray, " row"]:
        """The number of each row's key; rows of one key have the same."""
        name = tuple(key)
        if name not in self._known:
            if len(name) == 1:
                values = self.frame[name[0]]
                found = pd.factorize(values, use_na_sentinel=False)[0]
            else:
                last = self(name[-1:])
                # Both are below the number of rows, so their pair is a 64-bit number.
                found = pd.factorize(self(name[:-1]) * (int(last.max(initial=0)) + 1) + last)[0]
            self._known[name] = found.astype(np.int64)
        return self._known[name]


def _fault(
    bad: np.ndarray | pd.Series, *, rule: str, value: object, remedy: str, column: str
) -> Iterator[Fault]:
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows):
        yield Fault(rule, str(value), remedy, column, tuple(rows.tolist()))


def _first(frame: pd.DataFrame, column: str, bad: np.ndarray | pd.Series) -> object:
    found = frame.loc[np.asarray(bad), column]
    return found.iloc[0] if len(found) else None


def _name(frame: pd.DataFrame, bad: np.ndarray | pd.Series, key: Sequence[str]) -> str:
    rows = np.flatnonzero(np.asarray(bad))
    return "/".join(str(frame[column].iloc[rows[0]]) for column in key) if len(rows) else ""


def _empty_keys(frame: pd.DataFrame) -> Iterator[Fault]:
    for column in [
        *QUESTION_KEY, "question", "scale", "option_index", "option", "option_kind",
        "attribute", "group", *SETTING_KEY, "outcome",
    ]:  # fmt: skip
        yield from _fault(
            frame[column].isna(),
            rule="the column must be filled in every row",
            value="empty",
            remedy="fill it in; one word such as 'all' or 'base' will do where nothing varies",
            column=column,
        )


def _vocabularies(frame: pd.DataFrame) -> Iterator[Fault]:
    for column, words in VOCABULARIES.items():
        bad = ~frame[column].isin(words) & frame[column].notna()
        yield from _fault(
            bad,
            rule="must be one of " + ", ".join(words),
            value=repr(_first(frame, column, bad)),
            remedy="use one of these words",
            column=column,
        )


def _option_indices(frame: pd.DataFrame) -> Iterator[Fault]:
    index = frame["option_index"]
    bad = index.notna() & ((index < 0) | (index != np.floor(index)))
    yield from _fault(
        bad,
        rule="option_index must be a whole number from 0",
        value=_first(frame, "option_index", bad),
        remedy="number the options 0, 1, 2, … in the survey's order",
        column="option_index",
    )


def _duplicates(frame: pd.DataFrame, number: Numbers) -> Iterator[Fault]:
    key = [*ANSWER_KEY, "option_index"]
    of_row = number(key)
    bad = (np.bincount(of_row) > 1)[of_row]
    yield from _fault(
        bad,
        rule="one row per setting, group, question and option",
        value=f"{_name(frame, bad, key)} more than once",
        remedy="remove the repeated rows or tell them apart by model, elicitation or prompt",
        column="option_index",
    )


def _share_domains(frame: pd.DataFrame) -> Iterator[Fault]:
    for column in ("p_human", "p_llm"):
        share = frame[column]
        bad = (share < 0) | (share > 1 + SUM_TOLERANCE) | np.isinf(share)
        yield from _fault(
            bad,
            rule="a share must lie between 0 and 1",
            value=_first(frame, column, bad),
            remedy="write shares, not per cent or counts",
            column=column,
        )
    n = frame["n_human"]
    bad = (n <= 0) | np.isinf(n)
    yield from _fault(
        bad,
        rule="an effective sample size must be positive",
        value=_first(frame, "n_human", bad),
        remedy="leave n_human empty where it is unknown and p_human where nobody was asked",
        column="n_human",
    )
    yield from _fault(
        np.isinf(frame["option_value"]),
        rule="an option's value must be finite",
        value="inf",
        remedy="give the code of the survey, or none on a nominal scale",
        column="option_value",
    )


def _questions(frame: pd.DataFrame, number: Numbers) -> Iterator[Fault]:
    answer = number(ANSWER_KEY)
    for key, columns in (
        (QUESTION_KEY, ("question", "scale")),
        (OPTION_KEY, ("option", "option_value", "option_kind")),
    ):
        codes = number(key)
        for column in columns:
            bad = _varies(number([column]), codes)
            yield from _fault(
                bad,
                rule=f"a question has one {column} in all its rows",
                value=f"several for {_name(frame, bad, key)}",
                remedy="give questions that differ different ids",
                column=column,
            )
    question = number(QUESTION_KEY)
    # Of each option its first row.
    first = np.unique(number(OPTION_KEY), return_index=True)[1]
    first = first[(frame["option_kind"] == "substantive").to_numpy()[first]]
    value = frame["option_value"].to_numpy()[first]
    per_question = pd.Series(value).groupby(question[first])
    everyone = np.arange(question.max() + 1)
    n_options, n_valued, n_distinct = (
        found.reindex(everyone, fill_value=0).to_numpy()[question]
        for found in (per_question.size(), per_question.count(), per_question.nunique())
    )
    scale = frame["scale"].to_numpy()
    substantive = frame["option_kind"] == "substantive"
    offered = substantive.groupby(answer).transform("sum")
    bad = offered < 2
    yield from _fault(
        bad,
        rule="a question offers each group at least two substantive options",
        value=f"{offered[bad].iloc[0] if bad.any() else 0} for {_name(frame, bad, ANSWER_KEY)}",
        remedy="add the missing options (with share 0 where nobody chose them) or drop it",
        column="option_index",
    )
    bad = (scale == "binary") & (n_options > 2)
    yield from _fault(
        bad,
        rule="a binary question has two substantive options",
        value=f"{int(n_options[bad][0]) if bad.any() else 0} for {_name(frame, bad, QUESTION_KEY)}",
        remedy="call the scale ordinal or nominal",
        column="scale",
    )
    bad = (scale == "ordinal") & (n_options >= 2) & ((n_valued < n_options) | (n_distinct < 2))
    yield from _fault(
        bad,
        rule="each substantive option of an ordinal question has a value, not all the same",
        value=f"{int(n_valued[bad][0]) if bad.any() else 0} values of "
        f"{int(n_options[bad][0]) if bad.any() else 0} options for "
        f"{_name(frame, bad, QUESTION_KEY)}",
        remedy="give the survey's codes in option_value, or call the scale nominal",
        column="option_value",
    )


def _varies(values: Int[np.ndarray, " row"], codes: Int[np.ndarray, " row"]) -> np.ndarray:
    """Rows whose group holds more than one of the numbered values, null counted as a value."""
    one = np.zeros(codes.max() + 1, dtype=np.int64)
    one[codes] = values
    varied = np.zeros(len(one), dtype=bool)
    varied[codes[values != one[codes]]] = True
    varies: np.ndarray = varied[codes]
    return varies


def _outcomes(frame: pd.DataFrame, answer: np.ndarray) -> Iterator[Fault]:
    bad = _varies(pd.factorize(frame["outcome"], use_na_sentinel=False)[0], answer)
    yield from _fault(
        bad,
        rule="all options of one answer have the same outcome",
        value=f"several for {_name(frame, bad, ANSWER_KEY)}",
        remedy="repeat the answer's outcome in each of its rows",
        column="outcome",
    )
    answered = frame["outcome"] == "answered"
    yield from _fault(
        answered & frame["p_llm"].isna(),
        rule="an answered cell has a share for every option",
        value="no p_llm (empty or NaN)",
        remedy="give 0 for options without mass, or call the outcome refused, unparsable or failed",
        column="p_llm",
    )
    bad = (~answered & frame["p_llm"].notna()).to_numpy()
    yield from _fault(
        bad,
        rule="p_llm is empty unless the outcome is answered",
        value=f"a share with outcome {_first(frame, 'outcome', bad)}",
        remedy="empty p_llm or call the outcome answered",
        column="p_llm",
    )


def _sums(frame: pd.DataFrame, answer: np.ndarray) -> Iterator[Fault]:
    for column in ("p_human", "p_llm"):
        shares = frame[column].groupby(answer)
        known = shares.transform("count")
        size = shares.transform("size")
        partly = (known > 0) & (known < size)
        yield from _fault(
            partly & frame[column].isna(),
            rule="a cell has shares for all its options or for none",
            value=f"no share (empty or NaN) beside others in {_name(frame, partly, ANSWER_KEY)}",
            remedy="give 0 for options that nobody chose",
            column=column,
        )
        total = shares.transform("sum")
        bad = (known == size) & ((total - 1).abs() > SUM_TOLERANCE)
        yield from _fault(
            bad,
            rule="the shares of a cell sum to one over all its options, refusals included",
            value=f"{total[bad].iloc[0] if bad.any() else 1:.6g} for "
            f"{_name(frame, bad, ANSWER_KEY)}",
            remedy="add the options that are missing, or divide by the sum",
            column=column,
        )


def _human_side(frame: pd.DataFrame, number: Numbers) -> Iterator[Fault]:
    cell_option = number([*CELL_KEY, "option_index"])
    cell = number(CELL_KEY)
    for column, codes in (("p_human", cell_option), ("n_human", cell)):
        value = frame[column].groupby(codes)
        spread = value.transform("max") - value.transform("min")
        mixed = (value.transform("count") > 0) & frame[column].isna()
        bad = (spread > 1e-9) | mixed
        yield from _fault(
            bad,
            rule=f"a group's {column} for a question is the same in every setting and option"
            if column == "n_human"
            else "a group's human share is the same in every setting",
            value=f"several for {_name(frame, bad, CELL_KEY)}",
            remedy="pair each setting with the same human answers",
            column=column,
        )
    # A cell's settings with a row: those of its answers, which no two rows of an option share.
    settings = number(SETTING_KEY)
    per_option = np.bincount(cell_option)[cell_option]
    n_settings = int(settings.max()) + 1
    answers = pd.unique(cell * n_settings + settings) // n_settings
    bad = per_option != np.bincount(answers)[cell]
    yield from _fault(
        bad,
        rule="a question offers a group the same options in every setting",
        value=f"options in some settings only for {_name(frame, bad, CELL_KEY)}",
        remedy="add the missing option rows to the other settings (share 0)",
        column="option_index",
    )
