"""Human and elicited opinions about the same cells, built from the paired table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from calib.errors import CalibError, DataError, Fault
from calib.opinions import Elicited, Index, Opinions, close
from calib.rules import CELL_KEY, OPTION_KEY, QUESTION_KEY, SETTING_KEY, Numbers
from calib.survey import Group, Option, Question, Setting

OPTION_COLUMNS: Final = (
    "survey", "question_id", "question", "scale",
    "option_index", "option", "option_value", "option_kind",
)  # fmt: skip
"""What a table says of a question's options."""

Counts = Mapping[str, int]
"""What was repaired, dropped or missing, by name."""


@dataclass(frozen=True, eq=False)
class Paired:
    """What people answered beside what LLM settings answered, over one index."""

    human: Opinions
    """Rows where nobody was asked are NaN."""
    elicited: Elicited
    counts: Counts
    """Everything that was dropped, renormalised or found missing on the way here."""

    def __post_init__(self) -> None:
        if self.human.index is not self.elicited.index:
            raise CalibError("human and elicited opinions must share one index")

    @property
    def index(self) -> Index:
        """The cells that both sides speak of."""
        return self.human.index

    def __len__(self) -> int:
        return len(self.index)

    @property
    def complete(self) -> Bool[np.ndarray, " row"]:
        """Rows that people and at least one source answered: those that can be learnt from."""
        return self.human.known & self.elicited.answered.any(axis=0)

    def take(self, rows: Int[np.ndarray, " taken"] | Bool[np.ndarray, " row"]) -> Paired:
        """Some rows of both sides; the counts stay those of the whole."""
        elicited = self.elicited.take(rows)
        n = None if self.human.n is None else self.human.n[rows]
        human = Opinions(elicited.index, self.human.probs[rows], n)
        return Paired(human, elicited, self.counts)


def settings_of(frame: pd.DataFrame) -> list[Setting]:
    """The distinct settings of a table, sorted."""
    distinct = frame[SETTING_KEY].drop_duplicates()
    return sorted(Setting(*row) for row in distinct.itertuples(index=False))


