"""Whose answers a fit of a study learns from, and whose it predicts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd

from calib.errors import DataError, Fault
from calib.opinions import Elicited
from calib.paired import Paired, pair
from calib.rules import QUESTION_KEY
from calib.sources import parse_sources, sources_label
from calib.study.plan import TablePlan
from calib.survey import QuestionKey, Setting
from calib.table import read_frame

Sides = tuple[tuple[Setting, ...], tuple[Setting, ...]]
"""Whose answers are learnt from, and whose are predicted from."""
TRANSFER: Final = {"model": 0, "elicitation": 1}
"""Splits between settings: which field of the setting differs."""


def selections_of(
    table: TablePlan, settings: Sequence[Setting], faults: list[Fault]
) -> list[tuple[Setting, ...]]:
    """What the entries of ``sources`` select, each the sources of one fit."""
    found: list[tuple[Setting, ...]] = []
    for text in table.sources:
        try:
            found += parse_sources(text, settings, default_join=False)
        except DataError as error:
            faults += [placed(f"table {table.path}", fault) for fault in error.faults]
    twice = [sources_label(one) for one in dict.fromkeys(found) if found.count(one) > 1]
    if twice:
        faults.append(
            Fault(
                rule="each selection is made by one entry of sources",
                value=f"{', '.join(twice)} by two, in table {table.path}",
                remedy="make the entries exclude each other",
            )
        )
    return list(dict.fromkeys(found))


def sides_of(
    split: str, selections: Sequence[tuple[Setting, ...]], table: TablePlan, faults: list[Fault]
) -> list[Sides]:
    """The sides of a split of these selections."""
    if split not in TRANSFER:
        return [(one, one) for one in selections]
    field = TRANSFER[split]

    def rest(setting: Setting) -> tuple[str, ...]:
        return setting[:field] + setting[field + 1 :]

    single = [one for one in selections if len(one) == 1]
    sides: list[Sides] = [
        (a, b)
        for a in single
        for b in single
        if a[0][field] != b[0][field] and rest(a[0]) == rest(b[0])
    ]
    if not sides and selections:
        faults.append(
            Fault(
                rule=f"a split by {split} needs two selections of one setting each that differ "
                f"in {split} alone",
                value=f"{', '.join(map(sources_label, selections))} in table {table.path}",
                remedy=f"select several {split}s, or remove {split!r} from splits",
            )
        )
    return sides


def pairs_of(
    frame: pd.DataFrame, sources: tuple[Setting, ...], target: tuple[Setting, ...]
) -> tuple[Paired, Paired]:
    """What is learnt from, and what is predicted and scored, over the same rows.

    A calibrator predicts from the settings that it was fitted on. Between settings the
    target's answers therefore stand under the source's name.
    """
    paired = pair(frame, list(dict.fromkeys([*sources, *target])))
    if sources == target:
        return paired, paired
    training = Paired(paired.human, paired.elicited.select(sources), paired.counts)
    answers = paired.elicited.select(target).sources
    return training, Paired(paired.human, Elicited(sources, answers), paired.counts)


def dates_of(path: Path) -> dict[QuestionKey, str]:
    """The dates of a table's questions, from its further column ``date``."""
    frame = read_frame(path)
    if "date" not in frame:
        return {}
    dated = frame[[*QUESTION_KEY, "date"]].drop_duplicates()
    # The day alone, of texts and of dates with a time alike.
    days = dated["date"].astype(str).str[:10]
    bad = pd.to_datetime(days, format="%Y-%m-%d", errors="coerce").isna()
    if bad.any() or dated.duplicated(QUESTION_KEY).any():
        raise DataError(
            Fault(
                rule="a question has one date, year-month-day",
                value=repr(str(dated["date"][bad].iloc[0])) if bad.any() else "two of one question",
                remedy="write dates as 2026-11-21, the same in all rows of a question",
                column="date",
            )
        )
    keys = dated[QUESTION_KEY].astype(str).itertuples(index=False)
    return {QuestionKey(*key): day for key, day in zip(keys, days, strict=True)}


def placed(place: str, fault: Fault) -> Fault:
    """The same fault, with the part of the study that it stands in."""
    return replace(fault, value=f"{fault.value} in {place}")
