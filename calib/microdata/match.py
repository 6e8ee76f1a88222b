"""Human answers beside what an LLM answered: the paired table, and what did not match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.importers.human_rows import HUMAN_COLUMNS, check_human
from calib.microdata.agree import faults_of_options, settled_shares
from calib.rules import CELL_KEY, QUESTION_KEY
from calib.table import COLUMNS, check_table, read_frame, read_table

GROUP_KEY: Final = ["attribute", "group"]


@dataclass(frozen=True, eq=False)
class Matched:
    """A paired table with all that did not find its counterpart."""

    table: pd.DataFrame
    counts: Mapping[str, int]
    unmatched: Mapping[str, Sequence[str]]
    """Names, by what they are and on which side they are."""


def match_files(human: Path, elicited: Path) -> Matched:
    """Read both tables and match them; see ``match``."""
    people, answers = read_human(human), read_table(elicited)
    try:
        return match(people, answers)
    except DataError as error:
        raise error.in_file(elicited) from None


def read_human(path: Path) -> pd.DataFrame:
    """A table with human answers: the columns of ``calib survey``, or a paired table.

    Raises
    ------
    DataError
        With every fault, by the rules of the paired table.
    """
    frame = read_frame(path)
    needed = [name for name in HUMAN_COLUMNS if name not in ("option_value", "n_human")]
    missing = [name for name in needed if name not in frame]
    if missing:
        fault = Fault(
            "a human table has the columns " + ", ".join(needed),
            f"no column {', '.join(missing)}",
            "make it with calib survey, or add them",
        )
        raise DataError(fault, file=path)
    people = frame[[name for name in HUMAN_COLUMNS if name in frame]]
    if "model" in frame:
        # Each setting of a paired table repeats the human side.
        people = people.drop_duplicates()
    try:
        return check_human(people)
    except DataError as error:
        raise error.in_file(path) from None


def match(human: pd.DataFrame, elicited: pd.DataFrame) -> Matched:
    """Give each elicited row its human share.

    Questions match by survey and id, groups by attribute and name, answers by index and
    label. Options that are no answer match by label: one that people chose and the LLM was
    not offered is dropped, the rest divided by its sum, and ``n_human`` shrinks by the share
    dropped; one that only the LLM was offered has the human share 0.

    Parameters
    ----------
    human
        From ``read_human``.
    elicited
        A checked paired table without human answers.

    Returns
    -------
    All rows of ``elicited`` in their order; ``p_human`` and ``n_human`` are empty where
    people gave no answer.

    Raises
    ------
    DataError
        Where a matched question differs in scale, labels, values or the options that are
        answers; where nothing matches; where the elicited table has human answers already.
    """
    known = elicited["p_human"].notna().to_numpy()
    if known.any():
        fault = Fault(
            "what was elicited has no human answers yet",
            f"{int(known.sum())} shares",
            "give the table of elicit run, or empty p_human and n_human",
            "p_human",
            tuple(np.flatnonzero(known).tolist()),
        )
        raise DataError(fault)
    human = human[human["p_human"].notna()]
    unmatched = _unmatched(human, elicited)
    _nothing_in_common(human, elicited)
    faults = faults_of_options(human, elicited)
    if faults:
        raise DataError(faults)
    shares, counts = settled_shares(human, elicited)
    key = [*CELL_KEY, "option_index"]
    table = elicited.drop(columns=["p_human", "n_human"]).merge(
        shares, on=key, how="left", validate="many_to_one"
    )
    table = check_table(table[list(COLUMNS)])
    cells = table.drop_duplicates([*CELL_KEY, "model", "elicitation", "prompt"])
    total = {
        "rows": len(table),
        "cells": len(cells),
        "cells_with_human_answers": int(cells["p_human"].notna().sum()),
        "cells_without_human_answers": int(cells["p_human"].isna().sum()),
        "human_cells_that_no_llm_was_asked": len(_keys(human, CELL_KEY) - _keys(table, CELL_KEY)),
        **counts,
        **{name: len(those) for name, those in unmatched.items()},
    }
    return Matched(table, total, unmatched)


def _unmatched(human: pd.DataFrame, elicited: pd.DataFrame) -> dict[str, list[str]]:
    """Questions, groups and options of one side only; groups and options of common questions."""
    questions = {side: _keys(frame, QUESTION_KEY) for side, frame in _sides(human, elicited)}
    common = questions["human"] & questions["elicited"]
    found: dict[str, list[str]] = {}
    for kind, key, mark in (
        ("questions", QUESTION_KEY, "/"),
        ("groups", GROUP_KEY, ": "),
        ("options", [*QUESTION_KEY, "option"], "/"),
    ):
        sets = {}
        for side, frame in _sides(human, elicited):
            if kind != "questions":
                frame = frame[_is_in(frame, QUESTION_KEY, common)]
            sets[side] = _keys(frame, key)
        for side, other in (("human", "elicited"), ("elicited", "human")):
            names = [mark.join(one) for one in sorted(sets[side] - sets[other])]
            found[f"{kind}_only_{side}"] = names
    both = [_wordings(frame) for _, frame in _sides(human, elicited)]
    found["questions_worded_differently"] = [
        "/".join(key) for key in sorted(common) if both[0][key] != both[1][key]
    ]
    return found


def _sides(human: pd.DataFrame, elicited: pd.DataFrame) -> tuple[tuple[str, pd.DataFrame], ...]:
    return (("human", human), ("elicited", elicited))


def _keys(frame: pd.DataFrame, key: Sequence[str]) -> set[tuple[str, ...]]:
    return set(frame[list(key)].drop_duplicates().itertuples(index=False, name=None))


def _is_in(frame: pd.DataFrame, key: Sequence[str], wanted: set[tuple[str, ...]]) -> np.ndarray:
    rows = frame[list(key)].itertuples(index=False, name=None)
    return np.array([one in wanted for one in rows], dtype=bool)


def _wordings(frame: pd.DataFrame) -> dict[tuple[str, ...], str]:
    first = frame.drop_duplicates(QUESTION_KEY)
    keys = first[QUESTION_KEY].itertuples(index=False, name=None)
    return dict(zip(keys, first["question"], strict=True))


def _nothing_in_common(human: pd.DataFrame, elicited: pd.DataFrame) -> None:
    for key, what in ((QUESTION_KEY, "question"), (GROUP_KEY, "group"), (CELL_KEY, "cell")):
        sides = [_keys(frame, key) for _, frame in _sides(human, elicited)]
        if not sides[0] & sides[1]:
            examples = ["/".join(min(side)) if side else "none" for side in sides]
            raise DataError(
                Fault(
                    f"both tables have a {what} in common ({', '.join(key)})",
                    f"{examples[0]} of people, {examples[1]} of the LLM, and none in both",
                    "name survey, questions, attributes and groups alike on both sides",
                )
            )