def pair(frame: pd.DataFrame, settings: Sequence[Setting] | None = None) -> Paired:
    """Turn a checked table into arrays.

    Don't-know, refused and other options are dropped on both sides alike and the rest is
    divided by its sum; ``n_human`` shrinks by the share that was dropped. What that did
    is in ``counts``.

    Parameters
    ----------
    frame
        From ``calib.table.read_table`` or ``check_table``.
    settings
        The sources, in order; all settings of the table if None.

    Raises
    ------
    DataError
        Where a setting is not in the table, or none is asked for.
    """
    chosen = settings_of(frame) if settings is None else list(settings)
    frame = _rows_of(frame, chosen)
    substantive = frame["option_kind"] == "substantive"
    kept = frame[substantive]
    number = Numbers(kept)
    layout = _layout(kept, number)
    index = layout.index
    counts: dict[str, int] = {
        "cells": len(index),
        "questions": len(index.questions),
        "non_substantive_options_dropped": int(
            frame.loc[~substantive, OPTION_KEY].drop_duplicates().shape[0]
        ),
    }
    human = _human(kept, layout, counts)
    of_setting = number(SETTING_KEY)
    there = _settings_by_number(kept, of_setting)
    sources = tuple(
        _source(kept, layout, of_setting == there.index(setting), counts) for setting in chosen
    )
    return Paired(human, Elicited(tuple(chosen), sources), counts)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each table row goes: row and option of the block."""

    index: Index
    row: Int[np.ndarray, " table_row"]
    option: Int[np.ndarray, " table_row"]


def _rows_of(frame: pd.DataFrame, settings: Sequence[Setting]) -> pd.DataFrame:
    number = Numbers(frame)(SETTING_KEY)
    there = _settings_by_number(frame, number)
    missing = [setting for setting in settings if setting not in there]
    if missing or not settings:
        raise DataError(
            Fault(
                rule="sources are settings of the table, at least one",
                value=", ".join(map(str, missing)) or "none",
                remedy="choose among " + ", ".join(map(str, sorted(there))),
                column=", ".join(SETTING_KEY),
            )
        )
    wanted = np.array([setting in settings for setting in there])
    return frame if wanted.all() else frame[wanted[number]]


def _first_rows(number: Int[np.ndarray, " table_row"]) -> Int[np.ndarray, " number"]:
    """Of each number the first row that has it."""
    first: np.ndarray = np.unique(number, return_index=True)[1]
    return first


def _settings_by_number(
    frame: pd.DataFrame, number: Int[np.ndarray, " table_row"]
) -> list[Setting]:
    distinct = frame[SETTING_KEY].iloc[_first_rows(number)]
    return [Setting(*row) for row in distinct.itertuples(index=False)]


def _layout(kept: pd.DataFrame, number: Numbers) -> _Layout:
    of_option, of_question = number(OPTION_KEY), number(QUESTION_KEY)
    of_group, of_cell = number(["attribute", "group"]), number(CELL_KEY)
    first = _first_rows(of_option)
    options = kept.iloc[first].assign(
        number=np.arange(len(first)), question_number=of_question[first]
    )
    options = options.sort_values(OPTION_KEY)
    place_of, questions = _questions(options)
    question_rank = np.empty(len(questions), dtype=np.int64)
    question_rank[options["question_number"].unique()] = np.arange(len(questions))
    named = kept[["attribute", "group"]].iloc[_first_rows(of_group)]
    groups = [Group(*pair) for pair in zip(*(named[name].tolist() for name in named), strict=True)]
    group_rank = np.empty(len(groups), dtype=np.int64)
    group_rank[sorted(range(len(groups)), key=groups.__getitem__)] = np.arange(len(groups))
    # Rows come by question, then by group.
    first = _first_rows(of_cell)
    question_of_row, group_of_row = question_rank[of_question[first]], group_rank[of_group[first]]
    order = np.lexsort((group_of_row, question_of_row))
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[order] = np.arange(len(order))
    row, option = row_of[of_cell], place_of[of_option]
    mask = np.zeros((len(order), max(len(question.options) for question in questions)), dtype=bool)
    mask[row, option] = True
    index = Index(
        questions=questions,
        groups=tuple(sorted(groups)),
        question_of_row=question_of_row[order],
        group_of_row=group_of_row[order],
        mask=mask,
    )
    return _Layout(index, row, option)


def _questions(
    options: pd.DataFrame,
) -> tuple[Int[np.ndarray, " option_number"], tuple[Question, ...]]:
    """The place of each numbered option in its question, and the questions, in sorted order."""
    ends = np.flatnonzero(np.diff(options["question_number"].to_numpy(), append=-1)) + 1
    begins = np.concatenate([[0], ends[:-1]])
    place_of = np.empty(len(options), dtype=np.int64)
    place_of[options["number"]] = np.arange(len(options)) - np.repeat(begins, ends - begins)
    column = {name: options[name].tolist() for name in OPTION_COLUMNS}
    questions = tuple(
        Question(
            survey=column["survey"][begin],
            id=column["question_id"][begin],
            text=column["question"][begin],
            scale=column["scale"][begin],
            options=tuple(
                Option(index, label, None if np.isnan(value) else value, kind)
                for index, label, value, kind in zip(
                    *(
                        column[name][begin:end]
                        for name in ("option_index", "option", "option_value", "option_kind")
                    ),
                    strict=True,
                )
            ),
        )
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    )
    return place_of, questions


def _human(kept: pd.DataFrame, layout: _Layout, counts: dict[str, int]) -> Opinions:
    mask = layout.index.mask
    shares = _scatter(kept["p_human"].to_numpy(), layout)
    n = np.full(len(mask), np.nan)
    n[layout.row] = kept["n_human"].to_numpy()
    asked = ~np.isnan(shares).any(axis=1)
    mass = shares.sum(axis=1)
    probs = close(shares, mask)
    counts["cells_without_human_answer"] = int((~asked).sum())
    counts["human_cells_renormalised"] = int((asked & (np.abs(mass - 1) > 1e-9) & (mass > 0)).sum())
    counts["human_cells_without_substantive_answer"] = int((asked & (mass == 0)).sum())
    counts["human_cells_with_unknown_n"] = int((asked & np.isnan(n)).sum())
    return Opinions(layout.index, probs, n * np.minimum(mass, 1.0))


def _source(
    kept: pd.DataFrame,
    layout: _Layout,
    of_setting: Bool[np.ndarray, " table_row"],
    counts: dict[str, int],
) -> Opinions:
    mask = layout.index.mask
    rows = kept[["p_llm", "outcome"]][of_setting]
    placed = _Layout(layout.index, layout.row[of_setting], layout.option[of_setting])
    shares = _scatter(rows["p_llm"].to_numpy(), placed)
    answered = ~np.isnan(shares).any(axis=1)
    mass = shares.sum(axis=1)
    probs = close(shares, mask)
    first = _first_rows(placed.row)
    outcomes = rows["outcome"].iloc[first].value_counts()
    asked = len(first)
    for name, count in {
        "answers_not_asked": len(mask) - asked,
        "answers_refused": int(outcomes.get("refused", 0)),
        "answers_unparsable": int(outcomes.get("unparsable", 0)),
        "answers_failed": int(outcomes.get("failed", 0)),
        "answers_renormalised": int((answered & (np.abs(mass - 1) > 1e-9) & (mass > 0)).sum()),
        "answers_without_substantive_mass": int((answered & (mass == 0)).sum()),
    }.items():
        counts[name] = counts.get(name, 0) + count
    return Opinions(layout.index, probs)


def _scatter(
    values: Float[np.ndarray, " table_row"], layout: _Layout
) -> Float[np.ndarray, "row option"]:
    """Values at their row and option; zero off the mask, NaN where there is none."""
    block = np.where(layout.index.mask, np.nan, 0.0)
    block[layout.row, layout.option] = values
    return block
